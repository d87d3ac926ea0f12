//! HTTP/2: frames and header blocks against the rules, and floods of each kind.

use super::answers::Got;
use super::table::Case;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const END: u8 = END_STREAM | END_HEADERS;

// It may stand for a closer one (RFC 9113 5.4), and often does.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// One header, written out, that enters no table.
pub(super) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        match text.len() {
            length @ ..127 => block.push(length as u8),
            length => {
                block.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    block.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                block.push(rest as u8);
            }
        }
        block.extend(text.as_bytes());
    }
    block
}

pub(super) fn headers(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| header(name, value)).collect()
}

const REQUEST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/nowhere"), (":authority", "localhost")];

fn request() -> Vec<u8> {
    headers(&REQUEST)
}

/// A connection that begins well, and these frames.
pub(super) fn begun(frames: &[u8]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b""), frames].concat()
}

/// A publish of one event in JSON.
pub(super) fn publish(path: &str, json: &str) -> Vec<u8> {
    let block = headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/cloudevents+json"),
    ]);
    let mut frames = frame(HEADERS, END_HEADERS, 1, &block);
    for piece in json.as_bytes().chunks(16_384) {
        frames.extend(frame(DATA, 0, 1, piece));
    }
    begun(&[frames, frame(DATA, END_STREAM, 1, b"")].concat())
}

/// A request whose header block ends with these bytes.
fn asking(block: &[u8]) -> Vec<u8> {
    begun(&frame(HEADERS, END, 1, block))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = prefaces();
    cases.extend(sizes());
    cases.extend(streams());
    cases.extend(values());
    cases.extend(blocks());
    cases.extend(pseudo());
    cases.extend(floods());
    cases.extend(bodies());
    cases
}

fn add(cases: &mut Vec<Case>, name: &str, sent: Vec<u8>, want: Got) {
    cases.push(Case::new(format!("HTTP/2: {name}"), sent, want));
}

fn prefaces() -> Vec<Case> {
    let mut cases = Vec::new();
    let magic = |rest: &[u8]| [b"PRI * HTTP/2.0\r\n\r\n", rest].concat();
    add(&mut cases, "another word in the preface", magic(b"XX\r\n\r\n"), Got::Closed);
    add(
        &mut cases,
        "garbage behind the preface",
        [PREFACE, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"].concat(),
        Got::GoAway(FRAME_SIZE_ERROR),
    );
    // No harm: it is asked for what it would have been asked for with them.
    let request = frame(HEADERS, END, 1, &request());
    add(
        &mut cases,
        "no settings behind the preface",
        [PREFACE, &request].concat(),
        Got::Http(404, "NOT_FOUND".to_owned()),
    );
    cases.push(Case::new("HTTP/2: cut off in the preface", &PREFACE[..20], Got::Closed).hangs_up());
    cases
}

fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, stream, length) in [
        ("settings of 5 bytes", SETTINGS, 0, 5),
        ("a ping of 7 bytes", PING, 0, 7),
        ("a reset of 3 bytes", RST_STREAM, 1, 3),
        ("a window update of 3 bytes", WINDOW_UPDATE, 0, 3),
        ("a goodbye of 7 bytes", GOAWAY, 0, 7),
    ] {
        let sent = begun(&frame(kind, 0, stream, &vec![0; length]));
        add(&mut cases, name, sent, Got::GoAway(PROTOCOL_ERROR));
    }
    add(
        &mut cases,
        "a frame of 65,537 bytes",
        begun(&frame(HEADERS, END, 1, &[0; 65_537])),
        Got::GoAway(FRAME_SIZE_ERROR),
    );
    add(&mut cases, "a frame of 16 MiB", begun(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]), Got::GoAway(FRAME_SIZE_ERROR));
    add(
        &mut cases,
        "settings acknowledged with a payload",
        begun(&frame(SETTINGS, 1, 0, &[0; 6])),
        Got::GoAway(PROTOCOL_ERROR),
    );
    cases
}

