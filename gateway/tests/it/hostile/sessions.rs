//! What strangers and broken peers send: a typed error, and everybody else is served on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use meshwire_gateway::ingress::{
    Accepted, BoxIo, Doors, Ingress, Listener, ListenerConfig, Places, Shutdown, Sniff, Turned,
};
use meshwire_gateway::mesh::{AllowAll, Refusal};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, PREFACE, Publish, PublishRun, ServerFrame};
use meshwire_proto::wire::session as wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use crate::machine::Machine;
use crate::rig::{PATIENCE, Peer, Rig, event, hello, memory, run_of};

async fn still_serves(rig: &Rig) {
    let receipts = rig.session().await.publish("after", run_of(&[event("1")])).await;
    assert_eq!(receipts[0].code, 0);
}

async fn everything(mut socket: tokio::net::TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut got)).await.expect("the gateway closes");
    got
}

async fn fatal(peer: &mut Peer) -> wire::Error {
    let error = peer.error().await;
    assert!(error.fatal);
    assert_eq!(peer.next().await, None, "and the connection ends");
    error
}

#[tokio::test]
async fn first_bytes_of_no_protocol_get_a_sentence_and_the_end() {
    let rig = Rig::start().await;
    for bytes in [&b"get / HTTP/1.1\r\n\r\n"[..], b"\x10\x16MQTT", b"AMQP\0", b"\x16\x03\x01", b"\xf3mesX", b"\0\0\0\0"]
    {
        let mut socket = rig.socket().await;
        socket.write_all(bytes).await.unwrap();
        let got = everything(socket).await;
        let got = String::from_utf8_lossy(&got);
        let tls =
            if bytes.starts_with(b"\x16\x03") { ": they begin TLS, which is off here" } else { "; TLS is off here" };
        assert!(got.contains(&format!("begin no protocol that is served here{tls}")), "{bytes:?}: {got}");
    }
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_silent_or_dripping_connection_ends_at_the_login_timeout() {
    let mut config = memory();
    config.login_timeout = Duration::from_millis(200);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let silent = rig.socket().await;
    let mut half = rig.socket().await;
    half.write_all(&PREFACE[..3]).await.unwrap();
    let mut peer = rig.peer().await;
    peer.stream.write_all(&[10, 0]).await.unwrap();
    assert_eq!(everything(silent).await, b"");
    assert_eq!(everything(half).await, b"");
    assert_eq!(fatal(&mut peer).await.code, ErrorKind::Timeout.number());
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_before_and_after_login() {
    let rig = Rig::start().await;
    let mut peer = rig.peer().await;
    peer.stream.write_all(&70_000u32.to_le_bytes()).await.unwrap();
    let error = fatal(&mut peer).await;
    assert_eq!(error.code, ErrorKind::TooLarge.number());
    assert!(error.message.contains("login_frame_bytes"), "{}", error.message);
    let mut peer = rig.session().await;
    peer.stream.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    assert!(fatal(&mut peer).await.message.contains("max_frame_bytes"));
    still_serves(&rig).await;
}

#[tokio::test]
async fn malformed_frames_end_only_their_connection() {
    let rig = Rig::start().await;
    for bytes in [&b"\x02\0\0\0\x0a\x7f"[..], b"\x03\0\0\0\x0a\x01\xff", b"\0\0\0\0", b"\x02\0\0\0\x08\x01"] {
        let mut peer = rig.session().await;
        peer.stream.write_all(bytes).await.unwrap();
        assert_eq!(fatal(&mut peer).await.code, ErrorKind::Invalid.number(), "{bytes:?}");
    }
    let mut peer = rig.session().await;
    peer.stream.write_all(b"\x10\0\0\0\x0a").await.unwrap();
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.next().await, None, "a frame cut short by the end");
    still_serves(&rig).await;
}

#[tokio::test]
async fn unknown_frames_are_answered_and_optional_ones_skipped() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.stream.write_all(b"\x03\0\0\0\xf2\x06\0").await.unwrap();
    let error = peer.error().await;
    assert_eq!((error.code, error.fatal), (ErrorKind::Unsupported.number(), false));
    peer.send(ClientFrame::Optional(1000)).await;
    for (frame, operation) in [
        (ClientFrame::Seek(wire::Seek::default()), "seek"),
        (ClientFrame::Seek(wire::Seek { subscription: 1, to: None }), "seek"),
        (ClientFrame::Auth(wire::Auth::default()), "auth"),
    ] {
        peer.send(frame).await;
        assert_eq!(peer.error().await.operation, operation);
    }
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, 0);
}

