//! What a handler says of its event.

use std::fmt::Display;
use std::time::Duration;

/// What becomes of an event, said by a handler of [`Consume::run`](crate::Consume::run) that returns
/// `Result<Settlement, E>`: for what `Ok(())` and an error do not say.
///
/// ```no_run
/// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
/// use meshwire::{Delivery, Error, Settlement};
/// mesh.consume("orders").group("billing").run(async |order: &Delivery| {
///     let cents: i64 = order.json()?; // an error is a nack: it comes again
///     if cents < 0 {
///         return Ok(Settlement::reject("a negative amount")); // a dead letter, now
///     }
///     Ok::<_, Error>(Settlement::Ack)
/// }).await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// As [`Delivery::ack`](crate::Delivery::ack).
    Ack,
    /// As [`Delivery::nack_after`](crate::Delivery::nack_after).
    NackAfter(Duration),
    /// As [`Delivery::reject`](crate::Delivery::reject), with the reason.
    /// In a group that [holds keys](crate::GroupSettings::hold_after_dead_letter) after a dead letter, later events of the key that
    /// were sent to this client before may still be handled, and come again after the letter.
    Reject(String),
    /// It was not begun with, and goes back unblamed. For bindings, whose program stops before it was handed the event.
    #[doc(hidden)]
    GiveBack,
}

impl Settlement {
    /// Never again: a dead letter of the group, with the reason, of which 1024 bytes are kept.
    #[must_use]
    pub fn reject(reason: impl Display) -> Self {
        Self::Reject(reason.to_string())
    }
}

/// What a handler may return: `Result<(), E>`, or `Result<Settlement, E>`. Of no other types.
pub trait Handled: sealed::Sealed {
    #[doc(hidden)]
    fn settled(self) -> Result<Settlement, String>;
}

mod sealed {
    /// Only the types of this crate's choice.
    pub trait Sealed {}
}

impl<E: Display> sealed::Sealed for Result<(), E> {}
impl<E: Display> sealed::Sealed for Result<Settlement, E> {}

impl<E: Display> Handled for Result<(), E> {
    fn settled(self) -> Result<Settlement, String> {
        self.map(|()| Settlement::Ack).map_err(|error| error.to_string())
    }
}

impl<E: Display> Handled for Result<Settlement, E> {
    fn settled(self) -> Result<Settlement, String> {
        self.map_err(|error| error.to_string())
    }
}
