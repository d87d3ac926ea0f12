//! Tests of the shared language: generated files, round trips, hostile bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod encoded;
mod events;
mod frames;
mod generated;
mod vectors;
