//! Going through an HTTP proxy.

use std::future::IntoFuture as _;
use std::time::Duration;

use meshwire::{Connect, Error, ErrorKind, Mesh};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::network::{Port, log_in};
use crate::script::Gateway;

fn connect(url: &str, proxy: String) -> JoinHandle<Result<Mesh, Error>> {
    tokio::spawn(Connect::new(url).name("test").proxy(proxy).into_future())
}

/// The head of the next request.
pub(crate) async fn asked(port: &Port) -> (TcpStream, String) {
    let mut stream = port.accept().await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn a_session_goes_through_a_tunnel_to_a_name_that_only_the_proxy_knows() {
    let port = Port::open().await;
    let connecting = connect("tcp://gateway.invalid:7401", format!("http://user:p%40ss@{}", port.address));
    let (mut stream, head) = asked(&port).await;
    assert!(head.starts_with("CONNECT gateway.invalid:7401 HTTP/1.1\r\nHost: gateway.invalid:7401\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{head}");
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").await.unwrap();
    let _gateway = log_in(Gateway::over(stream)).await;
    connecting.await.unwrap().unwrap();
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn every_carrier_goes_through_the_tunnel() {
    let port = Port::open().await;
    let connecting = connect("mesh://gateway.invalid", port.address.to_string());
    let (mut stream, _) = asked(&port).await;
    // TCP inside it gets nowhere, and gRPC neither.
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(stream);
    let (mut stream, _) = asked(&port).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(stream);
    let (mut stream, head) = asked(&port).await;
    assert!(head.starts_with("CONNECT gateway.invalid:7400 "), "{head}");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _gateway = log_in(Gateway::over(crate::network::upgrade(stream).await)).await;
    connecting.await.unwrap().unwrap();
}

async fn refuse(stream: &mut TcpStream, answer: &str) {
    stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_does_not_know_this_client_is_asked_once_and_named() {
    let port = Port::open().await;
    let connecting = connect("mesh://a.invalid,b.invalid", port.address.to_string());
    refuse(&mut asked(&port).await.0, "407 Proxy Authentication Required").await;
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProxyRefused, "{error}");
    assert!(error.message().contains("asks for a name and a password"), "{error}");
    assert!(error.message().contains(&format!("a.invalid:7400 through proxy {}", port.address)), "{error}");
}

#[tokio::test]
async fn a_proxy_that_lets_nobody_through_to_an_endpoint_is_asked_for_the_next_one_also_when_programs_wait() {
    let port = Port::open().await;
    let wait = Duration::from_secs(600);
    let connect = Connect::new("mesh://a.invalid,b.invalid").proxy(port.address.to_string()).wait(wait);
    let connecting = tokio::spawn(connect.into_future());
    for endpoint in ["a.invalid", "b.invalid"] {
        let (mut stream, head) = asked(&port).await;
        assert!(head.starts_with(&format!("CONNECT {endpoint}:7400 ")), "{head}");
        refuse(&mut stream, "403 Forbidden").await;
    }
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProxyRefused, "{error}");
    for endpoint in ["a.invalid", "b.invalid"] {
        let told = format!("{endpoint}:7400 through proxy {}: the proxy answered CONNECT with 403", port.address);
        assert!(error.message().contains(&told), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_reach_the_gateway_gives_the_next_endpoint_its_turn() {
    let port = Port::open().await;
    let connecting = connect("tcp://a.invalid,b.invalid", port.address.to_string());
    let (mut stream, head) = asked(&port).await;
    assert!(head.starts_with("CONNECT a.invalid:7400 "), "{head}");
    stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
    let (mut stream, head) = asked(&port).await;
    assert!(head.starts_with("CONNECT b.invalid:7400 "), "{head}");
    stream.write_all(b"HTTP/1.0 200\r\n\r\n").await.unwrap();
    let _gateway = log_in(Gateway::over(stream)).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_named_and_not_the_gateway_alone() {
    for scheme in ["mesh", "tcp"] {
        let port = Port::open().await;
        let connect = Connect::new(&format!("{scheme}://a.invalid:7411")).proxy(port.address.to_string());
        let connecting = tokio::spawn(connect.timeout(Duration::from_millis(300)).into_future());
        let _silent = asked(&port).await;
        let error = connecting.await.unwrap().unwrap_err();
        let told = format!("a.invalid:7411 through proxy {} did not answer", port.address);
        assert!(error.message().contains(&told), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_none_is_said_to_be() {
    for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        let port = Port::open().await;
        let connecting = connect("tcp://a.invalid", port.address.to_string());
        let (mut stream, _) = asked(&port).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("does not answer CONNECT"), "{error}");
    }
    let error = Connect::new("tcp://a.invalid").proxy("socks5://a:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
