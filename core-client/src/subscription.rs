//! Receiving events one by one.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupName, MemberName, TopicName, options};
use tokio::sync::{oneshot, watch};

use crate::client::Mesh;
use crate::delivery::{Delivery, Place};
use crate::inbox::{Batch, End, Inbox};
use crate::outbox::{Beginning, Command};
use crate::prefetched::Claim;
use crate::session::{Start, SubscribeSpec};
use crate::{Error, GroupMode, GroupSettings, Position, Result};

/// What to receive, until it is awaited for the [`Subscription`]. A gateway that answers `BUSY` is asked again when it
/// says: for up to 30 s, and as long as it lasts once the subscription has run.
///
/// ```no_run
/// # async fn example(mesh: meshwire::Mesh) -> meshwire::Result<()> {
/// let mut orders = mesh.subscribe("orders").group("billing").await?;
/// while let Some(delivery) = orders.try_next().await? {
///     println!("{}", delivery.text()?);
///     delivery.ack();
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is received until it is awaited"]
pub struct Subscribe {
    mesh: Mesh,
    topic: String,
    group: Option<String>,
    member: Option<String>,
    start: Option<Start>,
    prefetch: (u64, u64),
    settings: GroupSettings,
}

impl Subscribe {
    pub(crate) fn new(mesh: Mesh, topic: &str) -> Self {
        let prefetch = (options::PREFETCH_EVENTS.default, options::PREFETCH_BYTES.default);
        let (topic, settings) = (topic.to_owned(), GroupSettings::new());
        Self { mesh, topic, group: None, member: None, start: None, prefetch, settings }
    }

    /// Joins a consumer group: its members share the topic's events, and it goes
    /// on where it was after a restart. Events of one key (`partitionkey`) go to one
    /// member as long as it has unsettled ones; keys are shared evenly, also with a
    /// member that joins later. Without a group the subscription sees
    /// every event from now on, as long as its session lasts.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// The group is a broadcast group: every member gets every event, in log order. With a
    /// name ([`member`](Self::member)) this one keeps its place; without, it sees every event
    /// from now on, as long as its session lasts. A group that exists in the other mode
    /// answers `GROUP_CONFLICT`.
    pub const fn broadcast(mut self) -> Self {
        self.settings = self.settings.broadcast();
        self
    }

