//! Deliveries that were asked for, before the program has them.

use meshwire::Result;

use crate::client::Client;
use crate::delivery::Delivery;
use crate::in_hand::InHand;
use crate::local::Local;

/// A batch of deliveries on its way to the program. Dropped, they come again at once, and have not failed: nobody has seen them.
#[derive(Debug)]
pub struct Fetched {
    deliveries: Local<Vec<meshwire::Delivery>>,
    client: Client,
}

impl Fetched {
    pub(crate) fn new(deliveries: Vec<meshwire::Delivery>, client: &Client) -> Self {
        Self { deliveries: Local::new(deliveries), client: client.clone() }
    }

    /// How many there are; none in a child of `fork`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.get("receive").map_or(0, Vec::len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that the program is to have.
    fn handed(&mut self, most: usize) -> Result<Vec<meshwire::Delivery>> {
        let deliveries = self.deliveries.get_mut("receive")?;
        if deliveries.iter().any(meshwire::Delivery::is_stale) {
            let (stale, fresh) = std::mem::take(deliveries).into_iter().partition(meshwire::Delivery::is_stale);
            *deliveries = fresh;
            Vec::into_iter(stale).for_each(meshwire::Delivery::forget);
        }
        // What is beyond goes with this.
        let beyond = deliveries.split_off(deliveries.len().min(most));
        Ok(std::mem::replace(deliveries, beyond))
    }

    /// Hands up to `most` of them to the program; the rest comes again at once. Those whose lease is known to be gone, as after a
    /// reconnect, are left out: they come again anyhow.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn hand(mut self, most: usize) -> Result<Vec<Delivery>> {
        let handed = self.handed(most)?;
        Ok(handed.into_iter().map(|delivery| Delivery::new(delivery, self.client.clone())).collect())
    }

    /// The same, and they stay together.
    ///
    /// # Errors
    /// As [`Fetched::hand`].
    pub fn hand_together(mut self, most: usize) -> Result<InHand> {
        Ok(InHand::new(self.handed(most)?, self.client.clone()))
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
        // In a child of fork there is nothing to give back.
        if let Ok(deliveries) = self.deliveries.get_mut("receive") {
            deliveries.drain(..).for_each(meshwire::Delivery::give_back);
        }
    }
}
