//! Completions on their way to a host: bounded, taken in batches.

use std::fmt;
#[cfg(unix)]
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use meshwire::{Error, ErrorKind, PendingReceipt, Receipt, ReceiptSink, Result};

use crate::ask::Outcome;
#[cfg(unix)]
use crate::bell::Bell;
use crate::process::Stamp;
use crate::rendezvous::{Refused, Rendezvous};

/// Most calls that a queue may be made for.
const MOST: usize = 1 << 20;

/// What a call came to.
#[derive(Debug)]
pub struct Completion {
    /// As it was begun with.
    pub tag: u64,
    /// What it came to.
    pub result: Result<Outcome>,
}

/// What tells an event loop that there is something to take.
struct Call(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

#[derive(Debug)]
struct Inner {
    stamp: Stamp,
    waiting: Rendezvous<Completion>,
    call: OnceLock<Call>,
    #[cfg(unix)]
    descriptor: OnceLock<RawFd>,
}

impl Inner {
    fn complete(&self, came: impl ExactSizeIterator<Item = Completion>) {
        let first = self.waiting.complete(came);
        if let (true, Some(call)) = (first, self.call.get()) {
            (call.0)();
        }
    }
}

/// A queue of completions. Clones are the same queue.
///
/// A call takes its place in it when it begins, so that there is one for what it comes to: at most so many calls may be begun and not
/// taken, one more is `BUFFER_FULL`.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Inner>);

impl Queue {
    /// A queue for so many calls at once, from 1 to 1,048,576.
    ///
    /// # Errors
    /// `INVALID`: out of these bounds.
    pub fn new(most: usize) -> Result<Self> {
        if !(1..=MOST).contains(&most) {
            let text = format!("a queue for {most} calls; from 1 to {MOST} is accepted");
            return Err(Error::of_host(ErrorKind::Invalid, "queue", text));
        }
        Ok(Self(Arc::new(Inner {
            stamp: Stamp::here(),
            waiting: Rendezvous::new(most),
            call: OnceLock::new(),
            #[cfg(unix)]
            descriptor: OnceLock::new(),
        })))
    }

    /// Waits until there are completions, for at most so long (`None`: as long as it takes), and moves up to `most` of them behind those
    /// in `into`. It also ends, with none, when it is woken. `false`: the queue is closed, and no more come.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn take(&self, most: usize, wait: Option<Duration>, into: &mut Vec<Completion>) -> Result<bool> {
        self.0.stamp.check("queue")?;
        Ok(self.0.waiting.take(most, wait, into))
    }

    /// Ends a [`Queue::take`] that waits, or the next one.
    pub fn wake(&self) {
        if self.0.stamp.is_here() {
            self.0.waiting.wake();
        }
    }

    /// No more is taken: what is there and what comes is dropped, and no call begins with it. Again is nothing.
    pub fn close(&self) {
        if self.0.stamp.is_here() {
            // Deliveries among them have much to do when they are dropped.
            drop(self.0.waiting.close());
        }
    }

    /// A descriptor that is readable while there is something to take, or the queue was woken or closed: for epoll and its like. It lives
    /// as long as the queue; do not read from it, and do not close it.
    ///
    /// # Errors
    /// `INTERNAL`: the system gives none; `CLOSED` in a child of `fork`.
    #[cfg(unix)]
    pub fn descriptor(&self) -> Result<RawFd> {
        self.0.stamp.check("queue")?;
        if let Some(descriptor) = self.0.descriptor.get() {
            return Ok(*descriptor);
        }
        let mut bell = Bell::new()?;
        let descriptor = *self.0.descriptor.get_or_init(|| bell.descriptor());
        // If another was first, this one is dropped.
        if descriptor == bell.descriptor() {
            self.0.waiting.tell(Box::new(move |rings| bell.set(rings)));
        }
        Ok(descriptor)
    }

    /// Has a function called whenever there is something to take and was nothing before: to wake an event loop that has a way of its own
    /// to be woken. It is called by threads of ours, so it must not run code of the host, nor wait. `false`: there is one already.
    pub fn call_when_ready(&self, call: impl Fn() + Send + Sync + 'static) -> bool {
        self.0.stamp.is_here() && self.0.call.set(Call(Box::new(call))).is_ok()
    }

    /// How many calls were begun and not taken.
    #[must_use]
    pub fn begun(&self) -> usize {
        if self.0.stamp.is_here() { self.0.waiting.begun() } else { 0 }
    }

    /// Takes a place for a call of that name, for one that must not be lost where there is none.
    ///
    /// # Errors
    /// `BUFFER_FULL`; `CLOSED`, also in a child of `fork`.
    pub fn place(&self, tag: u64, operation: &'static str) -> Result<Place> {
        self.begin(tag, operation).map(|ticket| Place(Some(ticket)))
    }

    /// Takes the place of a call.
    ///
    /// # Errors
    /// `BUFFER_FULL`; `CLOSED`.
    pub(crate) fn begin(&self, tag: u64, operation: &'static str) -> Result<Ticket> {
        self.0.stamp.check(operation)?;
        self.0.waiting.begin().map_err(|refused| match refused {
            Refused::Closed => Error::of_host(ErrorKind::Closed, operation, "the queue was closed; make a new one"),
            Refused::Full => {
                let most = self.0.waiting.most();
                let text = format!(
                    "{most} calls, as many as the queue was made for, were begun and not taken: take completions first"
                );
                Error::of_host(ErrorKind::BufferFull, operation, text)
            }
        })?;
        Ok(Ticket { queue: self.clone(), tag, operation, ended: false })
    }
}

