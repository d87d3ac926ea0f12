//! What HTTP and gRPC have in common: both travel in requests of one HTTP connection.
//!
//! - [`door`]: what a handler knows of the connection that a request came by;
//! - [`body`]: reading what comes with a request;
//! - [`problem`], [`status`]: errors in the words of HTTP and of gRPC; [`told`]: how many;
//! - [`call`]: whether a request is a call of gRPC, and the time that it gives.
//!
//! *Invariant:* nothing here knows a route or a service: `http` and `grpc` see this room, and not each other.

pub(super) mod body;
pub(super) mod call;
mod door;
mod problem;
pub(super) mod status;
mod told;

pub(super) use door::{Door, HttpConnection};
pub(super) use problem::{Problem, ProblemKind};
pub(super) use told::counted;
