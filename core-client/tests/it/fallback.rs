//! Finding a way to the gateway when some are blocked. Real sockets on loopback.
#![cfg(all(feature = "websocket", feature = "http"))]

use std::future::IntoFuture as _;
use std::time::Duration;

use meshwire::{Connect, Error, ErrorKind, Mesh, State};
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::network::{Begun, Port, greet, log_in, rest, upgrade};
use crate::script::{Gateway, resumed};

fn connect(url: impl AsRef<str>) -> JoinHandle<Result<Mesh, Error>> {
    tokio::spawn(Connect::new(url.as_ref()).name("test").into_future())
}

fn connect_to(port: &Port) -> JoinHandle<Result<Mesh, Error>> {
    connect(format!("mesh://{}", port.address))
}

/// The next connection is a WebSocket, and the login in it goes well.
async fn log_in_by_websocket(port: &Port) -> Gateway {
    let stream = port.expect(Begun::WebSocket).await;
    log_in(Gateway::over(upgrade(stream).await)).await
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) {
    // What was not read of it makes it one.
    drop(stream);
}

#[tokio::test]
async fn where_tcp_is_blocked_by_a_reset_the_session_goes_over_websocket_at_once() {
    let port = Port::open().await;
    let (connecting, started) = (connect_to(&port), Instant::now());
    reset(port.expect(Begun::Tcp).await);
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_millis(290), "{:?}", started.elapsed());
}

#[tokio::test]
async fn where_tcp_is_answered_with_400_the_session_goes_over_websocket() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    let mut stream = port.expect(Begun::Tcp).await;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn where_tcp_is_silent_websocket_is_tried_beside_it_after_300_ms() {
    let port = Port::open().await;
    let (connecting, started) = (connect_to(&port), Instant::now());
    let mut silent = port.expect(Begun::Tcp).await;
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // It lost before any login was sent on it.
    assert_eq!(rest(&mut silent).await, meshwire_proto::frame::PREFACE);
}

#[tokio::test]
async fn a_slow_gateway_that_answers_first_after_all_wins_and_the_other_way_is_left_without_a_login() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    let slow = port.expect(Begun::Tcp).await;
    // Only now does TCP get its answer.
    let mut other = upgrade(port.expect(Begun::WebSocket).await).await;
    let _gateway = log_in(Gateway::over(slow)).await;
    connecting.await.unwrap().unwrap();
    let said = rest(&mut other).await;
    assert!(meshwire_proto::frame::PREFACE.starts_with(&said), "{said:?}");
}

#[tokio::test]
async fn a_way_that_closes_after_the_preface_gives_another_one_its_turn() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    let mut stream = port.expect(Begun::Tcp).await;
    greet(&mut stream).await;
    drop(stream);
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_way_that_is_half_open_after_the_preface_gives_another_one_its_turn() {
    let port = Port::open().await;
    let (connecting, started) = (connect_to(&port), Instant::now());
    let mut stream = port.expect(Begun::Tcp).await;
    greet(&mut stream).await;
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(stream);
}

#[tokio::test]
async fn bytes_that_are_no_frame_in_place_of_the_welcome_give_another_way_its_turn() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    let mut stream = port.expect(Begun::Tcp).await;
    greet(&mut stream).await;
    stream.write_all(&[0xFF; 64]).await.unwrap();
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_of_the_login_ends_the_attempt_on_every_way() {
    for kind in [ErrorKind::Unauthenticated, ErrorKind::Denied, ErrorKind::Unsupported] {
        let port = Port::open().await;
        let connecting = connect_to(&port);
        let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
        gateway.hello().await;
        let message = "not you".to_owned();
        let error = wire::Error { code: kind.number(), message, fatal: true, ..wire::Error::default() };
        gateway.send(&ServerFrame::Error(error)).await;
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, "not you"));
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_gives_the_next_one_its_turn_at_once() {
    let free = Port::open().await.address;
    let port = Port::open().await;
    let connecting = connect(format!("mesh://{free},{}", port.address));
    let started = Instant::now();
    let _gateway = log_in(Gateway::over(port.expect(Begun::Tcp).await)).await;
    connecting.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_millis(290), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_is_silent_in_every_carrier_gives_the_next_one_its_turn() {
    let (silent, port) = (Port::open().await, Port::open().await);
    let connecting = connect(format!("ws://{},{}", silent.address, port.address));
    let _stream = silent.expect(Begun::WebSocket).await;
    let _gateway = log_in_by_websocket(&port).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_worked_is_tried_first_when_the_connection_is_lost() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    reset(port.expect(Begun::Tcp).await);
    let gateway = log_in_by_websocket(&port).await;
    let mesh = connecting.await.unwrap().unwrap();
    drop(gateway);
    let stream = port.expect(Begun::WebSocket).await;
    let mut gateway = Gateway::over(upgrade(stream).await);
    let hello = gateway.hello().await;
    assert_eq!(&hello.resume_session[..], b"session");
    gateway.send(&ServerFrame::Welcome(resumed())).await;
    mesh.state().wait_for(|state| *state == State::Connected).await.unwrap();
    assert_eq!(mesh.stats().resumes, 1);
}

#[tokio::test]
async fn what_worked_is_tried_first_also_after_a_connection_of_eleven_minutes() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    reset(port.expect(Begun::Tcp).await);
    let gateway = log_in_by_websocket(&port).await;
    let mesh = connecting.await.unwrap().unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(11)).await;
    tokio::time::resume();
    // If its silence has not ended the connection yet, this does.
    drop(gateway);
    let mut gateway = Gateway::over(upgrade(port.expect(Begun::WebSocket).await).await);
    gateway.hello().await;
    gateway.send(&ServerFrame::Welcome(resumed())).await;
    mesh.state().wait_for(|state| *state == State::Connected).await.unwrap();
}