fn streams() -> Vec<Case> {
    let mut cases = Vec::new();
    let block = request();
    for (name, frames) in [
        ("data on stream 0", frame(DATA, 0, 0, b"x")),
        ("headers on stream 0", frame(HEADERS, END, 0, &block)),
        ("settings on stream 1", frame(SETTINGS, 0, 1, b"")),
        ("a ping on stream 1", frame(PING, 0, 1, &[0; 8])),
        ("headers on an even stream", frame(HEADERS, END, 2, &block)),
        ("data on an idle stream", frame(DATA, 0, 1, b"x")),
        ("a reset of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("a window update of an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("a promise of a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &block)),
        ("data between parts of headers", [frame(HEADERS, 0, 1, &block), frame(DATA, 0, 1, b"x")].concat()),
        (
            "a continuation of another stream",
            [frame(HEADERS, 0, 1, &block), frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
        ),
        ("padding longer than its frame", frame(HEADERS, END | PADDED, 1, &[200, 1, 2])),
        ("a window update of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
    ] {
        add(&mut cases, name, begun(&frames), Got::GoAway(PROTOCOL_ERROR));
    }
    let unknown = [frame(0x77, 0xff, 1, b"hello"), frame(HEADERS, END, 1, &block)].concat();
    add(&mut cases, "a frame of an unknown kind", begun(&unknown), Got::Http(404, "NOT_FOUND".to_owned()));
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]);
    add(&mut cases, "a stream that depends on itself", begun(&priority), Got::Reset(PROTOCOL_ERROR));
    cases
}

fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    let setting = |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    add(&mut cases, "push that is neither on nor off", begun(&setting(2, 2)), Got::GoAway(PROTOCOL_ERROR));
    add(&mut cases, "a window of 2^31", begun(&setting(4, 1 << 31)), Got::GoAway(PROTOCOL_ERROR));
    add(&mut cases, "a largest frame of one byte", begun(&setting(5, 1)), Got::GoAway(PROTOCOL_ERROR));
    let most = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    add(&mut cases, "a window that overflows", begun(&most), Got::GoAway(FLOW_CONTROL_ERROR));
    cases
}

fn blocks() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("an index of no table", &b"\xff\xff\xff\xff\x0f"[..]),
        ("index 0", b"\x80"),
        ("a table larger than allowed", b"\x3f\xff\xff\xff\x0f"),
        ("a string longer than the block", b"\x00\x7f\xff\x00x"),
        ("a Huffman code that is none", b"\x00\x84\xff\xff\xff\xff\x01x"),
    ] {
        let sent = asking(&[&request()[..], bytes].concat());
        add(&mut cases, name, sent, Got::GoAway(PROTOCOL_ERROR));
    }
    cases
}

fn pseudo() -> Vec<Case> {
    let mut cases = Vec::new();
    let with = |name: &str, value: &str| [request(), header(name, value)].concat();
    let without = |but: &str| {
        let rest: Vec<_> = REQUEST.into_iter().filter(|(name, _)| *name != but).collect();
        headers(&rest)
    };
    // What cannot be a header ends the connection, what may not be there the stream.
    for (name, block) in [
        ("an empty name", with("", "x")),
        ("a capital in a name", with("X-Y", "x")),
        ("an unknown pseudo header", with(":nonsense", "x")),
        ("a NUL in a value", with("x", "a\0b")),
        ("a line break in a value", with("x", "a\r\nb")),
    ] {
        add(&mut cases, name, asking(&block), Got::GoAway(PROTOCOL_ERROR));
    }
    for (name, block) in [
        ("a header of a connection", with("connection", "close")),
        ("a coding of transfers", with("transfer-encoding", "chunked")),
        ("te other than trailers", with("te", "gzip")),
        ("a pseudo header behind others", [header("x", "y"), request()].concat()),
        ("a status in a request", with(":status", "200")),
        ("a method twice", with(":method", "GET")),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
    ] {
        add(&mut cases, name, asking(&block), Got::Reset(PROTOCOL_ERROR));
    }
    cases
}

