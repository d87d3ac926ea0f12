//! Bodies that are begun and not ended, whatever carries them, hold no more memory than there is for them.

use bytes::Bytes;
use http::Request;
use meshwire_proto::Event;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::mesh::{RequestRequest, RequestResponse};
use meshwire_proto::wire::session::Subscribe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::rig::{PATIENCE, Rig};

const BODIES: usize = 256;

/// What is said to come, and what does.
const WHOLE: usize = 4 << 20;
const SENT: usize = 128 << 10;

/// What a small body needs no leave for.
const FREE: u64 = 64 << 10;

/// What is held of what there is, in bytes.
async fn receiving(rig: &Rig) -> (u64, u64) {
    let text = rig.get("/metrics").await.text().to_owned();
    let find = |name: &str| {
        let name = format!("meshwire_memory_{name}_bytes{{of=\"receiving\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    };
    (find("used").parse().unwrap(), find("limit").parse().unwrap())
}

/// Waits until all but those that fit are refused; others are served meanwhile, and all is given back in the end.
async fn most_are_refused<T: 'static>(rig: &Rig, name: &str, mut begun: JoinSet<(String, T)>) {
    let (_, limit) = receiving(rig).await;
    // Of each that is let in at least what it sent is held, but for what needs no leave.
    let most = (limit / (SENT as u64 - FREE)) as usize;
    let mut ended = Vec::new();
    while ended.len() < BODIES - most {
        let answer = timeout(PATIENCE, begun.join_next()).await.unwrap_or_else(|_| panic!("{name}: {}", ended.len()));
        let (code, kept) = answer.unwrap().unwrap();
        assert_eq!(code, "BUSY", "{name}");
        ended.push(kept);
    }
    assert!(!begun.is_empty(), "{name}: some are let in");
    let (used, _) = receiving(rig).await;
    assert!((1..=limit).contains(&used), "{name}: {used} of {limit} bytes");
    rig.offer(name, &["1"]).await;
    begun.shutdown().await;
    drop(ended);
    let all_back = async { while receiving(rig).await.0 > 0 {} };
    timeout(PATIENCE, all_back).await.unwrap_or_else(|_| panic!("{name}: not all is given back"));
    let large = [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "/s"), ("ce-type", "t")];
    let path = format!("/v1/topics/{name}/events");
    let answer = rig.http().await.call("POST", &path, &large, &vec![0; WHOLE]).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
}

#[tokio::test]
async fn half_sent_bodies_of_http1_are_busy_once_there_is_no_room_for_them() {
    let rig = Rig::start().await;
    let mut begun = JoinSet::new();
    for _ in 0..BODIES {
        let mut socket = rig.socket().await;
        begun.spawn(async move {
            let head = format!(
                "POST /v1/topics/t/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {WHOLE}\r\n\
                ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(&vec![0; SENT]).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "it is closed without an answer");
            }
            let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 429 ") && answer.contains("retry-after: 1"), "{answer}");
            (if answer.contains("\"code\":\"busy\"") { "BUSY" } else { "?" }.to_owned(), socket)
        });
    }
    most_are_refused(&rig, "http1", begun).await;
    rig.stop().await;
}

/// The same in one HTTP/2 connection; `code` finds the code in the head of an answer.
async fn in_one_connection(name: &'static str, kind: &'static str, path: &str, code: fn(&http::HeaderMap) -> bool) {
    let rig = Rig::start().await;
    let (client, connection) = h2::client::handshake(rig.socket().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut begun = JoinSet::new();
    for _ in 0..BODIES {
        let request = Request::post(format!("http://localhost{path}")).header("content-type", kind);
        let request = request.header("ce-specversion", "1.0").header("ce-id", "1").header("ce-source", "/s");
        let mut client = client.clone().ready().await.unwrap();
        let (answer, mut body) = client.send_request(request.header("ce-type", "t").body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from(vec![0; SENT]), false).unwrap();
        begun.spawn(async move {
            let answer = answer.await.unwrap();
            (if code(answer.headers()) { "BUSY" } else { "?" }.to_owned(), (answer, body))
        });
    }
    most_are_refused(&rig, name, begun).await;
    connection.abort();
    rig.stop().await;
}

#[tokio::test]
async fn half_sent_bodies_of_one_http2_connection_are_busy_once_there_is_no_room_for_them() {
    let busy = |headers: &http::HeaderMap| headers.get("retry-after").is_some_and(|after| after == "1");
    in_one_connection("http2", "application/octet-stream", "/v1/topics/t/events", busy).await;
}

#[tokio::test]
async fn half_sent_messages_of_grpc_are_busy_once_there_is_no_room_for_them() {
    let busy = |headers: &http::HeaderMap| headers.get("grpc-status").is_some_and(|status| status == "8");
    in_one_connection("grpc", "application/grpc", "/meshwire.v1.Mesh/Publish", busy).await;
}

#[tokio::test]
async fn who_asks_for_leave_to_send_a_body_gets_it_unless_the_body_would_be_too_large() {
    let rig = Rig::start().await;
    let event = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let json = [("content-type", "application/json")];
    let asks = |more: &[(&'static str, &'static str)], length: &'static str| {
        [more, &[("expect", "100-Continue"), ("content-length", length)]].concat()
    };
    for (path, headers) in [
        ("/v1/topics/t/events", &event[..]),
        ("/v1/topics/t/requests", &event[..]),
        ("/v1/topics/t/groups/g/settle", &json[..]),
        ("/v1/topics/t/groups/g/seek", &json[..]),
    ] {
        let mut http = rig.http().await;
        http.send_head("POST", path, &asks(headers, "99999999")).await;
        // The first that comes: nobody was told to go on.
        assert_eq!(http.answer().await.problem(), (413, "TOO_LARGE".into()), "{path}");
    }
    let mut http = rig.http().await;
    http.send_head("POST", "/v1/topics/t/events", &asks(&event, "5")).await;
    assert_eq!(http.head().await.status, 100);
    http.send_body(b"hello").await;
    assert_eq!(http.answer().await.status, 200);
}

#[tokio::test]
async fn a_request_that_waits_for_its_reply_holds_nothing_of_what_there_is_for_bodies() {
    const LENGTH: usize = 512 << 10;
    let rig = Rig::start().await;
    let mut responder = rig.session().await;
    let (topic, max_bytes) = ("quote".to_owned(), 1 << 30);
    let serve = Subscribe { subscription: 1, topic, serve: true, max_events: 16, max_bytes, ..Subscribe::default() };
    responder.subscribe(serve).await;
    let mut http = rig.http().await;
    let event = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    http.send("POST", "/v1/topics/quote/requests?timeout_ms=600000", &event, &vec![0; LENGTH]).await;
    let stub = crate::grpc::Stub::of(&rig).await;
    let grpc = tokio::spawn(async move {
        let event = Event::new("t").id("2").source("/s").binary_data(vec![0; LENGTH]).encode().unwrap();
        let asked = RequestRequest { topic: "quote".into(), event, timeout_ms: 600_000 };
        stub.call::<_, RequestResponse>("/meshwire.v1.Mesh/Request", asked).await.map(drop)
    });
    for _ in 0..2 {
        responder.find(|frame| if let ServerFrame::Request(r) = frame { Some(r) } else { None }).await;
    }
    let nothing = async { while receiving(&rig).await.0 > 0 {} };
    timeout(PATIENCE, nothing).await.expect("it is given back before the reply");
    assert!(!grpc.is_finished());
}
