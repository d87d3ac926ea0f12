//! Generated protobuf types: control frames, administration, and the
//! CloudEvent schema for other people's stubs and for tests.

#![allow(missing_docs, clippy::all, unnameable_types, reason = "generated code")]

/// `io.cloudevents.v1`.
#[rustfmt::skip]
#[path = "io_cloudevents_v1.rs"]
pub mod cloudevents;

/// `meshwire.session.v1`.
#[rustfmt::skip]
#[path = "meshwire_session_v1.rs"]
pub mod session;

/// `meshwire.admin.v1`.
#[rustfmt::skip]
#[path = "meshwire_admin_v1.rs"]
pub mod admin;