fn floods() -> Vec<Case> {
    let mut cases = Vec::new();
    let last = frame(HEADERS, END, 1, &request());
    let found = || Got::Http(404, "NOT_FOUND".to_owned());
    let parts =
        [frame(HEADERS, END_STREAM, 1, &request()), frame(CONTINUATION, 0, 1, &header("x", "y")).repeat(20_000)];
    add(&mut cases, "20,000 continuations", begun(&parts.concat()), Got::GoAway(ENHANCE_YOUR_CALM));
    let empty = [frame(HEADERS, END_STREAM, 1, &request()), frame(CONTINUATION, 0, 1, b"").repeat(20_000)];
    add(&mut cases, "20,000 empty continuations", begun(&empty.concat()), Got::GoAway(ENHANCE_YOUR_CALM));
    let resets: Vec<u8> = (0..5000)
        .flat_map(|n| {
            [frame(HEADERS, END, 2 * n + 1, &request()), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
        })
        .collect();
    add(&mut cases, "5,000 requests taken back", begun(&resets), Got::GoAway(ENHANCE_YOUR_CALM));
    for (name, one) in [
        ("5,000 settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
        ("5,000 pings", frame(PING, 0, 0, &[0; 8])),
        ("5,000 window updates", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("5,000 priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
    ] {
        let sent = begun(&[one.repeat(5000), last.clone()].concat());
        add(&mut cases, name, sent, found());
    }
    let many: Vec<u8> = (0..300).flat_map(|n| header("x", &n.to_string())).collect();
    add(&mut cases, "300 headers", asking(&[request(), many].concat()), Got::Http(431, "TOO_LARGE".to_owned()));
    let block = [request(), header("x", &"y".repeat(70_000))].concat();
    let mut pieces = block.chunks(16_000);
    let mut frames = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    let rest: Vec<_> = pieces.collect();
    for (n, piece) in rest.iter().enumerate() {
        frames.extend(frame(CONTINUATION, if n + 1 == rest.len() { END_HEADERS } else { 0 }, 1, piece));
    }
    add(&mut cases, "a header of 70,000 bytes", begun(&frames), Got::Http(431, String::new()));
    cases
}

fn bodies() -> Vec<Case> {
    let mut cases = Vec::new();
    let publish = |more: &[(&str, &str)]| {
        let mut all = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/v1/topics/t/events"),
            (":authority", "localhost"),
            ("ce-specversion", "1.0"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
        ];
        all.extend(more);
        headers(&all)
    };
    let sent = |block: &[u8], body: &[u8]| {
        begun(&[frame(HEADERS, END_HEADERS, 1, block), frame(DATA, END_STREAM, 1, body)].concat())
    };
    add(&mut cases, "an event without id", sent(&publish(&[]), b"hello"), Got::Http(400, "INVALID".to_owned()));
    let block = publish(&[("ce-id", "1"), ("content-encoding", "gzip")]);
    add(&mut cases, "a compressed body", sent(&block, b"hello"), Got::Http(415, "UNSUPPORTED".to_owned()));
    let block = publish(&[("ce-id", "1"), ("content-length", "7")]);
    add(&mut cases, "a body shorter than its length", sent(&block, b"hello"), Got::Reset(PROTOCOL_ERROR));
    let block = publish(&[("ce-id", "1"), ("content-length", "3")]);
    add(&mut cases, "a body longer than its length", sent(&block, b"hello"), Got::Reset(PROTOCOL_ERROR));
    let block = publish(&[("ce-id", "1"), ("content-length", "3"), ("content-length", "4")]);
    add(&mut cases, "two lengths", sent(&block, b"hello"), Got::Reset(PROTOCOL_ERROR));
    let late = [frame(HEADERS, END, 1, &request()), frame(DATA, END_STREAM, 1, b"x")].concat();
    add(&mut cases, "data behind the end", begun(&late), Got::GoAway(PROTOCOL_ERROR));
    let one = frame(DATA, 0, 1, &[0; 16_384]);
    let block = publish(&[("ce-id", "1")]);
    let flood = [frame(HEADERS, END_HEADERS, 1, &block), one.repeat(200)].concat();
    add(&mut cases, "more data than the window", begun(&flood), Got::GoAway(FLOW_CONTROL_ERROR));
    cases
}
