//! A line for each frame of a session, under a target of its own: who looks for what was lost on the way sees what came here and what went.
//!
//! The runner of the conformance cases strikes by these lines, whatever carries the session.

use std::net::SocketAddr;

use bytes::Bytes;
use meshwire_proto::frame::{client_frame_name, server_frame_name};

use super::protocol::Protocol;
use crate::mesh::Caller;

/// The target of the lines; their level is trace.
const TARGET: &str = "meshwire::frames";

/// Bytes of the length in front of a frame.
const LENGTH: usize = 4;

/// Whose frames they are. While nobody asks for them a frame costs a look at a flag.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Names the connection; 0: it was refused before it had a number.
    connection: u64,
    peer: Option<SocketAddr>,
    carrier: &'static str,
}

impl Seen {
    pub(super) const fn of(caller: &Caller, connection: u64) -> Self {
        Self { connection, peer: caller.peer, carrier: caller.protocol }
    }

    /// Of one for whom there is no place.
    pub(super) const fn nobody() -> Self {
        Self { connection: 0, peer: None, carrier: "native" }
    }

    /// A frame came whole: `frame` is what stands behind its length. Nothing of it was done yet.
    pub(super) fn read(self, frame: &[u8]) {
        self.tell("frame read", || (client_frame_name(frame), frame.len()));
    }

    /// A frame is to be written, none of its bytes was yet: `head` is what stands behind its length, up to the `events` bytes at its end.
    pub(super) fn written(self, head: Option<&[u8]>, events: usize) {
        let head = head.unwrap_or_default();
        self.tell("frame written", || (server_frame_name(head), head.len() + events));
    }

    /// What became of a frame, with its name and its bytes behind the length.
    fn tell(self, what: &'static str, frame: impl FnOnce() -> (&'static str, usize)) {
        if !tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
            return;
        }
        let Self { connection, peer, carrier } = self;
        let (frame, bytes) = frame();
        let (peer, bytes) = (peer.map(tracing::field::display), LENGTH + bytes);
        tracing::trace!(target: TARGET, connection, peer, carrier, frame, bytes, "{what}");
    }
}

impl Protocol {
    /// Processes a frame that came.
    pub(super) fn read(&mut self, frame: &Bytes) {
        self.seen.read(frame);
        self.frame(frame);
    }
}
