//! Answering requests with a function.
//!
//! - [`inbox`]: requests on their way from the driver to the handlers;
//! - [`task`]: one of them, and what may be said to it.

mod inbox;
mod task;

use std::fmt::Display;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use meshwire_proto::{ErrorKind, Event, GroupName, TopicName, options};
use tokio::sync::oneshot;

pub(crate) use inbox::ServeInbox;
pub(crate) use task::{FlowSender, Task, cancel, grant};
pub use task::{ReplySender, Request};

use crate::client::Mesh;
use crate::consume::panic_text;
use crate::inbox::End;
use crate::outbox::Command;
use crate::session::ServeSpec;
use crate::{Error, Result};

/// How to answer a topic's requests; [`run`](Self::run) does it.
///
/// All who serve a topic share its requests: each goes to the one with the fewest. The topic
/// need not exist, and its events are not touched.
#[derive(Debug)]
#[must_use = "nothing is answered until `run` is awaited"]
pub struct Serve<S = std::future::Pending<()>> {
    mesh: Mesh,
    topic: String,
    group: Option<String>,
    concurrency: u64,
    prefetch: (u64, u64),
    stop: S,
}

impl Serve {
    pub(crate) fn new(mesh: Mesh, topic: &str) -> Self {
        Self {
            mesh,
            topic: topic.to_owned(),
            group: None,
            concurrency: options::HANDLER_CONCURRENCY.default,
            prefetch: (options::PREFETCH_EVENTS.default, options::PREFETCH_BYTES.default),
            stop: std::future::pending(),
        }
    }
}

impl<S: Future<Output = ()>> Serve<S> {
    /// A name for those who serve together. Requests are shared with it or without.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// Most handlers that run at once, all in the task that awaits [`run`](Self::run).
    /// Default 1; from 1 to 65,536.
    pub const fn concurrency(mut self, handlers: u64) -> Self {
        self.concurrency = handlers;
        self
    }

    /// Most requests, and most bytes of them, that wait here for a handler or are handled;
    /// further ones go to others, or are answered `BUSY`. Default 256 and 8 MiB; from 1 and
    /// 1 to 65,536 and 64 MiB.
    pub const fn prefetch(mut self, requests: u64, bytes: u64) -> Self {
        self.prefetch = (requests, bytes);
        self
    }

    /// Stops when `stop` resolves: no more requests are taken, handlers that run may
    /// finish, what none has begun is answered `NO_RESPONDERS`, and [`run`](Self::run) returns.
    pub fn until<T: Future<Output = ()>>(self, stop: T) -> Serve<T> {
        let Self { mesh, topic, group, concurrency, prefetch, stop: _ } = self;
        Serve { mesh, topic, group, concurrency, prefetch, stop }
    }

    /// Calls `handler` for each request until the client closes or [`until`](Self::until)
    /// says so. `Ok` is the reply; `Err` and a panic are answered `RESPONDER_FAILED` with the
    /// error's text, and logged. When the deadline of a request passes or its requester
    /// cancels, its handler is dropped where it awaits.
    ///
    /// ```no_run
    /// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
    /// use meshwire::{Event, Request};
    /// mesh.serve("quote").concurrency(8).run(async |request: &Request| {
    ///     Ok::<_, meshwire::Error>(Event::text("quote.given", request.text()?.to_uppercase()))
    /// }).await
    /// # }
    /// ```
    ///
    /// In a task of its own the handler is an `async move` closure that owns what it captures; see
    /// [`Consume::run`](crate::Consume::run).
    ///
    /// ```no_run
    /// # struct Prices;
    /// # impl Prices { async fn of(&self, what: &str) -> meshwire::Result<String> { Ok(what.to_owned()) } }
    /// # fn example(mesh: meshwire::Mesh, prices: std::sync::Arc<Prices>) {
    /// use meshwire::{Error, Event, Request};
    /// tokio::spawn(async move {
    ///     let handler = async move |request: &Request| {
    ///         let price = prices.of(request.text()?).await?;
    ///         Ok::<_, Error>(Event::text("quote.given", price))
    ///     };
    ///     mesh.serve("quote").concurrency(8).run(handler).await
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// `INVALID` for a name or a bound; `DENIED`, `TOO_LARGE` (too many subscriptions) as the
    /// gateway answers; `CLOSED`.
    ///
    /// # Cancel safety
    /// Dropping it drops the handlers that run; their requests are answered `RESPONDER_LOST`.
    pub async fn run<F, E>(self, handler: F) -> Result<()>
    where
        F: AsyncFn(&Request) -> Result<Event, E>,
        E: Display,
    {
        let mesh = self.mesh.clone();
        self.attend(|task| answer_once(&mesh, &handler, task)).await
    }

    /// As [`run`](Self::run), for handlers that give any number of replies: [`ReplySender::send`]
    /// sends one, waiting for the requester to take it, and `Ok` ends them. A request that
    /// wants one reply gets the first.
    ///
    /// ```no_run
    /// # struct Prices;
    /// # impl Prices { async fn of(&self, what: &str) -> meshwire::Result<String> { Ok(what.to_owned()) } }
    /// # fn example(mesh: meshwire::Mesh, prices: std::sync::Arc<Prices>) {
    /// use meshwire::{Error, Event, ReplySender, Request};
    /// tokio::spawn(async move {
    ///     let handler = async move |request: &Request, replies: &ReplySender| {
    ///         for what in request.text()?.lines() {
    ///             replies.send(Event::text("quote.given", prices.of(what).await?)).await?;
    ///         }
    ///         Ok::<_, Error>(())
    ///     };
    ///     mesh.serve("quote").run_stream(handler).await
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_stream<F, E>(self, handler: F) -> Result<()>
    where
        F: AsyncFn(&Request, &ReplySender) -> Result<(), E>,
        E: Display,
    {
        let mesh = self.mesh.clone();
        self.attend(|task| answer(&mesh, &handler, task)).await
    }

