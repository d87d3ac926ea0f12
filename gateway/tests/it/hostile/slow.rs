//! Who says nothing, or stops in the middle: the login has one end, however far it came.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meshwire_gateway::ingress::BoxIo;
use meshwire_gateway::ingress::tls::TlsConfig;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::PREFACE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::http1::publish;
use super::table::{Case, play};
use super::{answers::Got, frames, http2, websocket};
use crate::certificates::{Authority, handshake};
use crate::rig::{PATIENCE, Rig, memory};

/// A session over HTTP requests whose first body has this only.
fn carrier(body: &[u8]) -> Vec<u8> {
    [&b"POST /v1/session HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"[..], body].concat()
}

/// Beginnings of a login, none of which is a whole one.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let hello = frames::hello_frame();
    let upgraded = websocket::upgraded(b"");
    vec![
        ("nothing", Vec::new()),
        ("a letter", b"G".to_vec()),
        ("a method", b"GET ".to_vec()),
        ("half a head", b"GET / HTTP/1.1\r\nhost: local".to_vec()),
        ("half a preface", PREFACE[..5].to_vec()),
        ("a preface", PREFACE.to_vec()),
        ("half a Hello", [&PREFACE[..], &hello[..10]].concat()),
        ("half a preface of HTTP/2", b"PRI * HTTP/2.0\r\n".to_vec()),
        ("HTTP/2 without a request", http2::begun(b"")),
        ("HTTP/2 with pings only", http2::begun(&http2::frame(6, 0, 0, &[0; 8]).repeat(100))),
        ("HTTP/2 with half a request", http2::begun(&http2::frame(1, 0, 1, &http2::header(":method", "GET")))),
        ("a session over HTTP with half a body", carrier(&PREFACE[..4])),
        ("a session over HTTP with half a Hello", carrier(&[&PREFACE[..], &hello[..10]].concat())),
        ("WebSocket without a message", upgraded.clone()),
        ("WebSocket with half a frame", [&upgraded[..], &websocket::frame(0x82, &[0; 100])[..50]].concat()),
        ("WebSocket with a preface", [&upgraded[..], &websocket::frame(0x82, &PREFACE)].concat()),
        ("WebSocket with pongs only", [&upgraded[..], &websocket::frame(0x8a, b"x").repeat(100)].concat()),
    ]
}

/// What each has for its login.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Sends, and waits for the end.
async fn ends(name: String, mut stream: BoxIo, sent: Vec<u8>) {
    let began = Instant::now();
    let _ = stream.write_all(&sent).await;
    let _ = stream.flush().await;
    let mut came = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut came)).await;
    assert!(read.is_ok(), "{name}: it goes on");
    // A WebSocket is told its end in time, and may answer for two seconds more.
    let close = if name.starts_with("WebSocket") { Duration::from_secs(2) } else { Duration::ZERO };
    assert!(began.elapsed() < TIMEOUT * 2 + close, "{name}: it went on for {:?}", began.elapsed());
}

#[tokio::test]
async fn a_login_that_stops_anywhere_ends_at_its_deadline_while_others_are_served() {
    let authority = Authority::new();
    let files = authority.gateway();
    let mut config = memory();
    config.login_timeout = TIMEOUT;
    let plain = Rig::with(config.clone(), Arc::new(AllowAll)).await;
    config.tls = TlsConfig { mode: None, certificate: files.certificate, key: files.key, client_roots: PathBuf::new() };
    let secure = Rig::with(config, Arc::new(AllowAll)).await;

    let mut waiting = tokio::task::JoinSet::new();
    for (name, sent) in beginnings() {
        let inside = handshake(&secure, &authority.root(), None, &[]).await.unwrap();
        waiting.spawn(ends(format!("{name} (TLS)"), Box::new(inside), sent.clone()));
        waiting.spawn(ends(name.to_owned(), Box::new(plain.socket().await), sent));
    }
    for (name, sent) in [("no handshake", &b""[..]), ("half a handshake", b"\x16\x03\x01\x02\0\x01")] {
        waiting.spawn(ends(name.to_owned(), Box::new(secure.socket().await), sent.to_vec()));
    }
    let count = waiting.len();
    let case = Case::new("others meanwhile", publish("t", "1"), Got::Http(200, String::new()));
    assert_eq!(play(Box::new(plain.socket().await), &case).await, case.want);
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap();
    }
    println!("logins that stop: {count} ended at their deadline");
}

#[tokio::test]
async fn the_time_that_went_by_before_the_upgrade_or_the_first_request_counts() {
    let mut config = memory();
    config.login_timeout = Duration::from_secs(2);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let late = [("WebSocket", websocket::upgraded(b"")), ("a session over HTTP", carrier(&PREFACE))];
    let ended = late.map(async |(name, sent)| {
        let began = Instant::now();
        let mut socket = rig.socket().await;
        let mut first = [0];
        let early = tokio::time::timeout(Duration::from_millis(1500), socket.read(&mut first)).await;
        assert!(early.is_err(), "{name}: it is open still");
        socket.write_all(&sent).await.unwrap();
        let (mut came, mut told) = (Vec::new(), Duration::ZERO);
        while tokio::time::timeout(PATIENCE, socket.read_buf(&mut came)).await.expect(name).is_ok_and(|n| n > 0) {
            told = began.elapsed();
        }
        assert!(told < Duration::from_secs(3), "{name}: it was told its end after {told:?}");
    });
    futures_util::future::join_all(ended).await;
}

#[tokio::test]
async fn a_session_may_begin_late_in_a_connection_that_has_had_requests() {
    let mut config = memory();
    config.login_timeout = Duration::from_millis(300);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut socket = rig.socket().await;
    socket.write_all(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut came = Vec::new();
    // Nothing more comes, and it does not end.
    while tokio::time::timeout(Duration::from_millis(500), socket.read_buf(&mut came)).await.is_ok() {}
    let hello = [&PREFACE[..], &frames::hello_frame()].concat();
    let head = format!("POST /v1/session HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", hello.len());
    socket.write_all(&[head.as_bytes(), &hello].concat()).await.unwrap();
    came.clear();
    while !came.starts_with(b"HTTP/1.1 201") {
        let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut came)).await.unwrap().unwrap();
        assert!(read > 0, "{}", came.escape_ascii());
    }
}
