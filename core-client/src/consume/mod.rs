//! Handling events with a function.
//!
//! - [`keys`]: which events may be handled now;
//! - [`leases`]: what keeps an event while its handler runs;
//! - [`settlement`]: what a handler says of its event.

mod keys;
mod leases;
mod settlement;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use meshwire_proto::{ErrorKind, options};
use tokio::time::timeout;

use keys::Keys;
use leases::Leases;
pub use settlement::{Handled, Settlement};

use crate::delivery::{Delivery, Place};
use crate::session::{Start, State};
use crate::subscription::{Subscribe, Subscription};
use crate::{Error, GroupSettings, Result};

/// How to handle a topic's events; [`run`](Self::run) does it.
#[derive(Debug)]
#[must_use = "nothing is handled until `run` is awaited"]
pub struct Consume<S = std::future::Pending<()>> {
    subscribe: Subscribe,
    concurrency: u64,
    stop: S,
}

impl Consume {
    pub(crate) fn new(subscribe: Subscribe) -> Self {
        Self { subscribe, concurrency: options::HANDLER_CONCURRENCY.default, stop: std::future::pending() }
    }
}

impl<S: Future<Output = ()>> Consume<S> {
    /// As [`Subscribe::group`].
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.subscribe = self.subscribe.group(name);
        self
    }

    /// As [`Subscribe::broadcast`].
    pub fn broadcast(mut self) -> Self {
        self.subscribe = self.subscribe.broadcast();
        self
    }

    /// As [`Subscribe::member`].
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.subscribe = self.subscribe.member(name);
        self
    }

    /// As [`Subscribe::start`].
    pub fn start(mut self, start: impl Into<Start>) -> Self {
        self.subscribe = self.subscribe.start(start);
        self
    }

    /// As [`Subscribe::prefetch`]. It also bounds the events that wait for an
    /// earlier one of their key.
    pub fn prefetch(mut self, events: u64, bytes: u64) -> Self {
        self.subscribe = self.subscribe.prefetch(events, bytes);
        self
    }

    /// As [`Subscribe::ack_wait`]. A handler that runs longer keeps its event, up to ten times the wait: leases are extended
    /// while it runs. One that has not ended by then is dropped where it awaits, and its event has failed.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.subscribe = self.subscribe.ack_wait(wait);
        self
    }

    /// As [`Subscribe::settings`].
    pub fn settings(mut self, settings: GroupSettings) -> Self {
        self.subscribe = self.subscribe.settings(settings);
        self
    }

    /// Most handlers that run at once, all in the task that awaits
    /// [`run`](Self::run). Default 1; from 1 to 65,536.
    pub const fn concurrency(mut self, handlers: u64) -> Self {
        self.concurrency = handlers;
        self
    }

    /// Stops when `stop` resolves: nothing more is taken, handlers that run may
    /// finish, the rest is given back, and [`run`](Self::run) returns.
    pub fn until<T: Future<Output = ()>>(self, stop: T) -> Consume<T> {
        Consume { subscribe: self.subscribe, concurrency: self.concurrency, stop }
    }

    /// Calls `handler` for each event until the client closes or
    /// [`until`](Self::until) says so. `Ok` acks the event, `Err` nacks it, a panic
    /// nacks it and is logged; a handler that returns a [`Settlement`] in its `Ok` can also reject, or say when the event
    /// comes again. Events of one key (`partitionkey`) are handled one
    /// at a time, in order, whatever the concurrency; after a nack they begin
    /// again at the nacked one. Without a group nothing comes again: after a nack the next one is handled.
    ///
    /// ```no_run
    /// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
    /// use meshwire::Delivery;
    /// mesh.consume("orders").group("billing").concurrency(8).run(async |order: &Delivery| {
    ///     println!("{}", order.text()?);
    ///     Ok::<(), meshwire::Error>(())
    /// }).await
    /// # }
    /// ```
    ///
    /// # In a task of its own
    /// Two shapes go to another thread; other ones may be refused with "implementation of `Send` is not general enough",
    /// which means a borrow: the handler's of something around it, or one that it captured.
    ///
    /// A handler that owns all that it captures, an `async move` closure, also deep inside other futures:
    ///
    /// ```no_run
    /// # struct Database;
    /// # impl Database { async fn save(&self, order: &str) -> meshwire::Result<()> { Ok(()) } }
    /// # fn example(mesh: meshwire::Mesh, database: std::sync::Arc<Database>) {
    /// use std::sync::Arc;
    /// use meshwire::Delivery;
    /// let shared = Arc::clone(&database);
    /// tokio::spawn(async move {
    ///     let handler = async move |order: &Delivery| shared.save(order.text()?).await;
    ///     if let Err(error) = mesh.consume("orders").group("billing").concurrency(8).run(handler).await {
    ///         eprintln!("{error}");
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// And the future of `run` itself, with any handler that is `'static`, one with a captured `&'static str` too:
    ///
    /// ```no_run
    /// # fn example(mesh: meshwire::Mesh, name: &'static str) {
    /// # use meshwire::{Delivery, Error};
    /// tokio::spawn(mesh.consume("orders").group("billing").run(async move |order: &Delivery| {
    ///     println!("{name}: {}", order.text()?);
    ///     tokio::task::yield_now().await;
    ///     Ok::<(), Error>(())
    /// }));
    /// # }
    /// ```
    ///
    /// # Handlers that block
    /// All handlers run in this task. One that blocks its thread holds up the others, and extends no lease; in a `current_thread`
    /// runtime it also stops heartbeats, and after 25 s and `resume_window` its session and all its leases are lost, whatever the ack
    /// wait. Block in `tokio::task::spawn_blocking`, and take a multi-thread runtime where that is not possible.
    ///
    /// # Errors
    /// As [`Subscribe`] and [`Subscription`].
    ///
    /// Handlers that run when the client has [closed](crate::Mesh::close), which waits for them, are dropped where they await.
    ///
    /// # Cancel safety
    /// Dropping it drops the handlers that run: their events have failed and come again after the group's back-off; the others
    /// come again at once.
    pub async fn run<F, R>(self, handler: F) -> Result<()>
    where
        F: AsyncFn(&Delivery) -> R,
        R: Handled,
    {
        let concurrency = options::HANDLER_CONCURRENCY.check(self.concurrency);
        let concurrency = concurrency.map_err(|problem| Error::new(ErrorKind::Invalid, "consume", problem))?;
        let stop = self.stop;
        tokio::pin!(stop);
        let subscription = tokio::select! {
            biased;
            subscription = self.subscribe.into_future() => subscription.map_err(|e| e.during("consume"))?,
            // Without a gateway it would wait for one.
            () = &mut stop => return Ok(()),
        };
        let keys = Keys::default();
        let leases = Leases::new(subscription.ack_wait());
        let concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX);
        let consuming = Consuming { subscription, keys, leases, concurrency };
        consuming.run(stop, handler).await.map_err(|e| e.during("consume"))
    }
}

