//! One event in the hands of a consumer; in [`hand`], how it comes there.

mod hand;

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::{ErrorKind, EventLayout, EventLimits, EventView, UnixMillis};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::hooks::SettledAs;
use crate::inbox::{Answer, How, Inbox, Settled};
use crate::prefetched::Claim;
use crate::{Error, Position, Result};

/// One event handed to a consumer, which says what becomes of it: [`ack`](Self::ack)
/// (done), [`nack`](Self::nack) (again) or [`reject`](Self::reject) (never again). Each takes
/// the delivery, so it is settled once.
///
/// Dropped without a word it stays leased to this consumer and comes again after the ack wait; that is logged once for
/// each subscription. When the subscription ends first, as it does when the program leaves its loop by `?`, `break` or
/// `return`, what it was handed and dropped has failed: it is nacked as [`nack`](Self::nack) does it. Dropped by a panic it
/// is nacked at once. So an event that a program cannot handle becomes a dead letter, however often the program is started again.
///
/// A program that stops in the middle on purpose settles the delivery that it has in hand before it leaves the loop:
/// `nack_after(Duration::ZERO)` has it come again at once, counted as a failure. To give it back without a failure it
/// keeps the delivery until the [`Subscription`](crate::Subscription) is dropped:
///
/// ```no_run
/// # async fn example(mut orders: meshwire::Subscription, stop: impl Fn() -> bool) -> meshwire::Result<()> {
/// let mut in_hand = None;
/// while let Some(order) = orders.try_next().await? {
///     if stop() {
///         in_hand = Some(order);
///         break;
///     }
///     order.ack();
/// }
/// drop(orders); // first the subscription, which gives back what is in hand
/// drop(in_hand);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "settle the delivery: ack it when it is done, nack it to get it again"]
pub struct Delivery {
    event: Bytes,
    layout: EventLayout,
    inbox: Arc<Inbox>,
    place: Place,
    /// Its lease is looked after: a binding has it, or it waits for its turn in the program's hands.
    unclaimed: Option<Arc<Claim>>,
    /// The program has it.
    handed: bool,
    /// What becomes of it when it is dropped, where that was said.
    word: OnceLock<Box<How>>,
    settled: bool,
}

/// Place of one event in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) position: u64,
    pub(crate) gap: u64,
    pub(crate) stored: i64,
    /// 0: never.
    pub(crate) expires: i64,
    pub(crate) attempt: u32,
    pub(crate) generation: u32,
}

/// Deliveries in a row that are settled alike.
struct Row {
    inbox: Arc<Inbox>,
    settled: Settled,
    bytes: usize,
    position: u64,
}

impl Row {
    fn of(first: &Delivery, how: How) -> Self {
        let (inbox, settled) = (Arc::clone(&first.inbox), first.range(how));
        Self { inbox, settled, bytes: first.event.len(), position: first.place.position }
    }

    fn goes_on_with(&self, next: &Delivery) -> bool {
        Arc::ptr_eq(&self.inbox, &next.inbox)
            && self.settled.generation == next.place.generation
            && self.settled.first.saturating_add(self.settled.count.into()) == next.place.number
    }

    fn add(&mut self, next: &Delivery) {
        self.settled.count += 1;
        self.bytes += next.event.len();
        self.position = self.position.max(next.place.position);
    }

    fn settle(self) {
        self.inbox.settle(self.settled, self.bytes, self.position);
    }
}

/// As much of a reason as the gateway keeps.
const REASON_BYTES: usize = 1024;

fn in_millis(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)
}

fn because(kind: SettleKind, reason: &dyn Display) -> How {
    let mut text = reason.to_string();
    text.truncate(text.floor_char_boundary(REASON_BYTES));
    How { kind, delay_ms: None, reason: Some(text.into()) }
}

/// The gateway holds events to its limits; a client reads whatever it was given.
const ANY_SIZE: EventLimits = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };

