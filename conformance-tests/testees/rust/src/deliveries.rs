//! A subscription's loop: tells what came, keeps what is not settled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshwire::{Delivery, Error, Subscription};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::event;

/// What the runner wants of a handler.
pub(crate) type Verdict = Result<(), String>;

/// A delivery that was told and not settled.
pub(crate) enum Held {
    /// From the stream form.
    Stream(Delivery),
    /// A handler waits for what it is to return.
    Handler(oneshot::Sender<Verdict>),
}

/// What came on one subscription, by rising number.
pub(crate) struct Deliveries {
    name: String,
    lines: mpsc::Sender<Value>,
    gate: Semaphore,
    /// What the gate lets through is taken at once.
    batch: AtomicBool,
    held: Mutex<Table>,
    stop: Semaphore,
}

#[derive(Default)]
struct Table {
    last: u64,
    held: HashMap<u64, Held>,
}

/// As good as open for ever.
const OPEN: usize = 1 << 20;

impl Deliveries {
    pub(crate) fn new(name: &str, lines: mpsc::Sender<Value>, gate: Option<u32>) -> Arc<Self> {
        let permits = gate.map_or(OPEN, |gate| usize::try_from(gate).unwrap_or(OPEN));
        Arc::new(Self {
            name: name.to_owned(),
            lines,
            gate: Semaphore::new(permits),
            batch: AtomicBool::new(false),
            held: Mutex::default(),
            stop: Semaphore::new(0),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets so many more deliveries be taken.
    pub(crate) fn open(&self, more: u32, batch: bool) -> Value {
        self.batch.store(batch, Ordering::SeqCst);
        self.gate.add_permits(usize::try_from(more).unwrap_or(OPEN));
        json!({})
    }

    /// Ends the loop.
    pub(crate) fn stop(&self) {
        self.stop.add_permits(1);
    }

    /// A loop that is left drops what it has in hand.
    pub(crate) fn let_go(&self) {
        self.table().held.clear();
    }

    /// Resolves when the loop is to end.
    pub(crate) async fn stopped(&self) {
        // The semaphore is never closed.
        drop(self.stop.acquire().await);
    }

    /// Takes a delivery that was told out of the table.
    pub(crate) fn take(&self, n: u64) -> Option<Held> {
        self.table().held.remove(&n)
    }

    /// Puts it back, as `extend` needs it again.
    pub(crate) fn put(&self, n: u64, held: Held) {
        self.table().held.insert(n, held);
    }

    /// Waits for the gate, once for each delivery.
    pub(crate) async fn passed(&self) {
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
    }

    fn message(&self, n: u64, delivery: &Delivery) -> Value {
        let mut message = event::event(&delivery.event());
        message.insert("ev".to_owned(), "msg".into());
        message.insert("on".to_owned(), self.name.as_str().into());
        message.insert("n".to_owned(), n.into());
        message.insert("attempt".to_owned(), delivery.attempt().into());
        message.insert("position".to_owned(), delivery.position().number().into());
        message.insert("gap".to_owned(), delivery.gap().into());
        if delivery.expires_at().is_some() {
            message.insert("expires".to_owned(), true.into());
        }
        message.into()
    }

    async fn tell(&self, line: Value) {
        // Without a runner nobody is left to tell.
        let _ = self.lines.send(line).await;
    }

    /// The stream form: takes, tells and keeps until it ends or is stopped.
    pub(crate) async fn stream(self: Arc<Self>, mut subscription: Subscription) {
        loop {
            tokio::select! {
                () = self.passed() => {}
                () = self.stopped() => return,
            }
            let next = tokio::select! {
                next = subscription.next() => next,
                () = self.stopped() => return,
            };
            match next {
                Some(Ok(delivery)) => {
                    self.came(delivery).await;
                    while self.batch.load(Ordering::SeqCst)
                        && let Ok(permit) = self.gate.try_acquire()
                        && let Ok(Some(next)) = subscription.next_now()
                    {
                        permit.forget();
                        self.came(next).await;
                    }
                }
                Some(Err(error)) => {
                    self.tell(json!({"ev": "error", "on": self.name, "err": event::error(&error)})).await;
                }
                None => return self.ended(Ok(())).await,
            }
        }
    }

    async fn came(&self, delivery: Delivery) {
        let line = {
            let mut table = self.table();
            table.last += 1;
            let n = table.last;
            let line = self.message(n, &delivery);
            table.held.insert(n, Held::Stream(delivery));
            line
        };
        self.tell(line).await;
    }

    /// The handler form: tells, and returns what the runner says.
    pub(crate) async fn handle(&self, delivery: &Delivery) -> Verdict {
        let (verdict, said) = oneshot::channel();
        let line = {
            let mut table = self.table();
            table.last += 1;
            let n = table.last;
            table.held.insert(n, Held::Handler(verdict));
            self.message(n, delivery)
        };
        self.tell(line).await;
        said.await.unwrap_or_else(|_| Err("the runner let go of the handler".to_owned()))
    }

    pub(crate) async fn ended(&self, how: Result<(), Error>) {
        let err = how.err().map(|error| event::error(&error));
        self.tell(json!({"ev": "end", "on": self.name, "err": err})).await;
    }
}
