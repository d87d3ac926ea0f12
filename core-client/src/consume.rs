//! Handling events with a function.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use meshwire_proto::{ErrorKind, options};

use crate::delivery::Delivery;
use crate::session::Start;
use crate::subscription::{Subscribe, Subscription};
use crate::{Error, Result};

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

    /// As [`Subscribe::start`].
    pub fn start(mut self, start: Start) -> Self {
        self.subscribe = self.subscribe.start(start);
        self
    }

    /// As [`Subscribe::prefetch`]. It also bounds the events that wait for an
    /// earlier one of their key.
    pub fn prefetch(mut self, events: u64, bytes: u64) -> Self {
        self.subscribe = self.subscribe.prefetch(events, bytes);
        self
    }

    /// As [`Subscribe::ack_wait`]. It must cover the longest run of a handler.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.subscribe = self.subscribe.ack_wait(wait);
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
    /// nacks it and is logged. Events of one key (`partitionkey`) are handled one
    /// at a time, in order, whatever the concurrency; after a nack they begin
    /// again at the nacked one.
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
    /// # Errors
    /// As [`Subscribe`] and [`Subscription`].
    ///
    /// # Cancel safety
    /// Dropping it drops the handlers that run; their events come again at once.
    pub async fn run<F, E>(self, handler: F) -> Result<()>
    where
        F: AsyncFn(&Delivery) -> Result<(), E>,
        E: Display,
    {
        let concurrency = options::HANDLER_CONCURRENCY.check(self.concurrency);
        let concurrency = concurrency.map_err(|problem| Error::new(ErrorKind::Invalid, "consume", problem))?;
        let subscription = self.subscribe.await.map_err(|e| e.during("consume"))?;
        let keys = Keys::default();
        let consuming =
            Consuming { subscription, keys, concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX) };
        consuming.run(self.stop, handler).await.map_err(|e| e.during("consume"))
    }
}

struct Consuming {
    subscription: Subscription,
    keys: Keys,
    concurrency: usize,
}

/// What a handler's end, or the end of a nack, comes to.
enum Done {
    Handled { delivery: Delivery, problem: Option<String> },
    Nacked { key: String, boundary: u64 },
}

impl Consuming {
    async fn run<F, E>(mut self, stop: impl Future<Output = ()>, handler: F) -> Result<()>
    where
        F: AsyncFn(&Delivery) -> Result<(), E>,
        E: Display,
    {
        let mut running = FuturesUnordered::new();
        let mut nacking: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        tokio::pin!(stop);
        let mut open = true;
        let mut outcome = Ok(());
        loop {
            while running.len() < self.concurrency {
                let Some(delivery) = self.keys.ready.pop_front() else {
                    break;
                };
                running.push(handle(&handler, delivery));
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

    fn done(&mut self, done: Done, nacking: &mut FuturesUnordered<BoxFuture<'static, Done>>) {
        match done {
            Done::Handled { delivery, problem: None } => {
                self.keys.release(&delivery);
                delivery.ack();
            }
            Done::Handled { delivery, problem: Some(problem) } => {
                tracing::warn!(
                    topic = delivery.topic(),
                    id = delivery.id(),
                    attempt = delivery.attempt(),
                    problem,
                    "the handler failed; the event comes again"
                );
                match self.keys.fail(&delivery) {
                    None => delivery.nack(),
                    Some(key) => {
                        let nacked = delivery.nack_boundary();
                        nacking.push(Box::pin(async move {
                            // Without an answer the lease is gone, and so is what came with it.
                            let boundary = nacked.await.unwrap_or(0);
                            Done::Nacked { key, boundary }
                        }));
                    }
                }
            }
            Done::Nacked { key, boundary } => self.keys.nacked(&key, boundary),
        }
    }
}

async fn handle<F, E>(handler: &F, delivery: Delivery) -> Done
where
    F: AsyncFn(&Delivery) -> Result<(), E>,
    E: Display,
{
    // The delivery is only read by the handler, and nacked after a panic.
    let handled = AssertUnwindSafe(async { handler(&delivery).await }).catch_unwind().await;
    let problem = match handled {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Some(format!("the handler panicked: {}", text.unwrap_or_default()))
        }
    };
    Done::Handled { delivery, problem }
}

/// Which events may be handled now: one of a key at a time, in order.
#[derive(Default)]
struct Keys {
    ready: VecDeque<Delivery>,
    busy: HashMap<String, Key>,
}

#[derive(Default)]
struct Key {
    /// Those that wait for the one being handled.
    waiting: VecDeque<Delivery>,
    /// Position of an event that was nacked. The gateway took it and the later
    /// ones of its key back: those that were on their way come again.
    nacked: Option<u64>,
    /// Deliveries below this number were on their way at the nack.
    boundary: Option<u64>,
}

impl Keys {
    fn arrive(&mut self, delivery: Delivery) {
        let Some(key) = delivery.event().key() else {
            return self.ready.push_back(delivery);
        };
        match self.busy.get_mut(key) {
            None => {
                self.busy.insert(key.to_owned(), Key::default());
                self.ready.push_back(delivery);
            }
            Some(Key { nacked: Some(position), boundary, .. }) => {
                let again = delivery.position().number() == *position;
                if again || boundary.is_some_and(|b| delivery.number() >= b) {
                    self.busy.insert(key.to_owned(), Key::default());
                    self.ready.push_back(delivery);
                } else {
                    delivery.forget();
                }
            }
            Some(busy) => busy.waiting.push_back(delivery),
        }
    }

    /// An event was handled: the next of its key may be.
    fn release(&mut self, delivery: &Delivery) {
        let Some(key) = delivery.event().key() else {
            return;
        };
        let Some(busy) = self.busy.get_mut(key) else {
            return;
        };
        match busy.waiting.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => drop(self.busy.remove(key)),
        }
    }

    /// An event is to be nacked: what waits behind it comes again after it.
    fn fail(&mut self, delivery: &Delivery) -> Option<String> {
        let key = delivery.event().key()?;
        let busy = self.busy.get_mut(key)?;
        busy.waiting.drain(..).for_each(Delivery::forget);
        busy.nacked = Some(delivery.position().number());
        Some(key.to_owned())
    }

    fn nacked(&mut self, key: &str, boundary: u64) {
        if let Some(busy) = self.busy.get_mut(key).filter(|k| k.nacked.is_some()) {
            busy.boundary = Some(boundary);
        }
    }

    fn give_up(&mut self) {
        let waiting = self.busy.drain().flat_map(|(_, key)| key.waiting);
        self.ready.drain(..).chain(waiting).for_each(Delivery::forget);
    }
}
