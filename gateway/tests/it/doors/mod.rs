//! The doors of a gateway as their own clients see them: the same thing asked over each, and what each says of it.

pub(crate) mod carriers;
pub(crate) mod events;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod page;
pub(crate) mod said;
pub(crate) mod session;

use bytes::Bytes;
use meshwire_proto::wire::admin::Durability;
use meshwire_proto::wire::session as wire;

use crate::hostile::frames;
use crate::rig::{Rig, hello};
pub(crate) use said::Said;

/// One way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// A session over TCP.
    Session,
    /// A session in the messages of WebSocket.
    SessionWebSocket,
    /// A session in requests of HTTP.
    SessionHttp,
    /// A session in a stream of gRPC.
    SessionGrpc,
    /// Requests of HTTP.
    Http,
    /// Calls of gRPC.
    Grpc,
    /// Calls as JSON over WebSocket.
    Page,
    /// CloudEvents over WebSocket.
    Events,
}

impl Door {
    pub(crate) const ALL: [Self; 8] = [
        Self::Session,
        Self::SessionWebSocket,
        Self::SessionHttp,
        Self::SessionGrpc,
        Self::Http,
        Self::Grpc,
        Self::Page,
        Self::Events,
    ];
    pub(crate) const SESSIONS: [Self; 4] =
        [Self::Session, Self::SessionWebSocket, Self::SessionHttp, Self::SessionGrpc];

    /// Asks over a connection of its own; `None`: this door has no such thing.
    pub(crate) async fn ask(self, rig: &Rig, ask: &Ask<'_>) -> Option<Said> {
        self.visit(rig, &Visit::default(), ask).await
    }

    pub(crate) async fn visit(self, rig: &Rig, visit: &Visit<'_>, ask: &Ask<'_>) -> Option<Said> {
        match self {
            Self::Http => http::ask(rig, visit.headers, ask).await,
            Self::Grpc => grpc::ask(rig, visit.headers, ask).await,
            Self::Page => page::ask(rig, visit.headers, ask).await,
            Self::Events => events::ask(rig, visit.headers, ask).await,
            _ => Some(session::ask(self, rig, visit, ask).await),
        }
    }
}

/// How somebody comes.
pub(crate) struct Visit<'a> {
    /// Of the first request, where there are requests.
    pub(crate) headers: &'a [(&'static str, &'a str)],
    /// Of a session.
    pub(crate) hello: wire::Hello,
}

impl Default for Visit<'_> {
    fn default() -> Self {
        Self { headers: &[], hello: hello() }
    }
}

/// An event in the words of each format, that may be none.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) json: String,
    pub(crate) protobuf: Bytes,
}

/// An event with so many bytes of text.
pub(crate) fn sent(id: &str, length: usize) -> Sent {
    let data = "x".repeat(length);
    let json = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","datacontenttype":"text/plain","data":"{data}"}}"#
    );
    let event = meshwire_proto::Event::text("t", data).id(id).source("/s").encode().unwrap();
    Sent { json, protobuf: event }
}

/// What lacks an id.
pub(crate) fn nameless() -> Sent {
    let json = r#"{"specversion":"1.0","source":"/s","type":"t"}"#.to_owned();
    Sent { json, protobuf: frames::event(&[(1, b"")], b"").into() }
}

/// What can be asked over more than one door.
pub(crate) enum Ask<'a> {
    Publish {
        topic: &'a str,
        event: Sent,
    },
    Request {
        topic: &'a str,
        timeout_ms: u32,
    },
    /// As a durable member of a broadcast group.
    Join {
        topic: &'a str,
        group: &'a str,
        member: &'a str,
    },
    /// Publishes an event, takes it, acks it, and then rejects it.
    SettleTwice {
        topic: &'a str,
    },
    Create {
        topic: &'a str,
        durability: Durability,
        retention_ms: u64,
    },
    GetGroup {
        topic: &'a str,
        group: &'a str,
    },
}
