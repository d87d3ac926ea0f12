//! What a client says.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::varint::{put_head, put_varint};
use super::{FIRST_OPTIONAL_FRAME, Fields, FrameError, Publish, Settle, Value};
use crate::wire::session;

/// One frame of a client.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the schema documents each frame")]
#[non_exhaustive]
pub enum ClientFrame {
    Hello(session::Hello),
    Publish(Publish),
    Subscribe(session::Subscribe),
    Unsubscribe(session::Unsubscribe),
    Credit(session::Credit),
    Settle(Settle),
    Seek(session::Seek),
    Request(session::Request),
    Reply(session::Reply),
    Cancel(session::Cancel),
    Admin(session::Admin),
    Auth(session::Auth),
    Ping(session::Ping),
    Goodbye(session::Goodbye),
    ReplyCredit(session::ReplyCredit),
    /// A frame of a newer version that may be skipped.
    Optional(u32),
}

/// The one field of an envelope.
pub(super) fn envelope(frame: Bytes) -> Result<(u32, Bytes), FrameError> {
    let mut fields = Fields::new("envelope", frame);
    let mut found = None;
    while let Some((number, value)) = fields.next()? {
        if found.is_some() {
            return Err(FrameError::malformed("envelope", "two frames in one"));
        }
        let Value::Bytes(body) = value else {
            return Err(FrameError::malformed("envelope", "a frame that is not a message"));
        };
        found = Some((number, body));
    }
    found.ok_or_else(|| FrameError::malformed("envelope", "empty"))
}

/// A generated message.
pub(super) fn message<M: Message + Default>(name: &'static str, body: Bytes) -> Result<M, FrameError> {
    M::decode(body).map_err(|e| FrameError::malformed(name, e.to_string()))
}

/// Writes a generated message as field `number` of an envelope.
pub(super) fn put_message(out: &mut BytesMut, number: u32, message: &impl Message) {
    put_head(out, number, message.encoded_len());
    message.encode_raw(out);
}

impl ClientFrame {
    /// Reads one frame.
    ///
    /// # Errors
    /// [`FrameError`]; an unknown frame that is optional is [`ClientFrame::Optional`].
    pub fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let (number, body) = envelope(frame)?;
        Ok(match number {
            1 => Self::Hello(message("Hello", body)?),
            2 => Self::Publish(Publish::decode(body)?),
            3 => Self::Subscribe(message("Subscribe", body)?),
            4 => Self::Unsubscribe(message("Unsubscribe", body)?),
            5 => Self::Credit(message("Credit", body)?),
            6 => Self::Settle(Settle::decode(body)?),
            7 => Self::Seek(message("Seek", body)?),
            8 => Self::Request(message("Request", body)?),
            9 => Self::Reply(message("Reply", body)?),
            10 => Self::Cancel(message("Cancel", body)?),
            11 => Self::Admin(message("Admin", body)?),
            12 => Self::Auth(message("Auth", body)?),
            13 => Self::Ping(message("Ping", body)?),
            14 => Self::Goodbye(message("Goodbye", body)?),
            15 => Self::ReplyCredit(message("ReplyCredit", body)?),
            number if number >= FIRST_OPTIONAL_FRAME => Self::Optional(number),
            number => return Err(FrameError::Unknown(number)),
        })
    }

    /// Appends the message, without a length before it.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(m) => put_message(out, 1, m),
            Self::Publish(m) => m.encode(out),
            Self::Subscribe(m) => put_message(out, 3, m),
            Self::Unsubscribe(m) => put_message(out, 4, m),
            Self::Credit(m) => put_message(out, 5, m),
            Self::Settle(m) => m.encode(out),
            Self::Seek(m) => put_message(out, 7, m),
            Self::Request(m) => put_message(out, 8, m),
            Self::Reply(m) => put_message(out, 9, m),
            Self::Cancel(m) => put_message(out, 10, m),
            Self::Admin(m) => put_message(out, 11, m),
            Self::Auth(m) => put_message(out, 12, m),
            Self::Ping(m) => put_message(out, 13, m),
            Self::Goodbye(m) => put_message(out, 14, m),
            Self::ReplyCredit(m) => put_message(out, 15, m),
            Self::Optional(number) => {
                put_varint(out, u64::from(*number) << 3 | 2);
                put_varint(out, 0);
            }
        }
    }
}
