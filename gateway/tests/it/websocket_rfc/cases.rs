//! The cases.

use meshwire_proto::frame::{ClientFrame, PREFACE};
use meshwire_proto::wire::session as wire;

use super::{Case, Want};
use crate::hostile::frames::encoded;
use crate::hostile::websocket::{frame, headers};
use crate::rig::hello;

const LINE: &str = "GET /v1/ws HTTP/1.1";

/// The last frame, and its opcode.
const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\nhost: localhost\r\n{headers}\r\n")
}

/// A case after a good upgrade.
fn case(section: &'static str, name: impl Into<String>, frames: impl Into<Vec<u8>>, want: Want) -> Case {
    Case { section, name: name.into(), request: request(LINE, &headers("")), frames: frames.into(), want }
}

/// The first bytes of a session that is answered, exactly so many.
fn session(length: usize) -> Vec<u8> {
    let of = |padding: usize| {
        let hello = ClientFrame::Hello(wire::Hello { client_name: "n".repeat(padding), ..hello() });
        let ping = ClientFrame::Ping(wire::Ping { nonce: 1, answer: false });
        [&PREFACE[..], &encoded(&hello), &encoded(&ping)].concat()
    };
    let least = length.saturating_sub(of(0).len() + 16);
    (least..=length).map(of).find(|bytes| bytes.len() >= length).unwrap()
}

/// A session that is carried by the frames that `cut` makes of its bytes.
fn carried(section: &'static str, name: &str, length: usize, cut: impl Fn(&[u8]) -> Vec<u8>) -> Case {
    let bytes = session(length);
    case(section, name, cut(&bytes), Want::Carried(bytes))
}

/// A message in pieces of these lengths, the rest in the last one, and `between` behind each.
fn pieces(mut bytes: &[u8], lengths: &[usize], between: &[u8]) -> Vec<u8> {
    let (mut frames, mut opcode) = (Vec::new(), BINARY);
    for length in lengths {
        let (piece, rest) = bytes.split_at(*length);
        frames.extend(frame(opcode, piece));
        frames.extend(between);
        (bytes, opcode) = (rest, 0);
    }
    frames.extend(frame(FIN | opcode, bytes));
    frames
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = handshakes();
    cases.extend(masks());
    cases.extend(headers_of_frames());
    cases.extend(lengths());
    cases.extend(fragments());
    cases.extend(controls());
    cases.extend(closes());
    cases.extend(texts());
    cases
}

fn handshakes() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |section, name: &str, request: String, want: Want| {
        cases.push(Case { section, name: name.to_owned(), request, frames: frame(PING, b"up"), want });
    };
    let without = |name: &str| request(LINE, &headers(name));
    let with = |name: &str, value: &str| request(LINE, &format!("{}{name}: {value}\r\n", headers(name)));
    let up = || Want::Pong(b"up".to_vec());
    add("4.1", "several subprotocols", with("sec-websocket-protocol", "chat, meshwire.v1"), up());
    add(
        "4.1",
        "headers of others",
        request(LINE, &format!("{}origin: http://localhost\r\nx: y\r\n", headers(""))),
        up(),
    );
    add("4.2.1", "the least of a request", request(LINE, &headers("")), up());
    add("4.2.1", "capitals in Upgrade", with("upgrade", "WebSocket"), up());
    add("4.2.1", "small letters in Connection", with("connection", "upgrade"), up());
    add("4.2.1", "a list in Connection", with("connection", "keep-alive, Upgrade"), up());
    add(
        "4.2.1",
        "capitals in names",
        without("upgrade").replace("connection", "CONNECTION").replace("\r\n\r\n", "\r\nUPGRADE: websocket\r\n\r\n"),
        up(),
    );
    add("4.2.1", "POST", request("POST /v1/ws HTTP/1.1", &headers("")), Want::Refused(405));
    add("4.2.1", "HTTP/1.0", request("GET /v1/ws HTTP/1.0", &headers("")), Want::Refused(400));
    for name in ["upgrade", "connection", "sec-websocket-key"] {
        add("4.2.1", &format!("no {name}"), without(name), Want::Refused(400));
    }
    add("4.2.1", "another Upgrade", with("upgrade", "h2c"), Want::Refused(400));
    add("4.2.1", "another Connection", with("connection", "close"), Want::Refused(400));
    for version in ["", "7", "8", "14", "x"] {
        add("4.4", &format!("version {version:?}"), with("sec-websocket-version", version), Want::Refused(426));
    }
    add("4.4", "no version", without("sec-websocket-version"), Want::Refused(426));
    cases
}