struct Consuming {
    subscription: Subscription,
    keys: Keys,
    leases: Leases,
    concurrency: usize,
}

/// Nacks of events with a key whose answer is awaited.
type Nacking = FuturesUnordered<BoxFuture<'static, Done>>;

/// What a handler's end, or the end of a nack, comes to.
enum Done {
    Handled {
        delivery: Delivery,
        settled: Result<Settlement, String>,
    },
    /// A key, the delivery of it that was nacked, and where what was on its way then ends.
    Nacked {
        key: String,
        of: Place,
        boundary: u64,
    },
}

impl Consuming {
    async fn run<F, R>(mut self, stop: impl Future<Output = ()>, handler: F) -> Result<()>
    where
        F: AsyncFn(&Delivery) -> R,
        R: Handled,
    {
        let mut running = FuturesUnordered::new();
        let mut nacking = Nacking::new();
        tokio::pin!(stop);
        let mut state = self.subscription.mesh().state();
        let mut open = true;
        let mut outcome = Ok(());
        loop {
            while running.len() < self.concurrency {
                let Some(delivery) = self.keys.next() else {
                    break;
                };
                self.leases.begin(delivery.place());
                running.push(handle(&handler, delivery, self.leases.longest()));
            }
            if !open && running.is_empty() {
                return outcome;
            }
            let reading = open && running.len() < self.concurrency;
            tokio::select! {
                biased;
                () = &mut stop, if open => open = self.stop(),
                Some(done) = running.next() => self.done(done, &mut nacking),
                Some(done) = nacking.next() => self.done(done, &mut nacking),
                // Its patience with handlers has ended: what they say is not heard any more.
                _ = state.wait_for(|state| *state == State::Closed) => return if open { self.subscription.why_over() } else { outcome },
                () = self.leases.due() => self.extend(),
                next = self.subscription.next(), if reading => match next {
                    Some(Ok(delivery)) => self.keys.arrive(delivery),
                    Some(Err(error)) if !self.subscription.is_over() => tracing::error!(%error, "an event cannot be read"),
                    Some(Err(error)) => (outcome, open) = (Err(error), self.stop()),
                    None => open = self.stop(),
                },
            }
        }
    }

