//! Publishes on their way through the offline file: staged by handles, kept by a thread of their own, and only then
//! left for the driver.

use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use meshwire_proto::{ErrorKind, EventRun, TopicName};

use super::{Limits, Outbox, Pending, fill};
use crate::Error;
use crate::identity;
use crate::offline::Filed;
use crate::session::{Answer, Failure, RunQueue, To};

/// What is left for the file.
#[derive(Debug)]
pub(super) struct Filing {
    staged: RunQueue,
    /// Sequence of the first that is staged.
    first: u64,
    /// Events that are staged, or with the file.
    pub(super) waiting: Limits,
    answered: Vec<Range<u64>>,
    pub(super) filed: Vec<Passed>,
    pub(super) forgettable: u64,
    stop: bool,
}

/// Events that have been through the file.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) first: u64,
    pub(crate) to: To,
    /// Those that are in it, or how many are not, and why.
    pub(crate) events: Result<EventRun, (u64, Failure)>,
}

/// What the file takes in one go.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) answered: Vec<Range<u64>>,
    pub(crate) events: Vec<Filed>,
}

impl Filing {
    pub(super) fn push(&mut self, to: To, event: &[u8]) {
        self.staged.push(to, event);
        self.waiting.events += 1;
        self.waiting.bytes += event.len() as u64;
    }
}

impl Pending {
    /// The gateway's word on publishes, or that they were given up: they need not come back after a crash.
    pub(super) fn strike_out(&mut self, sequences: &Range<u64>) {
        let Some(filing) = &mut self.filing else {
            return;
        };
        match filing.answered.last_mut() {
            Some(last) if last.end == sequences.start => last.end = sequences.end,
            _ => filing.answered.push(sequences.clone()),
        }
    }

    fn turn(&mut self) -> Option<Turn> {
        let names = &self.names;
        let filing = self.filing.as_mut()?;
        let mut runs = Vec::new();
        filing.staged.take(&mut runs);
        let at = identity::now();
        let mut events = Vec::with_capacity(runs.len());
        for ((alias, timing), run) in runs {
            let first = filing.first;
            filing.first += u64::from(run.count());
            let topic = usize::try_from(alias).ok().and_then(|alias| names.get(alias.checked_sub(1)?));
            // Every alias has its name.
            events.extend(topic.map(|topic| Filed { first, at, topic: topic.clone(), timing, events: run }));
        }
        Some(Turn { answered: std::mem::take(&mut filing.answered), events })
    }
}

impl Outbox {
    /// From now on publishes go through a file. Sequences begin at `next`; events of an earlier life are with the session
    /// already, which is answered up to `through`. Before anything is published.
    pub(crate) fn file_from(&self, next: u64, through: u64, forgettable: u64, restored: (u64, u64)) {
        self.has_file.store(true, Ordering::Relaxed);
        let mut pending = self.lock();
        pending.receipts.begin_at(next);
        (pending.first_sequence, pending.last_sequence) = (next, next.saturating_sub(1));
        pending.answered_through = through;
        pending.in_session = Limits { events: restored.0, bytes: restored.1 };
        pending.buffered = restored;
        pending.restored = restored.0;
        pending.filing = Some(Filing {
            staged: RunQueue::default(),
            first: next,
            waiting: Limits { events: 0, bytes: 0 },
            answered: Vec::new(),
            filed: Vec::new(),
            forgettable,
            stop: false,
        });
    }

    /// The alias of a topic that an earlier life published to.
    pub(crate) fn restore_topic(&self, topic: &TopicName) {
        let mut pending = self.lock();
        // A name that was parsed has an alias.
        let _ = pending.alias(topic.as_str());
        pending.told_topics = pending.names.len();
    }

    pub(crate) fn has_file(&self) -> bool {
        self.has_file.load(Ordering::Relaxed)
    }

    /// Events that are not in the file yet.
    pub(crate) fn staged(&self) -> u64 {
        self.lock().filing.as_ref().map_or(0, |filing| filing.waiting.events)
    }

    /// The thread's wait for something to do; `None` at the end. Blocks.
    pub(crate) fn next_filing(&self) -> Option<Turn> {
        let idle = |pending: &mut Pending| {
            pending.filing.as_ref().is_some_and(|f| !f.stop && f.staged.is_empty() && f.answered.is_empty())
        };
        let mut pending = self.filer.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let Some(filing) = pending.filing.as_mut().filter(|filing| filing.stop) else {
            return pending.turn();
        };
        // What is staged stays out, and is answered.
        let answered = std::mem::take(&mut filing.answered);
        (!answered.is_empty()).then(|| Turn { answered, events: Vec::new() })
    }

