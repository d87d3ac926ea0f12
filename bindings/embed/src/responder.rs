//! Requests for a handler of the host.

use std::time::Duration;

use meshwire::{Error, ErrorKind, Event, EventView, Mesh, ReplySender, Request, Result};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::ask::Outcome;
use crate::client::Client;
use crate::held::Held;
use crate::local::Local;
use crate::operation::Operation;
use crate::options::Options;
use crate::queue::Queue;
use crate::stopper::Stop;
use crate::work::{Given, Readable, Works, Workshop};

/// A [`meshwire::Serve`] that runs, and asks the host to answer its requests.
pub type Responder = Held<Inquiry>;

/// One request for a handler: read it, and reply. Dropped, its handler has failed.
#[derive(Debug)]
pub struct Inquiry {
    number: u64,
    event: Readable,
    topic: String,
    deadline: Instant,
    wants_stream: bool,
    say: Local<mpsc::UnboundedSender<Said>>,
    client: Client,
}

/// What a handler says to its request.
#[derive(Debug)]
enum Said {
    Reply(Box<Event>, oneshot::Sender<Result<()>>),
    /// The one reply, and the end.
    Answer(Box<Event>),
    End(Result<(), String>),
}

impl Held<Inquiry> {
    /// # Errors
    /// `INVALID`: the options.
    pub(crate) fn begin(client: Client, (mesh, on): (&Mesh, &Handle), topic: &str, options: &Options) -> Result<Self> {
        let (stop, stopped) = Stop::new("serve");
        let (serve, concurrency) = options.serve(mesh, topic)?;
        let serve = serve.until(stopped);
        let of = client.clone();
        let works = Works::begin(&stop, on, concurrency, |shop| async move {
            // Written here: of a closure from elsewhere the compiler does not see that it may go to another thread.
            let handler =
                async move |request: &Request, replies: &ReplySender| handle((&shop, &of), request, replies).await;
            serve.run_stream(handler).await
        });
        Ok(Self::new(client, stop, works, concurrency))
    }
}

impl Given for Inquiry {
    /// Its requester waits: it is answered by who has it.
    fn give_back(self) -> Option<Self> {
        Some(self)
    }
}

/// What [`meshwire::Serve::run_stream`] calls: it says what the host's handler does.
async fn handle(
    (shop, client): (&Workshop<Inquiry>, &Client),
    request: &Request,
    replies: &ReplySender,
) -> Result<(), String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "each reply in it has a place in a queue, which is bounded, or a thread that waits"
    )]
    let (say, mut said) = mpsc::unbounded_channel();
    let bench = shop.begin(|number| Inquiry::new(number, request, say, client.clone())).await;
    let outcome = loop {
        match shop.hear(said.recv()).await {
            Some(Said::Reply(event, told)) => {
                let sent = replies.send(*event).await;
                // An error means that the host waits no more.
                let _ = told.send(sent);
            }
            Some(Said::Answer(event)) => break replies.send(*event).await.map_err(|error| error.to_string()),
            Some(Said::End(outcome)) => break outcome,
            None => break Err("its handler was given up".to_owned()),
        }
    };
    bench.end();
    outcome
}

impl Inquiry {
    fn new(number: u64, request: &Request, say: mpsc::UnboundedSender<Said>, client: Client) -> Self {
        Self {
            number,
            event: Readable::new(request.raw().clone(), request.event()),
            topic: request.topic().to_owned(),
            deadline: Instant::now() + request.remaining(),
            wants_stream: request.wants_stream(),
            say: Local::new(say),
            client,
        }
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

    /// As [`Request::topic`].
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// As [`Request::remaining`].
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// As [`Request::wants_stream`].
    #[must_use]
    pub const fn wants_stream(&self) -> bool {
        self.wants_stream
    }

    /// Whether it was [lost](crate::Work::Lost), as [`Job::is_lost`](crate::Job::is_lost).
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.say.get("serve").map_or(true, mpsc::UnboundedSender::is_closed)
    }

    /// Begins to send a reply: comes to [`Outcome::Done`] when the requester has taken it.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion. In the completion as
    /// [`ReplySender::send`].
    pub fn begin_reply(&self, event: Event, queue: &Queue, tag: u64) -> Result<Operation> {
        // First, so that nothing was sent where there is none.
        let place = queue.place(tag, "reply")?;
        self.client.begin_in(place, true, self.reply(event)?)
    }

    /// Sends a reply, and waits until the requester has taken it.
    ///
    /// # Errors
    /// As [`ReplySender::send`]; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn reply_now(&self, event: Event) -> Result<()> {
        self.client.wait_call("reply", self.reply(event)?).map(|_| ())
    }

    fn reply(&self, event: Event) -> Result<impl Future<Output = Result<Outcome>> + Send + use<>> {
        let (tell, told) = oneshot::channel();
        // Here, so that replies and the end go in the order in which they are said.
        let said = self.say.get("reply")?.send(Said::Reply(Box::new(event), tell)).is_ok();
        let topic = self.topic.clone();
        Ok(async move {
            let sent = if said { told.await.ok() } else { None };
            sent.unwrap_or_else(|| {
                let text = format!("the requester waits no more (topic {topic})");
                Err(Error::of_host(ErrorKind::Cancelled, "reply", text))
            })
            .map(|()| Outcome::Done)
        })
    }

    /// Sends the one reply, which ends it. Not heard if the work was [lost](crate::Work::Lost).
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn answer(self, event: Event) -> Result<()> {
        self.say(Said::Answer(Box::new(event)))
    }

    /// There are no more replies. Not heard if the work was [lost](crate::Work::Lost).
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn end(self) -> Result<()> {
        self.say(Said::End(Ok(())))
    }

    /// The handler failed, and why: the requester is told `RESPONDER_FAILED`. Not heard if the work was [lost](crate::Work::Lost).
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn fail(self, problem: String) -> Result<()> {
        self.say(Said::End(Err(problem)))
    }

    fn say(self, said: Said) -> Result<()> {
        // An error means that it was lost.
        let _ = self.say.into_value("reply")?.send(said);
        Ok(())
    }
}
