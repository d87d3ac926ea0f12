//! What a gateway answers to the request that a carrier begins with, when it lets no session begin.
#![cfg(all(feature = "grpc", feature = "websocket", feature = "http"))]

use std::future::IntoFuture as _;
use std::time::Duration;

use meshwire::{Connect, Error, ErrorKind, Mesh, Retry};
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::network::{Begun, Port, log_in, rest};
use crate::proxy::asked;
use crate::script::Gateway;

const SCHEMES: [&str; 3] = ["grpc", "ws", "http"];

/// What a gateway that is busy asks for.
const WAIT: Duration = Duration::from_millis(300);

/// `google.rpc.Status` with `ErrorInfo{reason: CODE, domain: "meshwire"}`, that of BUSY also with `RetryInfo{300 ms}`.
const BUSY: &str = "CAgaPAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIQCgRCVVNZEghtZXNod2lyZRo0Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEggKBhCAxoaPAQ==";
const DENIED: &str = "CAcaPgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxISCgZERU5JRUQSCG1lc2h3aXJl";

fn connect(scheme: &str, port: &Port, timeout: Duration) -> JoinHandle<Result<Mesh, Error>> {
    let connect = Connect::new(&format!("{scheme}://{}", port.address)).timeout(timeout);
    tokio::spawn(connect.into_future())
}

