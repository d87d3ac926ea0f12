//! Logging in with a token.

use std::future::IntoFuture as _;

use meshwire::{Connect, ErrorKind, State};
use meshwire_proto::frame::ServerFrame;

use crate::logs;
use crate::network::{Begun, Port};
use crate::proxy::asked;
use crate::script::{Gateway, resumed, welcome};

#[tokio::test]
async fn the_token_is_in_the_login_and_a_file_is_read_again_at_each_connect() {
    let (port, file) = (Port::open().await, tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), "first\n").unwrap();
    let connect = Connect::new(&format!("tcp://{}", port.address)).token_file(file.path());
    let connecting = tokio::spawn(connect.into_future());
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    let hello = gateway.hello().await;
    assert_eq!((hello.auth_scheme.as_str(), &hello.auth_credentials[..]), ("bearer", &b"first"[..]));
    gateway.send(&ServerFrame::Welcome(welcome())).await;
    let mesh = connecting.await.unwrap().unwrap();
    std::fs::write(file.path(), "second").unwrap();
    drop(gateway);
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    assert_eq!(&gateway.hello().await.auth_credentials[..], b"second");
    gateway.send(&ServerFrame::Welcome(resumed())).await;
    mesh.state().wait_for(|state| *state == State::Connected).await.unwrap();
}

#[tokio::test]
async fn without_a_token_the_login_names_no_scheme() {
    let port = Port::open().await;
    let connecting = tokio::spawn(Connect::new(&format!("tcp://{}", port.address)).into_future());
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    let hello = gateway.hello().await;
    assert!(hello.auth_scheme.is_empty() && hello.auth_credentials.is_empty());
    gateway.send(&ServerFrame::Welcome(welcome())).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_token_is_never_sent_in_plain_to_another_host_or_to_a_proxy() {
    let through = Connect::new("mesh://127.0.0.1:1").proxy("http://127.0.0.1:1");
    for connect in [Connect::new("mesh://gateway.invalid"), Connect::new("ws://127.0.0.1:1,10.0.0.1"), through] {
        let error = connect.token("secret").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains("use TLS") && !format!("{error:?}").contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_token_file_that_cannot_be_used_is_named_with_the_reason() {
    let port = Port::open().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://{}", port.address);
    let missing = folder.path().join("missing");
    let error = Connect::new(&url).token_file(&missing).await.unwrap_err();
    assert!(error.message().contains(missing.to_str().unwrap()), "{error}");
    let bad = folder.path().join("bad");
    std::fs::write(&bad, "two words").unwrap();
    let error = Connect::new(&url).token_file(&bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("the token has blanks"), "{error}");
    assert!(!error.message().contains("two words"), "{error}");
}

/// Answers a gRPC call as who does not know its token; gives what the call showed.
#[cfg(feature = "grpc")]
async fn refuse_call(stream: tokio::net::TcpStream) -> Option<String> {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let head = http::Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "16")
        .header("grpc-message", "who%20is%20this");
    respond.send_response(head.body(()).unwrap(), true).unwrap();
    // Until the client hangs up.
    while connection.accept().await.is_some() {}
    shown
}

/// The same for a request in HTTP/1.
#[cfg(any(feature = "websocket", feature = "http"))]
async fn refuse_request(port: &Port) -> Option<String> {
    use tokio::io::AsyncWriteExt as _;

    let (mut stream, head) = asked(port).await;
    let body = r#"{"type":"about:blank","status":401,"code":"UNAUTHENTICATED","detail":"who is this"}"#;
    let head_of_answer = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json";
    let answer = format!("{head_of_answer}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value.to_owned())
}

#[cfg(all(feature = "grpc", feature = "websocket", feature = "http"))]
#[tokio::test]
async fn where_a_session_begins_with_a_request_the_token_is_its_authorization_and_is_logged_nowhere() {
    for (scheme, token) in
        [("grpc", true), ("ws", true), ("http", true), ("grpc", false), ("ws", false), ("http", false)]
    {
        let port = Port::open().await;
        let lines = logs::keep_all();
        let mut connect = Connect::new(&format!("{scheme}://{}", port.address));
        if token {
            connect = connect.token("s3cret");
        }
        let connecting = tokio::spawn(connect.into_future());
        let shown = match scheme {
            "grpc" => refuse_call(port.accept().await).await,
            _ => refuse_request(&port).await,
        };
        assert_eq!(shown.as_deref(), token.then_some("Bearer s3cret"), "{scheme}");
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, "who is this"), "{scheme}");
        drop(lines);
        let lines = logs::take_all();
        assert!(scheme != "grpc" || !lines.is_empty(), "libraries log too");
        assert!(!format!("{lines:?}{error:?}").contains("s3cret"), "{scheme}: {lines:#?}");
    }
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn a_token_that_is_refused_before_a_session_begins_ends_the_attempt_on_every_way_and_later_the_client() {
    let port = Port::open().await;
    let wait = std::time::Duration::from_secs(600);
    let connect = Connect::new(&format!("mesh://{}", port.address)).token("s3cret").wait(wait);
    let connecting = tokio::spawn(connect.into_future());
    drop(port.expect(Begun::Tcp).await);
    refuse_call(port.accept().await).await;
    assert_eq!(connecting.await.unwrap().unwrap_err().kind(), ErrorKind::Unauthenticated);
    let connect = Connect::new(&format!("mesh://{}", port.address)).token("s3cret");
    let connecting = tokio::spawn(connect.into_future());
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    gateway.hello().await;
    gateway.send(&ServerFrame::Welcome(welcome())).await;
    let mesh = connecting.await.unwrap().unwrap();
    drop(gateway);
    drop(port.expect(Begun::Tcp).await);
    refuse_call(port.accept().await).await;
    mesh.state().wait_for(|state| *state == State::Closed).await.unwrap();
    assert_eq!(mesh.connected().await.unwrap_err().kind(), ErrorKind::Unauthenticated);
}
