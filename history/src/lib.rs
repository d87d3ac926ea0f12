//! What was seen of a gateway from outside, and what must hold of it.
//!
//! A test writes down a [`History`] of one topic: what was published and how it
//! was answered, what came to whom, what was settled, when gateways died, and the
//! log and the dead letters as they were read at the end. Then [`judge`] names every
//! promise that it shows broken, each as a [`Check`] and a sentence.
//!
//! - [`model`]: what a history is made of, and what is forgiven;
//! - [`verdict`]: the list of checks;
//! - `log`: lost, phantom, changed, doubled, misplaced;
//! - `settles`: acks that do not stand, events left open, dead letters;
//! - `leases`: an event with two members at once;
//! - `order`: what overtakes within a key or before a reader;
//! - `index`: a history by event, key and place, for the checks.
//!
//! *Invariant:* nothing here reads a clock or a socket. Time is data: a span since
//! the history began.
//!
//! ```
//! use std::time::Duration;
//! use meshwire_history::{Answer, Event, History, Published, Stored, judge};
//!
//! let event = Event::new(7, None, b"seven");
//! let kept = Answer::Acknowledged(Duration::from_millis(10));
//! let mut seen = History::new("orders");
//! seen.published.push(Published { event: event.clone(), at: Duration::ZERO, answer: kept });
//! let broken = judge(&seen).broken;
//! assert_eq!(broken[0].to_string(), "lost: orders: event 7 was acknowledged at 10ms and is not in the log");
//!
//! seen.log.push(Stored { position: 1, event });
//! assert!(judge(&seen).broken.is_empty());
//! ```

mod index;
mod leases;
mod log;
pub mod model;
mod order;
mod settles;
pub mod verdict;

pub use model::{
    Absence, Answer, DeadLetter, Death, Delivery, Event, Forgive, Group, History, Level, Name, Published, Settle,
    SettleKind, Stored,
};
pub use verdict::{Broken, Check, Forgiven, Verdict, judge};
