//! Requests one after the other, over connections that are made as needed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::transport::failure::Speaks;
use crate::transport::way::{Means, Way, distrust_of};
use crate::transport::{Cause, Stream};

/// Longest wait for a connection: a guess, as for one address.
const CONNECTING: Duration = Duration::from_secs(5);

/// Most bytes of an answer that only says what became of a request.
const SHORT_ANSWER: usize = 64 * 1024;

pub(super) struct Line {
    way: Way,
    means: Arc<Means>,
    connection: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Moves its bytes; ended with it.
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    pub(super) const fn new(way: Way, means: Arc<Means>) -> Self {
        Self { way, means, connection: None }
    }

    /// One that goes the same way.
    pub(super) fn another(&self) -> Self {
        Self::new(self.way.clone(), Arc::clone(&self.means))
    }

    /// Uses a connection that was made.
    pub(super) async fn take(&mut self, stream: Box<dyn Stream>) -> Result<(), Cause> {
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let task = tokio::spawn(async move {
            // What fails is told by the request that it fails for.
            let _ = connection.await;
        });
        self.connection = Some(Connection { requests, task });
        Ok(())
    }

    /// The answer's head. After an error, or an answer that was not read to its end, call [`Line::close`].
    pub(super) async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Cause> {
        let usable = match &mut self.connection {
            Some(connection) => connection.requests.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.connection = None;
            let stream = timeout(CONNECTING, self.way.another(&self.means)).await.unwrap_or(Err(Cause::Silent))?;
            self.take(stream).await?;
        }
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.way.address)
            .header(CACHE_CONTROL, "no-store")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(body))
            .map_err(|e| Cause::Io(io::Error::other(e)))?;
        if let Some(authorization) = self.way.authorization() {
            let value = HeaderValue::from_str(&authorization);
            let mut value = value.map_err(|e| Cause::Io(io::Error::other(e)))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let Some(connection) = &mut self.connection else { return Err(Cause::Silent) };
        connection.requests.send_request(request).await.map_err(lost)
    }

    /// The next request takes a new connection.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }
}

/// Reads an answer that is short to its end, so that its connection can be used again.
pub(super) async fn finish(answer: Response<Incoming>) -> Result<(), Cause> {
    whole(answer).await.map(drop)
}

/// The body of an answer that is short.
pub(super) async fn whole(answer: Response<Incoming>) -> Result<Vec<u8>, Cause> {
    let (mut body, mut bytes) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(lost)?;
        let data = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
        if bytes.len() + data.len() > SHORT_ANSWER {
            return Err(Cause::Io(io::Error::other("an answer is longer than any that a gateway gives")));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// What became of a connection.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn lost(error: hyper::Error) -> Cause {
    if error.is_parse() {
        return Cause::Stranger(Speaks::Unknown);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let same = || io::Error::new(io.kind(), io.to_string()).into();
            return distrust_of(io).map_or_else(same, Cause::Certificate);
        }
        cause = error.source();
    }
    Cause::Ended(error.to_string())
}
