//! The native session protocol, version 1: what travels after the preface.
//!
//! Frames that carry events or answer them in ranges ([`Publish`], [`Receipts`],
//! [`Deliver`], [`Settle`], [`Settled`]) are read and written by hand over
//! [`Bytes`](bytes::Bytes): events stay slices of the received buffer. All
//! others are the generated types of [`crate::wire::session`].
//!
//! Schema: `proto/meshwire/session/v1.proto`.

mod client;
mod deliver;
mod names;
mod parser;
mod publish;
mod server;
mod settle;
mod varint;

pub use client::ClientFrame;
pub use deliver::{Deliver, DeliverRun};
pub use names::{client_frame_name, server_frame_name};
pub use parser::{FrameParser, PREFACE, begin_frame, end_frame};
pub use publish::{Publish, PublishRun, Receipt, Receipts};
pub use server::ServerFrame;
pub use settle::{Settle, SettleKind, SettleRange, SettleResult, Settled};
use varint::{Fields, Value};
pub(crate) use varint::{bytes_len, number_len, put_bytes, put_head, put_number, put_varint, read_varint, varint_len};

/// The protocol version this crate speaks.
pub const VERSION: u32 = 1;

/// Field numbers from here on are frames that a peer may skip.
pub const FIRST_OPTIONAL_FRAME: u32 = 1000;

/// Why bytes are not a frame. The connection that carried them cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than this side accepts.
    #[error("a frame of {length} bytes is over the limit of {limit} (option {option})")]
    TooLong {
        /// Its stated length.
        length: u64,
        /// The limit.
        limit: u64,
        /// The option that sets the limit.
        option: &'static str,
    },
    /// Not valid protobuf, or a value that its field cannot hold.
    #[error("a {frame} frame is malformed: {problem}")]
    Malformed {
        /// Which frame.
        frame: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The frame's number is not known and not optional.
    #[error("frame number {0} is not known to protocol version 1")]
    Unknown(u32),
}

impl FrameError {
    pub(crate) fn malformed(frame: &'static str, problem: impl Into<String>) -> Self {
        Self::Malformed { frame, problem: problem.into() }
    }
}
