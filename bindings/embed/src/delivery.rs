//! A delivery in the hands of a host.

use std::time::Duration;

use futures_util::future::BoxFuture;
use meshwire::{EventView, Result};

use crate::ask::Outcome;
use crate::client::Client;
use crate::local::Local;
use crate::operation::Operation;
use crate::queue::{Place, Queue};
use crate::work::Readable;

/// One event, which the host settles.
///
/// Dropped unsettled it stays leased until its ack wait ends, as in Rust ([`meshwire::Delivery`]); one that the program was not handed yet is
/// given back.
#[derive(Debug)]
pub struct Delivery {
    delivery: Local<meshwire::Delivery>,
    client: Client,
}

/// What becomes of a delivery. None of these waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It is done.
    Ack,
    /// It failed, and comes again after this time, or after the group's back-off.
    Nack(Option<Duration>),
    /// It is never to come again, for this reason: a dead letter.
    Reject(String),
}

impl Delivery {
    pub(crate) fn new(delivery: meshwire::Delivery, client: Client) -> Self {
        Self { delivery: Local::new(delivery), client }
    }

    /// The delivery to read: event, topic, position, attempt.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn get(&self) -> Result<&meshwire::Delivery> {
        self.delivery.get("receive")
    }

    /// The client that it came to.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its event.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn event(&self) -> Result<EventView<'_>> {
        Ok(self.get()?.event())
    }

    /// Its event, to be read when it is settled too.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn readable(&self) -> Result<Readable> {
        let delivery = self.get()?;
        Ok(Readable::new(delivery.raw().clone(), delivery.event()))
    }

    /// The program is handed one that was taken [ahead](crate::Fetched::ahead), and all before it. `false`: it is not to be handed, since
    /// it comes again, and is to be dropped. What is said of one claims it too. Again it says the same, as long as the lease is not lost.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn claim(&mut self) -> Result<bool> {
        Ok(self.delivery.get_mut("receive")?.claim())
    }

    /// The program is handed one that was taken [ahead](crate::Fetched::ahead) in a batch, in order. As [`Delivery::claim`]; but what a program
    /// has in hand keeps its lease as long as it settles or extends something within each ack wait: each has one of its own, of which at
    /// least seven eighths are left, from when the one before it in the batch was settled. A program that does nothing for an ack wait is
    /// stuck, and what it has in hand behind the first is given back, without a failure. Whoever settles the last one first has begun with
    /// all of them.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn hand(&mut self, is_first: bool) -> Result<bool> {
        Ok(self.delivery.get_mut("receive")?.hand(is_first))
    }

    /// The program was handed it, and lets go of it without a word.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn let_go(mut self) -> Result<()> {
        self.claim().map(drop)
    }

    /// Gives one back that the program was not handed: it comes again at once, and has not failed.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn give_back(self) -> Result<()> {
        self.delivery.into_value("receive")?.give_back();
        Ok(())
    }

    /// Settles it: handed to the session, never waits.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn settle(self, how: Settle) -> Result<()> {
        let delivery = self.delivery.into_value("settle")?;
        match how {
            Settle::Ack => delivery.ack(),
            Settle::Nack(None) => delivery.nack(),
            Settle::Nack(Some(delay)) => delivery.nack_after(delay),
            Settle::Reject(reason) => delivery.reject(reason),
        }
        Ok(())
    }

    /// Settles it at once, and begins to wait for the gateway's word, in a place that was taken before: comes to [`Outcome::Done`], or to
    /// `LEASE_LOST`.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`; then there is no completion.
    pub fn begin_settle_confirmed_in(self, how: Settle, place: Place) -> Result<Operation> {
        let delivery = self.delivery.into_value("settle")?;
        self.client.begin_in(place, true, confirmed(delivery, how))
    }

    /// The same, in a place that is taken now.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion, and the delivery is dropped.
    pub fn begin_settle_confirmed(self, how: Settle, queue: &Queue, tag: u64) -> Result<Operation> {
        let place = queue.place(tag, how.confirmed())?;
        self.begin_settle_confirmed_in(how, place)
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// `LEASE_LOST`; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn settle_confirmed(self, how: Settle) -> Result<()> {
        let operation = how.confirmed();
        let delivery = self.delivery.into_value(operation)?;
        self.client.wait_call(operation, confirmed(delivery, how)).map(|_| ())
    }

    /// Begins its lease anew, and begins to wait for the gateway's word: comes to [`Outcome::Done`], or to `LEASE_LOST`.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion.
    pub fn begin_extend_confirmed(&self, queue: &Queue, tag: u64) -> Result<Operation> {
        begin_extend_confirmed(self.get()?, &self.client, queue, tag)
    }

    /// The same, and waits for it.
    ///
    /// # Errors
    /// As [`Delivery::settle_confirmed`].
    pub fn extend_confirmed(&self) -> Result<()> {
        let delivery = self.get()?;
        self.client.wait_for("extend_confirmed", delivery.extend_confirmed())
    }

    /// Begins its lease anew.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn extend(&self) -> Result<()> {
        self.get()?.extend();
        Ok(())
    }
}

pub(crate) fn begin_extend_confirmed(
    delivery: &meshwire::Delivery,
    client: &Client,
    queue: &Queue,
    tag: u64,
) -> Result<Operation> {
    let place = queue.place(tag, "extend_confirmed")?;
    let extended = delivery.extend_confirmed();
    client.begin_in(place, true, async { extended.await.map(|()| Outcome::Done) })
}

impl Settle {
    /// The name of the call that waits for the gateway's word.
    const fn confirmed(&self) -> &'static str {
        match self {
            Self::Ack => "ack_confirmed",
            Self::Nack(None) => "nack_confirmed",
            Self::Nack(Some(_)) => "nack_after_confirmed",
            Self::Reject(_) => "reject_confirmed",
        }
    }
}

/// Settles at once; the future only waits for the answer.
fn confirmed(delivery: meshwire::Delivery, how: Settle) -> impl Future<Output = Result<Outcome>> + Send + use<> {
    let answer: BoxFuture<'static, Result<()>> = match how {
        Settle::Ack => Box::pin(delivery.ack_confirmed()),
        Settle::Nack(None) => Box::pin(delivery.nack_confirmed()),
        Settle::Nack(Some(delay)) => Box::pin(delivery.nack_after_confirmed(delay)),
        Settle::Reject(reason) => Box::pin(delivery.reject_confirmed(reason)),
    };
    async { answer.await.map(|()| Outcome::Done) }
}
