//! Why a connection of WebSocket ends: one meaning of each code, whatever the subprotocol.

use meshwire_proto::ErrorKind;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::mesh::Refusal;

/// Longest reason of a close frame, in bytes: RFC 6455, 5.5.
const REASON: usize = 123;

/// Why it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ingress::http) enum End {
    /// The peer is gone, or said that it cannot go on.
    Gone,
    /// The peer said goodbye.
    Goodbye,
    /// It broke a rule of RFC 6455: what else it sends has no meaning.
    Broken(CloseFrame),
    /// It is told why, and may answer that it has heard.
    Told(CloseFrame),
}

fn frame(code: CloseCode, reason: &str) -> CloseFrame {
    let reason = reason.get(..reason.floor_char_boundary(REASON)).unwrap_or_default();
    CloseFrame { code, reason: reason.into() }
}

impl End {
    /// With our code: 4000 and its number.
    pub(in crate::ingress::http) fn refused(refusal: &Refusal) -> Self {
        let text = format!("{}: {}", refusal.kind.code(), refusal.message);
        Self::Told(frame(refusal.kind.ws_close().into(), &text))
    }

    /// What the peer said when it closed it.
    pub(super) const fn by_peer(frame: Option<&CloseFrame>) -> Self {
        match frame {
            None | Some(CloseFrame { code: CloseCode::Normal | CloseCode::Away | CloseCode::Status, .. }) => {
                Self::Goodbye
            }
            Some(_) => Self::Gone,
        }
    }

    /// Whether who was there left, or is sent away for what is not its fault: not one that is lost, breaks a rule or falls silent.
    pub(in crate::ingress::http) fn is_in_order(&self) -> bool {
        match self {
            Self::Goodbye => true,
            Self::Gone | Self::Broken(_) => false,
            Self::Told(frame) => frame.code == CloseCode::Away || self.kind() == Some(ErrorKind::Busy),
        }
    }

    /// Which of our errors it says.
    pub(super) fn kind(&self) -> Option<ErrorKind> {
        let Self::Told(frame) = self else { return None };
        ErrorKind::ALL.iter().find(|kind| u16::from(frame.code) == kind.ws_close()).copied()
    }

    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self::refused(&Refusal::new(ErrorKind::Timeout, message))
    }

    /// 1001.
    pub(in crate::ingress::http) fn stopping() -> Self {
        Self::Told(frame(CloseCode::Away, "the gateway is stopping"))
    }

    /// 1003: text where there is none, or bytes.
    pub(in crate::ingress::http) fn wrong_kind(reason: &'static str) -> Self {
        Self::Told(frame(CloseCode::Unsupported, reason))
    }

    /// What the peer did, whose messages may have `most` bytes.
    pub(super) fn of(error: &Error, most: usize) -> Self {
        match error {
            Error::Utf8(_) => Self::Broken(frame(CloseCode::Invalid, "text that is not UTF-8")),
            Error::Capacity(_) => {
                let text = format!("a message is over {most} bytes, which is the most in this subprotocol");
                Self::Broken(frame(CloseCode::Size, &text))
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Self::Broken(frame(CloseCode::Protocol, "a frame breaks a rule of RFC 6455")),
            _ => Self::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_goodbye_or_is_sent_away_for_no_fault_of_its_own_leaves_in_order_and_nobody_else() {
        let by_peer = |code: u16| End::by_peer(Some(&frame(code.into(), "")));
        for end in [End::by_peer(None), by_peer(1000), by_peer(1001), End::stopping()] {
            assert!(end.is_in_order(), "{end:?}");
        }
        assert!(End::refused(&Refusal::new(ErrorKind::Busy, "x")).is_in_order());
        for code in [1002, 1006, 1009, 1011, 4000] {
            assert!(!by_peer(code).is_in_order(), "{code}");
        }
        for end in [End::Gone, End::timeout("x"), End::wrong_kind("x"), End::Broken(frame(CloseCode::Size, "x"))] {
            assert!(!end.is_in_order(), "{end:?}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters_and_names_its_code_first() {
        let End::Told(frame) = End::refused(&Refusal::new(ErrorKind::Busy, "\u{20ac}".repeat(60))) else {
            panic!("not told");
        };
        assert_eq!(u16::from(frame.code), ErrorKind::Busy.ws_close());
        assert_eq!(End::Told(frame.clone()).kind(), Some(ErrorKind::Busy));
        assert_eq!(End::stopping().kind(), None);
        assert!(frame.reason.starts_with("BUSY: \u{20ac}") && frame.reason.len() > REASON - 3, "{}", frame.reason);
        assert!(frame.reason.len() <= REASON, "{}", frame.reason.len());
    }
}
