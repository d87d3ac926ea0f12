#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
//! The log on simulated and real disks.

mod closing;
mod crash;
mod damage;
mod delete;
mod full;
mod os;
mod reads;
mod recover;
mod retain;
mod rig;
mod since;
mod small_disk;
mod threaded;
mod times;
