//! Stops what consumes or serves, from anywhere.

use std::sync::Weak;

use meshwire::Result;

use crate::local::Local;
use crate::{consumer, responder};

/// Stops a [`Consumer`](crate::Consumer) or [`Responder`](crate::Responder) while there is one, and does not keep it.
#[derive(Clone, Debug)]
pub struct Stopper(pub(crate) Of);

#[derive(Clone, Debug)]
pub(crate) enum Of {
    Consumer(Weak<Local<consumer::Held>>),
    Responder(Weak<Local<responder::Held>>),
}

impl Stopper {
    /// As [`Consumer::stop`](crate::Consumer::stop). Nothing where it is gone.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn stop(&self) -> Result<()> {
        match &self.0 {
            Of::Consumer(consumer) => match consumer.upgrade() {
                Some(held) => held.get("consume").map(consumer::Held::stop),
                None => Ok(()),
            },
            Of::Responder(responder) => match responder.upgrade() {
                Some(held) => held.get("serve").map(responder::Held::stop),
                None => Ok(()),
            },
        }
    }

    /// Whether what it stops is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match &self.0 {
            Of::Consumer(consumer) => consumer.strong_count() == 0,
            Of::Responder(responder) => responder.strong_count() == 0,
        }
    }
}
