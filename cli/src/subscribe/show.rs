//! One delivery as text.

use std::fmt::Write as _;

use meshwire::{Data, Delivery, EventError, codec};

use crate::output::one_line;

/// Most characters of an id, a type and a key, and of the data, on a line for people.
const NAME: usize = 60;
const DATA: usize = 100;

/// Appends the event in CloudEvents JSON, one line.
///
/// # Errors
/// The event has no form in JSON; nothing is appended.
pub(super) fn json(delivery: &Delivery, out: &mut String) -> Result<(), EventError> {
    let start = out.len();
    let written = codec::json::write_line(&delivery.event(), out);
    match &written {
        Ok(()) => out.push('\n'),
        Err(_) => out.truncate(start),
    }
    written
}

/// Appends a line for people: position, type, id, key, the data's beginning.
pub(super) fn line(delivery: &Delivery, out: &mut String) {
    let event = delivery.event();
    let (kind, id) = (one_line(event.kind(), NAME), one_line(event.id(), NAME));
    // Writing to a string does not fail.
    let _ = write!(out, "{:>6}  {kind}  {id}", delivery.position());
    if let Some(key) = event.key() {
        let _ = write!(out, "  key {}", one_line(key, NAME));
    }
    if delivery.attempt() > 1 {
        let _ = write!(out, "  attempt {}", delivery.attempt());
    }
    let _ = match (event.data(), std::str::from_utf8(event.data().bytes())) {
        (Data::Absent, _) => Ok(()),
        (Data::Text(_) | Data::Binary(_), Ok(text)) => write!(out, "  {}", one_line(text, DATA)),
        (Data::Proto(bytes), _) => write!(out, "  ({} bytes of protobuf)", bytes.len()),
        (data, Err(_)) => write!(out, "  ({} bytes)", data.bytes().len()),
    };
    out.push('\n');
}