    /// Makes this a durable member of the broadcast group, of a name of its own: its place,
    /// settlements, retries and dead letters are kept, and it goes on there after a restart
    /// of the program or of the gateway. Remove one that is gone for good with
    /// [`Groups::delete_member`](crate::Groups::delete_member).
    ///
    /// A name has one subscription at a time. A second one is refused with `GROUP_CONFLICT`
    /// while the first is connected; if its connection is lost, the second takes over at
    /// once, so that a program that was killed need not wait for `resume_window`. The first
    /// ends with `GROUP_CONFLICT` should it come back.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.member = Some(name.into());
        self
    }

    /// Where a new group, or a subscription without one, begins. A group that
    /// exists goes on where it was, and a log line says so. A position that no event has yet begins with the
    /// topic's next event, and a log line says so.
    /// A [`SystemTime`](std::time::SystemTime) or a [`Position`] is a start too.
    pub fn start(mut self, start: impl Into<Start>) -> Self {
        self.start = Some(start.into());
        self
    }

    /// Most unsettled events and bytes sent ahead. Default 256 and 8 MiB; from 1
    /// and 1 to 65,536 and 64 MiB. It bounds the memory that waiting events take;
    /// one event may pass over the bytes.
    pub const fn prefetch(mut self, events: u64, bytes: u64) -> Self {
        self.prefetch = (events, bytes);
        self
    }

    /// How long a delivery may stay unsettled before it comes again. Default
    /// 30 s, or what the group has; from 1 s to 12 h. A setting of the group: without one it is `INVALID`.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.settings = self.settings.ack_wait(wait);
        self
    }

    /// How the group is to deliver. A group that exists with other settings answers
    /// `GROUP_CONFLICT`; what is not said is not compared. One that has joined and comes back after a lost session takes the
    /// group as it is by then. Without a group it is `INVALID`.
    pub fn settings(mut self, settings: GroupSettings) -> Self {
        let (ack_wait, mode) = (settings.ack_wait.or(self.settings.ack_wait), settings.mode.or(self.settings.mode));
        self.settings = GroupSettings { ack_wait, mode, ..settings };
        self
    }

    fn spec(&self) -> Result<SubscribeSpec> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, "subscribe", problem);
        let named = |e| Error::name("subscribe", &e);
        let (events, bytes) = self.prefetch;
        let events = options::PREFETCH_EVENTS.check(events).map_err(invalid)?;
        Ok(SubscribeSpec {
            topic: TopicName::parse(&self.topic).map_err(named)?,
            group: self.group.as_deref().map(GroupName::parse).transpose().map_err(named)?,
            member: self.member_name().map_err(invalid)?,
            start: self.start,
            settings: self.group_settings().map_err(invalid)?,
            max_events: u32::try_from(events).unwrap_or(u32::MAX),
            max_bytes: options::PREFETCH_BYTES.check(bytes).map_err(invalid)?,
        })
    }

    fn group_settings(&self) -> Result<admin::GroupSettings, String> {
        let settings = self.settings.check()?;
        // Who has no group sees every event, as in a broadcast group.
        let others = admin::GroupSettings { mode: None, ..settings };
        if self.group.is_none() && others != admin::GroupSettings::default() {
            return Err("settings, as ack_wait, are those of a group: name a group, or leave them out".to_owned());
        }
        Ok(settings)
    }

    fn member_name(&self) -> Result<Option<MemberName>, String> {
        match &self.member {
            None => Ok(None),
            Some(member) if self.group.is_none() || self.settings.mode != Some(GroupMode::Broadcast) => {
                Err(format!("member {member} needs a broadcast group: name a group, and say broadcast"))
            }
            Some(member) => MemberName::parse(member).map(Some).map_err(|e| e.to_string()),
        }
    }

    async fn begin(self) -> Result<Subscription> {
        let context = |error: Error| error.during("subscribe").with("topic", self.topic.clone());
        let spec = self.spec().map_err(context)?;
        if spec.group.is_none() {
            let start = spec.start.unwrap_or(Start::Latest);
            tracing::info!(topic = %spec.topic, %start, "subscribing without a group: this program sees every event, from its start on, and keeps no place; name a group to go on after a restart");
        }
        let asked = spec.start;
        let outbox = Arc::clone(self.mesh.outbox());
        let inbox = Arc::new(Inbox::new(spec.topic.clone(), Arc::clone(&outbox), spec.max_events, spec.max_bytes));
        let (reply, answer) = oneshot::channel();
        outbox.command(Command::Subscribe { spec, inbox: Arc::clone(&inbox), reply }).map_err(context)?;
        // From here on dropping the subscription ends it, also before the answer.
        let subscription =
            Subscription { mesh: self.mesh.clone(), inbox, taken: VecDeque::new(), ahead: false, over: false };
        match answer.await {
            Ok(Ok(beginning)) => {
                tell_beginning(&self.topic, self.group.as_deref(), asked, beginning);
                Ok(subscription)
            }
            Ok(Err(error)) => Err(context(error)),
            Err(_) => Err(context(Error::closed("subscribe"))),
        }
    }
}

