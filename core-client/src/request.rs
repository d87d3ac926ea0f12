//! Asking: one reply, or a stream of them.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use meshwire_proto::{ErrorKind, Event, EventLayout, EventLimits, EventView, TopicName, options};
use serde::de::DeserializeOwned;

use crate::client::Mesh;
use crate::outbox::Command;
use crate::replies::ReplyBox;
use crate::session::{Failure, RequestSpec};
use crate::{Error, Result};

/// What to ask, until it is awaited for the [`Reply`].
///
/// The request goes to one of those who serve the topic, the one with the fewest
/// requests. It is handled at most once, unless [`retry`](Self::retry) allows more.
///
/// ```no_run
/// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
/// use meshwire::Event;
/// let reply = mesh.request("quote", Event::json("quote.asked", &7)?).await?;
/// println!("{}", reply.text()?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `NO_RESPONDERS` at once when nobody serves the topic; `BUSY` when all who do have as
/// many requests as they take, or this client has; `TIMEOUT` when no reply came in time;
/// `RESPONDER_FAILED` with what the handler said; `RESPONDER_LOST` when the responder was
/// gone before it replied; `UNAVAILABLE` with unknown outcome when the connection to the
/// gateway was lost meanwhile; `BUFFER_FULL` over the option `request_window`; `INVALID` or
/// `TOO_LARGE` for the topic's name, the timeout or the event; `DENIED`; `CLOSED`.
///
/// # Cancel safety
/// Dropping it cancels the request: the responder is told.
#[derive(Debug)]
#[must_use = "nothing is asked until it is awaited"]
pub struct SendRequest(Ask);

/// As [`SendRequest`], for a stream: awaited, it gives the [`Replies`] at once.
///
/// # Errors
/// Those of [`SendRequest`] that are known before it is sent; the others come with the replies.
///
/// # Cancel safety
/// Dropped before it resolves, nothing was asked.
#[derive(Debug)]
#[must_use = "nothing is asked until it is awaited"]
pub struct StreamRequest {
    ask: Ask,
    credit: u64,
}

#[derive(Debug)]
struct Ask {
    mesh: Mesh,
    topic: String,
    event: Event,
    timeout: Duration,
    retry: bool,
}

impl SendRequest {
    pub(crate) fn new(mesh: Mesh, topic: &str, event: Event) -> Self {
        Self(Ask::new(mesh, topic, event))
    }

    /// How long to wait for the reply. Default 5 s; from 1 ms to 12 h.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }

    /// Whether the request may be handled more than once: it is then asked again, within
    /// its timeout, when its responder or the connection is lost before the reply; that nobody serves is then no answer while it
    /// lasts, since those who did may not be back yet. Default: no.
    pub const fn retry(mut self, allowed: bool) -> Self {
        self.0.retry = allowed;
        self
    }
}

impl IntoFuture for SendRequest {
    type Output = Result<Reply>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut replies = self.0.begin("request", None)?;
            let reply = replies.try_next().await?;
            reply.ok_or_else(|| {
                let message = "the responder ended the request without a reply";
                Error::new(ErrorKind::ResponderFailed, "request", message).with("topic", replies.topic.clone())
            })
        })
    }
}

impl StreamRequest {
    pub(crate) fn new(mesh: Mesh, topic: &str, event: Event) -> Self {
        Self { ask: Ask::new(mesh, topic, event), credit: options::REPLY_CREDIT.default }
    }

    /// How long to wait for the last reply. Default 5 s; from 1 ms to 12 h.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.ask.timeout = timeout;
        self
    }

    /// As [`SendRequest::retry`]; once a reply has come the request is not asked again.
    pub const fn retry(mut self, allowed: bool) -> Self {
        self.ask.retry = allowed;
        self
    }

    /// Most replies that are sent ahead of who reads them. Default 64; from 1 to 65,536.
    /// It bounds the memory that they take.
    pub const fn credit(mut self, replies: u64) -> Self {
        self.credit = replies;
        self
    }
}

impl IntoFuture for StreamRequest {
    type Output = Result<Replies>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let credit = options::REPLY_CREDIT.check(self.credit);
            let credit = credit.map_err(|problem| Error::new(ErrorKind::Invalid, "request_stream", problem))?;
            self.ask.begin("request_stream", Some(u32::try_from(credit).unwrap_or(u32::MAX)))
        })
    }
}

impl Ask {
    fn new(mesh: Mesh, topic: &str, event: Event) -> Self {
        Self {
            mesh,
            topic: topic.to_owned(),
            event,
            timeout: options::REQUEST_TIMEOUT.default_duration(),
            retry: false,
        }
    }

