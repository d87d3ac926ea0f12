//! The frame table of protocol version 1, copied by hand from its specification.

use super::Kind::{Bytes, Flag, Inner, Number, Text};
use super::{Field, Message};

/// Frames of a client.
pub(crate) static CLIENT: Message = Message(&[
    Field(1, "hello", Inner(&HELLO), false),
    Field(2, "publish", Inner(&PUBLISH), false),
    Field(3, "subscribe", Inner(&SUBSCRIBE), false),
    Field(4, "unsubscribe", Inner(&SUBSCRIPTION), false),
    Field(5, "credit", Inner(&CREDIT), false),
    Field(6, "settle", Inner(&SETTLE), false),
    Field(11, "admin", Inner(&ADMIN), false),
    Field(13, "ping", Inner(&PING), false),
    Field(14, "goodbye", Inner(&GOODBYE), false),
]);

/// Frames of a gateway.
pub(crate) static SERVER: Message = Message(&[
    Field(1, "welcome", Inner(&WELCOME), false),
    Field(2, "receipts", Inner(&RECEIPTS), false),
    Field(3, "subscribed", Inner(&SUBSCRIBED), false),
    Field(4, "unsubscribed", Inner(&UNSUBSCRIBED), false),
    Field(5, "deliver", Inner(&DELIVER), false),
    Field(6, "settled", Inner(&SETTLED), false),
    Field(7, "error", Inner(&ERROR), false),
    Field(8, "admin", Inner(&ADMIN_ANSWER), false),
    Field(9, "ping", Inner(&PING), false),
    Field(10, "drain", Inner(&DRAIN), false),
    // Numbers that this version does not have: one that must be understood, one that need not.
    Field(99, "unknown_required", Inner(&NOTHING), false),
    Field(1001, "unknown_optional", Inner(&NOTHING), false),
]);

static NOTHING: Message = Message(&[]);

static EVENT: Message = Message(&[
    Field(1, "id", Text, false),
    Field(2, "source", Text, false),
    Field(3, "specversion", Text, false),
    Field(4, "type", Text, false),
    Field(5, "attributes", Inner(&ATTRIBUTE), true),
    Field(6, "binary", Bytes, false),
    Field(7, "text", Text, false),
]);

static ATTRIBUTE: Message = Message(&[Field(1, "name", Text, false), Field(2, "value", Inner(&VALUE), false)]);

static VALUE: Message = Message(&[
    Field(1, "boolean", Flag, false),
    Field(2, "integer", Number, false),
    Field(3, "string", Text, false),
    Field(4, "bytes", Bytes, false),
    Field(5, "uri", Text, false),
    Field(6, "uri_reference", Text, false),
    Field(7, "timestamp", Inner(&TIMESTAMP), false),
]);

static TIMESTAMP: Message = Message(&[Field(1, "seconds", Number, false), Field(2, "nanos", Number, false)]);

static HELLO: Message = Message(&[
    Field(1, "producer_id", Bytes, false),
    Field(2, "producer_epoch", Number, false),
    Field(3, "min_version", Number, false),
    Field(4, "max_version", Number, false),
    Field(5, "features", Text, true),
    Field(6, "client_name", Text, false),
    Field(7, "language", Text, false),
    Field(8, "client_version", Text, false),
    Field(12, "resume_session", Bytes, false),
    Field(13, "resume_secret", Bytes, false),
    Field(15, "max_frame_bytes", Number, false),
    Field(16, "first_unanswered", Number, false),
    Field(17, "held", Inner(&HELD), true),
]);

static HELD: Message = Message(&[Field(1, "subscription", Number, false), Field(2, "next_delivery", Number, false)]);

static WELCOME: Message = Message(&[
    Field(1, "resumed", Flag, false),
    Field(2, "kept_through", Number, false),
    Field(3, "version", Number, false),
    Field(5, "session", Bytes, false),
    Field(6, "secret", Bytes, false),
    Field(7, "resume_window_ms", Number, false),
    Field(8, "gateway_id", Text, false),
    Field(9, "max_event_bytes", Number, false),
    Field(10, "max_attribute_bytes", Number, false),
    Field(11, "max_frame_bytes", Number, false),
    Field(12, "publish_window_events", Number, false),
    Field(13, "publish_window_bytes", Number, false),
    Field(14, "heartbeat_ms", Number, false),
    Field(17, "settled_through", Number, false),
    Field(18, "producer_known", Flag, false),
]);

static PUBLISH: Message =
    Message(&[Field(1, "runs", Inner(&PUBLISH_RUN), true), Field(2, "answered_through", Number, false)]);

