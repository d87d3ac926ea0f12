//! Sessions: frames broken in every way, before and after login, and events that are none in protobuf.

use bytes::BytesMut;
use meshwire_proto::EventRun;
use meshwire_proto::frame::{ClientFrame, PREFACE, Publish, PublishRun, begin_frame, end_frame};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use super::answers::Got;
use super::table::Case;
use crate::rig::hello;

/// Bytes behind their length.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

pub(crate) fn encoded(frame: &ClientFrame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let start = begin_frame(&mut bytes);
    frame.encode(&mut bytes);
    end_frame(&mut bytes, start, 0);
    bytes.to_vec()
}

pub(super) fn hello_frame() -> Vec<u8> {
    encoded(&ClientFrame::Hello(hello()))
}

/// A login, and these bytes behind it.
pub(super) fn session(frames: &[u8]) -> Vec<u8> {
    [&PREFACE[..], &hello_frame(), frames].concat()
}

/// A publish of these bytes as an event.
pub(super) fn publish(topic: &str, event: &[u8]) -> Vec<u8> {
    let mut run = meshwire_proto::EventRunBuilder::default();
    run.push(event);
    let events: EventRun = run.take();
    let run = PublishRun { alias: 1, topic: topic.into(), first_sequence: 1, events, ..PublishRun::default() };
    encoded(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }))
}

/// A field of protobuf that holds bytes.
pub(crate) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 1 << 21);
    let length = value.len();
    let mut bytes = vec![number << 3 | 2];
    if length < 128 {
        bytes.push(length as u8);
    } else if length < 16_384 {
        bytes.extend([length as u8 | 0x80, (length >> 7) as u8]);
    } else {
        bytes.extend([length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8]);
    }
    bytes.extend(value);
    bytes
}

/// An event of the four fields that must be, with some replaced.
pub(crate) fn event(replaced: &[(u8, &[u8])], more: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, value) in [(1, &b"1"[..]), (2, b"/s"), (3, b"1.0"), (4, b"t")] {
        let value = replaced.iter().find(|(n, _)| *n == number).map_or(value, |(_, value)| value);
        if !value.is_empty() {
            bytes.extend(field(number, value));
        }
    }
    bytes.extend(more);
    bytes
}

/// An attribute whose value is text.
pub(super) fn attribute(name: &str, value: &[u8]) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), field(2, &field(3, value))].concat())
}

/// So many attributes, each before those that came before it.
pub(super) fn falling(count: usize) -> Vec<u8> {
    (0..count).rev().flat_map(|n| attribute(&format!("a{n:06}"), b"")).collect()
}

/// An attribute whose value is a moment.
pub(super) fn moment(name: &str, seconds: i64, nanos: i32) -> Vec<u8> {
    let moment = prost_types::Timestamp { seconds, nanos }.encode_to_vec();
    field(5, &[field(1, name.as_bytes()), field(2, &field(7, &moment))].concat())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = before_login();
    cases.extend(after_login());
    cases.extend(events());
    cases.extend(names());
    cases
}

fn before_login() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, frames: &[u8], want: Got| {
        let sent = [&PREFACE[..], frames].concat();
        cases.push(Case::new(format!("before login: {name}"), sent, want));
    };
    let refused = Got::Refused;
    add("a frame of 70,000 bytes", &70_000u32.to_le_bytes(), refused("TOO_LARGE"));
    add("a frame of 4 GiB", &u32::MAX.to_le_bytes(), refused("TOO_LARGE"));
    add("an empty frame", &framed(b""), refused("INVALID"));
    add("a tag without a value", &framed(b"\x0a"), refused("INVALID"));
    add("a length that lies", &framed(b"\x0a\x7f"), refused("INVALID"));
    add("a group", &framed(b"\x0b\x0c"), refused("INVALID"));
    add("field number 0", &framed(b"\x02\x00"), refused("INVALID"));
    add("a varint of 11 bytes", &framed(&[b"\x08", &[0xff; 11][..]].concat()), refused("INVALID"));
    add("a publish", &publish("t", &event(&[], b"")), refused("INVALID"));
    add("a ping", &encoded(&ClientFrame::Ping(wire::Ping::default())), refused("INVALID"));
    let with = |change: fn(&mut wire::Hello)| {
        let mut hello = hello();
        change(&mut hello);
        encoded(&ClientFrame::Hello(hello))
    };
    add("versions to come", &with(|h| (h.min_version, h.max_version) = (2, 9)), refused("UNSUPPORTED"));
    add("versions that cross", &with(|h| (h.min_version, h.max_version) = (1, 0)), refused("UNSUPPORTED"));
    add("credentials", &with(|h| h.auth_scheme = "bearer".into()), refused("UNAUTHENTICATED"));
    add("another tenant", &with(|h| h.tenant = "acme".into()), refused("DENIED"));
    add("no producer", &with(|h| h.producer_id = vec![].into()), refused("INVALID"));
    add("a producer of 17 bytes", &with(|h| h.producer_id = vec![1; 17].into()), refused("INVALID"));
    add("a largest frame of one byte", &with(|h| h.max_frame_bytes = 1), refused("INVALID"));
    let mut cut = Case::new("before login: a frame cut off", [&PREFACE[..], &[10, 0, 0, 0, 1]].concat(), Got::Closed);
    cut.hangs_up = true;
    cases.push(cut);
    cases
}

