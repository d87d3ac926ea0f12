//! Sessions in the binary messages of WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, FrameParser, PREFACE, ServerFrame, begin_frame, end_frame};
use meshwire_proto::wire::session as wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::hostile::answers::messages;
use crate::hostile::websocket::{frame, headers};
use crate::http_websocket::{Socket, ask};
use crate::rig::{PATIENCE, Rig, hello, memory};

fn hello_bytes() -> bytes::BytesMut {
    first_bytes(&ClientFrame::Hello(hello()))
}

/// The preface, and a frame.
fn first_bytes(frame: &ClientFrame) -> bytes::BytesMut {
    let mut bytes = bytes::BytesMut::from(&PREFACE[..]);
    let start = begin_frame(&mut bytes);
    frame.encode(&mut bytes);
    end_frame(&mut bytes, start, 0);
    bytes
}

async fn next(socket: &mut Socket) -> Message {
    timeout(PATIENCE, socket.next()).await.expect("a message or the end").expect("a message").expect("no error")
}

/// The answer to a Hello, in however many messages.
async fn is_welcome(socket: &mut Socket) {
    let mut got = bytes::BytesMut::new();
    let parser = FrameParser::new(1 << 20, "none");
    loop {
        match next(socket).await {
            Message::Binary(bytes) => got.extend_from_slice(&bytes),
            other => panic!("not a binary message: {other:?}"),
        }
        if got.len() > PREFACE.len() {
            let mut frames = got.split_off(PREFACE.len());
            if let Some(frame) = parser.next(&mut frames).unwrap() {
                assert!(matches!(ServerFrame::decode(frame).unwrap(), ServerFrame::Welcome(_)));
                return;
            }
            got.unsplit(frames);
        }
    }
}

#[tokio::test]
async fn a_session_may_come_byte_by_byte_or_whole() {
    let rig = Rig::start().await;
    for size in [1, 7, 1 << 16] {
        let mut socket = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
        for part in hello_bytes().chunks(size) {
            socket.send(Message::binary(part.to_vec())).await.unwrap();
        }
        socket.send(Message::binary(Vec::new())).await.unwrap();
        is_welcome(&mut socket).await;
        socket.send(Message::Ping("x".into())).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Pong("x".into()));
    }
}

#[tokio::test]
async fn text_is_refused_with_the_code_for_it() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    loop {
        match next(&mut socket).await {
            Message::Binary(_) => {}
            Message::Close(Some(CloseFrame { code, reason })) => {
                assert_eq!(code, CloseCode::Unsupported);
                assert!(reason.contains("binary"), "{reason}");
                return;
            }
            other => panic!("neither bytes nor a close: {other:?}"),
        }
    }
}

async fn status(rig: &Rig, path: &str, subprotocol: &str) -> (u16, String) {
    match ask(rig, path, subprotocol).await {
        Err(Error::Http(response)) => {
            let (parts, body) = response.into_parts();
            (parts.status.as_u16(), String::from_utf8(body.unwrap_or_default()).unwrap())
        }
        other => panic!("not refused with a status: {other:?}"),
    }
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_is_a_problem_that_says_what_can() {
    let rig = Rig::start().await;
    for subprotocol in ["", "chat"] {
        let (status, body) = status(&rig, "/v1/ws", subprotocol).await;
        assert_eq!(status, 501, "{body}");
        assert!(body.contains("meshwire.v1") && body.contains("UNSUPPORTED"), "{body}");
    }
    let (status, body) = status(&rig, "/v1/nowhere", "meshwire.v1").await;
    assert_eq!(status, 404, "{body}");
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_and_nothing_else() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
    // It may be cut off while it sends.
    let _ = socket.send(Message::binary(vec![0; 256 * 1024])).await;
    timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await.expect("the end");
    let mut other = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
    other.send(Message::binary(hello_bytes().to_vec())).await.unwrap();
    is_welcome(&mut other).await;
}

#[tokio::test]
async fn why_a_connection_was_broken_off_is_told_to_a_peer_that_sends_all_it_has_before_it_reads() {
    let rig = Rig::start().await;
    let much = vec![0; 20 << 20];
    for (path, subprotocol, name, frames, code) in [
        ("/v1/ws", "meshwire.v1", "a large message", frame(0x82, &much), 1009),
        ("/v1/ws", "meshwire.v1.json", "a large message", frame(0x81, &much), 1009),
        ("/v1/topics/t/events", "cloudevents.json", "a large message", frame(0x81, &much), 1009),
        ("/v1/topics/t/events", "cloudevents.proto", "no mask", [&b"\x82\x05hello"[..], &much].concat(), 1002),
        ("/v1/ws", "meshwire.v1.json", "no UTF-8", [frame(0x81, b"\xff"), frame(0x81, &much)].concat(), 1007),
        ("/v1/ws", "meshwire.v1.json", "bytes", [frame(0x82, b"x"), frame(0x81, &much)].concat(), 1003),
    ] {
        let mut stream = rig.socket().await;
        let headers = headers("sec-websocket-protocol");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}sec-websocket-protocol: {subprotocol}\r\n\r\n");
        let mut came = Vec::new();
        let told = async {
            stream.write_all(request.as_bytes()).await?;
            stream.write_all(&frames).await?;
            stream.read_to_end(&mut came).await
        };
        let told = timeout(PATIENCE, told).await.expect("an end within patience");
        assert!(told.is_ok(), "{subprotocol}, {name}: {told:?}");
        let head = came.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer");
        let close = messages(&came[head + 4..]).into_iter().find(|(opcode, _)| *opcode == 8).expect("a close frame");
        assert_eq!(close.1[..2], u16::to_be_bytes(code), "{subprotocol}, {name}");
    }
}