static PUBLISH_RUN: Message = Message(&[
    Field(1, "alias", Number, false),
    Field(2, "topic", Text, false),
    Field(3, "first_sequence", Number, false),
    Field(4, "count", Number, false),
    Field(15, "events", Inner(&EVENT), true),
]);

static RECEIPTS: Message = Message(&[Field(1, "receipts", Inner(&RECEIPT), true)]);

static RECEIPT: Message = Message(&[
    Field(1, "first_sequence", Number, false),
    Field(2, "count", Number, false),
    Field(3, "code", Number, false),
    Field(4, "first_position", Number, false),
    Field(5, "duplicate", Flag, false),
    Field(6, "message", Text, false),
    Field(7, "retry_after_ms", Number, false),
]);

static SUBSCRIBE: Message = Message(&[
    Field(1, "subscription", Number, false),
    Field(2, "topic", Text, false),
    Field(3, "group", Text, false),
    Field(4, "mode", Number, false),
    Field(5, "start", Inner(&START), false),
    Field(6, "member", Text, false),
    Field(7, "ack_wait_ms", Number, false),
    Field(8, "max_events", Number, false),
    Field(9, "max_bytes", Number, false),
    Field(15, "settings", Bytes, false),
]);

static START: Message = Message(&[
    Field(1, "earliest", Flag, false),
    Field(2, "latest", Flag, false),
    Field(3, "time_unix_ms", Number, false),
    Field(4, "position", Number, false),
]);

static SUBSCRIBED: Message = Message(&[
    Field(1, "subscription", Number, false),
    Field(2, "next_delivery", Number, false),
    Field(3, "next_position", Number, false),
    Field(4, "ack_wait_ms", Number, false),
    Field(5, "topic_next", Number, false),
    Field(6, "new_group", Flag, false),
    Field(30, "topic_identity", Bytes, false),
]);

static SUBSCRIPTION: Message = Message(&[Field(1, "subscription", Number, false)]);

static UNSUBSCRIBED: Message = Message(&[
    Field(1, "subscription", Number, false),
    Field(2, "code", Number, false),
    Field(3, "message", Text, false),
]);

static CREDIT: Message = Message(&[
    Field(1, "subscription", Number, false),
    Field(2, "max_events", Number, false),
    Field(3, "max_bytes", Number, false),
]);

static DELIVER: Message = Message(&[Field(1, "runs", Inner(&DELIVER_RUN), true)]);

static DELIVER_RUN: Message = Message(&[
    Field(1, "subscription", Number, false),
    Field(2, "first_delivery", Number, false),
    Field(3, "attempt", Number, false),
    Field(4, "first_position", Number, false),
    Field(5, "count", Number, false),
    Field(6, "gap", Number, false),
    Field(7, "stored_unix_ms", Number, false),
    Field(15, "events", Inner(&EVENT), true),
]);

static SETTLE: Message = Message(&[
    Field(1, "sequence", Number, false),
    Field(2, "ranges", Inner(&SETTLE_RANGE), true),
    Field(3, "confirm", Flag, false),
]);

static SETTLE_RANGE: Message = Message(&[
    Field(1, "subscription", Number, false),
    Field(2, "first_delivery", Number, false),
    Field(3, "count", Number, false),
    Field(4, "kind", Number, false),
    Field(5, "delay_ms", Number, false),
    Field(6, "reason", Text, false),
]);

static SETTLED: Message =
    Message(&[Field(1, "through", Number, false), Field(2, "results", Inner(&SETTLE_RESULT), true)]);

static SETTLE_RESULT: Message = Message(&[
    Field(1, "sequence", Number, false),
    Field(2, "subscription", Number, false),
    Field(3, "first_delivery", Number, false),
    Field(4, "count", Number, false),
    Field(5, "code", Number, false),
]);

static ADMIN: Message = Message(&[Field(1, "number", Number, false), Field(2, "command", Bytes, false)]);

static ADMIN_ANSWER: Message = Message(&[
    Field(1, "number", Number, false),
    Field(2, "code", Number, false),
    Field(3, "message", Text, false),
    Field(4, "answer", Bytes, false),
    Field(40, "retry_after_ms", Number, false),
]);

static PING: Message = Message(&[Field(1, "nonce", Number, false), Field(2, "answer", Flag, false)]);

static DRAIN: Message = Message(&[Field(1, "deadline_ms", Number, false), Field(2, "reason", Text, false)]);

static GOODBYE: Message = Message(&[Field(1, "reason", Text, false)]);

static ERROR: Message = Message(&[
    Field(1, "code", Number, false),
    Field(2, "message", Text, false),
    Field(3, "subscription", Number, false),
    Field(4, "operation", Text, false),
    Field(5, "retry_after_ms", Number, false),
    Field(6, "fatal", Flag, false),
]);
