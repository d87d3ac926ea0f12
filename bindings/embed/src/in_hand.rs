//! Deliveries in the hands of a host, by the batch: what comes together is kept together, and settled together.

use meshwire::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::delivery::{self, Delivery, Settle};
use crate::local::Local;
use crate::operation::Operation;
use crate::queue::Queue;

/// A batch of deliveries that the host has. Each is taken out once, to be settled; those that are dropped in it are dropped as a [`Delivery`]
/// is.
#[derive(Debug)]
pub struct InHand {
    deliveries: Local<Vec<Option<meshwire::Delivery>>>,
    left: usize,
    client: Client,
}

fn gone(operation: &'static str) -> Error {
    let text = "this delivery stands for nothing: it was settled or freed before, or never made";
    Error::of_host(ErrorKind::Invalid, operation, text)
}

impl InHand {
    pub(crate) fn new(deliveries: Vec<meshwire::Delivery>, client: Client) -> Self {
        let left = deliveries.len();
        Self { deliveries: Local::new(deliveries.into_iter().map(Some).collect()), left, client }
    }

    /// How many it has left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.left
    }

    /// Whether all were taken out.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Splits it, so that each has at most so many deliveries, in order. Before one is taken out.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn split(self, most: usize) -> Result<Vec<Self>> {
        if self.left <= most {
            return Ok(vec![self]);
        }
        let client = self.client;
        let mut rest = self.deliveries.into_value("receive")?.into_iter().flatten();
        let mut all = Vec::new();
        loop {
            let batch: Vec<_> = rest.by_ref().take(most).collect();
            if batch.is_empty() {
                return Ok(all);
            }
            all.push(Self::new(batch, client.clone()));
        }
    }

    /// The client that they came to.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// All that are left, to read.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn all(&self) -> Result<impl Iterator<Item = &meshwire::Delivery>> {
        Ok(self.deliveries.get("receive")?.iter().flatten())
    }

    /// One by its place, to read.
    ///
    /// # Errors
    /// `INVALID`: it was taken out; `CLOSED` in a child of `fork`.
    pub fn get(&self, at: usize, operation: &'static str) -> Result<&meshwire::Delivery> {
        self.deliveries.get(operation)?.get(at).and_then(Option::as_ref).ok_or_else(|| gone(operation))
    }

    /// The program is handed one, as [`Delivery::claim`].
    ///
    /// # Errors
    /// As [`InHand::get`].
    pub fn claim(&mut self, at: usize) -> Result<bool> {
        let place = self.deliveries.get_mut("receive")?.get_mut(at);
        Ok(place.and_then(Option::as_mut).ok_or_else(|| gone("receive"))?.claim())
    }

    /// The program is handed one in a batch, as [`Delivery::hand`].
    ///
    /// # Errors
    /// As [`InHand::get`].
    pub fn hand(&mut self, at: usize, is_first: bool) -> Result<bool> {
        let place = self.deliveries.get_mut("receive")?.get_mut(at);
        Ok(place.and_then(Option::as_mut).ok_or_else(|| gone("receive"))?.hand(is_first))
    }

    fn take_out(&mut self, at: usize, operation: &'static str) -> Result<meshwire::Delivery> {
        let place = self.deliveries.get_mut(operation)?.get_mut(at);
        let taken = place.and_then(Option::take).ok_or_else(|| gone(operation))?;
        self.left -= 1;
        Ok(taken)
    }

    /// Takes one out, which the host then has by itself.
    ///
    /// # Errors
    /// As [`InHand::get`].
    pub fn take(&mut self, at: usize, operation: &'static str) -> Result<Delivery> {
        Ok(Delivery::new(self.take_out(at, operation)?, self.client.clone()))
    }

    /// Begins the lease of one anew, as [`Delivery::begin_extend_confirmed`].
    ///
    /// # Errors
    /// As there, and as [`InHand::get`].
    pub fn begin_extend_confirmed(&self, at: usize, queue: &Queue, tag: u64) -> Result<Operation> {
        delivery::begin_extend_confirmed(self.get(at, "extend")?, &self.client, queue, tag)
    }

    /// Takes one out, to be settled with others.
    ///
    /// # Errors
    /// As [`InHand::get`].
    pub fn take_into(&mut self, at: usize, together: &mut Together) -> Result<()> {
        together.0.push(self.take_out(at, "settle")?);
        Ok(())
    }
}

/// Deliveries that are about to be settled alike. Not to be kept.
#[derive(Debug, Default)]
pub struct Together(Vec<meshwire::Delivery>);

impl Together {
    /// Room for so many.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them, to read.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&meshwire::Delivery> {
        self.0.get(at)
    }

    /// Settles them: handed to the session, never waits.
    pub fn settle(self, how: &Settle) {
        match how {
            Settle::Ack => meshwire::Delivery::ack_all(self.0),
            Settle::Nack(None) => self.0.into_iter().for_each(meshwire::Delivery::nack),
            Settle::Nack(Some(delay)) => self.0.into_iter().for_each(|delivery| delivery.nack_after(*delay)),
            Settle::Reject(reason) => self.0.into_iter().for_each(|delivery| delivery.reject(reason)),
        }
    }
}
