//! Ends: of a gateway, of a session's connection, of a request that another one replaces.

use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{PREFACE, ServerFrame, SettleKind};
use meshwire_proto::wire::{mesh, session as wire};

use super::row::{CLIENT, NO_SESSION, Row};
use crate::doors::carriers::{self, upgrade};
use crate::doors::session::{answer, log_in, publishing};
use crate::doors::{Door, Said, Visit, sent};
use crate::grpc::Stub;
use crate::http_websocket::{next, next_json};
use crate::rig::{Peer, Rig, earliest, event, hello, run_of};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// Another connection resumes the session.
pub(super) async fn closed() -> Row {
    let rig = Rig::start().await;
    let mut row = Row::new(ErrorKind::Closed);
    for door in Door::SESSIONS {
        let hello = hello();
        let mut peer = Peer::over(carriers::open(door, &rig, &[]).await.unwrap()).await;
        let wire::Welcome { session, secret, .. } = peer.login(hello.clone()).await;
        let again = wire::Hello { resume_session: session, resume_secret: secret, ..hello };
        let (_other, welcome) = rig.login(again).await;
        assert!(welcome.resumed);
        row = row.told(door, answer(&mut peer).await);
    }
    row.cannot(&[Door::Http, Door::Grpc, Door::Page, Door::Events], NO_SESSION)
}

fn away(message: Message) -> Said {
    let Message::Close(Some(frame)) = message else { panic!("no end: {message:?}") };
    Said::Close { code: frame.code.into(), reason: frame.reason.to_string() }
}

/// A gateway that stops while somebody holds an event.
pub(super) async fn unavailable() -> Row {
    let rig = Rig::start().await;
    let mut holder = rig.session().await;
    holder.publish("t", run_of(&[event("1")])).await;
    holder.subscribe(earliest(1, "t", "g")).await;
    holder.deliveries(1).await;
    let mut sessions = Vec::new();
    for door in Door::SESSIONS {
        sessions.push(log_in(door, &rig, &Visit::default()).await.unwrap());
    }
    let mut page = upgrade(&rig, "/v1/ws", "meshwire.v1.json", &[]).await.unwrap();
    let mut events = upgrade(&rig, "/v1/topics/t/events", "cloudevents.json", &[]).await.unwrap();
    let mut http = rig.http().await;
    let asked = mesh::SubscribeRequest { topic: "t".into(), ..mesh::SubscribeRequest::default() };
    let mut stream = Stub::of(&rig).await.subscribe(asked).await.unwrap();
    let stopping = tokio::spawn(rig.stop());
    let grpc = stream.next().await.unwrap().unwrap_err();
    let refused = http.call("GET", "/v1/topics/t/events", &[], b"").await;
    let going = Said::Close { code: 1001, reason: "the gateway is stopping".into() };
    let mut row = Row::new(ErrorKind::Unavailable)
        .told(Door::Grpc, Said::status(&grpc))
        .told(Door::Http, Said::problem(refused.status, refused.header("retry-after"), &refused.body))
        .told_otherwise(Door::Events, away(next(&mut events).await), going);
    for (door, mut peer) in Door::SESSIONS.into_iter().zip(sessions) {
        peer.find(|frame| matches!(frame, ServerFrame::Drain(_)).then_some(())).await;
        peer.send(publishing("t", &sent("2", 1))).await;
        row = row.told(door, answer(&mut peer).await);
    }
    assert!(next_json(&mut page).await["stopping"].is_object());
    let event = json!({"specversion":"1.0","id":"3","source":"/s","type":"t"});
    page.send(Message::text(json!({"id": 1, "op": "publish", "topic": "t", "event": event}).to_string()))
        .await
        .unwrap();
    row = row.told(Door::Page, Said::object(&next_json(&mut page).await["error"])).with_a_time();
    // Nothing is held any more: it need not wait.
    holder.settle(1, 1, 1, SettleKind::Ack).await;
    stopping.await.unwrap();
    row
}

/// A request for a session's output that a later one replaces.
pub(super) async fn cancelled() -> Row {
    let rig = Rig::start().await;
    let begun = rig.http().await.call("POST", "/v1/session", &[], &PREFACE).await;
    let path = format!("/v1/session/{}", begun.header("meshwire-session").unwrap());
    let (mut first, mut second) = (rig.http().await, rig.http().await);
    let wait = format!("{path}?after=8&wait_ms=20000");
    let replaced = async {
        loop {
            second.call("GET", &format!("{path}?after=8&wait_ms=0"), &[], b"").await;
        }
    };
    let answer = tokio::select! {
        answer = first.call("GET", &wait, &[], b"") => answer,
        () = replaced => unreachable!("it goes on"),
    };
    let said = Said::problem(answer.status, None, &answer.body);
    // Whoever asks is there, and not gone: 499 would say that it is.
    let want = Said::Problem { status: 409, code: ErrorKind::Cancelled.code().to_owned(), retry: false };
    let row = Row::new(ErrorKind::Cancelled).told_otherwise(Door::SessionHttp, said, want);
    let others = Door::ALL.into_iter().filter(|door| *door != Door::SessionHttp).collect::<Vec<_>>();
    row.cannot(&others, CLIENT)
}