#[tokio::test]
async fn a_login_that_cannot_be_is_refused_by_name() {
    let rig = Rig::start().await;
    let wrong = [
        (wire::Hello { min_version: 2, max_version: 3, ..hello() }, ErrorKind::Unsupported, "versions 2 to 3"),
        (wire::Hello { auth_scheme: "bearer".into(), ..hello() }, ErrorKind::Unauthenticated, "credentials"),
        (wire::Hello { tenant: "acme".into(), ..hello() }, ErrorKind::Denied, "acme"),
        (wire::Hello { producer_id: vec![1; 3].into(), ..hello() }, ErrorKind::Invalid, "16 bytes"),
    ];
    for (hello, kind, text) in wrong {
        let mut peer = rig.peer().await;
        peer.send(ClientFrame::Hello(hello)).await;
        let error = fatal(&mut peer).await;
        assert_eq!(error.code, kind.number());
        assert!(error.message.contains(text), "{}", error.message);
    }
    let deliveries = (4u32 << 20) + (128 << 10) + (256 << 10) + 1024;
    let mut peer = rig.peer().await;
    peer.send(ClientFrame::Hello(wire::Hello { max_frame_bytes: deliveries - 1, ..hello() })).await;
    let error = fatal(&mut peer).await;
    assert_eq!(error.code, ErrorKind::Invalid.number());
    assert!(error.message.contains("max_frame_bytes") && error.message.contains(&deliveries.to_string()));
    rig.login(wire::Hello { max_frame_bytes: deliveries, ..hello() }).await;
    let mut peer = rig.peer().await;
    peer.send(ClientFrame::Ping(wire::Ping::default())).await;
    assert!(fatal(&mut peer).await.message.contains("must be Hello"));
    let mut peer = rig.session().await;
    peer.send(ClientFrame::Hello(hello())).await;
    assert_eq!(peer.error().await.operation, "hello");
}

#[tokio::test]
async fn a_run_without_sequence_or_events_ends_the_connection() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.send(ClientFrame::Publish(Publish { runs: vec![PublishRun::default()], answered_through: 0 })).await;
    assert_eq!(fatal(&mut peer).await.code, ErrorKind::Invalid.number());
    for (first_sequence, answered_through) in [(u64::MAX, 0), (5, 5), (5, u64::MAX)] {
        let mut peer = rig.session().await;
        let events = run_of(&[event("1"), event("2")]);
        let run = PublishRun { alias: 1, topic: "t".into(), first_sequence, events, ..PublishRun::default() };
        peer.send(ClientFrame::Publish(Publish { runs: vec![run], answered_through })).await;
        assert_eq!(fatal(&mut peer).await.code, ErrorKind::Invalid.number(), "{first_sequence} {answered_through}");
    }
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_ping_is_answered_and_silence_ends_a_connection() {
    let mut config = memory();
    config.heartbeat = Duration::from_millis(100);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.send(ClientFrame::Ping(wire::Ping { nonce: 42, answer: false })).await;
    assert_eq!(peer.next().await, Some(ServerFrame::Ping(wire::Ping { nonce: 42, answer: true })));
    assert_eq!(peer.next().await, Some(ServerFrame::Ping(wire::Ping { nonce: 1, answer: false })), "it asks");
    assert_eq!(peer.next().await, None, "and gives up");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_those_below_served() {
    let mut config = memory();
    config.max_connections = 2;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let (mut first, _second) = (rig.session().await, rig.session().await);
    assert_eq!(everything(rig.socket().await).await, b"");
    assert_eq!(first.publish("t", run_of(&[event("1")])).await[0].code, 0);
}

/// Takes every connection and tells how long it has waited.
struct Telling(mpsc::Sender<Duration>);

impl Ingress for Telling {
    fn name(&self) -> &'static str {
        "telling"
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        if prefix.is_empty() { Sniff::NeedMore } else { Sniff::Yes }
    }

    fn turn_away(&self, _: BoxIo, _: BytesMut, _: Refusal) -> Turned {
        Box::pin(std::future::ready(Ok(())))
    }

    fn serve(&self, accepted: Accepted, _: watch::Receiver<Shutdown>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.try_send(accepted.login.waited()).unwrap();
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_login_has_one_deadline_which_counts_from_accept() {
    let machine = Machine::start();
    let left = |waited| machine.login_left(Duration::from_millis(waited)).as_millis();
    assert_eq!((left(0), left(4999), left(6000)), (5000, 1, 0));

    let (tell, mut told) = mpsc::channel(1);
    let config = ListenerConfig { login_timeout: PATIENCE, heartbeat: PATIENCE, accept_rate: 1000 };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
    let address = listener.address().unwrap();
    let (_running, shutdown) = watch::channel(Shutdown::Running);
    let (ingresses, places): (Vec<Arc<dyn Ingress>>, _) =
        (vec![Arc::new(Telling(tell))], Places::new(1, Arc::default()));
    let doors = Doors { ingresses, tls: None, plain: true, counts: Arc::default(), places };
    tokio::spawn(listener.serve(doors, shutdown));
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(b"x").await.unwrap();
    assert!(told.recv().await.unwrap() > Duration::ZERO, "the time that it took to tell the protocol");
}
