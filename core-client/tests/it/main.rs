//! The client as programs use it, against a scripted gateway in memory. Time is
//! virtual: tokio's clock is paused and moves on when nothing else can.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod busy;
mod connect;
mod consume;
mod dropped;
mod end;
mod fallback;
mod hooks;
mod late;
mod logs;
mod network;
mod offline;
mod offline_file;
mod order;
#[cfg(feature = "testing")]
mod panics;
mod prefetched;
mod proxy;
mod publish;
mod request;
mod script;
mod subscribe;
mod tls;
mod token;
