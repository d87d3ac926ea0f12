//! What JavaScript holds by numbers: events that it was handed, by the batch.

use std::collections::HashMap;
use std::time::Duration;

use meshwire_embed::{Delivery, Error, ErrorKind, Event, Handled, Inquiry, Job, Result, Settle};

use crate::guard::invalid;

/// One event in the hands of a program.
#[derive(Debug)]
pub(crate) enum Held {
    /// Of a subscription.
    Delivery(Delivery),
    /// Of a consumer's handler.
    Job(Job),
    /// Of a responder's handler.
    Inquiry(Inquiry),
}

/// What is said of it.
#[derive(Debug)]
pub(crate) enum Word {
    Ack,
    Nack,
    NackAfter(Duration),
    Reject(String),
    Extend,
    /// A handler failed, and why.
    Fail(String),
    /// The one reply.
    Answer(Box<Event>),
}

impl Held {
    fn say(self, word: Word) -> Result<Option<Self>> {
        match (self, word) {
            (Self::Delivery(delivery), Word::Extend) => {
                delivery.extend()?;
                return Ok(Some(Self::Delivery(delivery)));
            }
            (Self::Delivery(delivery), Word::Ack) => delivery.settle(Settle::Ack)?,
            (Self::Delivery(delivery), Word::Nack) => delivery.settle(Settle::Nack(None))?,
            (Self::Delivery(delivery), Word::NackAfter(delay)) => delivery.settle(Settle::Nack(Some(delay)))?,
            (Self::Delivery(delivery), Word::Reject(reason)) => delivery.settle(Settle::Reject(reason))?,
            (Self::Job(job), Word::Ack) => job.end(Handled::Done)?,
            (Self::Job(job), Word::NackAfter(delay)) => job.end(Handled::NackAfter(delay))?,
            (Self::Job(job), Word::Reject(reason)) => job.end(Handled::Reject(reason))?,
            (Self::Job(job), Word::Fail(problem)) => job.end(Handled::Failed(problem))?,
            (Self::Inquiry(inquiry), Word::Ack) => inquiry.end()?,
            (Self::Inquiry(inquiry), Word::Answer(event)) => inquiry.answer(*event)?,
            (Self::Inquiry(inquiry), Word::Fail(problem)) => inquiry.fail(problem)?,
            // Nothing of the other half says that.
            (_, word) => return Err(invalid("settle", format!("{word:?} is not for that"))),
        }
        Ok(None)
    }
}

/// Events that came together.
#[derive(Debug)]
struct Batch {
    held: Vec<Option<Held>>,
    left: usize,
    /// The program was handed those before it.
    handed: usize,
}

/// All of them, by numbers that are used once.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    batches: HashMap<u32, Batch>,
    last: u32,
}

fn gone(operation: &'static str) -> Error {
    Error::of_host(ErrorKind::Invalid, operation, "the delivery was settled or given back before")
}

impl Batches {
    /// Keeps a batch, and gives its number.
    pub(crate) fn keep(&mut self, held: Vec<Option<Held>>) -> u32 {
        self.last = self.last.wrapping_add(1);
        let left = held.iter().flatten().count();
        if left > 0 {
            self.batches.insert(self.last, Batch { held, left, handed: 0 });
        }
        self.last
    }

    fn place(&mut self, batch: u32, index: u32, operation: &'static str) -> Result<&mut Option<Held>> {
        let held = self.batches.get_mut(&batch).and_then(|batch| batch.held.get_mut(index as usize));
        held.filter(|held| held.is_some()).ok_or_else(|| gone(operation))
    }

    /// One of them, to look at.
    pub(crate) fn get(&mut self, batch: u32, index: u32, operation: &'static str) -> Result<&Held> {
        self.place(batch, index, operation)?.as_ref().ok_or_else(|| gone(operation))
    }

    /// One of them, for good.
    pub(crate) fn take(&mut self, batch: u32, index: u32, operation: &'static str) -> Result<Held> {
        let held = self.place(batch, index, operation)?.take();
        if let Some(of) = self.batches.get_mut(&batch) {
            of.left -= 1;
            if of.left == 0 {
                self.batches.remove(&batch);
            }
        }
        held.ok_or_else(|| gone(operation))
    }

