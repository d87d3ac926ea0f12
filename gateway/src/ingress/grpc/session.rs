//! A native session whose bytes travel in the messages of one gRPC stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Buf as _, Bytes, BytesMut};
use hyper::body::Frame;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::grpc::{self, Compressed, Unframer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};
use tonic::Status;

use super::call;
use crate::ingress::native::{Coming, serve_stream};
use crate::ingress::web::{Door, status};
use crate::mesh::Refusal;

/// What waits to be sent; a writer waits while it is more.
const WAITING: usize = 64 * 1024;

pub(super) async fn open(Extension(door): Extension<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(refused) = call::refused(&parts.method, parts.uri.path(), &parts.headers) {
        return refused;
    }
    let deadline = match call::Deadline::of(&parts.headers) {
        Ok(deadline) => deadline,
        Err(refusal) => return status::answer(refusal),
    };
    let login = match door.seat() {
        Ok(login) => login,
        Err(refusal) => return status::answer(refusal),
    };
    let coming = Coming { caller: door.caller("grpc"), login, held: Some(door.share.hold()) };
    let (native, shutdown, open) = door.leave();
    let out = Arc::new(Out::default());
    // A proxy may keep the head of an answer until bytes follow it, and a client may wait for the head before it says Hello.
    grpc::pad(&mut out.queue().messages);
    let over = deadline.0.map(|at| Box::pin(sleep_until(at)));
    let stream = Messages { body, unframer: Unframer::default(), chunk: Bytes::new(), piece: Bytes::new(), out, over };
    let answers = Answers(stream.out.clone());
    tokio::spawn(async move {
        serve_stream(native, (Box::new(stream), BytesMut::new()), coming, shutdown).await;
        drop(open);
    });
    let mut response = Response::new(Body::new(answers));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

/// Messages that wait to be sent.
#[derive(Default)]
struct Out(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    messages: BytesMut,
    /// Something was sent, or will be.
    spoke: bool,
    /// How the call ends, once it does.
    end: Option<Status>,
    /// Nobody takes anything any more.
    gone: bool,
    taker: Option<Waker>,
    writer: Option<Waker>,
}

impl Out {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, with: Option<Refusal>) {
        let mut queue = self.queue();
        let silent = (!queue.spoke).then(|| {
            let text = "no session: it begins with the preface and a Hello, within login_timeout";
            Refusal::new(ErrorKind::Invalid, text)
        });
        let status = with.or(silent).map_or_else(|| Status::ok(""), status::status);
        queue.end.get_or_insert(status);
        wake(queue.taker.take());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The body of the answer.
struct Answers(Arc<Out>);

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut queue = self.0.queue();
        if !queue.messages.is_empty() {
            grpc::pad(&mut queue.messages);
            let data = queue.messages.split().freeze();
            wake(queue.writer.take());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if queue.gone {
            return Poll::Ready(None);
        }
        let Some(end) = &queue.end else {
            queue.taker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let mut trailers = HeaderMap::new();
        let written = end.add_header(&mut trailers);
        queue.gone = true;
        Poll::Ready(written.is_ok().then(|| Ok(Frame::trailers(trailers))))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.gone = true;
        wake(queue.writer.take());
    }
}

/// The bytes in messages both ways.
struct Messages {
    body: Body,
    unframer: Unframer,
    /// What came last, and the piece of it that is being read.
    chunk: Bytes,
    piece: Bytes,
    out: Arc<Out>,
    /// The deadline of the call, which ends the stream, and not the session: that may go on in another.
    over: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.over.as_mut().is_some_and(|over| over.as_mut().poll(cx).is_ready()) {
            this.out.end(Some(call::late()));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        while this.piece.is_empty() {
            match this.unframer.next(&mut this.chunk) {
                Ok(Some(piece)) => {
                    this.piece = piece;
                    continue;
                }
                Ok(None) => {}
                Err(compressed @ Compressed) => {
                    this.out.end(Some(Refusal::new(ErrorKind::Unsupported, compressed.to_string())));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, compressed)));
                }
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(frame)) => this.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = this.piece.len().min(buf.remaining());
        buf.put_slice(this.piece.get(..count).unwrap_or_default());
        this.piece.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Messages {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// What the peer does not take yet is sent together.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.out.queue();
        if queue.gone || queue.end.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if queue.messages.len() >= WAITING {
            queue.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut written = 0;
        for slice in slices {
            let room = WAITING.saturating_sub(written);
            let part = slice.get(..room).unwrap_or(slice);
            if !part.is_empty() {
                grpc::put_message(&[part], &mut queue.messages);
                written += part.len();
            }
        }
        queue.spoke = true;
        wake(queue.taker.take());
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.end(None);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.out.end(None);
    }
}
