//! Histories made up for the checks: good ones pass, and each bent one is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail by panicking")]

mod forged;
mod forgiven;
mod good;
mod random;
