//! The whole system in one thread, in virtual time, from a seed.
//!
//! Real parts: client sessions ([`meshwire::session`]), the native protocol, the
//! mesh, the engine and the log. Simulated: time, the wires between them
//! ([`wire`]), the disk, and what programs do ([`client`]). Nothing is random but
//! the seed.
//!
//! - [`world`]: the queue of what happens when;
//! - [`gateway`]: one gateway process, its kill and its restart;
//! - [`history`]: what was seen from outside; [`seen`]: the same by event and key;
//! - [`report`]: the same as the library of histories reads it, whose checks are made;
//! - [`verdict`], [`attempts`], [`brief`], [`delayed`], [`failures`], [`fleeting`], [`holding`], [`keys`], [`letters`], [`limits`], [`moved`], [`overtaken`], [`stops`], [`tuned`]: what must hold of it beyond those;
//! - [`defects`]: mistakes planted on purpose, to see that they are caught.

#![allow(
    clippy::indexing_slicing,
    reason = "indices are made here; a wrong one is a defect of the simulation, which may end"
)]

#[cfg(test)]
mod acceptance;
mod attempts;
mod brief;
mod client;
mod clock;
pub mod defects;
mod delayed;
mod failures;
mod fleeting;
#[cfg(test)]
mod forged;
mod gateway;
mod history;
mod holding;
mod keys;
mod letters;
mod limits;
mod members;
mod moved;
mod overtaken;
mod report;
mod requests;
mod room;
mod script;
mod seen;
mod stops;
mod tuned;
mod verdict;
mod wire;
mod world;

pub use history::Totals;
pub use world::{Outcome, panics_found, run};
