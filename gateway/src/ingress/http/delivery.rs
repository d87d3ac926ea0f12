//! Deliveries as JSON objects: `{"lease", "attempt", "position", "event"}`.

use std::fmt::Write as _;

use meshwire_proto::codec::json;
use meshwire_proto::{EventError, EventLimits, EventView};

use super::Problem;
use crate::ingress::calls::{Calls, Delivered};
use crate::mesh::Refusal;

/// What is stored was checked when it was published, by limits that may have been others.
pub(super) const ANY_SIZE: EventLimits = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };

/// That the gateway stops, where a delivery could stand; and how long what is leased may be settled.
pub(super) fn stopping(calls: &Calls) -> String {
    format!("{{\"stopping\":{{\"deadline_ms\":{}}}}}", calls.left_to_stop().as_millis())
}

/// Appends a delivery as an object. An event that has no form in JSON is counted, and `error` says so in its place: its
/// lease can be settled all the same.
pub(super) fn write(calls: &Calls, delivered: &Delivered, out: &mut String) {
    write_with(calls, delivered, out, json::write);
}

/// [`write()`], on one line.
pub(super) fn write_line(calls: &Calls, delivered: &Delivered, out: &mut String) {
    write_with(calls, delivered, out, json::write_line);
}

type Writing = fn(&EventView<'_>, &mut String) -> Result<(), EventError>;

fn write_with(calls: &Calls, delivered: &Delivered, out: &mut String, event: Writing) {
    out.push('{');
    if let Some(lease) = &delivered.lease {
        // A token has nothing that JSON would escape.
        let _ = write!(out, "\"lease\":\"{lease}\",");
    }
    let _ = write!(out, "\"attempt\":{},\"position\":\"{}\",", delivered.attempt, delivered.position);
    if delivered.gap > 0 {
        let _ = write!(out, "\"gap\":{},", delivered.gap);
    }
    let before = out.len();
    out.push_str("\"event\":");
    let written = EventView::parse(&delivered.event, ANY_SIZE).and_then(|view| event(&view, out));
    if let Err(error) = written {
        calls.count_unwritable();
        calls.mesh().counts().told(error.kind());
        out.truncate(before);
        let problem = Problem::from(Refusal::new(error.kind(), error.to_string()));
        let _ = write!(out, "\"error\":{}", problem.json());
    }
    out.push('}');
}