#[tokio::test]
async fn a_session_is_resumed_by_one_login_though_the_way_that_worked_is_silent_now() {
    let port = Port::open().await;
    let connecting = connect_to(&port);
    let gateway = log_in(Gateway::over(port.expect(Begun::Tcp).await)).await;
    let mesh = connecting.await.unwrap().unwrap();
    drop(gateway);
    let mut silent = port.expect(Begun::Tcp).await;
    let mut gateway = Gateway::over(upgrade(port.expect(Begun::WebSocket).await).await);
    let hello = gateway.hello().await;
    assert_eq!(&hello.resume_session[..], b"session");
    gateway.send(&ServerFrame::Welcome(resumed())).await;
    mesh.state().wait_for(|state| *state == State::Connected).await.unwrap();
    assert_eq!(rest(&mut silent).await, meshwire_proto::frame::PREFACE);
    drop(mesh);
    let said = gateway.next().await;
    assert!(matches!(said, Some(ClientFrame::Goodbye(_)) | None), "{said:?}");
}

/// Answers whatever comes as a web server that knows nothing of us.
async fn strangers(port: Port) {
    loop {
        let (_, mut stream) = port.next().await;
        tokio::spawn(async move {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            rest(&mut stream).await;
        });
    }
}

#[tokio::test]
async fn an_error_names_every_endpoint_every_carrier_and_each_cause() {
    let free = Port::open().await.address;
    let port = Port::open().await;
    let web = port.address;
    let answering = tokio::spawn(strangers(port));
    let error = connect(format!("mesh://{free},{web}")).await.unwrap().unwrap_err();
    answering.abort();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for part in [
        format!("{free} refused the connection (tcp)"),
        format!("{web} is not a Meshwire gateway; it answered HTTP (tcp)"),
        format!("{web}: answered the WebSocket upgrade with 404 Not Found (websocket)"),
        format!("{web}: answered the request for a session with 404 Not Found (http)"),
    ] {
        assert!(error.message().contains(&part), "{error}");
    }
}

#[tokio::test]
async fn the_end_of_the_wait_names_ways_that_were_silent() {
    let port = Port::open().await;
    let address = port.address;
    let connecting = Connect::new(&format!("mesh://{address}")).timeout(Duration::from_millis(700)).into_future();
    let connecting = tokio::spawn(connecting);
    let _silent = (port.expect(Begun::Tcp).await, port.expect(Begun::WebSocket).await);
    let error = connecting.await.unwrap().unwrap_err();
    let part = format!("{address} was connected to, and did not answer the login (tcp, websocket");
    assert!(error.message().contains(&part), "{error}");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_the_attempt_on_every_way_also_with_a_wait() {
    let made = || meshwire_certificates::SelfSigned::of("localhost");
    let (port, theirs, other) = (Port::open().await, made(), made());
    let address = format!("localhost:{}", port.address.port());
    let connect =
        Connect::new(&format!("meshs://{address}")).tls_roots(&other.certificate).wait(Duration::from_secs(60));
    let connecting = tokio::spawn(connect.into_future());
    let stream = port.accept().await;
    let taken = meshwire_certificates::acceptor(&theirs).accept(stream).await;
    assert!(taken.is_err());
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("certificate"), "{error}");
    assert!(!error.message().contains("websocket"), "{error}");
}