    /// Serves, with a future for each request.
    async fn attend<A: Future<Output = ()>>(self, begin: impl Fn(Task) -> A) -> Result<()> {
        let context = |error: Error| error.during("serve").with("topic", self.topic.clone());
        let spec = self.spec().map_err(context)?;
        let inbox = Arc::new(ServeInbox::default());
        let (reply, answer) = oneshot::channel();
        let command = Command::Serve { spec, inbox: Arc::clone(&inbox), reply };
        self.mesh.outbox().command(command).map_err(context)?;
        let concurrency = usize::try_from(self.concurrency).unwrap_or(usize::MAX);
        let serving = Serving { mesh: self.mesh.clone(), inbox, concurrency };
        let stop = self.stop;
        tokio::pin!(stop);
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(Error::closed("serve"))).map_err(context)?,
            // Without a gateway it would wait for one.
            () = &mut stop => return Ok(()),
        }
        tracing::info!(topic = self.topic, "serving requests");
        serving.run(stop, begin).await.map_err(|e| e.during("serve").with("topic", self.topic.clone()))
    }

    fn spec(&self) -> Result<ServeSpec> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, "serve", problem);
        let named = |e| Error::name("serve", &e);
        options::HANDLER_CONCURRENCY.check(self.concurrency).map_err(invalid)?;
        let requests = options::PREFETCH_EVENTS.check(self.prefetch.0).map_err(invalid)?;
        Ok(ServeSpec {
            topic: TopicName::parse(&self.topic).map_err(named)?,
            group: self.group.as_deref().map(GroupName::parse).transpose().map_err(named)?,
            max_events: u32::try_from(requests.max(self.concurrency)).unwrap_or(u32::MAX),
            max_bytes: options::PREFETCH_BYTES.check(self.prefetch.1).map_err(invalid)?,
        })
    }
}

/// Dropped, it takes no more requests and ends what it has.
struct Serving {
    mesh: Mesh,
    inbox: Arc<ServeInbox>,
    concurrency: usize,
}

impl Serving {
    async fn run<A>(self, stop: impl Future<Output = ()>, begin: impl Fn(Task) -> A) -> Result<()>
    where
        A: Future<Output = ()>,
    {
        let mut running = FuturesUnordered::new();
        tokio::pin!(stop);
        let mut open = true;
        let mut outcome = Ok(());
        while open || !running.is_empty() {
            let has_room = running.len() < self.concurrency;
            tokio::select! {
                biased;
                () = &mut stop, if open => open = self.stop(),
                Some(()) = running.next() => {}
                next = poll_fn(|cx| self.inbox.poll_next(has_room, cx)), if open => match next {
                    Ok(task) => running.push(begin(task)),
                    Err(end) => {
                        open = self.stop();
                        if let End::Error(error) = end {
                            outcome = Err(error);
                        }
                    }
                },
            }
        }
        outcome
    }

    /// Takes no more; what no handler has begun may go elsewhere.
    fn stop(&self) -> bool {
        self.mesh.outbox().push(Command::ServeNoMore(Arc::clone(&self.inbox)));
        for task in self.inbox.drain() {
            task.fail(ErrorKind::NoResponders, "the responder is stopping, nothing was done; try again");
        }
        false
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer<F, E>(mesh: &Mesh, handler: &F, task: Task)
where
    F: AsyncFn(&Request, &ReplySender) -> Result<(), E>,
    E: Display,
{
    match task.read(mesh) {
        Err(error) => task.fail(ErrorKind::ResponderFailed, error.message()),
        Ok((request, replies)) => {
            let work = async { handler(&request, &replies).await.map_err(|e| e.to_string()) };
            see_to_its_end(&task, &request, work).await;
        }
    }
}

/// A future of its own, and not [`answer`] around another closure: of that the compiler
/// does not see that it may go to another thread.
async fn answer_once<F, E>(mesh: &Mesh, handler: &F, task: Task)
where
    F: AsyncFn(&Request) -> Result<Event, E>,
    E: Display,
{
    match task.read(mesh) {
        Err(error) => task.fail(ErrorKind::ResponderFailed, error.message()),
        Ok((request, replies)) => {
            let work = async {
                let event = handler(&request).await.map_err(|e| e.to_string())?;
                replies.send(event).await.map_err(|e| e.to_string())
            };
            see_to_its_end(&task, &request, work).await;
        }
    }
}

/// Ends a request as its handler does, or when nobody waits any more.
async fn see_to_its_end(task: &Task, request: &Request, work: impl Future<Output = Result<(), String>>) {
    // The request is only read by the handler, and failed after a panic.
    let handling = AssertUnwindSafe(work).catch_unwind();
    let handled = tokio::select! {
        biased;
        handled = handling => handled,
        () = task.cancelled() => return task.fail(ErrorKind::Cancelled, "the requester waits no more"),
    };
    let problem = match handled {
        Ok(Ok(())) => return task.done(),
        Ok(Err(problem)) => problem,
        Err(panic) => panic_text(&*panic),
    };
    let id = request.event().id().to_owned();
    tracing::warn!(topic = request.topic(), id, problem, "the handler failed; the requester is told");
    task.fail(ErrorKind::ResponderFailed, &problem);
}