    /// Events have been through the file.
    pub(crate) fn filed(&self, batch: Vec<Filed>, kept: &Result<(), Failure>, forgettable: u64) {
        let mut pending = self.lock();
        let mut wakers = Vec::new();
        let through = batch.last().map(|filed| filed.first + filed.count() - 1);
        for Filed { first, topic, timing, events, .. } in batch {
            let alias = pending.aliases.get(&topic).copied().unwrap_or_default();
            let (count, bytes) = (u64::from(events.count()), plain_bytes(&events));
            let events = match kept {
                Ok(()) => {
                    pending.queued.events += count;
                    pending.queued.bytes += bytes;
                    Ok(events)
                }
                Err(failure) => {
                    let sequences = first..first + count;
                    pending.receipts.complete(Answer { sequences, result: Err(failure.clone()) }, &mut wakers);
                    Err((count, failure.clone()))
                }
            };
            if let Some(filing) = &mut pending.filing {
                filing.waiting.events = filing.waiting.events.saturating_sub(count);
                filing.waiting.bytes = filing.waiting.bytes.saturating_sub(bytes);
                filing.filed.push(Passed { first, to: (alias, timing), events });
            }
        }
        if let Some(filing) = &mut pending.filing {
            filing.forgettable = forgettable;
        }
        match through {
            Some(_) => fill(pending),
            None => drop(pending),
        }
        if let Some(through) = through {
            self.filed.send_if_modified(|known| {
                let more = *known < through;
                *known = (*known).max(through);
                more
            });
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Waits until an event is in the file, or is not and has its failure as answer.
    pub(crate) async fn until_filed(&self, sequence: u64) -> Result<(), Failure> {
        // The sender lives as long as this.
        let _ = self.filed.subscribe().wait_for(|through| *through >= sequence).await;
        self.lock().receipts.take_failure(sequence).map_or(Ok(()), |failure| Err((*failure).clone()))
    }

    /// The thread ends once what it has been given is kept. Whoever publishes from here on is refused with this error.
    pub(crate) fn stop_filing(&self, error: &Error) {
        let mut pending = self.lock();
        if let Some(filing) = &mut pending.filing {
            filing.stop = true;
            pending.closed.get_or_insert_with(|| error.clone());
        }
        drop(pending);
        self.filer.notify_all();
    }

    /// The thread has ended: what is staged never gets into the file, and nothing more comes.
    pub(crate) fn files_no_more(&self) {
        let mut pending = self.lock();
        pending.closed.get_or_insert_with(|| Error::closed("run"));
        let sequences = pending.filing.as_ref().map_or(0..0, |filing| filing.first..pending.last_sequence + 1);
        let mut wakers = Vec::new();
        if !sequences.is_empty() {
            let failure =
                Failure::new(ErrorKind::Closed, "the client was closed before the event was in the offline file");
            pending.receipts.complete(Answer { sequences, result: Err(failure) }, &mut wakers);
        }
        drop(pending);
        self.filed.send_replace(u64::MAX);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

/// Bytes of the events without their framing: as they were counted when they came.
fn plain_bytes(events: &EventRun) -> u64 {
    events.framed().map(|(_, event)| event.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use meshwire_proto::Timing;

    use super::*;
    use crate::hooks::Hooks;

    #[test]
    fn what_comes_when_the_thread_of_the_file_ends_is_refused_and_not_taken_for_filed() {
        let limits = Limits { events: 10, bytes: 1000 };
        let stopped = |stop: fn(&Outbox)| {
            let outbox = Outbox::new(limits, true, limits, Hooks::default());
            outbox.file_from(1, 0, 0, (0, 0));
            stop(&outbox);
            outbox.admit("orders", b"event", Timing::default()).err().map(|error| error.message().to_owned())
        };
        let refused = |outbox: &Outbox| outbox.stop_filing(&Error::new(ErrorKind::Denied, "connect", "not you"));
        assert_eq!(stopped(refused).as_deref(), Some("not you"));
        // As after a panic.
        assert!(stopped(Outbox::files_no_more).is_some_and(|told| told.contains("closed")));
    }
}
