//! WebSocket: upgrades that cannot be, frames against the rules, and what is too much. The rules one by one are in `websocket_rfc`.

use meshwire_proto::frame::PREFACE;

use super::answers::Got;
use super::frames::{framed, hello_frame};
use super::http1::http;
use super::table::Case;

/// A masked frame: first byte, and its length in the shortest form.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    let length = payload.len();
    if length < 126 {
        frame.push(0x80 | length as u8);
    } else if length < 65_536 {
        frame.push(0x80 | 126);
        frame.extend((length as u16).to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend((length as u64).to_be_bytes());
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn request(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

/// Headers that make an upgrade, but those that begin with `but`.
pub(crate) fn headers(but: &str) -> String {
    let all = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: meshwire.v1\r\n";
    all.split_inclusive("\r\n").filter(|line| but.is_empty() || !line.starts_with(but)).collect()
}

const LINE: &str = "GET /v1/ws HTTP/1.1";

/// An upgrade, and these bytes behind it.
pub(super) fn upgraded(frames: &[u8]) -> Vec<u8> {
    [&request(LINE, &headers(""))[..], frames].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, sent: Vec<u8>, want: Got| {
        cases.push(Case::new(format!("WebSocket: {name}"), sent, want));
    };
    let invalid = || http(400, "INVALID");
    add("POST", request("POST /v1/ws HTTP/1.1", &headers("")), http(405, "INVALID"));
    for but in ["connection", "upgrade", "sec-websocket-key"] {
        add(&format!("no {but}"), request(LINE, &headers(but)), invalid());
    }
    let other = |name: &str, value: &str| request(LINE, &format!("{}{name}: {value}\r\n", headers(name)));
    add("no version", request(LINE, &headers("sec-websocket-version")), http(426, "UNSUPPORTED"));
    add("version 8", other("sec-websocket-version", "8"), http(426, "UNSUPPORTED"));
    add("a key of 3 bytes", other("sec-websocket-key", "AAAA"), invalid());
    add("a key that is no base64", other("sec-websocket-key", "!!!!!!!!!!!!!!!!!!!!!!=="), invalid());
    add("no subprotocol", request(LINE, &headers("sec-websocket-protocol")), http(501, "UNSUPPORTED"));
    add("another subprotocol", other("sec-websocket-protocol", "chat"), http(501, "UNSUPPORTED"));
    add("HTTP/1.0", request("GET /v1/ws HTTP/1.0", &headers("")), invalid());
    cases.extend(frames());
    cases.extend(inside());
    cases
}

fn frames() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, sent: &[u8], code: u16| {
        cases.push(Case::new(format!("WebSocket: {name}"), upgraded(sent), Got::Close(code)));
    };
    add("a frame without a mask", b"\x82\x05hello", 1002);
    add("a reserved bit", &frame(0xc2, b"hello"), 1002);
    add("a reserved opcode", &frame(0x83, b"hello"), 1002);
    add("a reserved opcode of control", &frame(0x8b, b"hello"), 1002);
    add("a ping in parts", &frame(0x09, b"hello"), 1002);
    add("a ping of 126 bytes", &frame(0x89, &[0; 126]), 1002);
    add("a close in parts", &frame(0x08, &[3, 232]), 1002);
    add("a close of one byte", &frame(0x88, &[3]), 1002);
    add("a part without a beginning", &frame(0x80, b"hello"), 1002);
    add("a beginning inside of a message", &[frame(0x02, b"a"), frame(0x82, b"b")].concat(), 1002);
    add("text", &frame(0x81, b"hello"), 1003);
    add("text that is not UTF-8", &frame(0x81, b"\xff\xfe"), 1007);
    add("a length of 2^63", &[&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4]].concat(), 1009);
    add("a message over the limit", &frame(0x82, &vec![0; 256 << 10]), 1009);
    add("parts over the limit", &[frame(0x02, &vec![0; 100 << 10]), frame(0x80, &vec![0; 100 << 10])].concat(), 1009);
    cases
}

fn inside() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, sent: Vec<u8>, want: Got| {
        cases.push(Case::new(format!("WebSocket: {name}"), upgraded(&sent), want));
    };
    add("cut off in a frame", frame(0x82, b"hello")[..7].to_vec(), Got::Closed);
    add("a session's first bytes are others", frame(0x82, b"GET / HTTP/1.1\r\n\r\n"), Got::Close(4001));
    let preface = |frames: &[u8]| frame(0x82, &[&PREFACE, frames].concat());
    add("a session's frame that is too long", preface(&u32::MAX.to_le_bytes()), Got::Refused("TOO_LARGE"));
    add("a session's frame that is none", preface(&framed(b"\x0a\x7f")), Got::Refused("INVALID"));
    let flood = [preface(&hello_frame()), frame(0x89, b"x").repeat(5000)].concat();
    add("5,000 pings", flood, Got::Served);
    let empty = [frame(0x02, b""), frame(0x00, b"").repeat(20_000), frame(0x80, b""), frame(0x89, b"x")].concat();
    add("20,000 empty parts", empty, Got::Served);
    if let Some(case) = cases.first_mut() {
        case.hangs_up = true;
    }
    cases
}
