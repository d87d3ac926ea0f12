//! A native session whose bytes travel in the messages of one gRPC stream.

use std::future::pending;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
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
use tokio::sync::watch;
use tonic::Status;

use super::call::{self, Deadline};
use crate::ingress::Shutdown;
use crate::ingress::native::{Coming, Native, serve_stream};
use crate::ingress::web::{Door, status};
use crate::mesh::Refusal;

/// What waits to be sent; a writer waits while it is more.
const WAITING: usize = 64 * 1024;

pub(super) async fn open(Extension(door): Extension<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(refused) = call::refused(&parts.method, parts.uri.path(), &parts.headers) {
        return refused;
    }
    let deadline = match Deadline::of(&parts.headers) {
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
    let answers = Answers(Arc::clone(&out));
    tokio::spawn(async move {
        serve(native, Messages::new(body, out), coming, (shutdown, deadline)).await;
        drop(open);
    });
    let mut response = Response::new(Body::new(answers));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

/// Serves a session in a call. The deadline of that ends the stream, also while nothing is read or written, and not the session, which may
/// go on in another.
async fn serve(
    native: Arc<Native>,
    stream: Messages,
    coming: Coming,
    (mut shutdown, deadline): (watch::Receiver<Shutdown>, Deadline),
) {
    let out = Arc::clone(&stream.out);
    // The session's own: its end comes with the deadline, too. Else a connection that is not read from would notice nothing.
    let (ending, ends) = watch::channel(*shutdown.borrow_and_update());
    let mut serving = pin!(serve_stream(native, (Box::new(stream), BytesMut::new()), coming, ends));
    let follow = async {
        while shutdown.changed().await.is_ok() {
            ending.send_replace(*shutdown.borrow_and_update());
        }
        // Nobody is left to say so.
        ending.send_replace(Shutdown::Closing);
        pending().await
    };
    let served = async {
        tokio::select! {
            biased;
            () = follow => {}
            () = serving.as_mut() => {}
        }
    };
    if let Err(late) = deadline.within(served).await {
        out.end(Some(late));
        ending.send_replace(Shutdown::Closing);
        serving.await;
    }
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
}

impl Messages {
    fn new(body: Body, out: Arc<Out>) -> Self {
        Self { body, unframer: Unframer::default(), chunk: Bytes::new(), piece: Bytes::new(), out }
    }
}

impl AsyncRead for Messages {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.out.queue().end.is_some() {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::time::Duration;

    use futures_util::{StreamExt as _, stream};
    use meshwire_proto::frame::{ClientFrame, PREFACE, Publish, PublishRun, begin_frame, end_frame};
    use meshwire_proto::wire::admin::command::Command;
    use meshwire_proto::wire::admin::{Limits, SetLimits};
    use meshwire_proto::wire::session as wire;
    use meshwire_proto::{Event, EventRunBuilder};
    use tokio::time::{Instant, timeout};
    use tonic::Code;

    use super::*;
    use crate::config::Config;
    use crate::ingress::Login;
    use crate::ingress::calls::testing::calls;
    use crate::mesh::Caller;
    use crate::random::SystemRandom;

    fn framed(frame: &ClientFrame) -> BytesMut {
        let mut bytes = BytesMut::new();
        let start = begin_frame(&mut bytes);
        frame.encode(&mut bytes);
        end_frame(&mut bytes, start, 0);
        bytes
    }

    fn hello() -> BytesMut {
        let (producer_id, min_version, max_version) = (vec![1; 16].into(), 1, 1);
        let hello = wire::Hello { producer_id, producer_epoch: 1, min_version, max_version, ..wire::Hello::default() };
        framed(&ClientFrame::Hello(hello))
    }

    /// A call that has so much time, whose peer sends this and takes no answers; and its end.
    fn call(native: &Arc<Native>, messages: BytesMut, time: Duration) -> (Arc<Out>, impl Future<Output = ()> + use<>) {
        let sent = stream::iter([Ok::<_, io::Error>(messages.freeze())]).chain(stream::pending());
        let out = Arc::new(Out::default());
        let login = Login::begin(Duration::from_secs(5), native.places().take().unwrap());
        let coming = Coming { caller: Caller::anonymous("grpc", None), login, held: None };
        let messages = Messages::new(Body::from_stream(sent), Arc::clone(&out));
        let (running, shutdown) = watch::channel(Shutdown::Running);
        let ends = (shutdown, Deadline(Some(Instant::now() + time)));
        let native = Arc::clone(native);
        let ended = async move {
            let _running = running;
            serve(native, messages, coming, ends).await;
        };
        (out, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_peer_takes_no_answers_ends_at_its_deadline() {
        let native =
            Native::new(calls().mesh().clone(), Config::default().native("one".to_owned()), Arc::new(SystemRandom));
        let pings = framed(&ClientFrame::Ping(wire::Ping { nonce: u64::MAX, answer: false })).repeat(1000);
        let mut messages = BytesMut::new();
        grpc::put_message(&[&PREFACE[..], &hello()[..]], &mut messages);
        for _ in 0..200 {
            grpc::put_message(&[&pings[..]], &mut messages);
        }
        let time = Duration::from_secs(1);
        let (out, ended) = call(&native, messages, time);
        timeout(2 * time, ended).await.unwrap();
        assert_eq!(out.queue().end.as_ref().map(Status::code), Some(Code::DeadlineExceeded));
        assert_eq!(native.suspended(), 1, "the session may go on in another");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_neither_reads_nor_writes_ends_at_its_deadline() {
        let calls = calls();
        let limits = Some(Limits { publish_bytes_rate: Some(1000), ..Limits::default() });
        calls.admin(&Caller::anonymous("test", None), Command::SetLimits(SetLimits { limits })).await.unwrap();
        let native =
            Native::new(calls.mesh().clone(), Config::default().native("one".to_owned()), Arc::new(SystemRandom));
        // The second event has to wait 4 s for its share of the rate, and the Goodbye behind it: nothing more is read.
        let publish = |first_sequence: u64| {
            let mut events = EventRunBuilder::default();
            events.push(&Event::bytes("t", vec![7; 4000]).id("1").source("/s").encode().unwrap());
            let (topic, events) = ("t".to_owned(), events.take());
            let run = PublishRun { alias: 1, topic, first_sequence, events, ..PublishRun::default() };
            framed(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }))
        };
        let goodbye = framed(&ClientFrame::Goodbye(wire::Goodbye::default()));
        let mut messages = BytesMut::new();
        for bytes in [&PREFACE[..], &hello(), &publish(1), &publish(2), &goodbye] {
            grpc::put_message(&[bytes], &mut messages);
        }
        let time = Duration::from_secs(1);
        let (out, ended) = call(&native, messages, time);
        timeout(time + Duration::from_millis(1), ended).await.unwrap();
        assert_eq!(out.queue().end.as_ref().map(Status::code), Some(Code::DeadlineExceeded));
        assert_eq!(native.suspended(), 1, "the session may go on in another");
    }
}
