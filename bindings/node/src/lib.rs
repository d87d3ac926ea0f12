//! The native half of the npm package `meshwire`: private, and as thin as can be.
//!
//! An environment of Node (the main thread, a worker) has one [`Bridge`](bridge::Bridge). What the JavaScript half has to say in one turn of
//! its loop it writes into one buffer ([`outgoing`]): publishes, settles, ends of handlers. What calls came to is in the bridge's queue;
//! a thread of the client wakes the loop, at most once for all that waits, and JavaScript takes it on its own thread, as numbers in a
//! buffer of its own ([`incoming`]) and, for events, one array buffer a batch ([`batch`]).
//!
//! Every export is guarded: a panic is `INTERNAL` ([`guard`]).
#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    reason = "exports get what JavaScript passes, as it is"
)]

mod batch;
mod bridge;
mod calls;
mod event;
mod guard;
mod held;
mod incoming;
mod logs;
mod outgoing;
