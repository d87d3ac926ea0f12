//! What strangers and broken peers send: a typed error or the end, and everybody else is served on.
#![allow(clippy::print_stdout, reason = "a table prints its counts")]

pub(crate) mod answers;
mod events;
mod first;
pub(crate) mod frames;
mod grpc;
mod http1;
mod http2;
mod meanings;
mod sessions;
mod silent;
mod slow;
mod table;
pub(crate) mod websocket;
