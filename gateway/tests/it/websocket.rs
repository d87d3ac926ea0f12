//! Sessions in the binary messages of WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_proto::frame::{ClientFrame, FrameParser, PREFACE, ServerFrame, begin_frame, end_frame};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::rig::{PATIENCE, Rig, hello};

type Socket = WebSocketStream<TcpStream>;

async fn ask(rig: &Rig, path: &str, subprotocol: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{}{path}", rig.address).into_client_request().unwrap();
    if !subprotocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    client_async(request, rig.socket().await).await.map(|(socket, _)| socket)
}

fn hello_bytes() -> bytes::BytesMut {
    let mut bytes = bytes::BytesMut::from(&PREFACE[..]);
    let start = begin_frame(&mut bytes);
    ClientFrame::Hello(hello()).encode(&mut bytes);
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
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("the end") {
            None | Some(Err(_)) => break,
            Some(Ok(_)) => {}
        }
    }
    let mut other = ask(&rig, "/v1/ws", "meshwire.v1").await.unwrap();
    other.send(Message::binary(hello_bytes().to_vec())).await.unwrap();
    is_welcome(&mut other).await;
}
