//! One request of others, and what may be said to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event, EventView};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::Mesh;
use crate::outbox::{Command, Outbox};
use crate::request::Encoded;
use crate::session::{Failure, TaskId, TaskReply};
use crate::{Error, Result};

/// What the requester takes now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    /// Replies that may be sent.
    credit: u32,
    /// It waits no more.
    cancelled: bool,
}

/// The driver's end of a request.
pub(crate) type FlowSender = Arc<watch::Sender<Flow>>;

pub(crate) fn grant(flow: &watch::Sender<Flow>, events: u32) {
    flow.send_modify(|flow| flow.credit = flow.credit.saturating_add(events));
}

pub(crate) fn cancel(flow: &watch::Sender<Flow>) {
    flow.send_modify(|flow| flow.cancelled = true);
}

/// A request that waits for its handler. Dropped without a word, it is ended.
#[derive(Debug)]
pub(crate) struct Task {
    open: Arc<Open>,
    event: Bytes,
    deadline: Instant,
}

#[derive(Debug)]
struct Open {
    outbox: Arc<Outbox>,
    id: TaskId,
    topic: String,
    /// One reply is wanted.
    single: bool,
    flow: FlowSender,
    ended: AtomicBool,
}

impl Open {
    fn say(&self, event: Option<Bytes>, end: Option<Result<(), Failure>>) {
        let ending = end.is_some();
        let over = if ending { self.ended.swap(true, Ordering::Relaxed) } else { self.ended.load(Ordering::Relaxed) };
        if !over {
            self.outbox.push(Command::Reply(self.id, TaskReply { event, end }));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let text = "the responder stopped before it replied; whether it did the work is not known";
        self.say(None, Some(Err(Failure::new(ErrorKind::ResponderLost, text))));
    }
}

impl Task {
    pub(crate) fn new(outbox: Arc<Outbox>, id: TaskId, request: wire::Request) -> (Self, FlowSender) {
        let single = !request.stream;
        let credit = if single { 1 } else { request.credit };
        let flow = Arc::new(watch::Sender::new(Flow { credit, cancelled: false }));
        let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.into());
        let topic = request.topic;
        let open = Open { outbox, id, topic, single, flow: flow.clone(), ended: AtomicBool::new(false) };
        (Self { open: Arc::new(open), event: request.event, deadline }, flow)
    }

    pub(super) fn id(&self) -> TaskId {
        self.open.id
    }

    /// Ends it with an error.
    pub(crate) fn fail(&self, kind: ErrorKind, message: &str) {
        self.open.say(None, Some(Err(Failure::new(kind, message))));
    }

    pub(super) fn done(&self) {
        self.open.say(None, Some(Ok(())));
    }

    /// Resolves when the requester waits no more.
    pub(super) async fn cancelled(&self) {
        let mut flow = self.open.flow.subscribe();
        // An error means that the driver is gone, and the connection with it.
        drop(flow.wait_for(|flow| flow.cancelled).await);
    }

    /// What its handler gets to see.
    pub(super) fn read(&self, mesh: &Mesh) -> Result<(Request, ReplySender)> {
        let event = Encoded::new(self.event.clone())?;
        let request =
            Request { event, topic: self.open.topic.clone(), deadline: self.deadline, stream: !self.open.single };
        Ok((request, ReplySender { mesh: mesh.clone(), open: self.open.clone() }))
    }
}

/// A request that is to be answered.
#[derive(Debug)]
pub struct Request {
    event: Encoded,
    topic: String,
    deadline: Instant,
    stream: bool,
}

impl Request {
    /// The event, read in place.
    #[must_use]
    pub fn event(&self) -> EventView<'_> {
        self.event.event()
    }

    /// The event as its CNCF protobuf bytes, `io.cloudevents.v1.CloudEvent`.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.event.event
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// `INVALID` with the reader's sentence, which names line and column.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.event.json()
    }

    /// The data as text.
    ///
    /// # Errors
    /// `INVALID` when the data is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        self.event.text()
    }

    /// The topic that was asked.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How long the requester still waits. When it is over, or the requester cancels, the
    /// handler is dropped where it awaits.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether many replies are wanted; else the first one is the last.
    #[must_use]
    pub const fn wants_stream(&self) -> bool {
        self.stream
    }
}

/// Sends the replies to one request.
#[derive(Debug)]
pub struct ReplySender {
    mesh: Mesh,
    open: Arc<Open>,
}

impl ReplySender {
    /// Sends a reply, waiting until the requester takes one more. Absent attributes are
    /// filled in as by [`Mesh::publish`].
    ///
    /// # Errors
    /// `CANCELLED` when nobody waits any more; `CLOSED` behind the one reply to a request
    /// that wants no stream; `INVALID` or `TOO_LARGE` for the event.
    ///
    /// # Cancel safety
    /// Dropped before it resolves, nothing was sent.
    pub async fn send(&self, event: Event) -> Result<()> {
        let open = &self.open;
        let error = |kind, text: &str| Err(Error::new(kind, "reply", text).with("topic", open.topic.clone()));
        if open.ended.load(Ordering::Relaxed) {
            return error(ErrorKind::Closed, "the request wants one reply, and has it");
        }
        let event = self.mesh.encode("reply", &open.topic, &event)?;
        let mut flow = open.flow.subscribe();
        loop {
            let mut taken = false;
            open.flow.send_if_modified(|flow| {
                taken = flow.credit > 0 && !flow.cancelled;
                flow.credit -= u32::from(taken);
                false
            });
            if taken {
                open.say(Some(event), open.single.then_some(Ok(())));
                return Ok(());
            }
            let more = flow.wait_for(|flow| flow.credit > 0 || flow.cancelled).await;
            if more.is_err() || more.is_ok_and(|flow| flow.cancelled) {
                return error(ErrorKind::Cancelled, "the requester waits no more");
            }
        }
    }
}
