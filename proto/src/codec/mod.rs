//! Formats an event is written in, other than its own protobuf bytes.

pub mod grpc;
pub mod http;
pub mod json;
pub mod percent;