/// Refuses the next connection; answers until the client hangs up.
async fn refuse(scheme: &str, port: &Port, kind: ErrorKind) {
    let after = if kind == ErrorKind::Busy { WAIT } else { Duration::ZERO };
    match scheme {
        "grpc" => return refuse_call(port.accept().await, kind).await,
        "tcp" => return refuse_login(port.expect(Begun::Tcp).await, kind).await,
        "goaway" => return end_http2(port.accept().await).await,
        _ => {}
    }
    let (mut stream, _) = asked(port).await;
    let (status, code) = (kind.http_status(), kind.code());
    let body = format!(r#"{{"code":"{code}","detail":"not you","retry_after_ms":{}}}"#, after.as_millis());
    let head = format!("HTTP/1.1 {status} Refused\r\ncontent-type: application/problem+json\r\nretry-after: 1");
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn refuse_login(stream: TcpStream, kind: ErrorKind) {
    let mut gateway = Gateway::over(stream);
    gateway.hello().await;
    let (code, message) = (kind.number(), "not you".to_owned());
    let error = wire::Error { code, message, fatal: true, retry_after_ms: 300, ..wire::Error::default() };
    gateway.send(&ServerFrame::Error(error)).await;
}

/// As a gateway ends an HTTP/2 connection for which it has no room: empty settings, and GOAWAY with ENHANCE_YOUR_CALM.
async fn end_http2(mut stream: TcpStream) {
    let mut end = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    end.extend([0, 0, 15, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xB]);
    end.extend(b"not you");
    stream.write_all(&end).await.unwrap();
    rest(&mut stream).await;
}

async fn refuse_call(stream: TcpStream, kind: ErrorKind) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (_, mut respond) = connection.accept().await.unwrap().unwrap();
    let (status, details) = match kind {
        ErrorKind::Busy => ("8", BUSY),
        ErrorKind::Denied => ("7", DENIED),
        _ => ("16", ""),
    };
    let head = http::Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", status)
        .header("grpc-message", "not%20you")
        .header("grpc-status-details-bin", details);
    respond.send_response(head.body(()).unwrap(), true).unwrap();
    while connection.accept().await.is_some() {}
}

#[tokio::test]
async fn a_gateway_that_is_busy_is_asked_again_after_the_time_it_names_whatever_carries_the_session() {
    for scheme in SCHEMES {
        let port = Port::open().await;
        let (mut connecting, began) = (connect(scheme, &port, Duration::from_secs(10)), Instant::now());
        refuse(scheme, &port, ErrorKind::Busy).await;
        let ended = tokio::select! {
            () = refuse(scheme, &port, ErrorKind::Unauthenticated) => connecting.await,
            ended = &mut connecting => ended,
        };
        let (error, took) = (ended.unwrap().unwrap_err(), began.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{scheme}: {error}");
        assert!(took >= WAIT, "{scheme}: {took:?}");
    }
}

/// What a client is told that met a gateway that was busy all the time.
async fn meets_no_room(scheme: &str) -> Error {
    let port = Port::open().await;
    let carrier = if scheme == "goaway" { "grpc" } else { scheme };
    let mut connecting = connect(carrier, &port, Duration::from_secs(1));
    loop {
        tokio::select! {
            () = refuse(scheme, &port, ErrorKind::Busy) => {}
            ended = &mut connecting => return ended.unwrap().unwrap_err(),
        }
    }
}

#[tokio::test]
async fn a_wait_that_ends_while_the_gateway_is_busy_says_so_over_every_carrier() {
    let meets = |scheme| async move { (scheme, meets_no_room(scheme).await) };
    let all = tokio::join!(meets("grpc"), meets("ws"), meets("http"), meets("tcp"), meets("goaway"));
    for (scheme, error) in <[_; 5]>::from(all) {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::After), "{scheme}: {error}");
        assert!(error.message().contains("not you"), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn a_client_that_is_denied_before_a_session_begins_gives_up_over_every_carrier() {
    for scheme in SCHEMES {
        let port = Port::open().await;
        let connecting = connect(scheme, &port, Duration::from_secs(10));
        refuse(scheme, &port, ErrorKind::Denied).await;
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Denied, "not you"), "{scheme}");
    }
}

#[tokio::test]
async fn no_other_carrier_of_a_gateway_that_is_busy_is_tried() {
    let port = Port::open().await;
    let url = format!("mesh://{}", port.address);
    let connecting = tokio::spawn(Connect::new(&url).timeout(Duration::from_secs(10)).into_future());
    drop(port.expect(Begun::Tcp).await);
    let began = Instant::now();
    refuse("grpc", &port, ErrorKind::Busy).await;
    // The next attempt.
    drop(port.expect(Begun::Tcp).await);
    assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
    refuse("grpc", &port, ErrorKind::Denied).await;
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
}

/// Connects to both, which listen for their turns.
fn connect_to_one_of(scheme: &str, ports: &[Port; 2]) -> JoinHandle<Result<Mesh, Error>> {
    let url = format!("{scheme}://{},{}", ports[0].address, ports[1].address);
    tokio::spawn(Connect::new(&url).timeout(Duration::from_secs(10)).into_future())
}

async fn take(port: &Port) -> Gateway {
    log_in(Gateway::over(port.expect(Begun::Tcp).await)).await
}

#[tokio::test]
async fn where_one_gateway_is_busy_the_next_one_is_asked_at_once() {
    for scheme in ["tcp", "mesh"] {
        let ports = [Port::open().await, Port::open().await];
        let (connecting, began) = (connect_to_one_of(scheme, &ports), Instant::now());
        refuse("tcp", &ports[0], ErrorKind::Busy).await;
        let _gateway = take(&ports[1]).await;
        connecting.await.unwrap().unwrap();
        assert!(began.elapsed() < WAIT, "{scheme}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn where_all_gateways_are_busy_or_stop_all_are_asked_again_after_the_wait() {
    for (scheme, kind) in [("tcp", ErrorKind::Busy), ("mesh", ErrorKind::Busy), ("mesh", ErrorKind::Unavailable)] {
        let ports = [Port::open().await, Port::open().await];
        let connecting = connect_to_one_of(scheme, &ports);
        refuse("tcp", &ports[0], kind).await;
        refuse("tcp", &ports[1], kind).await;
        let began = Instant::now();
        refuse("tcp", &ports[0], kind).await;
        assert!(began.elapsed() >= WAIT, "{scheme}: {:?}", began.elapsed());
        // It is back meanwhile, and the first one is not.
        let _gateway = take(&ports[1]).await;
        connecting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn only_a_gateways_own_words_say_that_it_wants_tls() {
    let port = Port::open().await;
    let connecting = connect("http", &port, Duration::from_secs(10));
    refuse("http", &port, ErrorKind::TlsRequired).await;
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), ErrorKind::TlsRequired);
    let connecting = connect("http", &port, Duration::from_secs(10));
    let (mut stream, _) = asked(&port).await;
    stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nupgrade: h2c\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("426"), "{error}");
}
