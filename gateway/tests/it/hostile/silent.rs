//! Who was served and then falls silent: the connection ends, and what it held goes to others.

use std::sync::Arc;
use std::time::Duration;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{http2, websocket};
use crate::rig::{PATIENCE, Rig, memory};

async fn with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut config = memory();
    change(&mut config);
    Rig::with(config, Arc::new(AllowAll)).await
}

/// Reads and says nothing until the end; gives what came.
async fn listen(socket: &mut TcpStream) -> Vec<u8> {
    let mut came = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut came)).await;
    assert!(read.is_ok(), "it goes on: {}", came.escape_ascii());
    came
}

/// Sends this, is silent to the end, and looks who has the event then.
async fn gives_back(name: &str, sent: Vec<u8>) {
    let rig = with(|c| c.heartbeat = Duration::from_millis(200)).await;
    rig.offer("t", &["the-event"]).await;
    let mut socket = rig.socket().await;
    socket.write_all(&sent).await.unwrap();
    let came = listen(&mut socket).await;
    assert!(came.windows(9).any(|w| w == b"the-event"), "{name} had it: {}", came.escape_ascii());
    // Long before the lease would have ended.
    let fetch = serde_json::json!({"wait_ms": 20_000});
    let fetched = rig.post("/v1/topics/t/groups/g/fetch", &fetch).await.json();
    assert_eq!(fetched["deliveries"][0]["attempt"], 2, "{name}: {fetched}");
    rig.stop().await;
}

fn asking(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pairs = [&[(":scheme", "http"), (":path", path), (":authority", "localhost")][..], more].concat();
    http2::headers(&pairs)
}

#[tokio::test]
async fn a_stream_of_http2_whose_peer_answers_no_ping_ends_and_gives_its_leases_back() {
    let block = asking("/v1/topics/t/groups/g/events", &[(":method", "GET")]);
    gives_back("HTTP/2", http2::begun(&http2::frame(1, 5, 1, &block))).await;
}

#[tokio::test]
async fn a_grpc_subscription_whose_peer_answers_no_ping_ends_and_gives_its_leases_back() {
    let more = [(":method", "POST"), ("content-type", "application/grpc"), ("te", "trailers")];
    // SubscribeRequest: topic 1, group 2.
    let message = b"\0\0\0\0\x06\x0a\x01t\x12\x01g";
    let head = http2::frame(1, 4, 1, &asking("/meshwire.v1.Mesh/Subscribe", &more));
    gives_back("gRPC", http2::begun(&[head, http2::frame(0, 1, 1, message)].concat())).await;
}

#[tokio::test]
async fn a_page_on_websocket_that_answers_no_ping_ends_and_gives_its_leases_back() {
    let upgrade = String::from_utf8(websocket::upgraded(b"")).unwrap().replace("meshwire.v1", "meshwire.v1.json");
    let subscribe = br#"{"id":"1","op":"subscribe","topic":"t","group":"g"}"#;
    gives_back("a page", [upgrade.as_bytes(), &websocket::frame(0x81, subscribe)].concat()).await;
}

#[tokio::test]
async fn a_websocket_of_cloudevents_that_answers_no_ping_ends() {
    let rig = with(|c| c.heartbeat = Duration::from_millis(200)).await;
    let upgrade = String::from_utf8(websocket::upgraded(b"")).unwrap();
    let upgrade = upgrade.replace("meshwire.v1", "cloudevents.json").replace("/v1/ws", "/v1/topics/t/events");
    let mut socket = rig.socket().await;
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let came = listen(&mut socket).await;
    assert!(came.starts_with(b"HTTP/1.1 101 "), "{}", came.escape_ascii());
    rig.stop().await;
}

#[tokio::test]
async fn who_answers_pings_is_served_on_however_little_it_says() {
    let rig = with(|c| c.heartbeat = Duration::from_millis(200)).await;
    let (client, connection) = h2::client::handshake(rig.socket().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://localhost/v1/topics/t/events").body(()).unwrap();
    let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut silent = rig.socket().await;
    silent.write_all(&http2::begun(&http2::frame(1, 5, 1, &asking("/healthz", &[(":method", "GET")])))).await.unwrap();
    // It came later, and has ended by now.
    listen(&mut silent).await;
    rig.offer("t", &["still-there"]).await;
    let came = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
    assert!(came.windows(11).any(|w| w == b"still-there"), "{}", came.escape_ascii());
    connection.abort();
    rig.stop().await;
}

#[tokio::test]
async fn an_http_connection_without_a_request_or_with_one_that_is_never_whole_is_closed_after_its_idle_timeout() {
    let rig = with(|c| c.http_idle_timeout = Duration::from_millis(300)).await;
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\nhost: "] {
        let mut socket = rig.socket().await;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n{begun}");
        socket.write_all(request.as_bytes()).await.unwrap();
        assert!(listen(&mut socket).await.starts_with(b"HTTP/1.1 200 "), "{begun}");
    }
    let (client, connection) = h2::client::handshake(rig.socket().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://localhost/healthz").body(()).unwrap();
    let mut client = client.ready().await.unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    timeout(PATIENCE, connection).await.expect("a goodbye").unwrap().unwrap();
    rig.stop().await;
}

/// What the kernel's timer of a connection waits for, as `/proc/net/tcp` has it, on the gateway's side.
fn timer(rig: &Rig, peer: &TcpStream) -> String {
    let (gateway, peer) = (rig.address.port(), peer.local_addr().unwrap().port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = sockets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is = |field: usize, port: u16| fields[field].ends_with(&format!(":{port:04X}"));
        (is(1, gateway) && is(2, peer)).then(|| fields[5].split(':').next().unwrap().to_owned())
    });
    ours.unwrap_or_default()
}

#[tokio::test]
async fn the_system_looks_after_connections_that_say_nothing() {
    let rig = Rig::start().await;
    let socket = rig.socket().await;
    // 02: keepalive.
    let watched = async {
        while timer(&rig, &socket) != "02" {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, watched).await.expect("keepalive is on");
    rig.stop().await;
}
