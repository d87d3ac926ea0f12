//! Receipts on their way out, and who waits for all of them.

use std::sync::Arc;
use std::task::Waker;

use meshwire_proto::ErrorKind;
use tokio::sync::oneshot;

use super::{Limits, Outbox};
use crate::Error;
use crate::receipts::{Outcome, Told};
use crate::session::{Answer, Failure};

impl Outbox {
    /// Hands out answers, and the room that they make. `is_over`: they are the client's own, as it ends.
    pub(crate) fn answered(
        &self,
        answers: &mut Vec<Answer>,
        is_over: bool,
        unanswered: (u64, u64),
        through: u64,
        wakers: &mut Vec<Waker>,
    ) {
        let freed: u64 = answers.iter().map(|a| a.sequences.end - a.sequences.start).sum();
        let mut pending = self.lock();
        let is_filed = pending.filing.is_some();
        for mut answer in answers.drain(..) {
            let restored = answer.sequences.end.min(pending.first_sequence).saturating_sub(answer.sequences.start);
            match &answer.result {
                Ok(_) => pending.restored_answered.0 += restored,
                Err(_) if !is_over => pending.restored_answered.1 += restored,
                Err(_) => {}
            }
            match &mut answer.result {
                Err(failure) if is_over && is_filed => *failure = failure.stays_in_file(),
                _ if !is_over => pending.strike_out(&answer.sequences),
                _ => {}
            }
            pending.receipts.complete(answer, wakers);
        }
        if is_filed {
            self.filer.notify_one();
        }
        (pending.in_session.events, pending.in_session.bytes) = unanswered;
        pending.answered_through = through;
        let (done, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut pending.flushes).into_iter().partition(|(sequence, _)| *sequence <= through);
        pending.flushes = waiting;
        let room = pending.waiting.min(usize::try_from(freed).unwrap_or(usize::MAX));
        let told = pending.receipts.take_told();
        drop(pending);
        for _ in 0..room {
            self.room.notify_one();
        }
        wakers.drain(..).for_each(Waker::wake);
        self.tell(told);
        for (_, reply) in done {
            let _ = reply.send(());
        }
    }

    /// Resolves when everything published so far is answered.
    pub(crate) fn flushed(&self) -> Option<oneshot::Receiver<()>> {
        let mut pending = self.lock();
        let last = pending.last_sequence;
        if pending.answered_through >= last {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        pending.flushes.push((last, sender));
        Some(receiver)
    }

    /// Nobody drives any more: everything that waits is answered.
    pub(crate) fn abandon(&self, failure: &Failure) {
        let mut pending = self.lock();
        let first = pending.first_sequence.max(pending.answered_through + 1);
        let sequences = first..pending.last_sequence + 1;
        let untold = pending.receipts.take_unwatched().filter(|failed| failed.first.kind != ErrorKind::Closed);
        let mut wakers = Vec::new();
        if !sequences.is_empty() {
            let failure = if pending.filing.is_some() { failure.stays_in_file() } else { failure.clone() };
            pending.receipts.complete(Answer { sequences, result: Err(failure) }, &mut wakers);
        }
        pending.answered_through = pending.last_sequence;
        let nothing = Limits { events: 0, bytes: 0 };
        (pending.queued, pending.in_session) = (nothing, nothing);
        let flushes = std::mem::take(&mut pending.flushes);
        let told = pending.receipts.take_told();
        drop(pending);
        self.room.notify_waiters();
        wakers.into_iter().for_each(Waker::wake);
        self.tell(told);
        drop(flushes);
        if let Some(failed) = untold {
            let (count, first) = (failed.count, Error::from_failure("publish", &failed.first));
            tracing::warn!(count, %first, "publishes failed whose receipts nobody waited for; flush tells before a client closes");
        }
    }

    /// Tells sinks of their receipts, what comes behind one another for the same one together.
    fn tell(&self, told: Vec<(Told, Outcome)>) {
        let mut batch = Vec::with_capacity(told.len());
        let mut told = told.into_iter().peekable();
        while let Some((Told { sink, tag, alias }, outcome)) = told.next() {
            batch.push((tag, self.receipt(alias, outcome)));
            if !told.peek().is_some_and(|(next, _)| Arc::ptr_eq(&next.sink, &sink)) {
                sink.receipts(&mut batch);
                batch.clear();
            }
        }
    }
}