    /// Gives up what no handler has begun.
    fn stop(&mut self) -> bool {
        self.keys.give_up();
        false
    }

    /// Handlers are alive: what they work on, and what waits for them, stays here.
    fn extend(&mut self) {
        let Some(running) = self.leases.extend() else {
            return;
        };
        self.subscription.extend(running.into_iter().chain(self.keys.places()));
    }

    fn done(&mut self, done: Done, nacking: &mut Nacking) {
        if let Done::Handled { delivery, .. } = &done {
            self.leases.end(delivery.place());
        }
        match done {
            Done::Handled { delivery, settled: Ok(Settlement::Ack) } => {
                self.keys.release(&delivery);
                delivery.ack();
            }
            // It does not come again, and takes nothing with it.
            Done::Handled { delivery, settled: Ok(Settlement::Reject(reason)) } => {
                self.keys.release(&delivery);
                delivery.reject(reason);
            }
            Done::Handled { delivery, settled: Ok(Settlement::GiveBack) } => {
                self.keys.release(&delivery);
                delivery.give_back();
            }
            Done::Handled { delivery, settled: Ok(Settlement::NackAfter(delay)) } => {
                self.again(delivery, Some(delay), "", nacking);
            }
            Done::Handled { delivery, settled: Err(problem) } => {
                tracing::warn!(
                    topic = delivery.topic(),
                    id = delivery.id(),
                    attempt = delivery.attempt(),
                    problem = problem.as_str(),
                    "the handler failed; {}",
                    if self.leases.exist() {
                        "the event comes again"
                    } else {
                        "without a group the event does not come again"
                    }
                );
                self.again(delivery, None, &problem, nacking);
            }
            Done::Nacked { key, of, boundary } => self.keys.nacked(key, of, boundary),
        }
    }

    /// An event is to come again: after a delay, or when the group's settings say.
    fn again(&mut self, delivery: Delivery, delay: Option<Duration>, problem: &str, nacking: &mut Nacking) {
        if !self.leases.exist() {
            self.keys.release(&delivery);
            return delivery.nack_because(problem, delay);
        }
        let Some(key) = self.keys.fail(&delivery) else {
            return delivery.nack_because(problem, delay);
        };
        let of = delivery.place();
        let nacked = delivery.nack_boundary(problem, delay);
        nacking.push(Box::pin(async move { Done::Nacked { key, of, boundary: nacked.await } }));
    }
}

/// Runs a handler, for so long at most; zero is without end.
async fn handle<F, R>(handler: &F, delivery: Delivery, longest: Duration) -> Done
where
    F: AsyncFn(&Delivery) -> R,
    R: Handled,
{
    // The delivery is only read by the handler, and nacked after a panic.
    let handled = AssertUnwindSafe(async { handler(&delivery).await }).catch_unwind();
    let handled = if longest.is_zero() { Ok(handled.await) } else { timeout(longest, handled).await };
    let settled = match handled {
        Ok(Ok(said)) => said.settled(),
        Ok(Err(panic)) => Err(panic_text(&*panic)),
        Err(_) => Err(format!("the handler did not end within {longest:?}, ten ack waits, and was dropped")),
    };
    Done::Handled { delivery, settled }
}

/// What a handler that panicked said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the handler panicked: {}", text.unwrap_or_default())
}
