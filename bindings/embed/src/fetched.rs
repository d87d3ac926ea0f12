//! Deliveries that were asked for, before the program has them.

use meshwire::Result;

use crate::client::Client;
use crate::delivery::Delivery;

/// A batch of deliveries on its way to the program. Dropped, they come again at once, and have not failed: nobody has seen them.
#[derive(Debug, Default)]
pub struct Fetched(Vec<Delivery>);

impl Fetched {
    pub(crate) fn new(deliveries: Vec<meshwire::Delivery>, client: &Client) -> Self {
        Self(deliveries.into_iter().map(|delivery| Delivery::new(delivery, client.clone())).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands up to `most` of them to the program; the rest comes again at once. Those whose lease is known to be gone, as after a
    /// reconnect, are left out: they come again anyhow.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn hand(mut self, most: usize) -> Result<Vec<Delivery>> {
        let mut handed = Vec::with_capacity(self.0.len().min(most));
        for delivery in std::mem::take(&mut self.0) {
            if delivery.is_stale()? {
                delivery.forget()?;
            } else if handed.len() < most {
                handed.push(delivery);
            } else {
                self.0.push(delivery);
            }
        }
        Ok(handed)
    }

    /// Hands all of them to the program.
    ///
    /// # Errors
    /// As [`Fetched::hand`].
    pub fn hand_all(self) -> Result<Vec<Delivery>> {
        self.hand(usize::MAX)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        for delivery in self.0.drain(..) {
            // In a child of fork there is nothing to give back.
            drop(delivery.give_back());
        }
    }
}
