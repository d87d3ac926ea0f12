//! Formats an event is written in, other than its own protobuf bytes, and what gRPC puts around them.

pub mod grpc;
pub mod http;
pub mod json;
pub mod percent;
pub mod rpc;
