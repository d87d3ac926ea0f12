//! Peers of WebSocket that say nothing, take nothing, or never end a message, in each subprotocol: they are ended, and others are served.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, PREFACE};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::hostile::answers::messages;
use crate::hostile::frames::encoded;
use crate::hostile::websocket::{frame, headers};
use crate::http_websocket::ask;
use crate::rig::{PATIENCE, Rig, hello, memory};

const ALL: [&str; 4] = ["meshwire.v1", "meshwire.v1.json", "cloudevents.json", "cloudevents.proto"];

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

fn path(subprotocol: &str, topic: &str) -> String {
    if subprotocol.starts_with("meshwire") {
        return "/v1/ws".to_owned();
    }
    format!("/v1/topics/{topic}/events?start=earliest")
}

/// A connection that reads nothing by itself, after its handshake was sent.
async fn quiet(rig: &Rig, subprotocol: &str, topic: &str, frames: &[u8]) -> TcpStream {
    let mut stream = rig.socket().await;
    let headers = headers("").replace("meshwire.v1", subprotocol);
    let request = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n", path(subprotocol, topic));
    stream.write_all(&[request.as_bytes(), frames].concat()).await.unwrap();
    stream
}

/// The code that it is closed with.
async fn code(mut stream: TcpStream) -> u16 {
    let mut came = Vec::new();
    // It may be cut off for what it still sends.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut came)).await.expect("the end");
    let at = came.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let close = messages(&came[at + 4..]).into_iter().find(|(opcode, _)| *opcode == 8).expect("a close frame").1;
    u16::from_be_bytes([close[0], close[1]])
}

async fn with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut config = memory();
    change(&mut config);
    Rig::with(config, Arc::new(AllowAll)).await
}

/// Others are served.
async fn serves(rig: &Rig, topic: &str) {
    rig.offer(topic, &["good"]).await;
}

/// Connections of WebSocket that the gateway has, whatever their subprotocol.
async fn open(rig: &Rig) -> f64 {
    let metrics = rig.get("/metrics").await;
    let of_websocket = |line: &&str| line.starts_with("meshwire_connections{protocol=\"websocket");
    let lines: Vec<&str> = metrics.text().lines().filter(of_websocket).collect();
    assert!(!lines.is_empty(), "no such metric: {}", metrics.text());
    lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn who_never_says_anything_is_closed_as_late_in_every_subprotocol() {
    let rig = with(|config| {
        config.heartbeat = Duration::from_millis(100);
        config.login_timeout = Duration::from_millis(300);
    })
    .await;
    let session = frame(BINARY, &[&PREFACE[..], &encoded(&ClientFrame::Hello(hello()))].concat());
    for (subprotocol, frames) in ALL.map(|name| (name, &[][..])).into_iter().chain([("meshwire.v1", &session[..])]) {
        let stream = quiet(&rig, subprotocol, "t", frames).await;
        assert_eq!(code(stream).await, ErrorKind::Timeout.ws_close(), "{subprotocol}");
    }
    serves(&rig, "t").await;
}

#[tokio::test]
async fn who_answers_pings_stays_for_as_long_as_it_likes() {
    let rig = with(|config| config.heartbeat = Duration::from_millis(50)).await;
    for subprotocol in &ALL[1..] {
        let mut socket = ask(&rig, &path(subprotocol, "t"), subprotocol).await.unwrap();
        // Ten of them are four times what a silent one is given.
        for _ in 0..10 {
            let message = timeout(PATIENCE, socket.next()).await.expect("a ping").unwrap().unwrap();
            assert!(matches!(message, Message::Ping(_)), "{subprotocol}: {message:?}");
        }
    }
}

#[tokio::test]
async fn who_never_reads_is_ended_and_others_are_served() {
    let rig = with(|config| config.heartbeat = Duration::from_millis(200)).await;
    let large = "x".repeat(1 << 20);
    for n in 0..12 {
        let event = json!({"specversion":"1.0","id":n.to_string(),"source":"/s","type":"t","data":large});
        rig.offer_events("large", &json!([event])).await;
    }
    let subscribe = json!({"id": 1, "op": "subscribe", "topic": "large", "start": "earliest"}).to_string();
    let pings = frame(0x89, &[b'x'; 125]).repeat(1000);
    let mut held = Vec::new();
    for subprotocol in &ALL[1..] {
        let call = if *subprotocol == "meshwire.v1.json" { frame(TEXT, subscribe.as_bytes()) } else { Vec::new() };
        held.push(quiet(&rig, subprotocol, "large", &call).await);
        // Pongs that nobody takes.
        held.push(quiet(&rig, subprotocol, "large", &[&call[..], &pings].concat()).await);
    }
    let gone = async {
        while open(&rig).await > 0.0 {
            serves(&rig, &format!("t{}", getrandom::u32().unwrap())).await;
        }
    };
    // They are counted from their upgrade on; each has been upgraded once it has sent something.
    for stream in &held {
        timeout(PATIENCE, stream.readable()).await.expect("something comes").unwrap();
    }
    timeout(PATIENCE, gone).await.expect("they are ended");
}

#[tokio::test]
async fn messages_that_never_end_share_the_memory_for_large_frames_and_give_it_up() {
    let rig = with(|config| {
        config.heartbeat = Duration::from_millis(200);
        config.memory_budget = 16 << 20;
    })
    .await;
    for (subprotocol, first) in [("meshwire.v1.json", 0x81), ("cloudevents.json", 0x81), ("cloudevents.proto", 0x82)] {
        let whole = frame(first, &vec![b' '; 4 << 20]);
        // One that has leave and stands still is ended because the other waits, or the other is.
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(quiet(&rig, subprotocol, "t", &whole[..200 << 10]).await);
        }
        let mut codes = Vec::new();
        for stream in streams {
            codes.push(code(stream).await);
        }
        assert!(codes.contains(&ErrorKind::Busy.ws_close()), "{subprotocol}: {codes:?}");
        assert!(
            codes.iter().all(|code| [ErrorKind::Busy, ErrorKind::Timeout].map(ErrorKind::ws_close).contains(code)),
            "{subprotocol}: {codes:?}"
        );
        serves(&rig, subprotocol).await;
    }
    // Whole ones come through, one after the other.
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(ask(&rig, "/v1/ws", "meshwire.v1.json").await.unwrap());
    }
    let data = "x".repeat(2 << 20);
    let sent = sockets.iter_mut().enumerate().map(|(n, socket)| {
        let event = json!({"specversion":"1.0","id":n.to_string(),"source":"/s","type":"t","data":data});
        let call = json!({"id": n, "op": "publish", "topic": "whole", "event": event}).to_string();
        async move {
            socket.send(Message::text(call)).await.unwrap();
            crate::http_websocket::next_json(socket).await
        }
    });
    for answer in futures_util::future::join_all(sent).await {
        assert_eq!(answer["ok"]["duplicate"], false, "{answer}");
    }
}
