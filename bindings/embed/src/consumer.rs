//! Events for a handler of the host.

use std::time::Duration;

use meshwire::{EventView, Mesh, Position, Result, Settlement, UnixMillis};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::held::Held;
use crate::local::Local;
use crate::options::Options;
use crate::stopper::Stop;
use crate::work::{Given, Readable, Works, Workshop};

/// A [`meshwire::Consume`] that runs, and asks the host to handle its events.
pub type Consumer = Held<Job>;

/// One event for a handler: read it, and say how the handler ended. Dropped, the handler has failed.
#[derive(Debug)]
pub struct Job {
    number: u64,
    event: Readable,
    topic: String,
    position: Position,
    attempt: u32,
    gap: u64,
    stored: UnixMillis,
    expires_at: Option<UnixMillis>,
    /// `None`: no handler has begun.
    end: Local<oneshot::Sender<Option<Handled>>>,
    client: Client,
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The event is done.
    Done,
    /// The handler failed, and why: the event comes again as the group's settings say.
    Failed(String),
    /// The event is to come again after this time.
    NackAfter(Duration),
    /// It is never to come again, for this reason: a dead letter.
    Reject(String),
}

impl From<Handled> for Result<Settlement, String> {
    fn from(handled: Handled) -> Self {
        match handled {
            Handled::Done => Ok(Settlement::Ack),
            Handled::Failed(problem) => Err(problem),
            Handled::NackAfter(delay) => Ok(Settlement::NackAfter(delay)),
            Handled::Reject(reason) => Ok(Settlement::Reject(reason)),
        }
    }
}

impl Held<Job> {
    /// # Errors
    /// `INVALID`: the options.
    pub(crate) fn begin(client: Client, (mesh, on): (&Mesh, &Handle), topic: &str, options: &Options) -> Result<Self> {
        let (stop, stopped) = Stop::new("consume");
        let (consume, concurrency) = options.consume(mesh, topic)?;
        let consume = consume.until(stopped);
        let of = client.clone();
        let works = Works::begin(&stop, on, concurrency, |shop| async move {
            // Written here: of a closure from elsewhere the compiler does not see that it may go to another thread.
            consume.run(async move |delivery: &meshwire::Delivery| handle((&shop, &of), delivery).await).await
        });
        Ok(Self::new(client, stop, works, concurrency))
    }
}

impl Given for Job {
    fn give_back(self) -> Option<Self> {
        // An error means that this is a child of `fork`, which has none of it.
        let _ = self.say(None);
        None
    }
}

/// What [`meshwire::Consume::run`] calls: it waits for the host's handler.
async fn handle(
    (shop, client): (&Workshop<Job>, &Client),
    delivery: &meshwire::Delivery,
) -> Result<Settlement, String> {
    let (end, ended) = oneshot::channel();
    let bench = shop.begin(|number| Job::new(number, delivery, end, client.clone())).await;
    let handled = shop.hear(ended).await;
    let handled = handled.unwrap_or_else(|_| Some(Handled::Failed("its handler was given up".to_owned())));
    bench.end();
    handled.map_or(Ok(Settlement::GiveBack), Handled::into)
}

impl Job {
    fn new(number: u64, delivery: &meshwire::Delivery, end: oneshot::Sender<Option<Handled>>, client: Client) -> Self {
        Self {
            number,
            event: Readable::new(delivery.raw().clone(), delivery.event()),
            topic: delivery.topic().to_owned(),
            position: delivery.position(),
            attempt: delivery.attempt(),
            gap: delivery.gap(),
            stored: delivery.stored(),
            expires_at: delivery.expires_at(),
            end: Local::new(end),
            client,
        }
    }

    /// The client that it came to.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its number, for [`Work::Lost`](crate::Work::Lost).
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> EventView<'_> {
        self.event.event()
    }

    /// The same, to be read when its handler has ended too.
    #[must_use]
    pub fn readable(&self) -> Readable {
        self.event.clone()
    }

    /// As [`meshwire::Delivery::topic`].
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// As [`meshwire::Delivery::position`].
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// As [`meshwire::Delivery::attempt`].
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// As [`meshwire::Delivery::gap`].
    #[must_use]
    pub const fn gap(&self) -> u64 {
        self.gap
    }

    /// As [`meshwire::Delivery::stored`].
    #[must_use]
    pub const fn stored(&self) -> UnixMillis {
        self.stored
    }

    /// As [`meshwire::Delivery::expires_at`].
    #[must_use]
    pub const fn expires_at(&self) -> Option<UnixMillis> {
        self.expires_at
    }

    /// Whether it was [lost](crate::Work::Lost), for a handler that looks now and then. A child of `fork` has lost all of its parent's.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.end.get("consume").map_or(true, oneshot::Sender::is_closed)
    }

    /// The handler has ended. Not heard if the work was [lost](crate::Work::Lost).
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn end(self, handled: Handled) -> Result<()> {
        self.say(Some(handled))
    }

    fn say(self, handled: Option<Handled>) -> Result<()> {
        // An error means that it was lost.
        let _ = self.end.into_value("consume")?.send(handled);
        Ok(())
    }
}
