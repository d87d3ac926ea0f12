//! CloudEvents in the messages of WebSocket: what a page or a program of another kind sends and gets.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_gateway::mesh::{Action, Authorize, Caller};
use meshwire_proto::{EventLimits, EventView};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::rig::{PATIENCE, Rig, event, memory};

pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) async fn ask(rig: &Rig, path: &str, subprotocol: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{}{path}", rig.address).into_client_request().unwrap();
    if !subprotocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    client_async(request, rig.socket().await).await.map(|(socket, _)| socket)
}

/// The next message that is not a ping.
pub(crate) async fn next(socket: &mut Socket) -> Message {
    let other = async {
        loop {
            match socket.next().await.expect("a message").expect("no error") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    };
    tokio::time::timeout(PATIENCE, other).await.expect("a message within patience")
}

pub(crate) async fn next_json(socket: &mut Socket) -> Value {
    match next(socket).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("not text: {other:?}"),
    }
}

/// Code and reason of the close frame that comes next.
pub(crate) async fn closed(socket: &mut Socket) -> (u16, String) {
    match next(socket).await {
        Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("not closed: {other:?}"),
    }
}

fn status(refused: Result<Socket, Error>) -> u16 {
    match refused {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    }
}

const EVENTS: &str = "/v1/topics/t/events";

fn text(id: &str) -> Message {
    Message::text(json!({"specversion":"1.0","id":id,"source":"/s","type":"t","data":{"n":id}}).to_string())
}

#[tokio::test]
async fn events_of_either_format_come_to_everybody_in_his_own() {
    let rig = Rig::start().await;
    let mut json = ask(&rig, EVENTS, "cloudevents.json").await.unwrap();
    let mut proto = ask(&rig, EVENTS, "cloudevents.proto").await.unwrap();
    json.send(text("1")).await.unwrap();
    assert_eq!(next_json(&mut json).await["data"], json!({"n": "1"}));
    let Message::Binary(bytes) = next(&mut proto).await else { panic!("not binary") };
    assert_eq!(EventView::parse(&bytes, EventLimits::default()).unwrap().id(), "1");
    proto.send(Message::binary(event("2").encode().unwrap())).await.unwrap();
    let got = next_json(&mut json).await;
    assert_eq!((&got["id"], &got["data"]), (&json!("2"), &json!("data of 2")));
    let mut late = ask(&rig, &format!("{EVENTS}?start=earliest"), "cloudevents.json").await.unwrap();
    assert_eq!(next_json(&mut late).await["id"], "1");
    assert_eq!(next_json(&mut late).await["id"], "2");
}

#[tokio::test]
async fn a_thousand_events_keep_their_order_through_one_connection() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, EVENTS, "cloudevents.json").await.unwrap();
    for n in 0..1000 {
        socket.feed(text(&n.to_string())).await.unwrap();
    }
    socket.flush().await.unwrap();
    for n in 0..1000 {
        assert_eq!(next_json(&mut socket).await["id"], n.to_string());
    }
}

#[tokio::test]
async fn what_cannot_be_published_ends_the_connection_with_its_code_and_reason() {
    let rig = Rig::start().await;
    for (subprotocol, message, code, says) in [
        ("cloudevents.json", Message::text(r#"{"id":"1","source":"/s","type":"t"}"#), 4001, "specversion"),
        ("cloudevents.json", Message::text("["), 4001, "INVALID"),
        ("cloudevents.json", Message::binary(&b"{}"[..]), 1003, "text"),
        ("cloudevents.proto", Message::binary(&b"\xff"[..]), 4001, "INVALID"),
        ("cloudevents.proto", Message::text("{}"), 1003, "binary"),
    ] {
        let mut socket = ask(&rig, EVENTS, subprotocol).await.unwrap();
        socket.send(message).await.unwrap();
        let (closed, reason) = closed(&mut socket).await;
        assert!(closed == code && reason.contains(says), "{closed} {reason}");
    }
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_is_answered_as_a_problem() {
    let rig = Rig::start().await;
    assert_eq!(status(ask(&rig, EVENTS, "cloudevents.avro").await), 501);
    assert_eq!(status(ask(&rig, &format!("{EVENTS}?from=1"), "cloudevents.json").await), 400);
    assert_eq!(status(ask(&rig, "/v1/topics/a%20b/events", "cloudevents.json").await), 400);
    let answer = rig.http().await.call("GET", EVENTS, &[("upgrade", "websocket")], b"").await;
    assert_eq!(answer.problem(), (400, "INVALID".into()));
}

#[tokio::test]
async fn who_may_not_subscribe_gets_no_connection_and_who_may_not_publish_is_told() {
    struct Only(&'static [Action]);
    impl Authorize for Only {
        fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
            self.0.contains(&action)
        }
    }
    let rig = Rig::with(memory(), Arc::new(Only(&[]))).await;
    assert_eq!(status(ask(&rig, EVENTS, "cloudevents.json").await), 403);
    let rig = Rig::with(memory(), Arc::new(Only(&[Action::Subscribe, Action::CreateTopic]))).await;
    let mut socket = ask(&rig, EVENTS, "cloudevents.json").await.unwrap();
    socket.send(text("1")).await.unwrap();
    let (code, reason) = closed(&mut socket).await;
    assert!(code == 4003 && reason.starts_with("DENIED"), "{code} {reason}");
}

#[tokio::test]
async fn a_gateway_that_stops_says_so() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, EVENTS, "cloudevents.json").await.unwrap();
    let stopping = tokio::spawn(rig.stop());
    assert_eq!(closed(&mut socket).await, (1001, "the gateway is stopping".into()));
    drop(socket);
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_was_sent_before_a_close_is_published() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, EVENTS, "cloudevents.json").await.unwrap();
    for id in ["1", "2", "3"] {
        socket.feed(text(id)).await.unwrap();
    }
    socket.close(None).await.unwrap();
    // It ends once the gateway has done with it.
    tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await.expect("the end");
    let topic = rig.get("/v1/topics/t").await.json();
    assert_eq!(topic["next"], "4", "{topic}");
}

#[tokio::test]
async fn a_peer_that_reads_nothing_does_not_hold_the_gateway_up_when_it_stops() {
    let mut config = memory();
    config.stop_timeout = std::time::Duration::from_millis(100);
    let rig = Rig::with(config, Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    let large = "x".repeat(1 << 20);
    let event =
        json!({"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":large});
    let path = "/v1/topics/t/events?start=earliest";
    // Neither reads what it is sent.
    let _page = ask(&rig, EVENTS, "cloudevents.json").await.unwrap();
    for id in 0..16 {
        let mut event = event.clone();
        event["id"] = json!(id.to_string());
        rig.offer_events("t", &json!([event])).await;
    }
    // Not before: a connection has little time for its first request.
    let mut stream = rig.http().await;
    stream.send("GET", path, &[], b"").await;
    stream.head().await;
    rig.stop().await;
}
