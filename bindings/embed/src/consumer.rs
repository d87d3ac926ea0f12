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
use crate::work::{Given, Open, Readable, Works, Workshop};

/// A [`meshwire::Consume`] that runs, and asks the host to handle its events.
pub type Consumer = Held<Job>;

/// One event for a handler: read it, say that its handler [begins](Self::begin), and how that ended. Dropped between, the handler has failed.
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
    ending: Ending,
    client: Client,
}

/// Where it is said how a handler ended; `None`: none has begun. Dropped, it has failed, or so.
#[derive(Debug)]
struct Ending {
    say: Option<Local<Say>>,
    begun: bool,
    open: Open,
}

type Say = oneshot::Sender<Option<Handled>>;

impl Ending {
    fn say(&mut self, handled: Option<Handled>) -> Result<()> {
        let Some(say) = self.say.take() else { return Ok(()) };
        let say = say.into_value("consume")?;
        if handled.is_none() || self.open.is_open() {
            // An error means that it was lost.
            let _ = say.send(handled);
        }
        Ok(())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.begun {
            // An error means that this is a child of `fork`, which has none of it.
            let _ = self.say(None);
        }
    }
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

impl Handled {
    fn given_up() -> Self {
        Self::Failed("its handler was given up".to_owned())
    }
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
        None
    }
}

/// The word of a handler on its delivery, which is heard too when it was said before the consumer was gone, and that has ended all here
/// meanwhile.
struct Word<'a> {
    ended: oneshot::Receiver<Option<Handled>>,
    said: Option<Option<Handled>>,
    delivery: &'a meshwire::Delivery,
}

impl Word<'_> {
    async fn heard(&mut self) {
        self.said = Some((&mut self.ended).await.unwrap_or_else(|_| Some(Handled::given_up())));
    }
}

impl Drop for Word<'_> {
    fn drop(&mut self) {
        if let Some(said) = self.said.take().or_else(|| self.ended.try_recv().ok()) {
            self.delivery.if_dropped(settlement(said));
        }
    }
}

/// `None`: no handler has begun.
fn settlement(said: Option<Handled>) -> Result<Settlement, String> {
    said.map_or(Ok(Settlement::GiveBack), Handled::into)
}

/// What [`meshwire::Consume::run`] calls: it waits for the host's handler.
async fn handle(
    (shop, client): (&Workshop<Job>, &Client),
    delivery: &meshwire::Delivery,
) -> Result<Settlement, String> {
    let (say, ended) = oneshot::channel();
    let mut word = Word { ended, said: None, delivery };
    let ending = Ending { say: Some(Local::new(say)), begun: false, open: shop.open() };
    let bench = shop.begin(|number| Job::new(number, delivery, ending, client.clone())).await;
    shop.hear(word.heard()).await;
    bench.end();
    settlement(word.said.take().unwrap_or_else(|| Some(Handled::given_up())))
}

impl Job {
    fn new(number: u64, delivery: &meshwire::Delivery, ending: Ending, client: Client) -> Self {
        Self {
            number,
            event: Readable::new(delivery.raw().clone(), delivery.event()),
            topic: delivery.topic().to_owned(),
            position: delivery.position(),
            attempt: delivery.attempt(),
            gap: delivery.gap(),
            stored: delivery.stored(),
            expires_at: delivery.expires_at(),
            ending,
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
        self.ending.say.as_ref().is_none_or(|say| say.get("consume").map_or(true, oneshot::Sender::is_closed))
    }

    /// The handler has ended. Not heard if the work was [lost](crate::Work::Lost).
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn end(mut self, handled: Handled) -> Result<()> {
        self.ending.say(Some(handled))
    }

    /// A handler begins. Dropped before, the event goes back unblamed.
    pub const fn begin(&mut self) {
        self.ending.begun = true;
    }
}