    fn begin(self, operation: &'static str, stream: Option<u32>) -> Result<Replies> {
        let Self { mesh, topic: name, event, timeout, retry } = self;
        let topic = TopicName::parse(&name).map_err(|e| Error::name(operation, &e).with("topic", name.clone()))?;
        let timeout = options::REQUEST_TIMEOUT.check_duration(timeout);
        let timeout = timeout.map_err(|problem| Error::new(ErrorKind::Invalid, operation, problem))?;
        let event = mesh.encode(operation, &name, &event)?;
        let bytes = event.len() as u64;
        let context = |error: Error| error.during(operation).with("topic", name.clone());
        mesh.outbox().begin_request(bytes).map_err(context)?;
        let replies = Arc::new(ReplyBox::default());
        // From here on dropping it gives the place in the window back, and cancels.
        let asked = Replies {
            mesh: mesh.clone(),
            replies: Arc::clone(&replies),
            topic: name.clone(),
            operation,
            bytes,
            credit: stream.unwrap_or(0),
            taken: 0,
            over: false,
        };
        let spec = RequestSpec { topic, event, timeout, stream, retry };
        if let Err(error) = mesh.outbox().command(Command::Request { spec, replies }) {
            asked.replies.bring(None, Some(Err(Failure::new(error.kind(), error.message()))));
            return Err(context(error));
        }
        Ok(asked)
    }
}

/// The replies to one request, as they come: `None` after the last one. Dropping it before
/// cancels the request, and the responder is told.
///
/// ```no_run
/// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
/// use meshwire::Event;
/// let mut lines = mesh.request_stream("report", Event::text("report.asked", "today")).await?;
/// while let Some(line) = lines.try_next().await? {
///     println!("{}", line.text()?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`SendRequest`]. An error is the last item.
#[derive(Debug)]
pub struct Replies {
    mesh: Mesh,
    replies: Arc<ReplyBox>,
    topic: String,
    operation: &'static str,
    bytes: u64,
    credit: u32,
    /// Taken and not given back as credit.
    taken: u32,
    over: bool,
}

impl Replies {
    /// The next reply; `None` at the end.
    ///
    /// # Cancel safety
    /// No reply is lost.
    pub async fn next(&mut self) -> Option<Result<Reply>> {
        poll_fn(|cx| self.poll_reply(cx)).await
    }

    /// The next reply; `Ok(None)` at the end.
    ///
    /// # Errors
    /// As [`SendRequest`].
    ///
    /// # Cancel safety
    /// No reply is lost.
    pub async fn try_next(&mut self) -> Result<Option<Reply>> {
        self.next().await.transpose()
    }

    fn poll_reply(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Reply>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = self.replies.poll_next(cx) else {
            return Poll::Pending;
        };
        let reply = match next {
            None => {
                self.over = true;
                return Poll::Ready(None);
            }
            Some(Ok(event)) => {
                self.return_credit();
                Reply::new(event)
            }
            Some(Err(failure)) => Err(Error::from_failure(self.operation, &failure)),
        };
        self.over = reply.is_err();
        Poll::Ready(Some(reply.map_err(|e| e.during(self.operation).with("topic", self.topic.clone()))))
    }

    /// Half of the credit at a time.
    fn return_credit(&mut self) {
        self.taken += 1;
        if self.credit > 0 && self.taken >= self.credit.div_ceil(2) && !self.replies.is_over() {
            let taken = std::mem::take(&mut self.taken);
            self.mesh.outbox().push(Command::Grant(Arc::clone(&self.replies), taken));
        }
    }
}

impl Stream for Replies {
    type Item = Result<Reply>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_reply(cx)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        let outbox = self.mesh.outbox();
        outbox.request_over(self.bytes);
        if !self.replies.is_over() {
            outbox.push(Command::CancelRequest(Arc::clone(&self.replies)));
        }
    }
}

/// One reply to a request.
#[derive(Clone, Debug)]
pub struct Reply(Encoded);

impl Reply {
    fn new(event: Bytes) -> Result<Self> {
        Encoded::new(event).map(Self)
    }

    /// The event, read in place.
    #[must_use]
    pub fn event(&self) -> EventView<'_> {
        self.0.event()
    }

    /// The event as its CNCF protobuf bytes, `io.cloudevents.v1.CloudEvent`.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.0.event
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// `INVALID` with the reader's sentence, which names line and column.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.0.json()
    }

    /// The data as text.
    ///
    /// # Errors
    /// `INVALID` when the data is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        self.0.text()
    }
}

/// An event that was checked once, so that it can be read without a result later.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) event: Bytes,
    layout: EventLayout,
}

/// The gateway holds events to its limits; a client reads whatever it was given.
const ANY_SIZE: EventLimits = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };

impl Encoded {
    pub(crate) fn new(event: Bytes) -> Result<Self> {
        let layout = EventView::parse(&event, ANY_SIZE).map(|view| view.layout()).map_err(|problem| {
            Error::new(ErrorKind::Internal, "receive", format!("the gateway sent what is not an event: {problem}"))
        })?;
        Ok(Self { event, layout })
    }

    #[expect(clippy::unreachable, reason = "the layout is that of these bytes")]
    pub(crate) fn event(&self) -> EventView<'_> {
        match self.layout.view(&self.event) {
            Some(view) => view,
            None => unreachable!("the layout of an event is not that of its bytes"),
        }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.event().data().bytes()).map_err(|cause| {
            let problem = format!("the data is not the JSON that was asked for: {cause}");
            Error::new(ErrorKind::Invalid, "read", problem).with_source(cause)
        })
    }

    pub(crate) fn text(&self) -> Result<&str> {
        std::str::from_utf8(self.event().data().bytes())
            .map_err(|cause| Error::new(ErrorKind::Invalid, "read", "the data is not UTF-8 text").with_source(cause))
    }
}
