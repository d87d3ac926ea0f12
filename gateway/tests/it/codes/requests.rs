//! Requests that get no reply.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;
use tokio::task::JoinHandle;

use super::row::{EVENTS_ONLY, Row};
use crate::doors::{Ask, Door, Said, sent};
use crate::rig::{Peer, Rig};

/// A peer that serves a topic and says nothing of itself.
async fn serving(rig: &Rig, topic: &str, most: u32) -> Peer {
    let mut peer = rig.session().await;
    let subscribe = wire::Subscribe {
        subscription: 1,
        topic: topic.into(),
        serve: true,
        max_events: most,
        max_bytes: 1 << 20,
        ..wire::Subscribe::default()
    };
    peer.subscribe(subscribe).await;
    peer
}

async fn asked(peer: &mut Peer) -> wire::Request {
    peer.find(|frame| if let ServerFrame::Request(request) = frame { Some(request) } else { None }).await
}

/// Answers every request so.
pub(crate) async fn responder(rig: &Rig, topic: &str, reply: wire::Reply) -> Ended {
    let mut peer = serving(rig, topic, 64).await;
    Ended(tokio::spawn(async move {
        loop {
            let request = asked(&mut peer).await;
            let reply = wire::Reply { number: request.number, reply_to: request.reply_to, end: true, ..reply.clone() };
            peer.send(ClientFrame::Reply(reply)).await;
        }
    }))
}

/// A task that ends with what it was for.
pub(crate) struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const REQUEST: Ask<'static> = Ask::Request { topic: "t", timeout_ms: 10_000 };

pub(super) async fn no_responders() -> Row {
    let rig = Rig::start().await;
    Row::asked(ErrorKind::NoResponders, &rig, &REQUEST).await.cannot(&[Door::Events], EVENTS_ONLY)
}

pub(super) async fn timeout() -> Row {
    let rig = Rig::start().await;
    let _silent = serving(&rig, "t", 64).await;
    let ask = Ask::Request { topic: "t", timeout_ms: 20 };
    Row::asked(ErrorKind::Timeout, &rig, &ask).await.cannot(&[Door::Events], EVENTS_ONLY)
}

pub(super) async fn responder_failed() -> Row {
    let rig = Rig::start().await;
    let code = ErrorKind::ResponderFailed.number();
    let _serving = responder(&rig, "t", wire::Reply { code, message: "no".into(), ..wire::Reply::default() }).await;
    Row::asked(ErrorKind::ResponderFailed, &rig, &REQUEST).await.cannot(&[Door::Events], EVENTS_ONLY)
}

pub(super) async fn responder_lost() -> Row {
    let rig = Rig::start().await;
    let mut row = Row::new(ErrorKind::ResponderLost);
    for door in Door::ALL.into_iter().filter(|door| *door != Door::Events) {
        let mut peer = serving(&rig, "t", 64).await;
        let lost = async move {
            asked(&mut peer).await;
        };
        let (said, ()) = tokio::join!(door.ask(&rig, &REQUEST), lost);
        row = row.told(door, said.unwrap());
    }
    row.cannot(&[Door::Events], EVENTS_ONLY)
}

pub(super) async fn busy() -> Row {
    let rig = Rig::start().await;
    // Whoever serves takes one at a time.
    let mut silent = serving(&rig, "t", 1).await;
    let mut first = rig.session().await;
    let event = sent("1", 1).protobuf;
    let request = wire::Request { number: 1, topic: "t".into(), timeout_ms: 60_000, event, ..wire::Request::default() };
    first.send(ClientFrame::Request(request)).await;
    asked(&mut silent).await;
    let row = Row::asked(ErrorKind::Busy, &rig, &REQUEST).await;
    // The first comes in on credit, and what comes behind it would wait for longer than anybody is made to.
    rig.ask("PATCH", "/v1/limits", r#"{"publish_bytes_rate":1}"#).await;
    rig.offer("t", &["first"]).await;
    let ask = Ask::Publish { topic: "t", event: sent("late", 1) };
    for door in [Door::Http, Door::Grpc, Door::Page] {
        let said = door.ask(&rig, &ask).await.unwrap();
        assert!(said.is(ErrorKind::Busy) && said.retry() == Some(true), "{door:?}: {said:?}");
    }
    let said: Said = Door::Events.ask(&rig, &ask).await.unwrap();
    row.told(Door::Events, said).with_a_time()
}
