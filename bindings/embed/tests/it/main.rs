//! What bindings stand on, against a real gateway process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod administration;
mod calls;
mod cancel;
mod fetched;
mod forked;
mod handlers;
mod in_hand;
mod logs;
mod options;
mod order;
mod parting;
mod places;
mod publishes;
mod requests;
mod rig;
