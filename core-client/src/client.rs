//! The handle to a client.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_proto::{Defaults, ErrorKind, Event, TimedEvent, Timing, TopicName, options};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::consume::Consume;
use crate::dead_letters::DeadLetters;
use crate::groups::Groups;
use crate::identity::{self, IdText, Identity};
use crate::limits::Limits;
use crate::outbox::{Admission, Command, Outbox};
use crate::receipt::{PendingReceipt, Receipt};
use crate::request::{SendRequest, StreamRequest};
use crate::serve::Serve;
use crate::session::State;
use crate::stats::Stats;
use crate::subscription::Subscribe;
use crate::topics::Topics;
use crate::{Error, Result};

/// A client of one gateway: publishes, subscribes, and stays connected. Clones
/// are cheap and share everything; use it from any number of tasks.
///
/// It reconnects by itself, for ever: publishes without a receipt are replayed
/// exactly, subscriptions go on, and a log line says every 10 s what it still waits for. When the last clone is dropped, unanswered
/// publishes are given 2 s more, and a log line says how many there were;
/// [`Mesh::close`] waits for them instead. They have no time at all when the tokio
/// runtime ends first, as it does when `main` under `#[tokio::main]` returns: call
/// [`Mesh::flush`] or [`Mesh::close`] before.
#[derive(Clone, Debug)]
pub struct Mesh(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    outbox: Arc<Outbox>,
    identity: Identity,
    /// How long a plain publish waits for its receipt.
    patience: Option<Duration>,
}

/// What became of an event that was handed to the outbox.
#[doc(hidden)]
#[derive(Debug)]
pub enum Admitted<T> {
    /// It is on its way.
    Now(PendingReceipt),
    /// There is no room for it yet.
    Full(T, Timing),
}

/// How long publishes without a receipt live on after the last handle is gone.
const LINGER: Duration = Duration::from_secs(2);

/// A deadline that is no deadline: later moments cannot be reckoned everywhere.
const LONGEST_DRAIN: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Largest buffer that a thread keeps for encoding.
const ENCODED_BYTES: usize = 64 * 1024;

