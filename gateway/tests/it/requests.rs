//! Requests and replies over real frames.

use std::sync::Arc;

use bytes::Bytes;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;

use crate::rig::{Peer, Rig, event, memory};

fn serve(subscription: u32, topic: &str) -> wire::Subscribe {
    wire::Subscribe {
        subscription,
        topic: topic.into(),
        serve: true,
        max_events: 16,
        max_bytes: 1 << 20,
        ..wire::Subscribe::default()
    }
}

fn body(id: &str) -> Bytes {
    event(id).encode().unwrap()
}

fn request(number: u64, topic: &str) -> wire::Request {
    let event = body(&number.to_string());
    wire::Request { number, topic: topic.into(), timeout_ms: 20_000, event, ..wire::Request::default() }
}

impl Peer {
    async fn ask(&mut self, request: wire::Request) {
        self.send(ClientFrame::Request(request)).await;
    }

    async fn asked(&mut self) -> wire::Request {
        self.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await
    }

    /// The next reply as number, code, end and event.
    async fn replied(&mut self) -> wire::Reply {
        self.find(|f| if let ServerFrame::Reply(r) = f { Some(r) } else { None }).await
    }

    async fn cancelled(&mut self) -> u64 {
        self.find(|f| if let ServerFrame::Cancel(c) = f { Some(c.number) } else { None }).await
    }

    async fn reply(&mut self, to: &wire::Request, event: Bytes, end: bool) {
        let reply_to = to.reply_to.clone();
        let reply = wire::Reply { number: to.number, reply_to, end, event, ..wire::Reply::default() };
        self.send(ClientFrame::Reply(reply)).await;
    }
}

fn code(kind: ErrorKind) -> u32 {
    kind.number()
}

#[tokio::test]
async fn a_request_goes_to_who_serves_the_topic_and_its_reply_comes_back() {
    let rig = Rig::start().await;
    let (mut responder, mut requester) = (rig.session().await, rig.session().await);
    responder.subscribe(serve(1, "quote")).await;
    requester.ask(request(1, "quote")).await;
    let asked = responder.asked().await;
    assert_eq!((asked.subscription, asked.event.clone()), (1, body("1")));
    responder.reply(&asked, body("answer"), true).await;
    let reply = requester.replied().await;
    assert_eq!((reply.number, reply.end, reply.code, reply.event), (1, true, 0, body("answer")));
}
