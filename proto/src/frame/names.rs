//! What frames are called, as the schema has them: for those who look on, without reading more than a frame's number.

use super::varint::read_varint;

const CLIENT: [&str; 15] = [
    "hello",
    "publish",
    "subscribe",
    "unsubscribe",
    "credit",
    "settle",
    "seek",
    "request",
    "reply",
    "cancel",
    "admin",
    "auth",
    "ping",
    "goodbye",
    "reply_credit",
];

const SERVER: [&str; 17] = [
    "welcome",
    "receipts",
    "subscribed",
    "unsubscribed",
    "deliver",
    "settled",
    "error",
    "admin",
    "ping",
    "drain",
    "request",
    "reply",
    "cancel",
    "redirect",
    "auth",
    "sought",
    "reply_credit",
];

/// What a frame of a client is called (`publish`, `reply_credit`), by its first bytes behind the length; `unknown` if version 1 has
/// no such frame. Nothing else of it is looked at.
#[must_use]
pub fn client_frame_name(frame: &[u8]) -> &'static str {
    name(&CLIENT, frame)
}

/// The same of a frame of a gateway (`receipts`, `deliver`).
#[must_use]
pub fn server_frame_name(frame: &[u8]) -> &'static str {
    name(&SERVER, frame)
}

fn name(names: &[&'static str], frame: &[u8]) -> &'static str {
    let number = read_varint(frame).and_then(|(key, _)| usize::try_from(key >> 3).ok());
    number.and_then(|number| names.get(number.checked_sub(1)?)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{CLIENT, SERVER, client_frame_name, server_frame_name};

    /// Names and numbers of the frames in one message of the schema.
    fn schema(message: &str) -> BTreeMap<usize, &'static str> {
        let text = include_str!("../../proto/meshwire/session/v1.proto");
        let (_, from) = text.split_once(&format!("message {message} {{")).unwrap_or_default();
        let (frames, _) = from.split_once('}').unwrap_or_default();
        let fields = frames.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once(" = "));
        fields.filter_map(|(field, number)| Some((number.parse().ok()?, field.rsplit(' ').next()?))).collect()
    }

    #[test]
    fn frames_are_called_as_in_the_schema() {
        for (message, names) in [("ClientFrame", &CLIENT[..]), ("ServerFrame", &SERVER[..])] {
            let ours: BTreeMap<usize, &str> = names.iter().enumerate().map(|(at, name)| (at + 1, *name)).collect();
            assert_eq!(ours, schema(message), "{message}");
        }
    }

    #[test]
    fn a_name_is_read_off_the_first_bytes_and_what_is_no_frame_has_none() {
        assert_eq!((client_frame_name(&[0x12, 0]), server_frame_name(&[0x12, 0])), ("publish", "receipts"));
        assert_eq!((client_frame_name(&[0x7A]), server_frame_name(&[0x8A, 1])), ("reply_credit", "reply_credit"));
        for bytes in [&[][..], &[0x80], &[0], &[0xC2, 0x3E, 0], &[0xFF; 11]] {
            assert_eq!((client_frame_name(bytes), server_frame_name(bytes)), ("unknown", "unknown"), "{bytes:?}");
        }
    }
}
