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

/// `meshwire.v1`. Events are their bytes here: `io.cloudevents.v1.CloudEvent` in the schema.
#[rustfmt::skip]
#[path = "meshwire_v1.rs"]
pub mod mesh;

/// All schemas as a `google.protobuf.FileDescriptorSet`, as gRPC reflection gives them.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");
