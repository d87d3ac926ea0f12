//! What a gateway says.

use bytes::{Bytes, BytesMut};

use super::client::{envelope, message, put_message};
use super::varint::put_head;
use super::{Deliver, FIRST_OPTIONAL_FRAME, FrameError, Receipts, Settled};
use crate::wire::session;

/// One frame of a gateway.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the schema documents each frame")]
#[non_exhaustive]
pub enum ServerFrame {
    Welcome(session::Welcome),
    Receipts(Receipts),
    Subscribed(session::Subscribed),
    Unsubscribed(session::Unsubscribed),
    Deliver(Deliver),
    Settled(Settled),
    Error(session::Error),
    Admin(session::AdminAnswer),
    Ping(session::Ping),
    Drain(session::Drain),
    Request(session::Request),
    Reply(session::Reply),
    Cancel(session::Cancel),
    Redirect(session::Redirect),
    Auth(session::AuthAnswer),
    Sought(session::Sought),
    ReplyCredit(session::ReplyCredit),
    /// A frame of a newer version that may be skipped.
    Optional(u32),
}

impl ServerFrame {
    /// Reads one frame.
    ///
    /// # Errors
    /// [`FrameError`]; an unknown frame that is optional is [`ServerFrame::Optional`].
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let (number, body) = envelope(frame)?;
        Ok(match number {
            1 => Self::Welcome(message("Welcome", body)?),
            2 => Self::Receipts(Receipts::decode(body)?),
            3 => Self::Subscribed(message("Subscribed", body)?),
            4 => Self::Unsubscribed(message("Unsubscribed", body)?),
            5 => Self::Deliver(Deliver::decode(body)?),
            6 => Self::Settled(Settled::decode(body)?),
            7 => Self::Error(message("Error", body)?),
            8 => Self::Admin(message("AdminAnswer", body)?),
            9 => Self::Ping(message("Ping", body)?),
            10 => Self::Drain(message("Drain", body)?),
            11 => Self::Request(message("Request", body)?),
            12 => Self::Reply(message("Reply", body)?),
            13 => Self::Cancel(message("Cancel", body)?),
            14 => Self::Redirect(message("Redirect", body)?),
            15 => Self::Auth(message("AuthAnswer", body)?),
            16 => Self::Sought(message("Sought", body)?),
            17 => Self::ReplyCredit(message("ReplyCredit", body)?),
            number if number >= FIRST_OPTIONAL_FRAME => Self::Optional(number),
            number => return Err(FrameError::Unknown(number)),
        })
    }

    /// Appends the message, without a length before it.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Welcome(m) => put_message(out, 1, m),
            Self::Receipts(m) => m.encode(out),
            Self::Subscribed(m) => put_message(out, 3, m),
            Self::Unsubscribed(m) => put_message(out, 4, m),
            Self::Deliver(m) => m.encode(out),
            Self::Settled(m) => m.encode(out),
            Self::Error(m) => put_message(out, 7, m),
            Self::Admin(m) => put_message(out, 8, m),
            Self::Ping(m) => put_message(out, 9, m),
            Self::Drain(m) => put_message(out, 10, m),
            Self::Request(m) => put_message(out, 11, m),
            Self::Reply(m) => put_message(out, 12, m),
            Self::Cancel(m) => put_message(out, 13, m),
            Self::Redirect(m) => put_message(out, 14, m),
            Self::Auth(m) => put_message(out, 15, m),
            Self::Sought(m) => put_message(out, 16, m),
            Self::ReplyCredit(m) => put_message(out, 17, m),
            Self::Optional(number) => put_head(out, *number, 0),
        }
    }
}