/// Says which start counts for nothing, and what a wrong name or position would look
/// like: both are answered as if they were right, since the event may be the next that comes.
fn tell_beginning(topic: &str, group: Option<&str>, asked: Option<Start>, beginning: Beginning) {
    let Beginning { next_position, topic_next, new_group } = beginning;
    let old_group = group.filter(|_| topic_next > 1 && !new_group);
    if let (Some(group), Some(start)) = (old_group, asked) {
        let next = Position::from_number(next_position);
        tracing::info!(topic, "group {group} exists and goes on at position {next}; start {start} is ignored");
        return;
    }
    match asked {
        Some(Start::Position(position)) if topic_next > 0 && position.number() > topic_next => {
            let next = Position::from_number(topic_next);
            tracing::warn!(
                topic,
                "no event has position {position} yet: deliveries begin with the next event, at {next}"
            );
        }
        _ if topic_next == 1 => {
            tracing::info!(
                topic,
                "the topic has no events yet; if it should have, check the name: a subscribe creates a topic that does not exist"
            );
        }
        _ => {}
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// Subscribes, and resolves when the gateway has confirmed it. While the
    /// client is reconnecting it waits.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

/// Attempts from which on an event is suspected.
const MANY_ATTEMPTS: u32 = 2;

/// Why an event failed that a program had and let go of.
pub(crate) const DROPPED: &str = "dropped without being settled";

/// What the program was handed of a subscription that its binding takes [ahead](Subscription::take_ahead).
#[doc(hidden)]
#[derive(Debug)]
pub struct Handed(Arc<Inbox>);

impl Handed {
    /// The program leaves: what it was handed and has not settled has failed. To be followed by dropping the subscription.
    pub fn fail(&self) {
        self.0.fail_unsettled(DROPPED);
    }
}

/// How the program takes a delivery.
#[derive(Clone, Copy)]
enum Taking {
    /// To begin with it.
    One,
    /// Behind those that it has in hand.
    Behind,
}

/// A stream of deliveries. Dropping it ends the subscription: what the program was not handed yet, or still has in
/// hand, comes again at once and has not failed; what it was handed and dropped unsettled, also by `?`, `break` or `return`
/// out of its loop, has failed, and comes again after the group's back-off ([`Delivery`] has the ways out). So it is when a panic ends the runtime that the client lives on. A process that is killed gives nothing back: its events
/// come again when the gateway's `resume_window` (10 s by default) is over.
///
/// What was sent ahead keeps its lease while it waits here, however slow the program is: at least seven eighths of the ack wait
/// are left when a delivery is handed out. Of several that are taken at once ([`next_now`](Self::next_now)) each has as much from when the one
/// before it was settled: what a program has in hand so keeps its lease as long as it settles or extends something within each ack
/// wait. A program that takes, settles and extends nothing for a whole ack wait is stuck: what
/// waits is given back, without a failure, and nothing more is sent until it takes a delivery again; the lease of what it has begun
/// with ends. [`Delivery::extend`] is for work that takes longer; [`Mesh::consume`] does that by itself.
///
/// The client lives on the program's tokio runtime. A program that blocks its thread, in a `current_thread` runtime, stops its
/// heartbeats: after 25 s the gateway takes it for dead, and once `resume_window` is over its events come again, whatever the ack
/// wait. Block in `tokio::task::spawn_blocking`, or take a multi-thread runtime.
///
/// It ends (`None`) when the client drains or closes. An error other than an
/// unreadable event is its last item.
#[derive(Debug)]
pub struct Subscription {
    mesh: Mesh,
    inbox: Arc<Inbox>,
    taken: VecDeque<Batch>,
    /// Deliveries come unclaimed.
    ahead: bool,
    over: bool,
}

impl Subscription {
    /// The next delivery; `None` at the end.
    ///
    /// # Cancel safety
    /// No delivery is lost.
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        std::future::poll_fn(|cx| self.poll_delivery(cx, Taking::One)).await
    }

    /// The next delivery; `Ok(None)` at the end.
    ///
    /// # Errors
    /// Why the subscription ended, as [`Subscription`] says.
    ///
    /// # Cancel safety
    /// No delivery is lost.
    pub async fn try_next(&mut self) -> Result<Option<Delivery>> {
        self.next().await.transpose()
    }

    /// The next delivery if one is here already: to take several at once. Behind one that is not settled yet it keeps its lease until its
    /// turn, as [`Subscription`] says.
    ///
    /// # Errors
    /// As [`Subscription::try_next`].
    pub fn next_now(&mut self) -> Result<Option<Delivery>> {
        match self.poll_delivery(&mut Context::from_waker(std::task::Waker::noop()), Taking::Behind) {
            Poll::Ready(delivery) => delivery.transpose(),
            Poll::Pending => Ok(None),
        }
    }

    /// From here on deliveries come [unclaimed](Delivery::claim): they are looked after as if they waited here, until the program is
    /// handed them. For bindings.
    #[doc(hidden)]
    pub fn take_ahead(&mut self) -> Handed {
        self.ahead = true;
        self.inbox.count_unsettled();
        Handed(Arc::clone(&self.inbox))
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.inbox.topic.as_str()
    }

    /// The client that it belongs to.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Why it has ended, if that is an error.
    pub(crate) fn why_over(&self) -> Result<()> {
        self.inbox.why_over()
    }

    /// Leases of these deliveries begin anew.
    pub(crate) fn extend(&self, places: impl IntoIterator<Item = Place>) {
        self.inbox.extend(places.into_iter().map(|p| (p.generation, p.number, 1)));
    }

    /// The ack wait as the gateway told it last; zero without a group.
    pub(crate) fn ack_wait(&self) -> watch::Receiver<Duration> {
        self.inbox.ack_wait()
    }

    /// Whether the last item was the last.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>, taking: Taking) -> Poll<Option<Result<Delivery>>> {
        if self.over {
            return Poll::Ready(None);
        }
        loop {
            // An event that comes again and again may be the one that its program dies of: what was settled before it must
            // not come again with it.
            if self.taken.front().is_some_and(|batch| batch.run.attempt > MANY_ATTEMPTS) && self.inbox.has_unsent(cx) {
                return Poll::Pending;
            }
            if let Some(delivery) = self.split(taking) {
                return Poll::Ready(Some(delivery));
            }
            match self.inbox.poll_take(&mut self.taken, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {}
                Poll::Ready(Some(end)) => {
                    self.over = true;
                    return Poll::Ready(match end {
                        End::Quiet => None,
                        End::Error(error) => Some(Err(error.with("topic", self.topic()))),
                    });
                }
            }
        }
    }

    /// Splits the next delivery off the runs that were taken.
    fn split(&mut self, taking: Taking) -> Option<Result<Delivery>> {
        loop {
            let batch = self.taken.front_mut()?;
            let left = u64::from(batch.run.events.count());
            let others = self.inbox.waiting().saturating_sub(left);
            if self.ahead {
                self.inbox.set_fetched(batch.run.first_delivery.saturating_add(1));
            }
            // One of them goes out, unless the program drains.
            self.inbox.set_waiting(others + left.saturating_sub(1));
            let event = if self.inbox.is_stopped() || self.inbox.is_stale(batch.generation) {
                None
            } else {
                batch.run.events.pop_front()
            };
            let Some(event) = event else {
                if self.ahead {
                    self.inbox.set_fetched(batch.run.first_delivery);
                }
                self.taken.pop_front();
                self.inbox.set_waiting(others);
                if left > 0 {
                    self.inbox.give_up(left);
                }
                continue;
            };
            let run = &mut batch.run;
            let place = Place {
                number: run.first_delivery,
                position: run.first_position,
                gap: std::mem::take(&mut run.gap),
                stored: run.stored_unix_ms,
                expires: run.expires_unix_ms,
                attempt: run.attempt,
                generation: batch.generation,
            };
            run.first_delivery = run.first_delivery.saturating_add(1);
            run.first_position = run.first_position.saturating_add(1);
            let (is_there, unclaimed) = match batch.claim.as_ref() {
                Some(claim) if self.ahead => (true, Some(Arc::clone(claim))),
                Some(claim) if matches!(taking, Taking::Behind) => {
                    (claim.hand(place.number, false), Some(Arc::clone(claim)))
                }
                Some(claim) => (claim.take(place.number), None),
                None => (true, None),
            };
            if !is_there {
                // The program took nothing for so long that it was given back.
                self.inbox.give_up(1);
                continue;
            }
            return Some(self.made(event, place, unclaimed));
        }
    }

    fn made(&self, event: Bytes, place: Place, unclaimed: Option<Arc<Claim>>) -> Result<Delivery> {
        let delivery = match Delivery::new(event, &self.inbox, place) {
            Ok(delivery) => delivery.unclaimed(unclaimed, !self.ahead),
            Err(error) => {
                // The program is handed the error.
                if let Some(claim) = unclaimed {
                    claim.take(place.number);
                }
                return Err(error);
            }
        };
        match self.inbox.outbox.hooks.delivery(&delivery) {
            Ok(()) => Ok(delivery),
            Err(error) => {
                delivery.nack_because(error.message(), None);
                Err(error)
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_delivery(cx, Taking::One)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let left: u64 = self.taken.iter().map(|b| u64::from(b.run.events.count())).sum();
        self.inbox.give_up(left);
        // Leaving gives back what is unsettled: no settle is missing any more.
        self.inbox.warned.store(true, std::sync::atomic::Ordering::Relaxed);
        self.inbox.fail_dropped(DROPPED);
        // A client that is closed has nothing to be told.
        let _ = self.inbox.outbox.command(Command::Unsubscribe(Arc::clone(&self.inbox)));
    }
}