/// A place in a queue for a call that is about to begin. Dropped, it is free again, and there is no completion.
#[derive(Debug)]
pub struct Place(Option<Ticket>);

impl Place {
    pub(crate) fn operation(&self) -> &'static str {
        self.0.as_ref().map_or("queue", Ticket::operation)
    }

    pub(crate) fn into_ticket(mut self) -> Ticket {
        // It is there until here: nothing else takes it.
        self.0.take().unwrap_or_else(|| unreachable!("a place without its ticket"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.withdraw();
        }
    }
}

/// A call that has its place in a queue. It gets exactly one completion, whatever becomes of the call.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Queue,
    tag: u64,
    operation: &'static str,
    ended: bool,
}

impl Ticket {
    pub(crate) const fn operation(&self) -> &'static str {
        self.operation
    }

    pub(crate) fn end(mut self, result: Result<Outcome>) {
        self.complete(result);
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, queue: &Queue, tag: u64) -> bool {
        self.tag == tag && Arc::ptr_eq(&self.queue.0, &queue.0)
    }

    /// The client itself tells the queue of the receipt.
    pub(crate) fn told(mut self, pending: PendingReceipt) {
        self.ended = true;
        let queue: Arc<Inner> = Arc::clone(&self.queue.0);
        pending.tell(queue, self.tag);
    }

    /// The call was not begun after all.
    pub(crate) fn withdraw(mut self) {
        self.ended = true;
        self.queue.0.waiting.withdraw();
    }

    fn complete(&mut self, result: Result<Outcome>) {
        self.ended = true;
        if self.queue.0.stamp.is_here() {
            self.queue.0.complete(std::iter::once(Completion { tag: self.tag, result }));
        }
    }
}

