//! What carries a session, as a stream of its bytes.

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_gateway::ingress::BoxIo;
use meshwire_proto::codec::grpc::SESSION_PATH;
use meshwire_proto::frame::PREFACE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tonic::Request;

use super::{Door, Said};
use crate::grpc::{Raw, Stub};
use crate::http_client::Http;
use crate::rig::Rig;

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Bytes that are read at once: less than any carrier takes in one message.
const PART: usize = 32 << 10;

/// A stream to the gateway; what it says if there is none.
pub(crate) async fn open(door: Door, rig: &Rig, headers: &[(&'static str, &str)]) -> Result<BoxIo, Said> {
    match door {
        Door::SessionWebSocket => websocket(rig, headers).await,
        Door::SessionHttp => http(rig, headers).await,
        Door::SessionGrpc => grpc(rig, headers).await,
        _ => Ok(Box::new(rig.socket().await)),
    }
}

/// The end that a peer has, and both halves of the other.
fn pipe() -> (BoxIo, ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(far);
    (Box::new(near), reader, writer)
}

/// What a peer says next; `None` once it is gone.
async fn part(reader: &mut ReadHalf<DuplexStream>) -> Option<Bytes> {
    let mut bytes = BytesMut::with_capacity(PART);
    let read = reader.take(PART as u64).read_buf(&mut bytes).await.ok()?;
    (read > 0).then(|| bytes.freeze())
}

/// An upgrade to this subprotocol.
pub(crate) async fn upgrade(
    rig: &Rig,
    path: &str,
    subprotocol: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Said> {
    let mut request = format!("ws://{}{path}", rig.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match client_async(request, rig.socket().await).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => {
            let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            let (status, body) = (answer.status().as_u16(), answer.into_body().unwrap_or_default());
            Err(Said::problem(status, retry.as_deref(), &body))
        }
        Err(other) => panic!("neither an upgrade nor an answer: {other}"),
    }
}

async fn websocket(rig: &Rig, headers: &[(&'static str, &str)]) -> Result<BoxIo, Said> {
    let (mut sink, mut stream) = upgrade(rig, "/v1/ws", "meshwire.v1", headers).await?.split();
    let (near, mut reader, mut writer) = pipe();
    tokio::spawn(async move {
        while let Some(bytes) = part(&mut reader).await {
            if sink.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Binary(bytes) = message
                && writer.write_all(&bytes).await.is_err()
            {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    Ok(near)
}

async fn grpc(rig: &Rig, headers: &[(&'static str, &str)]) -> Result<BoxIo, Said> {
    let (out, mut queue) = mpsc::channel::<Bytes>(16);
    let mut request = Request::new(futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx)));
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let stub = Stub::of(rig).await;
    let opened = stub.grpc().await.streaming(request, SESSION_PATH.parse().unwrap(), Raw).await;
    let mut input = opened.map_err(|status| Said::status(&status))?.into_inner();
    let (near, mut reader, mut writer) = pipe();
    tokio::spawn(async move {
        while let Some(bytes) = part(&mut reader).await {
            if out.send(bytes).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        // The connection lives as long as the stream.
        let _stub = stub;
        while let Ok(Some(bytes)) = input.message().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    Ok(near)
}

async fn http(rig: &Rig, headers: &[(&'static str, &str)]) -> Result<BoxIo, Said> {
    let (mut posts, mut gets) = (rig.http().await, rig.http().await);
    let begun = posts.call("POST", "/v1/session", headers, &PREFACE).await;
    if begun.status != 201 {
        return Err(Said::problem(begun.status, begun.header("retry-after"), &begun.body));
    }
    let path = format!("/v1/session/{}", begun.header("meshwire-session").unwrap());
    let (near, mut reader, mut writer) = pipe();
    writer.write_all(&begun.body).await.unwrap();
    let (mut after, asked) = (begun.body.len(), path.clone());
    tokio::spawn(async move {
        // That was said already.
        let mut preface = PREFACE;
        if reader.read_exact(&mut preface).await.is_err() {
            return;
        }
        batches(&mut posts, &asked, &mut reader).await;
    });
    tokio::spawn(async move {
        while let Some(answer) = gets.try_stream(&format!("{path}?after={after}")).await {
            if answer.status != 200 {
                break;
            }
            while let Some(piece) = gets.piece().await {
                after += piece.len();
                if writer.write_all(&piece).await.is_err() {
                    return;
                }
            }
        }
        let _ = writer.shutdown().await;
    });
    Ok(near)
}

/// Numbered batches, until the peer or the session ends.
async fn batches(posts: &mut Http, path: &str, reader: &mut ReadHalf<DuplexStream>) {
    let mut number = 0;
    loop {
        number += 1;
        let said = part(reader).await;
        let end = if said.is_none() { "&end=true" } else { "" };
        let (path, body) = (format!("{path}?batch={number}{end}"), said.clone().unwrap_or_default());
        let answer = posts.call("POST", &path, &[], &body).await;
        if answer.status != 204 || said.is_none() {
            return;
        }
    }
}
