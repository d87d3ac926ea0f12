//! Deliveries that were asked for, before the program has them.

use meshwire::Result;

use crate::client::Client;
use crate::delivery::Delivery;
use crate::in_hand::InHand;
use crate::local::Local;

/// A batch of deliveries on its way to the program. Until it is handed one, that is looked after as if it waited in the client: its lease is
/// extended, and it is given back when the program is stuck. Dropped, they come again at once, and have not failed: nobody has seen them.
#[derive(Debug)]
pub struct Fetched {
    deliveries: Local<Vec<meshwire::Delivery>>,
    ahead: bool,
    client: Client,
}

impl Fetched {
    pub(crate) fn new(deliveries: Vec<meshwire::Delivery>, ahead: bool, client: &Client) -> Self {
        Self { deliveries: Local::new(deliveries), ahead, client: client.clone() }
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

    /// Those that the program is to have now.
    fn handed(&mut self, most: usize) -> Result<Vec<meshwire::Delivery>> {
        let mut all = std::mem::take(self.deliveries.get_mut("receive")?);
        let mut handed = 0;
        let lost = all.extract_if(.., |delivery| {
            let is_lost = handed < most && !delivery.hand(handed == 0);
            handed += usize::from(handed < most && !is_lost);
            is_lost
        });
        lost.for_each(meshwire::Delivery::forget);
        // What is beyond is given back, and claims what is handed by that.
        all.truncate(handed);
        Ok(all)
    }

    /// Hands up to `most` of them to the program, as a batch ([`Delivery::hand`]); the rest comes again at once. Those whose lease is known to be gone, as after a
    /// reconnect, are left out: they come again anyhow.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn hand(mut self, most: usize) -> Result<Vec<Delivery>> {
        let handed = self.handed(most)?;
        Ok(handed.into_iter().map(|delivery| Delivery::new(delivery, self.client.clone())).collect())
    }

    /// The same, and they stay together. Of a subscription that [takes ahead](crate::Subscription::take_ahead) they are for
    /// [`InHand::claim`].
    ///
    /// # Errors
    /// As [`Fetched::hand`].
    pub fn hand_together(mut self, most: usize) -> Result<InHand> {
        let deliveries = if self.ahead {
            let mut all = std::mem::take(self.deliveries.get_mut("receive")?);
            all.truncate(most);
            all
        } else {
            self.handed(most)?
        };
        Ok(InHand::new(deliveries, self.client.clone()))
    }

    /// Hands all of them to the program.
    ///
    /// # Errors
    /// As [`Fetched::hand`].
    pub fn hand_all(self) -> Result<Vec<Delivery>> {
        self.hand(usize::MAX)
    }

    /// Gives all of them to a host that hands them to its program one by one, in order, and [claims](Delivery::claim) each then.
    ///
    /// # Errors
    /// As [`Fetched::hand`].
    pub fn ahead(mut self) -> Result<Vec<Delivery>> {
        let all = std::mem::take(self.deliveries.get_mut("receive")?);
        Ok(all.into_iter().map(|delivery| Delivery::new(delivery, self.client.clone())).collect())
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
