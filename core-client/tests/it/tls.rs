//! TLS that comes to nothing: what is said of it, and that it is said once. Real sockets on loopback.
#![cfg(all(feature = "tls", feature = "grpc", feature = "websocket", feature = "http"))]

use std::future::IntoFuture as _;
use std::time::Duration;

use meshwire::{Connect, Error, ErrorKind, Retry};
use meshwire_certificates::{Authority, Files, Named, SelfSigned, acceptor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing::Level;

use crate::logs;
use crate::network::Port;

const SECURE: [&str; 5] = ["meshs", "tcps", "grpcs", "wss", "https"];

/// Long enough to tell who gives up from who tries again.
const WAIT: Duration = Duration::from_secs(600);

/// What connecting ends with where every connection is answered so, and how many were made.
async fn answered(scheme: &str, answer: &'static [u8], connect: impl Fn(Connect) -> Connect) -> (Error, usize) {
    let port = Port::open().await;
    let url = format!("{scheme}://{}", port.address);
    let mut connecting = tokio::spawn(connect(Connect::new(&url).wait(WAIT)).into_future());
    let mut count = 0;
    loop {
        tokio::select! {
            stream = port.accept() => {
                count += 1;
                tokio::spawn(say(stream, answer));
            }
            ended = &mut connecting => return (ended.unwrap().unwrap_err(), count),
        }
    }
}

/// Answers whatever comes, and ends behind it.
async fn say(mut stream: TcpStream, answer: &[u8]) {
    let mut first = [0; 4096];
    assert!(stream.read(&mut first).await.unwrap() > 0);
    stream.write_all(answer).await.unwrap();
    // The other end may be gone by then.
    let _ = stream.shutdown().await;
    while stream.read(&mut first).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test]
async fn what_does_not_speak_tls_is_asked_and_named_once_with_what_to_do_and_not_tried_again() {
    for answer in
        [&b"meshwire: these bytes begin no protocol that is served here\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    {
        for scheme in SECURE {
            let roots = SelfSigned::of("localhost");
            let (error, count) = answered(scheme, answer, |connect| connect.tls_roots(&roots.certificate)).await;
            assert_eq!(
                (error.kind(), error.retry(), count),
                (ErrorKind::Unavailable, Retry::Never, 1),
                "{scheme}: {error}"
            );
            let text = error.message();
            assert_eq!(text.matches("does not speak TLS").count(), 1, "{text}");
            assert!(
                text.contains("use the scheme without s, as mesh://") && text.contains("tls_certificate"),
                "{text}"
            );
            assert!(!text.contains("start one with"), "{text}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_without_tls_gives_the_next_one_its_turn() {
    let free = Port::open().await.address;
    let roots = SelfSigned::of("localhost");
    let port = Port::open().await;
    let url = format!("meshs://{},{free}", port.address);
    let connecting = tokio::spawn(Connect::new(&url).tls_roots(&roots.certificate).into_future());
    say(port.accept().await, b"220 ready\r\n").await;
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After), "the other may come");
    for part in [format!("{} does not speak TLS", port.address), format!("{free} refused the connection (tcp)")] {
        assert!(error.message().contains(&part), "{error}");
    }
    assert!(!error.message().contains("start one with"), "{error}");
}

/// What a client of this root is told by a gateway with this certificate, connecting to it as `localhost`.
async fn shown(files: &Files, root: &std::path::Path, name: Option<&str>, scheme: &str) -> Error {
    let port = Port::open().await;
    let mut connect = Connect::new(&format!("{scheme}://localhost:{}", port.address.port())).tls_roots(root).wait(WAIT);
    if let Some(name) = name {
        connect = connect.tls_server_name(name);
    }
    let mut connecting = tokio::spawn(connect.into_future());
    let acceptor = acceptor(files);
    loop {
        tokio::select! {
            stream = port.accept() => assert!(acceptor.accept(stream).await.is_err(), "the client takes it"),
            ended = &mut connecting => return ended.unwrap().unwrap_err(),
        }
    }
}

#[tokio::test]
async fn a_server_name_that_is_none_is_told_with_its_option() {
    let error = Connect::new("tcps://localhost:1").tls_server_name("foo bar").tls_roots(Authority::new().root()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let told = "--tls-server-name (Connect::tls_server_name) is \"foo bar\"";
    assert!(error.message().contains(told), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_taken_is_not_asked_for_again_and_the_error_names_what_to_do() {
    logs::keep();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, root) = (authority.gateway(), authority.root());
    let old = authority.issue("old", &Named { dns: "localhost", expired: true, ..Named::default() });
    for scheme in ["meshs", "tcps", "https"] {
        for (files, root, name, parts) in [
            (&good, stranger.root(), None, ["is not trusted", "--tls-roots (Connect::tls_roots)"]),
            (
                &good,
                root.clone(),
                Some("elsewhere"),
                ["one of localhost, not of elsewhere", "--tls-server-name (Connect::tls_server_name)"],
            ),
            (&old, root.clone(), None, ["has expired at 2020-02-01T00:00:00Z", "needs a new one"]),
        ] {
            let error = shown(files, &root, name, scheme).await;
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{scheme}: {error}");
            let text = error.message();
            assert!(parts.iter().all(|part| text.matches(part).count() == 1), "{scheme}: {text}");
            assert!(!text.contains("start one with") && !text.contains("could be reached"), "{text}");
        }
    }
    assert_eq!(logs::take(Level::INFO), Vec::<String>::new(), "nobody waits for what does not change");
}

#[tokio::test]
async fn an_option_of_tls_is_refused_where_the_url_asks_for_none_unless_it_names_this_machine() {
    let made = SelfSigned::of("localhost");
    for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
        let connect = || Connect::new(&format!("{scheme}://192.0.2.1:1,127.0.0.1:1"));
        for (connect, option) in [
            (connect().tls_roots(&made.certificate), "tls_roots"),
            (connect().tls_certificate(&made.certificate, &made.key), "tls_certificate"),
            (connect().tls_server_name("localhost"), "tls_server_name"),
        ] {
            let error = connect.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.message().starts_with(option) && error.message().contains("meshs://"), "{error}");
        }
        let local = Connect::new(&format!("{scheme}://127.0.0.1:1,localhost:1")).tls_roots(&made.certificate);
        assert_eq!(local.await.unwrap_err().kind(), ErrorKind::Unavailable, "a sidecar beside a gateway far away");
    }
}

#[tokio::test]
async fn a_listener_that_serves_something_else_is_told_from_a_stranger() {
    for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
        let answer = b"meshwire: these bytes begin no protocol that is served here\n";
        let (error, _) = answered(scheme, answer, |connect| connect).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{scheme}: {error}");
        let text = error.message();
        assert_eq!(text.matches("of a Meshwire gateway that serves something else").count(), 1, "{scheme}: {text}");
        assert!(text.contains("listen_also") && !text.contains("start one with"), "{scheme}: {text}");
    }
}

#[tokio::test]
async fn somebody_else_is_said_to_be_there_and_no_gateway_is_to_be_started() {
    for (answer, part) in [
        (&b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..], "404 Not Found"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "is not a Meshwire gateway"),
        (b"\x15\x03\x03\0\x02\x02\x46", "answers as TLS does; use the scheme with s, as meshs://"),
    ] {
        for scheme in ["tcp", "grpc", "ws", "http"] {
            // What answers in HTTP may be a proxy that has no gateway behind it yet.
            let (error, _) = answered(scheme, answer, |connect| connect.wait(Duration::from_millis(500))).await;
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{scheme}: {error}");
            let part = if scheme == "tcp" || scheme == "grpc" {
                part.replace("404 Not Found", "it answered HTTP")
            } else {
                part.to_owned()
            };
            assert!(error.message().contains(&part), "{scheme}: {error}");
            assert!(!error.message().contains("start one with"), "{scheme}: {error}");
        }
    }
}