/// Receipts come by the batch: one lock and one wake for all of them.
impl ReceiptSink for Inner {
    fn receipts(&self, batch: &mut Vec<(u64, Result<Receipt>)>) {
        if self.stamp.is_here() {
            let done = batch.drain(..).map(|(tag, receipt)| Completion { tag, result: receipt.map(Outcome::Receipt) });
            self.complete(done);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            let text = "the last client was closed before the call came to anything";
            self.complete(Err(Error::of_host(ErrorKind::Closed, self.operation, text)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn taken(queue: &Queue, most: usize) -> Vec<(u64, Option<ErrorKind>)> {
        let mut taken = Vec::new();
        queue.take(most, NOW, &mut taken).unwrap();
        taken.into_iter().map(|c| (c.tag, c.result.err().map(|error| error.kind()))).collect()
    }

    #[test]
    fn each_call_has_one_completion_in_the_order_in_which_they_end() {
        let queue = Queue::new(3).unwrap();
        let [one, two, three] = [1, 2, 3].map(|tag| queue.begin(tag, "publish").unwrap());
        two.end(Ok(Outcome::Done));
        drop(one);
        assert_eq!(taken(&queue, 1), [(2, None)]);
        assert_eq!(taken(&queue, 9), [(1, Some(ErrorKind::Closed))]);
        three.end(Ok(Outcome::Done));
        assert_eq!((taken(&queue, 9), taken(&queue, 9)), (vec![(3, None)], vec![]));
    }

    #[test]
    fn a_call_has_a_place_before_it_begins_or_does_not_begin() {
        let queue = Queue::new(2).unwrap();
        let first = queue.begin(1, "publish").unwrap();
        let second = queue.begin(2, "publish").unwrap();
        let full = queue.begin(3, "publish").unwrap_err();
        assert_eq!((full.kind(), full.operation()), (ErrorKind::BufferFull, "publish"));
        // What has ended has its place until it is taken.
        first.end(Ok(Outcome::Done));
        assert!(queue.begin(3, "publish").is_err());
        assert_eq!(taken(&queue, 9), [(1, None)]);
        queue.begin(3, "publish").unwrap().withdraw();
        assert_eq!((queue.begun(), taken(&queue, 9)), (1, vec![]));
        drop(second);
        assert_eq!(queue.begun(), 1);
    }

    #[test]
    fn who_waits_is_ended_by_a_completion_a_wake_or_the_end() {
        let queue = Queue::new(8).unwrap();
        let ticket = queue.begin(7, "flush").unwrap();
        let waiter = queue.clone();
        let pump = std::thread::spawn(move || {
            let (mut taken, mut woken) = (Vec::new(), 0);
            while waiter.take(8, None, &mut taken).unwrap() {
                woken += usize::from(taken.is_empty());
            }
            (taken.len(), woken)
        });
        queue.wake();
        ticket.end(Ok(Outcome::Done));
        while queue.begun() > 0 {
            std::thread::yield_now();
        }
        queue.close();
        queue.close();
        assert_eq!(pump.join().unwrap(), (1, 1));
    }

    #[test]
    fn what_ends_behind_the_end_is_dropped_and_nothing_begins() {
        let queue = Queue::new(2).unwrap();
        let (one, two) = (queue.begin(1, "flush").unwrap(), queue.begin(2, "flush").unwrap());
        one.end(Ok(Outcome::Done));
        queue.close();
        two.end(Ok(Outcome::Done));
        let mut none = Vec::new();
        assert!(!queue.take(9, None, &mut none).unwrap() && none.is_empty());
        assert_eq!(queue.begin(3, "flush").unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn an_event_loop_is_called_once_for_all_that_comes_before_it_takes() {
        let queue = Queue::new(8).unwrap();
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let count = move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        assert!(queue.call_when_ready(count) && !queue.call_when_ready(|| {}));
        for tag in 0..3 {
            queue.begin(tag, "flush").unwrap().end(Ok(Outcome::Done));
        }
        queue.0.receipts(&mut Vec::new());
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(taken(&queue, 2).len(), 2);
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1, "who leaves some takes again");
        assert_eq!(taken(&queue, 2).len(), 1);
        queue.begin(9, "flush").unwrap().end(Ok(Outcome::Done));
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn a_queue_has_bounds() {
        for most in [0, MOST + 1, usize::MAX] {
            assert_eq!(Queue::new(most).unwrap_err().kind(), ErrorKind::Invalid, "{most}");
        }
        assert!(Queue::new(MOST).is_ok());
    }
}
