//! What one environment of Node has: its queue, and what it holds by numbers.

use std::collections::HashMap;
use std::sync::Arc;

use meshwire_embed::{
    Ask, Client, Completion, Consumer, Error, Operation, Queue, Replies, Responder, Started, Subscription,
};
use napi::bindgen_prelude::{Function, Uint8ArraySlice};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::event::duration;
use crate::guard::guarded;
use crate::held::Batches;
use crate::incoming::{Large, state_number};
use crate::logs::Ear;
use crate::outgoing::closed;

/// Most calls at once, publishes without a receipt among them: as many as a queue may have.
const CALLS: usize = 1 << 20;

/// Values by numbers that are used once.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    kept: HashMap<u32, T>,
    last: u32,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { kept: HashMap::new(), last: 0 }
    }
}

impl<T> Kept<T> {
    pub(crate) fn keep(&mut self, value: T) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.kept.insert(self.last, value);
        self.last
    }

    pub(crate) fn get(&self, number: &u32) -> Option<&T> {
        self.kept.get(number)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        self.kept.remove(&number)
    }
}

/// All of one environment. The other half has the only one, and calls it on its own thread.
#[napi]
#[derive(Debug)]
pub struct Bridge {
    pub(crate) queue: Queue,
    pub(crate) clients: Kept<Client>,
    pub(crate) subscriptions: Kept<Subscription>,
    pub(crate) consumers: Kept<Consumer>,
    pub(crate) responders: Kept<Responder>,
    pub(crate) replies: Kept<Replies>,
    pub(crate) started: Kept<Started>,
    pub(crate) batches: Batches,
    pub(crate) operations: HashMap<u32, Operation>,
    /// Publishes that did not begin, and why.
    pub(crate) failed: Vec<(u32, Error)>,
    /// Room for what is taken.
    pub(crate) taken: Vec<Completion>,
    /// What the client logs, for this environment.
    pub(crate) ear: Option<Arc<Ear>>,
}

#[napi]
impl Bridge {
    /// `wake` is called by the environment's loop when there is something to take. It does not keep the loop alive.
    #[napi(constructor)]
    pub fn new(wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .max_queue_size::<1>()
            .callee_handled::<false>()
            .build()?;
        guarded("load", || {
            let queue = Queue::new(CALLS)?;
            // One call that waits is enough: it takes all there is. When the environment ends it answers so, and nobody takes.
            queue.call_when_ready(move || {
                let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            });
            Ok(Self {
                queue,
                clients: Kept::default(),
                subscriptions: Kept::default(),
                consumers: Kept::default(),
                responders: Kept::default(),
                replies: Kept::default(),
                started: Kept::default(),
                batches: Batches::default(),
                operations: HashMap::new(),
                failed: Vec::new(),
                taken: Vec::new(),
                ear: None,
            })
        })
    }

    /// Carries out packed calls; `true`: some failed, and there is something to take.
    #[napi]
    pub fn send(&mut self, packed: &[u8]) -> napi::Result<bool> {
        guarded("send", || {
            self.carry_out(packed)?;
            Ok(!self.failed.is_empty())
        })
    }

    /// Moves what calls came to into the buffer.
    #[napi]
    #[allow(unsafe_code, reason = "a buffer that JavaScript lends is written in place")]
    pub fn take(&mut self, mut into: Uint8ArraySlice<'_>) -> napi::Result<Vec<Large>> {
        // SAFETY: it is the other half's, which neither reads it before this returns nor lends it to anybody else.
        guarded("take", || self.take_into(unsafe { into.as_mut() }))
    }

    /// Ends a call with `CANCELLED`, if it is not over.
    #[napi]
    pub fn cancel(&mut self, tag: u32) {
        if let Some(operation) = self.operations.remove(&tag) {
            operation.cancel();
        }
    }

    /// Calls back a publish that waits for room; `false`: it has left.
    #[napi]
    pub fn cancel_publish(&self, client: u32, tag: u32) -> napi::Result<bool> {
        guarded("publish", || match self.clients.get(&client) {
            Some(client) => client.cancel_publish(&self.queue, tag.into()),
            None => Ok(false),
        })
    }

    /// The client's state, as a number.
    #[napi]
    pub fn state(&self, client: u32) -> napi::Result<u32> {
        guarded("state", || self.clients.get(&client).map_or(Ok(5), |client| client.state().map(state_number)))
    }

    /// Its counts, as JSON.
    #[napi]
    pub fn stats(&self, client: u32) -> napi::Result<String> {
        guarded("stats", || self.clients.get(&client).ok_or_else(|| closed("stats"))?.stats_json())
    }

    /// The program is handed a delivery, and all before it; `false`: it comes again, and is gone.
    #[napi]
    pub fn claim(&mut self, batch: u32, index: u32) -> bool {
        self.batches.claim(batch, index)
    }

    /// The program is handed neighbours, to work on one after the other. Gives those that come again, and are gone.
    #[napi]
    pub fn claim_batch(&mut self, batch: u32, first: u32, count: u32) -> Vec<u32> {
        self.batches.claim_batch(batch, first, count)
    }

    /// Sends what clients still have, for so many milliseconds at most; for the end of the process.
    #[napi]
    pub fn linger(&mut self, millis: f64) -> napi::Result<()> {
        guarded("linger", || {
            let until = std::time::Instant::now() + duration(millis);
            for client in self.clients.values() {
                let left = until.saturating_duration_since(std::time::Instant::now());
                if !left.is_zero() {
                    // What it did not send is counted by the other half.
                    let _ = client.wait(Ask::Drain { deadline: Some(left) });
                }
            }
            Ok(())
        })
    }
}

impl<T> Kept<T> {
    fn values(&self) -> impl Iterator<Item = &T> {
        self.kept.values()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.queue.close();
        for (_, operation) in self.operations.drain() {
            operation.cancel();
        }
        // Subscriptions end before what was taken of them is let go.
        self.subscriptions = Kept::default();
        self.batches.clear();
    }
}
