//! The subprotocols that the cases are played in: where each is asked for, and what message of it is answered.

use meshwire_proto::Event;
use meshwire_proto::frame::{ClientFrame, PREFACE};
use meshwire_proto::wire::session as wire;

use super::{BINARY, TEXT};
use crate::hostile::answers::{Got, websocket};
use crate::hostile::frames::encoded;
use crate::rig::hello;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Session,
    Calls,
    EventsAsJson,
    EventsAsProtobuf,
}

pub(crate) const ALL: [Spoken; 4] = [Spoken::Session, Spoken::Calls, Spoken::EventsAsJson, Spoken::EventsAsProtobuf];

impl Spoken {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "meshwire.v1",
            Self::Calls => "meshwire.v1.json",
            Self::EventsAsJson => "cloudevents.json",
            Self::EventsAsProtobuf => "cloudevents.proto",
        }
    }

    /// Where it is asked for; each case has a topic of its own.
    pub(crate) fn path(self, case: usize) -> String {
        match self {
            Self::Session | Self::Calls => "/v1/ws".to_owned(),
            Self::EventsAsJson | Self::EventsAsProtobuf => format!("/v1/topics/{}-{case}/events", self.name()),
        }
    }

    /// Whether its path serves other requests too.
    pub(crate) const fn shares_its_path(self) -> bool {
        matches!(self, Self::EventsAsJson | Self::EventsAsProtobuf)
    }

    /// The opcode of its messages.
    pub(crate) const fn opcode(self) -> u8 {
        match self {
            Self::Session | Self::EventsAsProtobuf => BINARY,
            Self::Calls | Self::EventsAsJson => TEXT,
        }
    }

    /// A message of exactly so many bytes, at least 100, that is answered.
    pub(crate) fn message(self, length: usize) -> Vec<u8> {
        match self {
            Self::Session => padded(length, |padding| {
                let hello = ClientFrame::Hello(wire::Hello { client_name: "n".repeat(padding), ..hello() });
                let ping = ClientFrame::Ping(wire::Ping { nonce: 1, answer: false });
                [&PREFACE[..], &encoded(&hello), &encoded(&ping)].concat()
            }),
            Self::EventsAsProtobuf => padded(length, |padding| {
                let event = Event::new("t").id("1").source("/s").binary_data(vec![b'x'; padding]);
                event.encode().unwrap().to_vec()
            }),
            Self::Calls => blank(r#"{"id":7,"op":"unsubscribe","subscription":9}"#, length),
            Self::EventsAsJson => blank(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#, length),
        }
    }

    /// Whether the answer to such a message is in what came behind the head; `None`: not yet.
    pub(crate) fn answers(self, messages: &[(u8, &[u8])], came: &[u8]) -> Option<bool> {
        let begins =
            |text: &[u8]| messages.iter().any(|(opcode, payload)| *opcode == TEXT && payload.starts_with(text));
        match self {
            Self::Session => websocket(came).map(|got| got == Got::Served),
            Self::Calls => begins(b"{\"id\":7,").then_some(true),
            Self::EventsAsJson => begins(b"{\"specversion\":\"1.0\",\"id\":\"1\"").then_some(true),
            Self::EventsAsProtobuf => messages.iter().any(|(opcode, _)| *opcode == BINARY).then_some(true),
        }
    }

    /// The code that ends a connection whose message is text that means nothing; `None`: it is answered, and goes on.
    pub(crate) const fn code_of_nonsense(self) -> Option<u16> {
        match self {
            Self::Session | Self::EventsAsProtobuf => Some(1003),
            Self::EventsAsJson => Some(4001),
            Self::Calls => None,
        }
    }
}

/// JSON, and blanks behind it.
fn blank(json: &str, length: usize) -> Vec<u8> {
    let mut bytes = json.as_bytes().to_vec();
    bytes.resize(length, b' ');
    bytes
}

/// What `of` makes with as much padding as gives this length.
fn padded(length: usize, of: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let least = length.saturating_sub(of(0).len() + 16);
    (least..=length).map(of).find(|bytes| bytes.len() >= length).unwrap()
}