thread_local! {
    static ENCODED: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

impl Mesh {
    pub(crate) fn new(outbox: Arc<Outbox>, identity: Identity, patience: Option<Duration>) -> Self {
        Self(Arc::new(Handle { outbox, identity, patience }))
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.0.outbox
    }

    /// The event as it is sent, in memory of its own.
    pub(crate) fn encode(&self, operation: &'static str, topic: &str, event: &Event) -> Result<Bytes> {
        let encoded = self.encoded(topic, event, |encoded| Ok(Bytes::copy_from_slice(encoded)));
        let encoded = encoded.map_err(|e| e.during(operation))?;
        self.outbox().fits_frame(operation, topic, &encoded)?;
        Ok(encoded)
    }

    /// Encodes the event into a buffer of this thread and hands it to `then`.
    fn encoded<T>(&self, topic: &str, event: &Event, then: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let now = identity::now();
        let id = event.lacks_id().then(|| self.0.identity.id(now));
        let id = id.as_ref().map_or("", IdText::as_str);
        let defaults = Defaults { id, source: self.0.identity.source(), kind: topic, time: Some(now) };
        ENCODED.with_borrow_mut(|buffer| {
            buffer.clear();
            event.encode_with(defaults, buffer).map_err(|problem| match TopicName::parse(topic) {
                // It may be wrong as the event's type, which it is by default.
                Err(problem) => Error::name("publish", &problem),
                Ok(_) => Error::event("publish", &problem).with("topic", topic),
            })?;
            let result = then(buffer);
            if buffer.capacity() > ENCODED_BYTES {
                *buffer = BytesMut::new();
            }
            result
        })
    }

    fn pending(&self, alias: u32, sequence: u64) -> PendingReceipt {
        PendingReceipt::new(Arc::clone(&self.0.outbox), alias, sequence)
    }

    /// Publishes an event and waits for the receipt: the event is kept to the
    /// topic's level of durability. Absent attributes are filled in: `id` with a
    /// UUIDv7, `source` with `//<host>/<client name>`, `type` with the topic's
    /// name, `time` with now.
    ///
    /// One after the other this takes a round trip and a sync each; for
    /// throughput use [`publish_start`](Self::publish_start) or many tasks.
    /// While the client is reconnecting it waits, for ever or for
    /// [`Connect::publish_timeout`](crate::Connect::publish_timeout).
    ///
    /// [`Event::deliver_at`], [`Event::deliver_after`] and [`Event::expires_in`] say when it is delivered.
    ///
    /// ```no_run
    /// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
    /// use meshwire::Event;
    /// let receipt = mesh.publish("orders", Event::json("order.created", &[1, 2])?.key("customer-7")).await?;
    /// println!("kept at {:?}", receipt.position);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `INVALID` or `TOO_LARGE` for the topic's name or the event; `BUSY`,
    /// `DISK_FULL`, `TOPIC_FULL` with a time to try again after; `STORE_FAILED` and
    /// `CLOSED` with unknown outcome when the event had been sent; `TIMEOUT` with unknown outcome at the end of
    /// the publish timeout. With an [offline buffer](crate::Offline) also what [`publish_start`](Self::publish_start) says.
    ///
    /// # Cancel safety
    /// Once admitted the event is published whether the receipt is awaited or not.
    pub async fn publish(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<Receipt> {
        let publish = async { self.publish_start(topic, event).await?.await };
        let Some(patience) = self.0.patience else {
            return publish.await;
        };
        tokio::time::timeout(patience, publish).await.unwrap_or_else(|_| Err(Self::no_receipt(topic, patience)))
    }

    /// The error of a plain publish at the end of its time.
    #[doc(hidden)]
    #[must_use]
    pub fn no_receipt(topic: &str, patience: Duration) -> Error {
        let message = format!(
            "no receipt came within {patience:?} (option publish_timeout); outcome unknown: the event is published still if it was admitted"
        );
        Error::new(ErrorKind::Timeout, "publish", message).with("topic", topic)
    }

    /// Publishes an event, waiting only for room in the window of unanswered
    /// publishes. The [`PendingReceipt`] is awaited whenever it suits; await it, or
    /// [`flush`](Self::flush) or [`close`](Self::close), before `main` returns: what has
    /// no receipt when the tokio runtime ends may be lost, and only a log line says so.
    ///
    /// # Errors
    /// As [`publish`](Self::publish) for what is wrong before the event is sent. With an
    /// [offline buffer](crate::Offline) `BUFFER_FULL` when it is full and there is no gateway; with a file of it
    /// `DISK_FULL`, and `STORE_FAILED` when it cannot be written.
    ///
    /// # Cancel safety
    /// Dropped before it resolves, nothing was published; with an offline file it may be.
    pub async fn publish_start(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<PendingReceipt> {
        let pending = self.start(topic, event).await?;
        self.admitted(topic, pending).await
    }

    async fn start(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<PendingReceipt> {
        // A loop of publishes must let the driver have its turn on this thread.
        tokio::task::coop::consume_budget().await;
        match self.admit(topic, event, Bytes::copy_from_slice)? {
            Admitted::Now(pending) => Ok(pending),
            Admitted::Full(encoded, timing) => self.wait_for_room(topic, &encoded, timing).await,
        }
    }

    async fn wait_for_room(&self, topic: &str, encoded: &[u8], timing: Timing) -> Result<PendingReceipt> {
        let (alias, sequence) = self.0.outbox.admit_when_room(topic, encoded, timing).await?;
        Ok(self.pending(alias, sequence))
    }

    /// For bindings: publishes an event when there is room for it, and does not wait for an [offline file](crate::Offline::file), so that
    /// those behind it can share its write. See [`filed`](Self::filed).
    #[doc(hidden)]
    pub async fn stage(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<PendingReceipt> {
        self.start(topic, event).await
    }

    /// Waits until what was staged is in the offline file, if there is one. Its receipt comes behind that, or says why it is not.
    #[doc(hidden)]
    pub async fn filed(&self, topic: &str, pending: PendingReceipt) -> Result<PendingReceipt> {
        self.admitted(topic, pending).await
    }

    /// For bindings, which have no future to wait in: [stages](Self::stage) an event if there is room for it, else gives it back as it is
    /// sent, for [`publish_encoded`](Self::publish_encoded).
    #[doc(hidden)]
    pub fn publish_now(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<Admitted<Bytes>> {
        self.admit(topic, event, Bytes::copy_from_slice)
    }

    /// [Stages](Self::stage) what had no room, when it has.
    #[doc(hidden)]
    pub async fn publish_encoded(&self, topic: &str, encoded: &[u8], timing: Timing) -> Result<PendingReceipt> {
        self.wait_for_room(topic, encoded, timing).await
    }

    /// How long a plain publish waits for its receipt, and whether publishes go through a file.
    #[doc(hidden)]
    #[must_use]
    pub fn publish_waits(&self) -> (Option<Duration>, bool) {
        (self.0.patience, self.0.outbox.has_file())
    }

    /// Hands an event to the outbox; if that is full, gives what `keep` makes of it. No future holds the event, which is large.
    fn admit<T>(
        &self,
        topic: &str,
        event: impl Into<TimedEvent>,
        keep: impl FnOnce(&[u8]) -> T,
    ) -> Result<Admitted<T>> {
        let outbox = &self.0.outbox;
        let mut event = event.into();
        if outbox.hooks.publish.is_some() {
            event = outbox.hooks.publish(topic, event)?;
        }
        let timing = event.timing(outbox.gateway_now());
        self.encoded(topic, event.event(), |encoded| match outbox.admit(topic, encoded, timing)? {
            Admission::Admitted { alias, sequence } => Ok(Admitted::Now(self.pending(alias, sequence))),
            Admission::Full => Ok(Admitted::Full(keep(encoded), timing)),
        })
    }

    /// Waits until what was started is in the offline file, if there is one.
    async fn admitted(&self, topic: &str, pending: PendingReceipt) -> Result<PendingReceipt> {
        if self.0.outbox.has_file() {
            let filed = self.0.outbox.until_filed(pending.sequence()).await;
            filed.map_err(|failure| Error::from_failure("publish", &failure).with("topic", topic))?;
        }
        Ok(pending)
    }

    /// [`publish_start`](Self::publish_start) of many events, one result an event, in their order. With an
    /// [offline file](crate::Offline::file) they share what it takes to put them on disk.
    ///
    /// # Cancel safety
    /// Events admitted so far are published.
    pub async fn publish_start_all<E: Into<TimedEvent>>(
        &self,
        topic: &str,
        events: Vec<E>,
    ) -> Vec<Result<PendingReceipt>> {
        let mut results = Vec::with_capacity(events.len());
        for event in events {
            results.push(self.start(topic, event).await);
        }
        if !self.0.outbox.has_file() {
            return results;
        }
        let mut admitted = Vec::with_capacity(results.len());
        for started in results {
            admitted.push(match started {
                Ok(pending) => self.admitted(topic, pending).await,
                Err(error) => Err(error),
            });
        }
        admitted
    }

    /// As [`publish_start`](Self::publish_start), but never waits.
    ///
    /// # Errors
    /// `BUFFER_FULL` when the window is full, naming its option; `UNSUPPORTED` with an
    /// [offline file](crate::Offline::file); else as [`publish_start`](Self::publish_start).
    pub fn try_publish(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<PendingReceipt> {
        if self.0.outbox.has_file() {
            let message = "with an offline file an event is admitted when it is written there, which takes time: use a publish that waits for that (publish_start; in C mw_publish_admit_start or mw_publish_later)";
            return Err(Error::new(ErrorKind::Unsupported, "publish", message).with("topic", topic));
        }
        match self.admit(topic, event, |_| ())? {
            Admitted::Now(pending) => Ok(pending),
            Admitted::Full((), _) => Err(self.0.outbox.buffer_full(topic)),
        }
    }

    /// Publishes many events; gives one result an event, in their order. One bad
    /// event fails alone.
    ///
    /// # Cancel safety
    /// Events admitted so far are published.
    pub async fn publish_batch<E: Into<TimedEvent>>(&self, topic: &str, events: Vec<E>) -> Vec<Result<Receipt>> {
        Self::batch_receipts(self.publish_start_all(topic, events).await).await
    }

    /// The receipts of a batch that was started, in order. For bindings.
    #[doc(hidden)]
    pub async fn batch_receipts(pending: Vec<Result<PendingReceipt>>) -> Vec<Result<Receipt>> {
        let mut results = Vec::with_capacity(pending.len());
        for (index, started) in pending.into_iter().enumerate() {
            let result = match started {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            results.push(result.map_err(|e| e.with("index", index.to_string())));
        }
        results
    }

    /// Waits until every event published so far has its answer.
    ///
    /// # Errors
    /// The first failure of a publish whose [`PendingReceipt`] was dropped, with
    /// their number; failures that somebody awaits are told there.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn flush(&self) -> Result<()> {
        if let Some(done) = self.0.outbox.flushed() {
            // An error means that the client ended: all is answered.
            let _ = done.await;
        }
        match self.0.outbox.lock().receipts.take_unwatched() {
            None => Ok(()),
            Some(failed) => {
                let error = Error::from_failure("flush", &failed.first);
                Err(error.with("failed_publishes", failed.count.to_string()))
            }
        }
    }

    /// Begins to receive a topic's events one by one; await the result for the
    /// [`Subscription`](crate::Subscription).
    pub fn subscribe(&self, topic: &str) -> Subscribe {
        Subscribe::new(self.clone(), topic)
    }

    /// Begins to handle a topic's events with a function; see [`Consume::run`].
    pub fn consume(&self, topic: &str) -> Consume {
        Consume::new(self.subscribe(topic))
    }

    /// Topics: create and list. A command that the gateway answers `BUSY` is asked again when it says, for up to 30 s.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(self.clone())
    }

    /// The groups of a topic: list them, change their settings. As with [`topics`](Self::topics) a `BUSY` is waited out.
    #[must_use]
    pub fn groups(&self, topic: &str) -> Groups {
        Groups::new(self.clone(), topic)
    }

    /// Limits of the whole gateway: see them, change them while it runs.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::new(self.clone())
    }

    /// Events of a topic that its groups have given up.
    #[must_use]
    pub fn dead_letters(&self, topic: &str) -> DeadLetters {
        DeadLetters::new(self.clone(), topic)
    }

    /// Asks one of those who serve a topic; await the result for the
    /// [`Reply`](crate::Reply). Absent attributes of the event are filled in as by
    /// [`publish`](Self::publish); nothing of it is ever stored.
    pub fn request(&self, topic: &str, event: Event) -> SendRequest {
        SendRequest::new(self.clone(), topic, event)
    }

    /// As [`request`](Self::request), for many replies: await the result for the stream of
    /// them, [`Replies`](crate::Replies).
    pub fn request_stream(&self, topic: &str, event: Event) -> StreamRequest {
        StreamRequest::new(self.clone(), topic, event)
    }

    /// Begins to answer a topic's requests with a function; see [`Serve::run`].
    pub fn serve(&self, topic: &str) -> Serve {
        Serve::new(self.clone(), topic)
    }

    /// Waits until the client is logged in at a gateway; at once when it is. Of use after
    /// [`Connect::offline`](crate::Connect::offline).
    ///
    /// # Errors
    /// `CLOSED` when the client ended, for instance because the gateway refused it for good.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn connected(&self) -> Result<()> {
        let mut state = self.state();
        let reached = state.wait_for(|state| matches!(state, State::Connected | State::Closed)).await;
        match reached.map(|state| *state) {
            Ok(State::Connected) => Ok(()),
            _ => Err(self.0.outbox.end().unwrap_or_else(|| Error::closed("connect"))),
        }
    }

    /// The client's state, now and whenever it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.0.outbox.state.subscribe()
    }

    /// Counts: pending publishes, reconnects, replays and more.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.outbox.stats()
    }

    /// Ends the client gently: streams end and hand out nothing more, new publishes
    /// are refused, what is in flight gets `deadline` to finish. Then everything
    /// still unsettled is given back and the connection is closed, which the
    /// gateway has a second to notice: the process may end right after.
    ///
    /// Without a gateway, publishes wait for one until the deadline, with an offline
    /// buffer in memory as without a buffer: then they are lost. In an offline file they stay
    /// for the next client, and the drain ends at once. A deadline of 0 waits for nothing.
    ///
    /// # Errors
    /// `TIMEOUT` when publishes or deliveries were left at the deadline; the client
    /// is closed all the same.
    ///
    /// # Cancel safety
    /// The drain goes on.
    pub async fn drain(&self, deadline: Duration) -> Result<()> {
        let (reply, done) = oneshot::channel();
        let until = Instant::now() + deadline.min(LONGEST_DRAIN);
        if self.0.outbox.drain(Command::Drain { until, reply: Some(reply) }).is_err() {
            return Ok(());
        }
        done.await.unwrap_or(Ok(()))
    }

    /// [`drain`](Self::drain) with the default deadline of 30 s (option `drain_timeout`): call that one to wait shorter, or longer.
    /// Closing a closed client is nothing.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain).
    pub async fn close(&self) -> Result<()> {
        self.drain(options::DRAIN_TIMEOUT.default_duration()).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let unanswered = self.outbox.unanswered().events;
        let reply = None;
        let until = Instant::now() + LINGER;
        let is_over = self.outbox.drain(Command::Drain { until, reply }).is_err();
        if !is_over && unanswered > 0 && !self.outbox.has_file() {
            tracing::warn!(
                unanswered,
                "a client was dropped with publishes that have no receipt; they get 2 s more. Call flush or close before dropping it"
            );
        }
    }
}