    /// Says something of one.
    pub(crate) fn say(&mut self, batch: u32, index: u32, word: Word) -> Result<()> {
        if let Word::Extend = word {
            if let Held::Delivery(delivery) = self.get(batch, index, "extend")? {
                delivery.extend()?;
            }
            return Ok(());
        }
        self.take(batch, index, "settle")?.say(word).map(drop)
    }

    /// Acks neighbours, under one look-up.
    pub(crate) fn ack(&mut self, batch: u32, first: u32, count: u32) -> Result<()> {
        let Some(of) = self.batches.get_mut(&batch) else { return Err(gone("ack")) };
        let mut done = Ok(());
        for held in of.held.iter_mut().skip(first as usize).take(count as usize) {
            if let Some(held) = held.take() {
                of.left -= 1;
                done = done.and(held.say(Word::Ack).map(drop));
            }
        }
        if of.left == 0 {
            self.batches.remove(&batch);
        }
        done
    }

    /// Lets go of what is left of a batch: what the program was handed fails when its subscription ends, and the rest is given back.
    pub(crate) fn release(&mut self, batch: u32) {
        let Some(Batch { held, handed, .. }) = self.batches.remove(&batch) else { return };
        // Of those that were handed in one turn only the first and the last know it: the others would be given back.
        for held in held.into_iter().take(handed).flatten() {
            if let Held::Delivery(delivery) = held {
                drop(delivery.let_go());
            }
        }
    }

    /// Those before an index the program was handed.
    fn handed_before(&mut self, batch: u32, end: u32) {
        if let Some(of) = self.batches.get_mut(&batch) {
            of.handed = of.handed.max(end as usize);
        }
    }

    /// The program is handed a delivery, and all before it; `false`: it comes again, and is gone.
    pub(crate) fn claim(&mut self, batch: u32, index: u32) -> bool {
        let claimed = self.claim_anyhow(batch, index);
        if !claimed {
            drop(self.take(batch, index, "receive"));
        }
        claimed
    }

    /// The program is handed neighbours. Gives those that come again, and are gone.
    pub(crate) fn claim_batch(&mut self, batch: u32, first: u32, count: u32) -> Vec<u32> {
        self.handed_before(batch, first.saturating_add(count));
        let (mut gone, mut is_first) = (Vec::new(), true);
        for index in first..first.saturating_add(count) {
            let handed = match self.place(batch, index, "receive") {
                Ok(Some(Held::Delivery(delivery))) => delivery.hand(is_first).unwrap_or(false),
                _ => false,
            };
            is_first &= !handed;
            if !handed {
                drop(self.take(batch, index, "receive"));
                gone.push(index);
            }
        }
        gone
    }

    /// The program was handed a delivery, and all before it; whether that was right.
    pub(crate) fn claim_anyhow(&mut self, batch: u32, index: u32) -> bool {
        self.handed_before(batch, index.saturating_add(1));
        match self.place(batch, index, "receive") {
            Ok(Some(Held::Delivery(delivery))) => delivery.claim().unwrap_or(false),
            _ => false,
        }
    }

    /// Lets go of one that the program was handed.
    pub(crate) fn let_go(&mut self, batch: u32, index: u32) -> Result<()> {
        match self.take(batch, index, "settle")? {
            Held::Delivery(delivery) => delivery.let_go(),
            Held::Job(_) | Held::Inquiry(_) => Ok(()),
        }
    }

    /// Gives back what the program was not handed of a batch, from an index on.
    pub(crate) fn give_back_from(&mut self, batch: u32, first: u32) -> Result<()> {
        let Some(of) = self.batches.get_mut(&batch) else { return Ok(()) };
        let mut done = Ok(());
        for held in of.held.iter_mut().skip(first as usize) {
            if let Some(Held::Delivery(delivery)) = held.take() {
                of.left -= 1;
                done = done.and(delivery.give_back());
            }
        }
        if of.left == 0 {
            self.batches.remove(&batch);
        }
        done
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
    }
}
