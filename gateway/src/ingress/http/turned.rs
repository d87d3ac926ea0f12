//! HTTP/2 that is not served: what comes first is answered in its own words, so that a call has a status, a code and maybe a time to try
//! again, and not just a lost connection.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meshwire_proto::ErrorKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Problem;
use crate::ingress::io::Prefixed;
use crate::mesh::Refusal;

/// Requests that are answered at once.
const MAX_STREAMS: u32 = 8;

/// Bytes of bodies that may come: nobody reads them.
const WINDOW: u32 = 16 * 1024;

/// How long a request is waited for. Half of what the listener gives to all of it, so that who asks for nothing hears why, too.
const SILENCE: Duration = Duration::from_millis(500);

/// Answers each request so, and ends the connection behind the first; `head_bytes`: the most that a head may have.
///
/// # Errors
/// What breaks the connection.
pub(super) async fn answer_each(mut stream: Prefixed, refusal: Refusal, head_bytes: usize) -> io::Result<()> {
    let last_word = goaway(&refusal);
    let asked = Arc::new(Notify::new());
    let tell = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        tell.notify_one();
        ready(Ok::<_, Infallible>(Problem::from(refusal.clone()).answer(request.headers())))
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW);
    let was_asked = {
        let mut serving = pin!(builder.serve_connection(TokioIo::new(&mut stream), service));
        let served = tokio::select! {
            biased;
            served = &mut serving => Some(served),
            () = asked.notified() => {
                serving.as_mut().graceful_shutdown();
                Some(serving.await)
            }
            () = sleep(SILENCE) => None,
        };
        served.transpose().map_err(io::Error::other)?.is_some()
    };
    if !was_asked {
        stream.write_all(&last_word).await?;
        stream.shutdown().await?;
    }
    // What is not read would turn the end into a reset, which overtakes the answers.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The end of a connection without any request: GOAWAY with `INADEQUATE_SECURITY` or `ENHANCE_YOUR_CALM`, the code and the reason
/// (RFC 9113 6.8, 7).
fn goaway(refusal: &Refusal) -> Bytes {
    let error = if refusal.kind == ErrorKind::TlsRequired { 0xc } else { 0xb };
    let text = format!("{}: {}", refusal.kind.code(), refusal.message);
    let length = u8::try_from(8 + text.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, error];
    bytes.extend(text.bytes().take(usize::from(length) - 8));
    bytes.into()
}
