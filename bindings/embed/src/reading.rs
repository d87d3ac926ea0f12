//! Reading an event that a host has kept as bytes.

use meshwire::{Error, ErrorKind, EventView, Result};
use meshwire_proto::EventLimits;

/// The gateway holds events to its limits; whatever was received is read.
const ANY_SIZE: EventLimits = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };

/// An event by its bytes, as [`EventView::as_bytes`] gave them.
///
/// # Errors
/// `INVALID`: they are none.
pub fn read_event(bytes: &[u8]) -> Result<EventView<'_>> {
    EventView::parse(bytes, ANY_SIZE).map_err(|problem| {
        Error::of_host(ErrorKind::Invalid, "read", format!("these bytes are not an event: {problem}"))
    })
}