impl Delivery {
    /// Checks the event once, so that it can be read without a result later.
    pub(crate) fn new(event: Bytes, inbox: &Arc<Inbox>, place: Place) -> Result<Self> {
        let layout = match EventView::parse(&event, ANY_SIZE) {
            Ok(view) => view.layout(),
            Err(problem) => {
                inbox.give_up(1);
                let message = format!("the gateway delivered what is not an event: {problem}");
                return Err(Error::new(ErrorKind::Internal, "receive", message)
                    .with("topic", inbox.topic.as_str())
                    .with("position", place.position.to_string()));
            }
        };
        Ok(Self {
            event,
            layout,
            inbox: Arc::clone(inbox),
            place,
            unclaimed: None,
            handed: true,
            word: OnceLock::new(),
            settled: false,
        })
    }

    pub(crate) fn unclaimed(mut self, claim: Option<Arc<Claim>>, handed: bool) -> Self {
        (self.unclaimed, self.handed) = (claim, handed);
        self
    }

    /// The event, read in place: attributes and data are slices of what was received.
    #[must_use]
    #[expect(clippy::unreachable, reason = "the layout is that of these bytes")]
    pub fn event(&self) -> EventView<'_> {
        match self.layout.view(&self.event) {
            Some(view) => view,
            None => unreachable!("the layout of an event is not that of its bytes"),
        }
    }

    /// The event as its CNCF protobuf bytes, `io.cloudevents.v1.CloudEvent`. A
    /// copy of the handle keeps the whole network buffer alive, about 128 KiB.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.event
    }

    /// Where the parts of [`raw`](Self::raw) are. For bindings.
    #[doc(hidden)]
    #[must_use]
    pub const fn layout(&self) -> EventLayout {
        self.layout
    }

    /// CloudEvents attribute `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.event().id()
    }

    /// The data as JSON.
    ///
    /// # Errors
    /// `INVALID` with the reader's sentence, which names line and column.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.event().data().bytes()).map_err(|cause| {
            self.unreadable(&format!("the data is not the JSON that was asked for: {cause}")).with_source(cause)
        })
    }

    /// The data as text.
    ///
    /// # Errors
    /// `INVALID` when the data is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(self.event().data().bytes())
            .map_err(|cause| self.unreadable("the data is not UTF-8 text").with_source(cause))
    }

    fn unreadable(&self, problem: &str) -> Error {
        Error::new(ErrorKind::Invalid, "read", problem)
            .with("topic", self.topic())
            .with("position", self.position().to_string())
    }

    /// How often the event failed in this group before the gateway was started last, and how often it was delivered to a
    /// consumer of the group since, this time too: 1 the first time. Failures survive a restart of the gateway; deliveries that
    /// did not fail are counted by the gateway that made them only. Without a group always 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.place.attempt
    }

    /// Where the event is in its topic.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position::from_number(self.place.position)
    }

    /// Events that retention removed before this subscription saw them, just
    /// before this one. As a rule 0.
    #[must_use]
    pub const fn gap(&self) -> u64 {
        self.place.gap
    }

    /// When the gateway stored the event, or one a little behind it in the same commit.
    #[must_use]
    pub const fn stored(&self) -> UnixMillis {
        UnixMillis(self.place.stored)
    }

    /// From when on nobody gets the event any more, by the gateway's clock, as [`stored`](Self::stored); it may still be
    /// acked then. Up to a thousandth of its time early. `None`: it does not expire, or was redriven and is delivered all
    /// the same.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixMillis> {
        Some(UnixMillis(self.place.expires)).filter(|at| at.0 != 0)
    }

    /// The topic it came from.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.inbox.topic.as_str()
    }

    /// Done: the event does not come again. Handed to the session, which sends it
    /// within 5 ms and never fails; a lost one shows as a redelivery, and as a warning in the log.
    pub fn ack(self) {
        self.settle(SettleKind::Ack);
    }

    /// [Acks](Self::ack) many, those in a row under one lock. For bindings, to which acks come together.
    #[doc(hidden)]
    pub fn ack_all(all: impl IntoIterator<Item = Self>) {
        let how = How::from(SettleKind::Ack);
        let mut row: Option<Row> = None;
        for mut delivery in all {
            delivery.decided(&how);
            match &mut row {
                Some(row) if row.goes_on_with(&delivery) => row.add(&delivery),
                _ => {
                    if let Some(row) = row.replace(Row::of(&delivery, how.clone())) {
                        row.settle();
                    }
                }
            }
        }
        if let Some(row) = row {
            row.settle();
        }
    }

    /// Not done: the event comes again, to any member of the group, and later
    /// events of its key after it. It waits as the group's back-off says (1 s, then
    /// twice as long with each failure, up to a minute), and after the group's
    /// `max_failures` (5) it is a dead letter. Sent as [`ack`](Self::ack) is.
    /// In a group, events of its key that came behind it come again behind it: what the program settles of those that it has, or is handed
    /// before, counts for nothing.
    pub fn nack(self) {
        self.settle(SettleKind::Nack);
    }

    /// As [`nack`](Self::nack), but the event comes again after `delay`; zero is at
    /// once. At most 49 days.
    pub fn nack_after(self, delay: Duration) {
        self.settle(How { delay_ms: Some(in_millis(delay)), ..SettleKind::Nack.into() });
    }

    /// Never again: the event becomes a dead letter of the group, with the reason,
    /// of which 1024 bytes are kept. Later events of its key stay with who has them, unless the group
    /// [holds keys](crate::GroupSettings::hold_after_dead_letter). Without a group it only returns credit.
    /// Sent as [`ack`](Self::ack) is.
    pub fn reject(self, reason: impl Display) {
        self.settle(because(SettleKind::Reject, &reason));
    }

    /// Still working: the lease begins anew. It can be made to last up to 12 h in
    /// all. Sent as [`ack`](Self::ack) is; [`consume`](crate::Mesh::consume) does it by itself.
    pub fn extend(&self) {
        self.claim_unhanded();
        self.inbox.extend([(self.place.generation, self.place.number, 1)]);
    }

    /// As [`extend`](Self::extend), and waits for the gateway's word.
    ///
    /// # Errors
    /// `LEASE_LOST`: the event comes again, or came to somebody else.
    ///
    /// # Cancel safety
    /// It is sent whether the answer is awaited or not.
    pub fn extend_confirmed(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.claim_unhanded();
        let answer = self.inbox.settle_confirmed(self.range(SettleKind::Extend.into()));
        let (inbox, position) = (Arc::clone(&self.inbox), self.position());
        async move { answered(answer, "extend_confirmed", &inbox, position).await }
    }

    /// As [`ack`](Self::ack), and waits for the gateway's word, given at the
    /// topic's level of durability.
    ///
    /// # Errors
    /// `LEASE_LOST` when the event was leased again or settled otherwise, or the
    /// session was lost: it may come again. `DISK_FULL` when the gateway's disk has no room for it: it holds, and is kept as
    /// soon as there is; the event comes again only if the gateway ends before.
    ///
    /// # Cancel safety
    /// The ack is sent whether the answer is awaited or not.
    pub fn ack_confirmed(self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.settle_confirmed(SettleKind::Ack.into(), "ack_confirmed")
    }

    /// As [`nack`](Self::nack), and waits for the gateway's word.
    ///
    /// # Errors
    /// As [`ack_confirmed`](Self::ack_confirmed).
    ///
    /// # Cancel safety
    /// The nack is sent whether the answer is awaited or not.
    pub fn nack_confirmed(self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.settle_confirmed(SettleKind::Nack.into(), "nack_confirmed")
    }

    /// As [`nack_after`](Self::nack_after), and waits for the gateway's word.
    ///
    /// # Errors
    /// As [`ack_confirmed`](Self::ack_confirmed).
    ///
    /// # Cancel safety
    /// The nack is sent whether the answer is awaited or not.
    pub fn nack_after_confirmed(self, delay: Duration) -> impl Future<Output = Result<()>> + Send + use<> {
        let how = How { delay_ms: Some(in_millis(delay)), ..SettleKind::Nack.into() };
        self.settle_confirmed(how, "nack_after_confirmed")
    }

    /// As [`reject`](Self::reject), and waits for the gateway's word.
    ///
    /// # Errors
    /// As [`ack_confirmed`](Self::ack_confirmed).
    ///
    /// # Cancel safety
    /// It is sent whether the answer is awaited or not.
    pub fn reject_confirmed<D: Display>(self, reason: D) -> impl Future<Output = Result<()>> + Send + use<D> {
        let how = because(SettleKind::Reject, &reason);
        self.settle_confirmed(how, "reject_confirmed")
    }

    const fn range(&self, how: How) -> Settled {
        Settled { generation: self.place.generation, first: self.place.number, count: 1, how }
    }

    /// What becomes of it is known: from here on it is not dropped.
    fn decided(&mut self, how: &How) {
        self.settled = true;
        self.claim_unhanded();
        let settled = match how.kind {
            SettleKind::Ack => SettledAs::Ack,
            SettleKind::Reject => SettledAs::Reject,
            _ => SettledAs::Nack,
        };
        self.inbox.outbox.hooks.settle(self, settled);
    }

    fn settle(mut self, how: impl Into<How>) {
        self.end(how.into());
    }

    fn end(&mut self, how: How) {
        if how.kind == SettleKind::Release {
            return self.return_unbegun();
        }
        self.decided(&how);
        self.inbox.settle(self.range(how), self.event.len(), self.place.position);
    }

    /// Settles at once; the future only waits for the answer.
    fn settle_confirmed(
        mut self,
        how: How,
        operation: &'static str,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        self.decided(&how);
        let answer = self.inbox.settle_confirmed(self.range(how));
        async move { answered(answer, operation, &self.inbox, self.position()).await }
    }

    /// A nack of a handler that failed, and why.
    pub(crate) fn nack_because(self, reason: &str, delay: Option<Duration>) {
        self.settle(How { delay_ms: delay.map(in_millis), ..because(SettleKind::Nack, &reason) });
    }

    /// The same, and gives where what was on its way at it ends, whatever the answer: see
    /// [`Output::Settled`](crate::session::Output::Settled).
    pub(crate) fn nack_boundary(
        mut self,
        reason: &str,
        delay: Option<Duration>,
    ) -> impl Future<Output = u64> + Send + use<> {
        let how = How { delay_ms: delay.map(in_millis), ..because(SettleKind::Nack, &reason) };
        self.decided(&how);
        let answer = self.inbox.settle_confirmed(self.range(how));
        // A client that has ended gets nothing more.
        async move { answer.await.map_or(u64::MAX, |(_, boundary)| boundary) }
    }

    /// Whether its lease is gone and it comes again: handling it now would be once too often.
    #[doc(hidden)]
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.inbox.is_stale(self.place.generation)
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    pub(crate) const fn number(&self) -> u64 {
        self.place.number
    }
}