fn masks() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, frame) in [
        ("a message", &b"\x82\x02hi"[..]),
        ("an empty message", b"\x82\x00"),
        ("text", b"\x81\x02hi"),
        ("a ping", b"\x89\x02hi"),
        ("a close", b"\x88\x02\x03\xe8"),
    ] {
        cases.push(case("5.1", format!("{name} without a mask"), frame, Want::Fails(1002)));
    }
    cases.push(case("5.3", "a mask of zeros", b"\x89\x82\0\0\0\0hi", Want::Pong(b"hi".to_vec())));
    cases.push(case("5.3", "a mask of ones", b"\x89\x82\xff\xff\xff\xff\x97\x96", Want::Pong(b"hi".to_vec())));
    cases.push(case(
        "5.3",
        "a mask longer than the payload",
        b"\x89\x81\x01\x02\x03\x04\x69",
        Want::Pong(b"h".to_vec()),
    ));
    cases
}

fn headers_of_frames() -> Vec<Case> {
    let mut cases = Vec::new();
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for (name, first) in [("a message", FIN | BINARY), ("a ping", PING), ("a close", CLOSE)] {
            let name = format!("reserved bits {bit:#x} in {name}");
            cases.push(case("5.2", name, frame(first | bit, &[3, 232]), Want::Fails(1002)));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(case("5.2", format!("opcode {opcode}"), frame(FIN | opcode, b"hi"), Want::Fails(1002)));
    }
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases: Vec<Case> = [125, 126, 127, 128, 65_535, 65_536]
        .into_iter()
        .map(|length| {
            carried("5.2", &format!("a message of {length} bytes"), length, |bytes| frame(FIN | BINARY, bytes))
        })
        .collect();
    let highest = [&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4]].concat();
    cases.push(case("5.2", "a length with its highest bit set", highest, Want::Fails(1009)));
    let all = [&[0x82, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    cases.push(case("5.2", "a length of ones", all, Want::Fails(1009)));
    cases.push(case("10.4", "a message over the limit", frame(FIN | BINARY, &vec![0; 200 << 10]), Want::Fails(1009)));
    let parts = pieces(&vec![0; 200 << 10], &[50 << 10, 50 << 10, 50 << 10], b"");
    cases.push(case("10.4", "parts over the limit", parts, Want::Fails(1009)));
    cases
}

fn fragments() -> Vec<Case> {
    let ping = frame(PING, b"between");
    let mut cases = vec![
        carried("5.4", "two parts", 100, |bytes| pieces(bytes, &[50], b"")),
        carried("5.4", "three parts", 100, |bytes| pieces(bytes, &[1, 50], b"")),
        carried("5.4", "an empty first part", 100, |bytes| pieces(bytes, &[0], b"")),
        carried("5.4", "an empty last part", 100, |bytes| pieces(bytes, &[100], b"")),
        carried("5.4", "empty parts between", 100, |bytes| pieces(bytes, &[50, 0, 0, 0], b"")),
        carried("5.4", "parts of one byte", 100, |bytes| pieces(bytes, &[1; 99], b"")),
        carried("5.4", "large parts", 60_000, |bytes| pieces(bytes, &[20_000, 20_000], b"")),
        carried("5.4", "pongs between parts", 100, |bytes| pieces(bytes, &[20, 20, 20], &frame(PONG, b"x"))),
    ];
    let mut add = |name: &str, frames: Vec<u8>, want: Want| cases.push(case("5.4", name, frames, want));
    let open = [frame(BINARY, b"a"), ping.clone()].concat();
    add("a ping between parts", open, Want::Pong(b"between".to_vec()));
    add("a close between parts", [frame(BINARY, b"a"), frame(CLOSE, &[3, 232])].concat(), Want::Closes(1000));
    for (name, first) in [("the last part", FIN), ("a part", 0)] {
        add(&format!("{name} of nothing"), frame(first, b"a"), Want::Fails(1002));
    }
    for (name, first) in [("a message", FIN | BINARY), ("text", FIN | TEXT), ("a beginning", BINARY)] {
        add(
            &format!("{name} inside of a message"),
            [frame(BINARY, b"a"), frame(first, b"b")].concat(),
            Want::Fails(1002),
        );
    }
    for (name, opcode) in [("close", 8), ("ping", 9), ("pong", 10)] {
        cases.push(case("5.5", format!("a {name} in parts"), frame(opcode, &[3, 232]), Want::Fails(1002)));
    }
    cases
}

fn controls() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, payload) in [
        ("empty", Vec::new()),
        ("of text", b"hello".to_vec()),
        ("of bytes", vec![0, 0xff, 0xfe, 0x80]),
        ("of 125 bytes", vec![b'x'; 125]),
    ] {
        cases.push(case("5.5.2", format!("a ping {name}"), frame(PING, &payload), Want::Pong(payload)));
    }
    let ten: Vec<u8> = (0..10).flat_map(|n| frame(PING, &[n])).collect();
    cases.push(case("5.5.2", "ten pings", ten, Want::Pong(vec![9])));
    let pongs = |payload: &[u8]| [frame(PONG, payload), frame(PING, b"y")].concat();
    cases.push(case("5.5.3", "a pong that nobody asked for", pongs(b"x"), Want::Pong(b"y".to_vec())));
    cases.push(case("5.5.3", "an empty pong that nobody asked for", pongs(b""), Want::Pong(b"y".to_vec())));
    for (name, first) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
        let payload = [&[3, 232][..], &[b'x'; 124]].concat();
        cases.push(case("5.5", format!("a {name} of 126 bytes"), frame(first, &payload), Want::Fails(1002)));
    }
    cases
}

