//! What came back, of whatever protocol, read by hand.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{FrameParser, PREFACE, ServerFrame};

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// The connection ended without a word that says why.
    Closed,
    /// Neither an answer nor the end.
    Silence,
    /// An answer of HTTP: its status, and our code in it; empty if it has none.
    Http(u16, String),
    /// All answers on a connection that was to end after the first: their statuses and codes.
    Answers(Vec<(u16, String)>),
    /// A close frame of WebSocket; 0 if it has no code.
    Close(u16),
    /// An error frame of a session.
    Refused(&'static str),
    /// A session or a stream of HTTP/2 that goes on as if nothing had been.
    Served,
    /// The sentence for what is no protocol.
    Sentence,
    /// An alert of TLS.
    Alert(u8),
    /// The end of an HTTP/2 connection, and its error code.
    GoAway(u32),
    /// The end of a stream of HTTP/2, and its error code.
    Reset(u32),
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ear {
    /// The first thing that decides.
    First,
    /// All until the end: every answer in HTTP counts.
    ToTheEnd,
}

/// Whether what came so far decides how it ended.
pub(crate) fn hear(sent: &[u8], came: &[u8], ended: bool, ear: Ear) -> Option<Got> {
    if sent.starts_with(b"PRI * HTTP/2") {
        return http2(came).or_else(|| ended.then_some(Got::Closed));
    }
    let got = match came {
        [] => None,
        [b'H', b'T', b'T', b'P', ..] if ear == Ear::ToTheEnd => {
            return ended.then(|| Got::Answers(all_answers(came)));
        }
        [b'H', ..] => http1(came),
        [b'm', ..] => ended.then_some(Got::Sentence),
        [0x15, 3, _, 0, 2, _, alert, ..] => Some(Got::Alert(*alert)),
        came if came.starts_with(&PREFACE) => session(&came[PREFACE.len()..]),
        _ => None,
    };
    got.or_else(|| ended.then_some(Got::Closed))
}

/// All answers, as far as their lines begin lines.
fn all_answers(came: &[u8]) -> Vec<(u16, String)> {
    let begins = (0..came.len()).filter(|at| came[*at..].starts_with(b"HTTP/1."));
    let answers = begins.filter_map(|at| match http1(&came[at..])? {
        Got::Http(status, code) => Some((status, code)),
        _ => None,
    });
    answers.collect()
}

fn http1(came: &[u8]) -> Option<Got> {
    let at = came.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&came[..at]).ok()?, &came[at + 4..]);
    let status: u16 = head.get(9..12)?.parse().ok()?;
    if status == 100 {
        return http1(body);
    }
    if status == 101 {
        return websocket(body);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.unwrap_or("0").parse().ok()?;
    (body.len() >= length).then(|| Got::Http(status, code_in(&body[..length])))
}

/// Our code in the JSON of a problem, or in the first item of a batch.
fn code_in(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let code = json.get("code").or_else(|| json.get("results")?.get(0)?.get("code"));
    code.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// The frames of a server, which are never masked: the first close, or pong.
pub(crate) fn websocket(came: &[u8]) -> Option<Got> {
    let mut bytes = Vec::new();
    for (opcode, payload) in messages(came) {
        match opcode {
            8 if bytes.len() > PREFACE.len() => break,
            8 => return Some(Got::Close(payload.get(..2).map_or(0, |c| u16::from_be_bytes([c[0], c[1]])))),
            10 => return Some(Got::Served),
            2 => bytes.extend(payload),
            _ => {}
        }
    }
    session(bytes.strip_prefix(&PREFACE[..])?)
}

/// Opcode and payload of each whole frame.
pub(crate) fn messages(mut came: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [first, length, rest @ ..] = came {
        let (length, rest) = match (length, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, rest) if rest.len() >= 8 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            (126.., _) => break,
            (length, rest) => (usize::from(*length), rest),
        };
        let Some(payload) = rest.get(..length) else { break };
        found.push((first & 15, payload));
        came = &rest[length..];
    }
    found
}

/// The first error, or the answer that everything was well.
fn session(came: &[u8]) -> Option<Got> {
    let mut buffer = bytes::BytesMut::from(came);
    let parser = FrameParser::new(1 << 26, "none");
    while let Some(frame) = parser.next(&mut buffer).ok()? {
        match ServerFrame::decode(frame).ok()? {
            ServerFrame::Error(error) => return Some(Got::Refused(code_of(error.code))),
            ServerFrame::Receipts(receipts) => {
                let code = receipts.receipts.first()?.code;
                return Some(if code == 0 { Got::Served } else { Got::Refused(code_of(code)) });
            }
            ServerFrame::Ping(ping) if ping.answer => return Some(Got::Served),
            _ => {}
        }
    }
    None
}

fn code_of(number: u32) -> &'static str {
    ErrorKind::from_number(number).code()
}

/// The first that decides: a connection's end, a stream's end, or a whole answer.
fn http2(mut came: &[u8]) -> Option<Got> {
    let mut body = Vec::new();
    let mut status = 0;
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = came {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let payload = rest.get(..length)?;
        let number = |at: usize| payload.get(at..at + 4).map(|n| u32::from_be_bytes(n.try_into().unwrap()));
        match kind {
            0 => body.extend(payload),
            1 => status = indexed_status(payload),
            3 => return Some(Got::Reset(number(0)?)),
            7 if number(4)? != 0 => return Some(Got::GoAway(number(4)?)),
            _ => {}
        }
        if *kind < 2 && flags & 1 == 1 {
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let status = json.get("status").and_then(serde_json::Value::as_u64).map_or(status, |s| s as u16);
            return Some(Got::Http(status, code_in(&body)));
        }
        came = &rest[length..];
    }
    None
}

/// A status of HPACK's static table, else one in plain or Huffman-coded digits behind its name; 0 if it is neither.
fn indexed_status(block: &[u8]) -> u16 {
    let block = block.strip_prefix(b"\x20").unwrap_or(block);
    match block {
        [at @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(at - 0x88)],
        [0x48 | 0x08, 3, digits @ ..] => {
            std::str::from_utf8(&digits[..3]).ok().and_then(|d| d.parse().ok()).unwrap_or(0)
        }
        [0x48 | 0x08, length, coded @ ..] if length & 0x80 != 0 => {
            let coded = &coded[..usize::from(length & 0x7f)];
            let bits = coded.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
            digits(bits, 8 * coded.len())
        }
        _ => 0,
    }
}

/// Three digits of HPACK's Huffman code: 0 to 2 have five bits, the others six.
fn digits(bits: u32, mut left: usize) -> u16 {
    let mut status = 0;
    for _ in 0..3 {
        let short = bits >> (left - 5) & 31;
        let digit = if short < 3 {
            left -= 5;
            short
        } else {
            left -= 6;
            (bits >> left & 63) - 0x19 + 3
        };
        status = status * 10 + digit as u16;
    }
    status
}
