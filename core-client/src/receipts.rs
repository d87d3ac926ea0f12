//! Who waits for which receipt, or is told of it: a ring of slots by sequence, so that a range of
//! receipts is handed out under one lock and an event costs no allocation.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::receipt::Receipt;
use crate::session::{Answer, Failure};

/// Where receipts go that nobody awaits one by one: for bindings, which take them by the batch.
#[doc(hidden)]
pub trait ReceiptSink: fmt::Debug + Send + Sync {
    /// Takes receipts that came together, each with its tag, and leaves none. The client's own task calls it: it must not wait.
    fn receipts(&self, batch: &mut Vec<(u64, crate::Result<Receipt>)>);
}

/// Whom to tell of one receipt.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) sink: Arc<dyn ReceiptSink>,
    pub(crate) tag: u64,
    /// Of its topic, for what an error says.
    pub(crate) alias: u32,
}

#[derive(Debug)]
enum Slot {
    Waiting(Option<Waker>),
    Told(Told),
    Answered(Outcome),
    /// Its [`PendingReceipt`](crate::PendingReceipt) was dropped before the answer.
    Unwatched,
    Taken,
}

/// The answer to one publish.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Kept; the position is 0 when not known.
    Kept { position: u64, duplicate: bool },
    /// Not kept, or not known.
    Failed(Arc<Failure>),
}

/// Failures that nobody waited for.
#[derive(Clone, Debug)]
pub(crate) struct Unwatched {
    pub(crate) count: u64,
    pub(crate) first: Arc<Failure>,
}

/// Invariant: slot `n` belongs to sequence `base + n`; `late` holds answers below
/// `base` that nobody took yet.
#[derive(Debug)]
pub(crate) struct Receipts {
    /// Sequences below were given by an earlier life.
    first: u64,
    base: u64,
    slots: VecDeque<Slot>,
    late: BTreeMap<u64, Outcome>,
    /// Slots kept in the ring; answers over it that nobody takes move to `late`.
    room: usize,
    unwatched: Option<Unwatched>,
    /// Answers for sinks, to be told when the lock is free.
    tell: Vec<(Told, Outcome)>,
}

impl Receipts {
    pub(crate) const fn new(room: usize) -> Self {
        let late = BTreeMap::new();
        Self { first: 1, base: 1, slots: VecDeque::new(), late, room, unwatched: None, tell: Vec::new() }
    }

    /// The first sequence is this one. Before any is given.
    pub(crate) const fn begin_at(&mut self, sequence: u64) {
        (self.first, self.base) = (sequence, sequence);
    }

    /// The failure of a sequence, if it has failed and nobody took that yet.
    pub(crate) fn take_failure(&mut self, sequence: u64) -> Option<Arc<Failure>> {
        let Slot::Answered(Outcome::Failed(failure)) = self.slot(sequence)? else {
            return None;
        };
        let failure = Arc::clone(failure);
        self.forget(sequence);
        Some(failure)
    }

    /// A slot for the next sequence.
    pub(crate) fn push(&mut self) -> u64 {
        self.slots.push_back(Slot::Waiting(None));
        self.base + self.slots.len() as u64 - 1
    }

    fn slot(&mut self, sequence: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }

    /// Hands an answer to all it is for; collects who must be woken.
    pub(crate) fn complete(&mut self, answer: Answer, wakers: &mut Vec<Waker>) {
        let first = answer.sequences.start;
        let outcome = answer.result.map_err(Arc::new);
        let below = answer.sequences.end.min(self.first).saturating_sub(first);
        if let Err(failure) = &outcome
            && below > 0
        {
            // Whoever published it is gone with its process.
            self.unwatched.get_or_insert(Unwatched { count: 0, first: Arc::clone(failure) }).count += below;
        }
        // Those before the ring were answered, and that was taken.
        let start = (first + below).max(self.base);
        let count = usize::try_from(answer.sequences.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let from = usize::try_from(start - self.base).unwrap_or(usize::MAX);
        for (nth, slot) in (start - first..).zip(self.slots.iter_mut().skip(from).take(count)) {
            let outcome = match &outcome {
                Ok(kept) => {
                    let position = if kept.first_position == 0 { 0 } else { kept.first_position.saturating_add(nth) };
                    Outcome::Kept { position, duplicate: kept.duplicate }
                }
                Err(failure) => Outcome::Failed(Arc::clone(failure)),
            };
            match slot {
                Slot::Waiting(waker) => {
                    wakers.extend(waker.take());
                    *slot = Slot::Answered(outcome);
                }
                Slot::Told(_) => {
                    if let Slot::Told(told) = std::mem::replace(slot, Slot::Taken) {
                        self.tell.push((told, outcome));
                    }
                }
                Slot::Unwatched => {
                    *slot = Slot::Taken;
                    if let Outcome::Failed(failure) = outcome {
                        self.unwatched.get_or_insert(Unwatched { count: 0, first: failure }).count += 1;
                    }
                }
                // The first answer counts.
                Slot::Answered(_) | Slot::Taken => {}
            }
        }
        self.shrink();
    }

    /// The answer of a sequence, once.
    pub(crate) fn poll(&mut self, sequence: u64, cx: &Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.late.remove(&sequence) {
            return Poll::Ready(outcome);
        }
        let gone = || Outcome::Failed(Arc::new(Failure::new(meshwire_proto::ErrorKind::Closed, "the receipt is gone")));
        let Some(slot) = self.slot(sequence) else {
            return Poll::Ready(gone());
        };
        match slot {
            Slot::Waiting(Some(waker)) if waker.will_wake(cx.waker()) => Poll::Pending,
            Slot::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Slot::Answered(_) => {
                let taken = std::mem::replace(slot, Slot::Taken);
                self.shrink();
                Poll::Ready(if let Slot::Answered(outcome) = taken { outcome } else { gone() })
            }
            Slot::Told(_) | Slot::Unwatched | Slot::Taken => Poll::Ready(gone()),
        }
    }

    /// From now on somebody is told of the answer to a sequence that is waited for; the answer, if it is there already.
    pub(crate) fn tell(&mut self, sequence: u64, told: Told) -> Option<(Told, Outcome)> {
        if let Poll::Ready(outcome) = self.poll(sequence, &Context::from_waker(Waker::noop())) {
            return Some((told, outcome));
        }
        if let Some(slot) = self.slot(sequence) {
            *slot = Slot::Told(told);
        }
        None
    }

    /// Answers that are to be told.
    pub(crate) fn take_told(&mut self) -> Vec<(Told, Outcome)> {
        std::mem::take(&mut self.tell)
    }

    /// Nobody will ask for this sequence any more.
    pub(crate) fn forget(&mut self, sequence: u64) {
        if self.late.remove(&sequence).is_some() {
            return;
        }
        if let Some(slot) = self.slot(sequence) {
            *slot = if matches!(slot, Slot::Waiting(_)) { Slot::Unwatched } else { Slot::Taken };
            self.shrink();
        }
    }

    /// Failures that nobody waited for since the last call.
    pub(crate) fn take_unwatched(&mut self) -> Option<Unwatched> {
        self.unwatched.take()
    }

    fn shrink(&mut self) {
        loop {
            match self.slots.front() {
                Some(Slot::Taken) => {}
                Some(Slot::Answered(_)) if self.slots.len() > self.room => {}
                _ => return,
            }
            if let Some(Slot::Answered(outcome)) = self.slots.pop_front() {
                self.late.insert(self.base, outcome);
            }
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use std::task::Waker;

    use super::*;
    use crate::session::Kept;

    fn kept(sequences: std::ops::Range<u64>, first_position: u64) -> Answer {
        Answer { sequences, result: Ok(Kept { first_position, duplicate: false }) }
    }

    fn position(receipts: &mut Receipts, sequence: u64) -> Option<u64> {
        match receipts.poll(sequence, &Context::from_waker(Waker::noop())) {
            Poll::Ready(Outcome::Kept { position, .. }) => Some(position),
            Poll::Ready(Outcome::Failed(failure)) => panic!("{failure:?}"),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_range_answers_each_sequence_with_its_own_position() {
        let mut receipts = Receipts::new(16);
        for expected in 1..=4 {
            assert_eq!(receipts.push(), expected);
        }
        receipts.complete(kept(2..4, 70), &mut Vec::new());
        assert_eq!((1..=4).map(|s| position(&mut receipts, s)).collect::<Vec<_>>(), [None, Some(70), Some(71), None]);
    }

    #[test]
    fn who_is_to_be_told_is_told_once_of_what_comes_and_at_once_of_what_came() {
        #[derive(Debug)]
        struct Nobody;
        impl ReceiptSink for Nobody {
            fn receipts(&self, _: &mut Vec<(u64, crate::Result<Receipt>)>) {}
        }
        let sink: Arc<dyn ReceiptSink> = Arc::new(Nobody);
        let told = |tag| Told { sink: Arc::clone(&sink), tag, alias: 1 };
        let mut receipts = Receipts::new(16);
        assert_eq!([(); 3].map(|()| receipts.push()), [1, 2, 3]);
        assert!(receipts.tell(1, told(10)).is_none() && receipts.tell(3, told(30)).is_none());
        receipts.complete(kept(1..4, 70), &mut Vec::new());
        let tags = |told: Vec<(Told, Outcome)>| told.into_iter().map(|(told, _)| told.tag).collect::<Vec<_>>();
        assert_eq!((tags(receipts.take_told()), tags(receipts.take_told())), (vec![10, 30], vec![]));
        assert!(matches!(receipts.tell(2, told(20)), Some((Told { tag: 20, .. }, Outcome::Kept { position: 71, .. }))));
        assert_eq!((receipts.slots.len(), receipts.base), (0, 4));
    }

    #[test]
    fn answers_that_nobody_takes_do_not_hold_up_the_ring() {
        let mut receipts = Receipts::new(4);
        for sequence in 1..=100 {
            receipts.push();
            receipts.complete(kept(sequence..sequence + 1, sequence), &mut Vec::new());
            if sequence > 1 {
                assert_eq!(position(&mut receipts, sequence), Some(sequence));
            }
        }
        assert!(receipts.slots.len() <= 4, "{}", receipts.slots.len());
        assert_eq!(position(&mut receipts, 1), Some(1));
    }

    #[test]
    fn a_failure_of_a_dropped_receipt_is_counted_and_one_of_a_kept_receipt_is_not() {
        let mut receipts = Receipts::new(16);
        receipts.push();
        receipts.push();
        receipts.forget(1);
        let failure = Failure::new(meshwire_proto::ErrorKind::DiskFull, "full");
        receipts.complete(Answer { sequences: 1..3, result: Err(failure) }, &mut Vec::new());
        assert_eq!(receipts.take_unwatched().unwrap().count, 1);
        assert!(receipts.take_unwatched().is_none());
    }

    #[test]
    fn a_failure_that_is_told_again_after_it_was_taken_fails_none_of_those_behind_it() {
        let mut receipts = Receipts::new(16);
        let full = || {
            let failure = Failure::new(meshwire_proto::ErrorKind::DiskFull, "full");
            Answer { sequences: 1..4, result: Err(failure) }
        };
        assert_eq!([(); 3].map(|()| receipts.push()), [1, 2, 3]);
        receipts.complete(full(), &mut Vec::new());
        assert!((1..=3).all(|sequence| receipts.take_failure(sequence).is_some()));
        assert_eq!((receipts.push(), receipts.push()), (4, 5));
        receipts.complete(full(), &mut Vec::new());
        assert_eq!((position(&mut receipts, 4), position(&mut receipts, 5)), (None, None));
        receipts.complete(kept(2..6, 70), &mut Vec::new());
        assert_eq!((position(&mut receipts, 4), position(&mut receipts, 5)), (Some(72), Some(73)));
    }
}
