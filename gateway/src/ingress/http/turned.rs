//! HTTP/2 for which there is no place: what comes first is answered in its own words, so that a call has a status, a code and a time to
//! try again, and not just a lost connection.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;

use super::Problem;
use crate::ingress::io::Prefixed;
use crate::mesh::Refusal;

/// Requests that are answered at once.
const MAX_STREAMS: u32 = 8;

/// Bytes of bodies that may come: nobody reads them.
const WINDOW: u32 = 16 * 1024;

/// Answers each request so, and ends the connection behind the first; `head_bytes`: the most that a head may have. Who asks for nothing is
/// the listener's to end.
///
/// # Errors
/// What breaks the connection.
pub(super) async fn answer_each(mut stream: Prefixed, refusal: Refusal, head_bytes: usize) -> io::Result<()> {
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
    {
        let mut serving = pin!(builder.serve_connection(TokioIo::new(&mut stream), service));
        let served = tokio::select! {
            biased;
            served = &mut serving => served,
            () = asked.notified() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        served.map_err(io::Error::other)?;
    }
    // What is not read would turn the end into a reset, which overtakes the answers.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
