//! A delivery in the hands of a host.

use std::time::Duration;

use meshwire::{EventView, Result};

use crate::local::Local;

/// One event, which the host settles.
///
/// Dropped unsettled it stays leased until its ack wait ends, as in Rust ([`meshwire::Delivery`]).
#[derive(Debug)]
pub struct Delivery(Local<meshwire::Delivery>);

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
    pub(crate) fn new(delivery: meshwire::Delivery) -> Self {
        Self(Local::new(delivery))
    }

    /// The delivery to read: event, topic, position, attempt.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn get(&self) -> Result<&meshwire::Delivery> {
        self.0.get("receive")
    }

    /// Its event.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn event(&self) -> Result<EventView<'_>> {
        Ok(self.get()?.event())
    }

    /// Settles it: handed to the session, never waits.
    ///
    /// # Errors
    /// As [`Delivery::get`].
    pub fn settle(self, how: Settle) -> Result<()> {
        let delivery = self.0.into_value("settle")?;
        match how {
            Settle::Ack => delivery.ack(),
            Settle::Nack(None) => delivery.nack(),
            Settle::Nack(Some(delay)) => delivery.nack_after(delay),
            Settle::Reject(reason) => delivery.reject(reason),
        }
        Ok(())
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