fn closes() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let close = frame(CLOSE, &code.to_be_bytes());
        cases.push(case("7.4", format!("code {code}"), close, Want::Closes(code)));
    }
    for code in [0_u16, 999, 1005, 1006, 1015, 1016, 1999, 5000, 65_535] {
        let close = frame(CLOSE, &code.to_be_bytes());
        cases.push(case("7.4", format!("code {code}, which nobody may send"), close, Want::Fails(1002)));
    }
    let with = |reason: &[u8]| frame(CLOSE, &[&[3, 232][..], reason].concat());
    cases.push(case("5.5.1", "a reason", with(b"bye"), Want::Closes(1000)));
    cases.push(case("5.5.1", "a reason of 123 bytes", with(&[b'x'; 123]), Want::Closes(1000)));
    cases.push(case("5.5.1", "one byte", frame(CLOSE, &[3]), Want::Fails(1002)));
    cases.push(case("5.5.1", "a reason that is not UTF-8", with(b"\xff\xfe"), Want::Fails(1007)));
    let late = [frame(CLOSE, &[3, 232]), frame(PING, b"late"), frame(FIN | BINARY, b"late")].concat();
    cases.push(case("5.5.1", "frames behind a close", late, Want::Closes(1000)));
    let twice = [frame(CLOSE, &[3, 232]), frame(CLOSE, &[3, 233])].concat();
    cases.push(case("5.5.1", "a second close", twice, Want::Closes(1000)));
    cases
}

fn texts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, text) in
        [("ASCII", "hello"), ("four bytes", "\u{1f600}"), ("the last character", "\u{10ffff}"), ("nothing", "")]
    {
        cases.push(case("5.6", format!("text: {name}"), frame(FIN | TEXT, text.as_bytes()), Want::Text(text.into())));
    }
    let euro = "\u{20ac}".as_bytes();
    let split = [frame(TEXT, &euro[..1]), frame(FIN, &euro[1..])].concat();
    cases.push(case("8.1", "a character in two parts", split, Want::Text(euro.to_vec())));
    for (name, text) in [
        ("a byte of no character", &b"a\xff"[..]),
        ("half a character", b"a\xe2\x82"),
        ("a lonely tail", b"\x80"),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("behind the last character", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ] {
        cases.push(case("8.1", format!("text: {name}"), frame(FIN | TEXT, text), Want::Fails(1007)));
    }
    let parts = [frame(TEXT, b"a\xe2"), frame(FIN, b"b")].concat();
    cases.push(case("8.1", "a character that the next part does not end", parts, Want::Fails(1007)));
    cases
}