/// The gateway's word on a settle.
async fn answered(
    answer: oneshot::Receiver<Answer>,
    operation: &'static str,
    inbox: &Inbox,
    position: Position,
) -> Result<()> {
    let error = match answer.await {
        Ok((Ok(()), _)) => return Ok(()),
        Ok((Err(failure), _)) => Error::from_failure(operation, &failure),
        Err(_) => Error::closed(operation),
    };
    Err(error.with("topic", inbox.topic.as_str()).with("position", position.to_string()))
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if let Some(how) = self.word.take() {
            return self.end(*how);
        }
        if self.unclaimed.is_some() && !self.handed {
            return self.return_unbegun();
        }
        self.inbox.outbox.hooks.settle(self, SettledAs::Dropped);
        if std::thread::panicking() {
            let how = because(SettleKind::Nack, &"the program panicked");
            return self.inbox.settle(self.range(how), self.event.len(), self.place.position);
        }
        self.inbox.dropped(self.place.generation, self.place.number);
        if !self.inbox.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                topic = self.inbox.topic.as_str(),
                position = self.place.position,
                "a delivery was dropped without ack or nack: it comes again after the ack wait, and has failed when its subscription ends before; ack it when it is done, nack it to get it again (logged once for each subscription)"
            );
        }
    }
}
