//! What users were promised, each as a case that can be read, played in virtual time
//! with the real sessions, protocol, mesh, engine and stores.
//!
//! - [`stage`]: one gateway, its clients and the time between them; nothing is random;
//! - [`person`]: a client whose program does what a case says;
//! - [`play`]: the words of the cases;
//! - [`redelivery`]: the table of redelivery, retry, dead letter, rebalance and drain;
//! - [`promises`]: what takes minutes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod person;
mod play;
mod promises;
mod redelivery;
mod stage;
