//! The event: a CloudEvent 1.0 as the bytes of its CNCF protobuf message.
//!
//! Source: CloudEvents 1.0.2, the specification and its Protobuf Event Format.

mod attribute;
mod builder;
mod layout;
mod optional;
mod parts;
mod run;
mod scan;
mod timed;
mod view;

use std::borrow::Cow;

pub use attribute::{AttributeValue, Attributes};
pub use builder::{Defaults, Event};
pub use layout::EventLayout;
pub use optional::OptionalAttributes;
pub use parts::EventParts;
pub(crate) use parts::PartsData;
pub use run::{EventRun, EventRunBuilder};
pub use timed::{TimedEvent, Timing};
pub use view::{Data, EventView, Identity, event_identity};

/// Sizes an event must keep to.
#[derive(Clone, Copy, Debug)]
pub struct EventLimits {
    /// Most bytes of data.
    pub max_event_bytes: u32,
    /// Most bytes of all attributes together, as encoded.
    pub max_attribute_bytes: u32,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            max_event_bytes: crate::options::MAX_EVENT_BYTES.default as u32,
            max_attribute_bytes: crate::options::MAX_ATTRIBUTE_BYTES.default as u32,
        }
    }
}

/// Why bytes or fields are not an event that may pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A required attribute is absent or empty.
    #[error("the event has no {0}; CloudEvents 1.0 requires id, source, type and specversion")]
    Missing(&'static str),
    /// A field or attribute that may occur once occurs again.
    #[error("the event has {0} more than once; each attribute may occur once")]
    Repeated(String),
    /// `specversion` is not `1.0`.
    #[error("specversion is {0:?}; only \"1.0\" is supported")]
    Version(String),
    /// An attribute's name breaks the naming rule.
    #[error(
        "{0:?} is not an attribute name; use lower-case letters a-z and digits, and none of id, source, type, specversion, data"
    )]
    Name(String),
    /// An attribute's value has the wrong type or breaks its type's rule.
    #[error("attribute {name} {problem}")]
    Value {
        /// Which attribute.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Over a limit.
    #[error("the event has {size} bytes of {what}, over the limit of {limit} (option {option})")]
    TooLarge {
        /// Data or attributes.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
        /// The option that sets it.
        option: &'static str,
    },
    /// More attributes than fit into any limit for their bytes.
    #[error(
        "the event has {0} attributes; over {most} are more than option {option} can allow",
        most = MOST_ATTRIBUTES, option = crate::options::MAX_ATTRIBUTE_BYTES.name
    )]
    TooMany(usize),
    /// Not the message `io.cloudevents.v1.CloudEvent`.
    #[error("not a CloudEvent in protobuf: {0}")]
    Malformed(&'static str),
    /// Not the JSON format of a CloudEvent.
    #[error("not a CloudEvent in JSON: {0}")]
    Json(String),
    /// The target format cannot carry the event's data.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl EventError {
    /// The kind a caller sees.
    #[must_use]
    pub const fn kind(&self) -> crate::ErrorKind {
        match self {
            Self::TooLarge { .. } | Self::TooMany(_) => crate::ErrorKind::TooLarge,
            Self::Unsupported(_) => crate::ErrorKind::Unsupported,
            _ => crate::ErrorKind::Invalid,
        }
    }

    pub(crate) fn value(name: &str, problem: impl Into<String>) -> Self {
        Self::Value { name: shown(name).into_owned(), problem: problem.into() }
    }

    pub(crate) fn repeated(name: &str) -> Self {
        Self::Repeated(shown(name).into_owned())
    }
}

/// So many attributes have more bytes than `max_attribute_bytes` can allow: with names of their own they take over 8 bytes each. Readers
/// of other formats stop there, as what they make of an attribute is larger than its text.
pub(crate) const MOST_ATTRIBUTES: usize = (crate::options::MAX_ATTRIBUTE_BYTES.max / 8) as usize;

/// How much of a text from outside an error repeats, in characters.
const SHOWN: usize = 40;

/// A text from outside as an error repeats it: of one that is long its beginning.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    crate::excerpt(text, SHOWN)
}