fn after_login() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, frames: &[u8], want: &'static str| {
        cases.push(Case::new(format!("after login: {name}"), session(frames), Got::Refused(want)));
    };
    add("a frame of 4 GiB", &u32::MAX.to_le_bytes(), "TOO_LARGE");
    add("an empty frame", &framed(b""), "INVALID");
    add("a length that lies", &framed(b"\x0a\x7f"), "INVALID");
    add("a frame that is a number", &framed(b"\x08\x01"), "INVALID");
    add("a second Hello", &hello_frame(), "INVALID");
    add("an unknown frame", &framed(b"\xf2\x06\0"), "UNSUPPORTED");
    add(
        "a publish without an event",
        &encoded(&ClientFrame::Publish(Publish { runs: vec![PublishRun::default()], answered_through: 0 })),
        "INVALID",
    );
    add("a seek", &encoded(&ClientFrame::Seek(wire::Seek::default())), "UNSUPPORTED");
    add("a new login", &encoded(&ClientFrame::Auth(wire::Auth::default())), "UNSUPPORTED");
    let mut flood = Case::new(
        "after login: 5,000 pings",
        session(&encoded(&ClientFrame::Ping(wire::Ping { nonce: 1, answer: false })).repeat(5000)),
        Got::Served,
    );
    flood.hangs_up = true;
    cases.push(flood);
    cases
}

fn events() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, event: &[u8], want: &'static str| {
        let sent = session(&publish("t", event));
        cases.push(Case::new(format!("protobuf: {name}"), sent, Got::Refused(want)));
    };
    for (name, number) in [("id", 1), ("source", 2), ("specversion", 3), ("type", 4)] {
        add(&format!("no {name}"), &event(&[(number, b"")], b""), "INVALID");
    }
    let invalid: [(&str, Vec<u8>); 14] = [
        ("version 0.3", event(&[(3, b"0.3")], b"")),
        ("an id that is not UTF-8", event(&[(1, b"\xff")], b"")),
        ("an id twice", event(&[], &field(1, b"2"))),
        ("an attribute twice", event(&[], &attribute("a", b"1").repeat(2))),
        ("data twice", event(&[], &[field(6, b"1"), field(7, b"2")].concat())),
        ("text that is not UTF-8", event(&[], &field(7, b"\xff"))),
        ("a capital in a name", event(&[], &attribute("Attr", b"1"))),
        ("an empty name", event(&[], &attribute("", b"1"))),
        ("data as an attribute", event(&[], &attribute("data", b"1"))),
        ("an attribute without a value", event(&[], &field(5, &field(1, b"a")))),
        ("a NUL in an attribute", event(&[], &attribute("a", b"\0"))),
        ("an attribute cut off", event(&[], b"\x2a\x7f\x0a")),
        ("a group", event(&[], b"\x4b\x4c")),
        (
            "a time in the year 60,000",
            event(&[], &field(5, &[field(1, b"time"), field(2, &field(7, b"\x08\xff\xff\xff\xff\xff\x3f"))].concat())),
        ),
    ];
    for (name, event) in invalid {
        add(name, &event, "INVALID");
    }
    add("attributes over the limit", &event(&[], &attribute("a", &vec![b'x'; 66 << 10])), "TOO_LARGE");
    add("100,000 attributes in falling order", &event(&[], &falling(100_000)), "TOO_LARGE");
    cases
}

fn names() -> Vec<Case> {
    let long = "t".repeat(121);
    let topics = [
        ("a blank", "a b"),
        ("a star", "*"),
        ("a slash", "a/b"),
        ("a NUL", "a\0b"),
        ("121 bytes", &long),
        ("the gateway's own", "$x"),
        ("nothing", ""),
    ];
    let case = |(name, topic): (&str, &str)| {
        let sent = session(&publish(topic, &event(&[], b"")));
        Case::new(format!("a session's topic: {name}"), sent, Got::Refused("INVALID"))
    };
    topics.into_iter().map(case).collect()
}
