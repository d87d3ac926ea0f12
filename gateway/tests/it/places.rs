//! When all places are taken: who has not logged in makes room, and who finds none is told so in its own words.

use std::sync::Arc;

use bytes::BytesMut;
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{FrameParser, PREFACE, ServerFrame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::doors::{Ask, Door, Said, sent};
use crate::rig::{PATIENCE, Rig, event, memory, run_of};

async fn with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut config = memory();
    change(&mut config);
    Rig::with(config, Arc::new(AllowAll)).await
}

async fn everything(socket: &mut TcpStream) -> Vec<u8> {
    let mut came = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut came)).await.expect("the gateway closes");
    came
}

async fn metric(rig: &Rig, name: &str) -> u64 {
    let text = rig.get("/metrics").await.text().to_owned();
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("{name}: {text}")).trim().parse().unwrap()
}

fn upgrade() -> Vec<u8> {
    let headers = crate::hostile::websocket::headers("");
    format!("GET /v1/ws HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

#[tokio::test]
async fn whoever_has_not_logged_in_makes_room_the_oldest_first_and_sessions_stay() {
    let rig = with(|c| c.max_connections = 8).await;
    let mut session = rig.session().await;
    let half = b"GET / HTTP/1.1\r\nhost: local".to_vec();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let beginnings = [Vec::new(), b"G".to_vec(), half, PREFACE.to_vec(), http2, upgrade(), PREFACE[..3].to_vec()];
    let mut silent = Vec::new();
    for sent in &beginnings {
        let mut socket = rig.socket().await;
        socket.write_all(sent).await.unwrap();
        silent.push(socket);
    }
    // All places are taken. Each that comes now pushes one out, and logs in.
    let mut later = Vec::new();
    for (n, mut socket) in silent.into_iter().enumerate() {
        later.push(rig.session().await);
        let came = everything(&mut socket).await;
        if beginnings[n] == PREFACE {
            let busy = b"has not logged in";
            assert!(came.windows(busy.len()).any(|w| w == busy), "{n} is told why: {}", came.escape_ascii());
        }
    }
    assert_eq!(session.publish("t", run_of(&[event("1")])).await[0].code, 0);
    for (n, peer) in later.iter_mut().enumerate() {
        assert_eq!(peer.publish("t", run_of(&[event(&format!("later-{n}"))])).await[0].code, 0);
    }
    drop(later);
    assert_eq!(metric(&rig, r#"meshwire_connections_lost_total{why="shed"}"#).await, 7);
    rig.stop().await;
}

#[tokio::test]
async fn when_all_are_logged_in_each_protocol_is_told_busy_in_its_own_words() {
    let rig = with(|c| c.max_connections = 2).await;
    let (first, mut second) = (rig.session().await, rig.session().await);

    let mut native = rig.socket().await;
    native.write_all(&PREFACE).await.unwrap();
    let came = everything(&mut native).await;
    let mut rest = BytesMut::from(came.strip_prefix(&PREFACE[..]).unwrap());
    let frame = FrameParser::new(1 << 16, "none").next(&mut rest).unwrap().unwrap();
    let ServerFrame::Error(error) = ServerFrame::decode(frame).unwrap() else { panic!("no error") };
    assert_eq!((error.code, error.fatal, error.retry_after_ms), (ErrorKind::Busy.number(), true, 1000));
    assert!(error.message.contains("max_connections"), "{}", error.message);

    let answer = rig.get("/healthz").await;
    assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (429, "BUSY", Some("1")));

    let ask = Ask::Publish { topic: "t", event: sent("1", 1) };
    for door in Door::ALL {
        let said = door.ask(&rig, &ask).await.unwrap();
        assert!(said.is(ErrorKind::Busy) && said.retry() == Some(true), "{door:?}: {said:?}");
    }
    // Each request of HTTP/2 is answered, and then the connection ends.
    let (client, connection) = h2::client::handshake(rig.socket().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://localhost/healthz").body(()).unwrap();
    let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    let body = body.data().await.unwrap().unwrap();
    let said = Said::problem(head.status.as_u16(), head.headers["retry-after"].to_str().ok(), &body);
    assert!(said.is(ErrorKind::Busy), "{said:?}");
    timeout(PATIENCE, connection).await.expect("the end").unwrap().unwrap();
    // Who asks for nothing is not kept.
    let mut silent = rig.socket().await;
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    everything(&mut silent).await;

    drop(first);
    let served = async { while rig.get("/healthz").await.status != 200 {} };
    timeout(PATIENCE, served).await.expect("a place is given back");
    assert_eq!(second.publish("t", run_of(&[event("1")])).await[0].code, 0);
    drop(second);
    assert!(metric(&rig, r#"meshwire_connections_lost_total{why="refused"}"#).await >= 3);
    rig.stop().await;
}

#[tokio::test]
async fn a_request_that_was_refused_holds_no_place_against_others() {
    let rig = with(|c| c.max_connections = 4).await;
    let mut session = rig.session().await;
    let mut refused = Vec::new();
    for (headers, status) in [
        (&[("authorization", "Bearer x")][..], 401),
        (&[("origin", "https://elsewhere.example")], 403),
        (&[("sec-websocket-protocol", "bearer.eA")], 401),
    ] {
        let mut http = rig.http().await;
        assert_eq!(http.call("GET", "/v1/topics", headers, b"").await.status, status, "{headers:?}");
        refused.push(http);
    }
    // All places are taken, three of them by who was told no: those make room, and who was served does not.
    let mut served = Vec::new();
    for n in 0..3 {
        let mut http = rig.http().await;
        assert_eq!(http.call("GET", "/v1/topics", &[], b"").await.status, 200, "{n}");
        served.push(http);
    }
    assert_eq!(rig.get("/healthz").await.status, 429, "who was served stays");
    drop(served);
    assert_eq!(session.publish("t", run_of(&[event("1")])).await[0].code, 0);
    let served = async {
        loop {
            let answer = rig.get("/metrics").await;
            if answer.status == 200 {
                return answer.text().contains("meshwire_connections_lost_total{why=\"shed\"} 3");
            }
        }
    };
    assert!(timeout(PATIENCE, served).await.expect("a place is given back"), "each that was refused made room");
    rig.stop().await;
}

#[tokio::test]
async fn a_flood_of_carriers_without_a_login_shuts_no_session_out_and_one_that_found_no_place_is_busy() {
    let rig = with(|c| c.max_connections = 20).await;
    let mut carriers = Vec::new();
    for _ in 0..100 {
        let mut http = rig.http().await;
        // One connection carries many.
        for _ in 0..2 {
            let answer = http.call("POST", "/v1/session", &[], &PREFACE).await;
            assert_eq!((answer.status, &answer.body[..]), (201, &PREFACE[..]));
        }
        carriers.push(http);
    }
    let mut sessions = Vec::new();
    for n in 0..19 {
        let mut peer = rig.session().await;
        assert_eq!(peer.publish("t", run_of(&[event(&n.to_string())])).await[0].code, 0);
        sessions.push(peer);
    }
    let mut http = rig.http().await;
    assert_eq!(http.call("GET", "/healthz", &[], b"").await.status, 200);
    let answer = http.call("POST", "/v1/session", &[], &PREFACE).await;
    assert_eq!((answer.problem(), answer.header("retry-after")), ((429, "BUSY".to_owned()), Some("1")));
    rig.stop().await;
}

#[tokio::test]
async fn connections_are_counted_by_what_they_speak_and_by_why_they_were_lost() {
    let rig = with(|c| c.login_timeout = std::time::Duration::from_millis(200)).await;
    let stub = crate::grpc::Stub::of(&rig).await;
    let _: Result<meshwire_proto::wire::admin::TopicList, _> =
        stub.call("/meshwire.v1.Admin/ListTopics", meshwire_proto::wire::admin::ListTopics::default()).await;
    let mut sockets = Vec::new();
    for (protocol, path) in [("meshwire.v1.json", "/v1/ws"), ("cloudevents.json", "/v1/topics/t/events")] {
        let mut socket = rig.socket().await;
        let text = String::from_utf8(upgrade()).unwrap().replace("meshwire.v1", protocol).replace("/v1/ws", path);
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        sockets.push(socket);
    }
    assert_eq!(rig.http().await.call("POST", "/v1/session", &[], &PREFACE).await.status, 201);
    for protocol in ["grpc", "websocket_json", "websocket_cloudevents", "http_session"] {
        let name = format!("meshwire_connections_opened_total{{protocol=\"{protocol}\"}}");
        assert_eq!(metric(&rig, &name).await, 1, "{protocol}");
    }
    for sent in [&b""[..], b"GET / HTTP/1.1\r\n", &PREFACE] {
        let mut socket = rig.socket().await;
        socket.write_all(sent).await.unwrap();
        everything(&mut socket).await;
    }
    // And that of the carrier.
    let all = async { while metric(&rig, r#"meshwire_connections_lost_total{why="login_timeout"}"#).await < 4 {} };
    timeout(PATIENCE, all).await.expect("each is counted");
    rig.stop().await;
}
