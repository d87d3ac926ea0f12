//! Plain HTTP: `http://` and `https://`, for where nothing else gets through.
//!
//! The bytes of a session go out in numbered batches and come in as one long answer, or in many short ones where a
//! proxy keeps an answer back until it is whole. Each request may be cut off anywhere: a batch is sent again under its
//! number, of which the gateway takes one, and an answer is asked for again from the first byte that did not come.
//!
//! - [`line`]: requests one after the other, over connections that are made as needed;
//! - [`pump`]: the task between them and the bytes that the driver sees.

mod line;
mod pump;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use meshwire_proto::frame::PREFACE;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;

use super::failure::OddAnswer;
use super::refusal::of_problem;
use super::way::{Means, Way};
use super::{Cause, Stream};
use line::Line;

/// Where sessions begin.
const PATH: &str = "/v1/session";

/// The header that names a carrier.
const SESSION: &str = "meshwire-session";

/// Bytes between the driver and the requests, in each direction.
const PIPE_BYTES: usize = 256 * 1024;

/// Asks for a session on a connection that was made.
pub(super) async fn open(way: &Way, means: &Arc<Means>, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Cause> {
    let mut line = Line::new(way.clone(), Arc::clone(means));
    line.take(stream).await?;
    let answer = line.request(Method::POST, PATH, Bytes::from_static(&PREFACE)).await?;
    let id = answer.headers().get(SESSION).and_then(|id| id.to_str().ok()).filter(|id| is_id(id)).map(str::to_owned);
    let (Some(id), StatusCode::CREATED) = (id, answer.status()) else {
        let odd = OddAnswer::error("the request for a session", answer.status());
        let told = line::whole(answer).await.ok().and_then(|body| of_problem(&body));
        return Err(told.unwrap_or(odd).into());
    };
    // What it says is asked for from the first byte on: so it is seen whether a long answer gets through.
    line::finish(answer).await?;
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (here, left) = oneshot::channel();
    tokio::spawn(pump::run(format!("{PATH}/{id}"), line, far, left));
    Ok(Box::new(Carried { near, _here: here }))
}

/// What can stand in a path as it is.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The driver's end.
struct Carried {
    near: DuplexStream,
    /// Dropped with it, which the task hears.
    _here: oneshot::Sender<()>,
}

impl AsyncRead for Carried {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_read(cx, buf)
    }
}

impl AsyncWrite for Carried {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}
