//! Meshwire's shared language.
//!
//! - [`EventView`] and [`Event`]: a CloudEvent as its CNCF protobuf bytes, read in
//!   place or built once at the edge;
//! - [`TopicName`], [`GroupName`], [`GroupKey`]: names that are valid once parsed;
//! - [`frame`]: the native session protocol, version 1;
//! - [`codec`]: the other formats of an event, JSON and HTTP, and what gRPC puts around messages and errors;
//! - [`ErrorKind`], [`options`]: the tables every language shares;
//! - [`wire`]: generated protobuf types, for control frames and for other
//!   people's stubs.
//!
//! *Invariant:* nothing here opens a socket or a file, starts a thread, or reads
//! a clock. Time comes in as a [`Moment`] or as Unix milliseconds.

pub mod codec;
mod counted;
mod error;
mod event;
mod excerpt;
pub mod frame;
mod moment;
mod names;
pub mod options;
mod time;
pub mod wire;

pub use counted::{Counted, counted};
pub use error::{ErrorKind, Retry};
pub use event::{
    AttributeValue, Attributes, Data, Defaults, Event, EventError, EventLayout, EventLimits, EventParts, EventRun,
    EventRunBuilder, EventView, Identity, OptionalAttributes, TimedEvent, Timing, event_identity,
};
pub use excerpt::excerpt;
pub use moment::{Moment, NoTime, UnixMillis};
pub use names::{GroupKey, GroupName, MemberName, NameError, TopicName};