/// What a session was told in frames, and then in the close frame.
async fn told(socket: &mut Socket) -> (Vec<u32>, u16, String) {
    let (mut got, mut errors) = (bytes::BytesMut::new(), Vec::new());
    let frame = loop {
        match next(socket).await {
            Message::Binary(bytes) => got.extend_from_slice(&bytes),
            Message::Close(frame) => break frame.expect("a code"),
            _ => {}
        }
    };
    let mut frames = if got.starts_with(&PREFACE) { got.split_off(PREFACE.len()) } else { got };
    while let Some(frame) = FrameParser::new(1 << 20, "none").next(&mut frames).unwrap() {
        if let ServerFrame::Error(error) = ServerFrame::decode(frame).unwrap() {
            errors.push(error.code);
        }
    }
    (errors, frame.code.into(), frame.reason.to_string())
}

#[tokio::test]
async fn a_session_that_is_refused_is_told_by_a_frame_and_then_by_the_close() {
    let mut config = memory();
    config.login_timeout = std::time::Duration::from_millis(200);
    let rig = Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    let with = |change: fn(&mut wire::Hello)| {
        let mut hello = hello();
        change(&mut hello);
        first_bytes(&ClientFrame::Hello(hello))
    };
    let ping = ClientFrame::Ping(wire::Ping { nonce: 1, answer: false });
    for (name, sent, kind, by_frame) in [
        ("credentials", with(|hello| hello.auth_scheme = "bearer".into()), ErrorKind::Unauthenticated, true),
        ("a tenant", with(|hello| hello.tenant = "other".into()), ErrorKind::Denied, true),
        ("another version", with(|hello| hello.min_version = 9), ErrorKind::Unsupported, true),
        ("no Hello", first_bytes(&ping), ErrorKind::Invalid, true),
        (
            "a frame that is too long",
            [&PREFACE[..], &u32::MAX.to_le_bytes()].concat()[..].into(),
            ErrorKind::TooLarge,
            true,
        ),
        ("other first bytes", (&b"GET / HTTP/1.1"[..]).into(), ErrorKind::Invalid, false),
        ("a preface alone", (&PREFACE[..]).into(), ErrorKind::Timeout, true),
        ("nothing", bytes::BytesMut::new(), ErrorKind::Timeout, false),
    ] {
        let mut socket = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
        socket.send(Message::binary(sent.freeze())).await.unwrap();
        let (errors, code, reason) = told(&mut socket).await;
        assert_eq!(code, kind.ws_close(), "{name}: {reason}");
        assert!(reason.starts_with(kind.code()), "{name}: {reason}");
        assert_eq!(errors, if by_frame { vec![kind.number()] } else { vec![] }, "{name}");
    }
}

#[tokio::test]
async fn a_session_is_told_by_the_close_that_the_gateway_stops() {
    let rig = Rig::start().await;
    let mut socket = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
    socket.send(Message::binary(hello_bytes().freeze())).await.unwrap();
    is_welcome(&mut socket).await;
    let stopping = tokio::spawn(rig.stop());
    let (_, code, reason) = told(&mut socket).await;
    assert_eq!((code, &*reason), (1001, "the gateway is stopping"));
    drop(socket);
    stopping.await.unwrap();
}
