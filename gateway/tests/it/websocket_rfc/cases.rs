//! The cases, for one subprotocol.

use super::{BINARY, Case, FIN, Spoken, TEXT, Want};
use crate::hostile::websocket::{frame, headers};

const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

/// The cases of one subprotocol as they are made; each gets a number.
pub(super) struct Cases {
    spoken: Spoken,
    made: Vec<Case>,
}

impl Cases {
    fn headers(&self, but: &str) -> String {
        headers(but).replace("meshwire.v1", self.spoken.name())
    }

    fn request(&self, method: &str, version: &str, headers: &str) -> String {
        let path = self.spoken.path(self.made.len());
        format!("{method} {path} {version}\r\nhost: localhost\r\n{headers}\r\n")
    }

    /// After a good upgrade.
    fn case(&mut self, section: &'static str, name: impl Into<String>, frames: impl Into<Vec<u8>>, want: Want) {
        let request = self.request("GET", "HTTP/1.1", &self.headers(""));
        self.made.push(Case { section, name: name.into(), spoken: self.spoken, request, frames: frames.into(), want });
    }

    /// A message that is carried by the frames that `cut` makes of its bytes.
    fn carried(&mut self, section: &'static str, name: &str, length: usize, cut: impl Fn(&[u8]) -> Vec<u8>) {
        let bytes = self.spoken.message(length);
        self.case(section, name, cut(&bytes), Want::Carried(bytes));
    }
}

/// A message in pieces of these lengths, the rest in the last one, and `between` behind each.
fn pieces(first: u8, mut bytes: &[u8], lengths: &[usize], between: &[u8]) -> Vec<u8> {
    let (mut frames, mut opcode) = (Vec::new(), first);
    for length in lengths {
        let (piece, rest) = bytes.split_at(*length);
        frames.extend(frame(opcode, piece));
        frames.extend(between);
        (bytes, opcode) = (rest, 0);
    }
    frames.extend(frame(FIN | opcode, bytes));
    frames
}

pub(super) fn all(spoken: Spoken) -> Vec<Case> {
    let mut cases = Cases { spoken, made: Vec::new() };
    handshakes(&mut cases);
    masks(&mut cases);
    headers_of_frames(&mut cases);
    lengths(&mut cases);
    fragments(&mut cases);
    controls(&mut cases);
    closes(&mut cases);
    texts(&mut cases);
    cases.made
}

fn handshakes(cases: &mut Cases) {
    let spoken = cases.spoken;
    let mut add = |section, name: &str, (method, version): (&str, &str), headers: &str, want: Want| {
        let (request, name) = (cases.request(method, version, headers), name.to_owned());
        cases.made.push(Case { section, name, spoken, request, frames: frame(PING, b"up"), want });
    };
    let get = ("GET", "HTTP/1.1");
    let without = |name: &str| headers(name).replace("meshwire.v1", spoken.name());
    let with = |name: &str, value: &str| format!("{}{name}: {value}\r\n", without(name));
    let up = || Want::Pong(b"up".to_vec());
    let list = format!("chat, {}", spoken.name());
    add("4.1", "several subprotocols", get, &with("sec-websocket-protocol", &list), up());
    let lines = format!("sec-websocket-protocol: chat\r\n{}", without(""));
    add("4.1", "subprotocols in several lines", get, &lines, up());
    add("4.1", "headers of others", get, &format!("{}origin: http://localhost\r\nx: y\r\n", without("")), up());
    add("4.2.1", "the least of a request", get, &without(""), up());
    add("4.2.1", "capitals in Upgrade", get, &with("upgrade", "WebSocket"), up());
    add("4.2.1", "small letters in Connection", get, &with("connection", "upgrade"), up());
    add("4.2.1", "a list in Connection", get, &with("connection", "keep-alive, Upgrade"), up());
    let capitals = without("upgrade").replace("connection", "CONNECTION") + "UPGRADE: websocket\r\n";
    add("4.2.1", "capitals in names", get, &capitals, up());
    // Events are published there.
    let posted = if spoken.shares_its_path() { 400 } else { 405 };
    add("4.2.1", "POST", ("POST", "HTTP/1.1"), &without(""), Want::Refused(posted));
    add("4.2.1", "HTTP/1.0", ("GET", "HTTP/1.0"), &without(""), Want::Refused(400));
    for name in ["connection", "sec-websocket-key"] {
        add("4.2.1", &format!("no {name}"), get, &without(name), Want::Refused(400));
    }
    if !spoken.shares_its_path() {
        add("4.2.1", "no upgrade", get, &without("upgrade"), Want::Refused(400));
        add("4.2.1", "another Upgrade", get, &with("upgrade", "h2c"), Want::Refused(400));
    }
    add("4.2.1", "another Connection", get, &with("connection", "close"), Want::Refused(400));
    for key in ["AAAA", "!!!!!!!!!!!!!!!!!!!!!!=="] {
        add("4.2.1", &format!("key {key:?}"), get, &with("sec-websocket-key", key), Want::RefusedByUs(400));
    }
    for version in ["", "7", "8", "14", "x"] {
        let name = format!("version {version:?}");
        add("4.4", &name, get, &with("sec-websocket-version", version), Want::Refused(426));
    }
    add("4.4", "no version", get, &without("sec-websocket-version"), Want::Refused(426));
    add("1.9", "another subprotocol", get, &with("sec-websocket-protocol", "chat"), Want::RefusedByUs(501));
    add("1.9", "no subprotocol", get, &without("sec-websocket-protocol"), Want::RefusedByUs(501));
}

