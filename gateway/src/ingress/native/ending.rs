//! What ends: a call that is refused, a connection, and the gateway, of which the peer is told before anything is refused for it.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{FrameError, ServerFrame};
use meshwire_proto::wire::session as wire;

use super::protocol::{Protocol, State};
use crate::mesh::Refusal;

impl Protocol {
    /// Tells the peer, once, that the gateway stops. A frame that is refused for it stands behind that: the client keeps what it
    /// asked for until the next connection.
    pub(super) fn tell_stop(&mut self) {
        if self.told || !self.native.mesh.is_stopping() || !matches!(self.state, State::Open(_)) {
            return;
        }
        self.told = true;
        let left = self.native.mesh.left_to_stop(self.native.config.stop_timeout);
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        self.send(ServerFrame::Drain(wire::Drain { deadline_ms, reason: "the gateway is stopping".to_owned() }));
    }

    /// An error that the connection survives.
    pub(super) fn refuse(&mut self, kind: ErrorKind, message: &str, operation: &str) {
        self.send(ServerFrame::Error(wire::Error {
            code: kind.number(),
            message: message.to_owned(),
            operation: operation.to_owned(),
            ..wire::Error::default()
        }));
    }

    /// An error that ends the connection. A session stays to be resumed.
    pub(super) fn fail(&mut self, kind: ErrorKind, message: &str) {
        self.end(Refusal::new(kind, message));
    }

    pub(super) fn end(&mut self, refusal: Refusal) {
        let Refusal { kind, message, retry_after_ms } = refusal.clone();
        let (peer, code) = (self.caller.peer.map(tracing::field::display), kind.code());
        if kind == ErrorKind::Unavailable {
            // Of a gateway that stops: every client tries, and tries again.
            tracing::debug!(peer, code, message, "connection refused");
        } else {
            tracing::info!(peer, code, message, "connection refused");
        }
        let code = kind.number();
        self.send(ServerFrame::Error(wire::Error { code, message, retry_after_ms, fatal: true, ..Default::default() }));
        self.refused = Some(refusal);
        self.closing = true;
    }

    pub(super) fn broken(&mut self, error: &FrameError) {
        let kind = match error {
            FrameError::TooLong { .. } => ErrorKind::TooLarge,
            FrameError::Unknown(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Invalid,
        };
        self.fail(kind, &error.to_string());
    }

    pub(super) fn lost_session(&mut self) {
        let text = "another connection has resumed this session";
        self.closing = true;
        self.refused = Some(Refusal::new(ErrorKind::Closed, text));
        self.refuse(ErrorKind::Closed, text, "session");
    }
}
