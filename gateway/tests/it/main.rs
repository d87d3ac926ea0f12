//! The gateway from outside: a real listener on a free port, real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod authorize;
mod broadcast;
mod certificates;
mod cold;
mod dead_letters;
mod delayed;
mod delete;
mod grpc;
mod hostile;
mod kept;
mod lag;
mod limits;
mod machine;
mod many_groups;
mod memory;
mod publish;
mod rates;
mod requests;
mod retention;
mod rig;
mod room;
mod sessions;
mod since;
mod stopping;
mod subscribe;
mod threads;
mod tls;
mod websocket;