fn masks(cases: &mut Cases) {
    for (name, frame) in [
        ("a message", &b"\x82\x02hi"[..]),
        ("an empty message", b"\x82\x00"),
        ("text", b"\x81\x02hi"),
        ("a ping", b"\x89\x02hi"),
        ("a close", b"\x88\x02\x03\xe8"),
    ] {
        cases.case("5.1", format!("{name} without a mask"), frame, Want::Fails(1002));
    }
    cases.case("5.3", "a mask of zeros", b"\x89\x82\0\0\0\0hi", Want::Pong(b"hi".to_vec()));
    cases.case("5.3", "a mask of ones", b"\x89\x82\xff\xff\xff\xff\x97\x96", Want::Pong(b"hi".to_vec()));
    cases.case("5.3", "a mask longer than the payload", b"\x89\x81\x01\x02\x03\x04\x69", Want::Pong(b"h".to_vec()));
}

fn headers_of_frames(cases: &mut Cases) {
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for (name, first) in [("a message", FIN | cases.spoken.opcode()), ("a ping", PING), ("a close", CLOSE)] {
            let name = format!("reserved bits {bit:#x} in {name}");
            cases.case("5.2", name, frame(first | bit, &[3, 232]), Want::Fails(1002));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.case("5.2", format!("opcode {opcode}"), frame(FIN | opcode, b"hi"), Want::Fails(1002));
    }
}

fn lengths(cases: &mut Cases) {
    let first = FIN | cases.spoken.opcode();
    for length in [125, 126, 127, 128, 65_535, 65_536] {
        cases.carried("5.2", &format!("a message of {length} bytes"), length, |bytes| frame(first, bytes));
    }
    let highest = [&[first, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4]].concat();
    cases.case("5.2", "a length with its highest bit set", highest, Want::Fails(1009));
    let all = [&[first, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    cases.case("5.2", "a length of ones", all, Want::Fails(1009));
    cases.case("10.4", "a message over the limit", frame(first, &vec![0; 200 << 10]), Want::Fails(1009));
    let parts = pieces(cases.spoken.opcode(), &vec![0; 200 << 10], &[50 << 10, 50 << 10, 50 << 10], b"");
    cases.case("10.4", "parts over the limit", parts, Want::Fails(1009));
}

fn fragments(cases: &mut Cases) {
    let opcode = cases.spoken.opcode();
    let pong = frame(PONG, b"x");
    for (name, length, lengths, between) in [
        ("two parts", 100, &[50][..], &[][..]),
        ("three parts", 100, &[1, 50], &[]),
        ("an empty first part", 100, &[0], &[]),
        ("an empty last part", 100, &[100], &[]),
        ("empty parts between", 100, &[50, 0, 0, 0], &[]),
        ("parts of one byte", 100, &[1; 99], &[]),
        ("large parts", 60_000, &[20_000, 20_000], &[]),
        ("pongs between parts", 100, &[20, 20, 20], &pong),
    ] {
        cases.carried("5.4", name, length, |bytes| pieces(opcode, bytes, lengths, between));
    }
    let mut add = |name: &str, frames: Vec<u8>, want: Want| cases.case("5.4", name, frames, want);
    let begun = |then: Vec<u8>| [frame(opcode, b"a"), then].concat();
    add("a ping between parts", begun(frame(PING, b"between")), Want::Pong(b"between".to_vec()));
    add("a close between parts", begun(frame(CLOSE, &[3, 232])), Want::Closes(1000));
    for (name, first) in [("the last part", FIN), ("a part", 0)] {
        add(&format!("{name} of nothing"), frame(first, b"a"), Want::Fails(1002));
    }
    for (name, first) in [("bytes", FIN | BINARY), ("text", FIN | TEXT), ("a beginning", opcode)] {
        add(&format!("{name} inside of a message"), begun(frame(first, b"b")), Want::Fails(1002));
    }
    for (name, opcode) in [("close", 8), ("ping", 9), ("pong", 10)] {
        cases.case("5.5", format!("a {name} in parts"), frame(opcode, &[3, 232]), Want::Fails(1002));
    }
}

fn controls(cases: &mut Cases) {
    for (name, payload) in [
        ("empty", Vec::new()),
        ("of text", b"hello".to_vec()),
        ("of bytes", vec![0, 0xff, 0xfe, 0x80]),
        ("of 125 bytes", vec![b'x'; 125]),
    ] {
        cases.case("5.5.2", format!("a ping {name}"), frame(PING, &payload), Want::Pong(payload));
    }
    let ten: Vec<u8> = (0..10).flat_map(|n| frame(PING, &[n])).collect();
    cases.case("5.5.2", "ten pings", ten, Want::Pong(vec![9]));
    let pongs = |payload: &[u8]| [frame(PONG, payload), frame(PING, b"y")].concat();
    cases.case("5.5.3", "a pong that nobody asked for", pongs(b"x"), Want::Pong(b"y".to_vec()));
    cases.case("5.5.3", "an empty pong that nobody asked for", pongs(b""), Want::Pong(b"y".to_vec()));
    for (name, first) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
        let payload = [&[3, 232][..], &[b'x'; 124]].concat();
        cases.case("5.5", format!("a {name} of 126 bytes"), frame(first, &payload), Want::Fails(1002));
    }
}

fn closes(cases: &mut Cases) {
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let close = frame(CLOSE, &code.to_be_bytes());
        cases.case("7.4", format!("code {code}"), close, Want::Closes(code));
    }
    for code in [0_u16, 999, 1005, 1006, 1015, 1016, 1999, 5000, 65_535] {
        let close = frame(CLOSE, &code.to_be_bytes());
        cases.case("7.4", format!("code {code}, which nobody may send"), close, Want::Fails(1002));
    }
    let with = |reason: &[u8]| frame(CLOSE, &[&[3, 232][..], reason].concat());
    cases.case("5.5.1", "a reason", with(b"bye"), Want::Closes(1000));
    cases.case("5.5.1", "a reason of 123 bytes", with(&[b'x'; 123]), Want::Closes(1000));
    cases.case("5.5.1", "one byte", frame(CLOSE, &[3]), Want::Fails(1002));
    cases.case("5.5.1", "a reason that is not UTF-8", with(b"\xff\xfe"), Want::Fails(1007));
    let late = [frame(CLOSE, &[3, 232]), frame(PING, b"late"), frame(FIN | BINARY, b"late")].concat();
    cases.case("5.5.1", "frames behind a close", late, Want::Closes(1000));
    let twice = [frame(CLOSE, &[3, 232]), frame(CLOSE, &[3, 233])].concat();
    cases.case("5.5.1", "a second close", twice, Want::Closes(1000));
}

fn texts(cases: &mut Cases) {
    for (name, text) in
        [("ASCII", "hello"), ("four bytes", "\u{1f600}"), ("the last character", "\u{10ffff}"), ("nothing", "")]
    {
        cases.case("5.6", format!("text: {name}"), frame(FIN | TEXT, text.as_bytes()), Want::Text(text.into()));
    }
    let euro = "\u{20ac}".as_bytes();
    let split = [frame(TEXT, &euro[..1]), frame(FIN, &euro[1..])].concat();
    cases.case("8.1", "a character in two parts", split, Want::Text(euro.to_vec()));
    for (name, text) in [
        ("a byte of no character", &b"a\xff"[..]),
        ("half a character", b"a\xe2\x82"),
        ("a lonely tail", b"\x80"),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("behind the last character", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ] {
        cases.case("8.1", format!("text: {name}"), frame(FIN | TEXT, text), Want::Fails(1007));
    }
    let parts = [frame(TEXT, b"a\xe2"), frame(FIN, b"b")].concat();
    cases.case("8.1", "a character that the next part does not end", parts, Want::Fails(1007));
}
