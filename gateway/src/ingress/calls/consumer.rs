//! A subscription without a session: it ends when it is dropped, and unless that is in order it was lost with what it held.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::{DeliverRun, SettleKind};
use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupKey, TopicName, UnixMillis, options};
use tokio::sync::watch;
use tokio::time::Instant;

use super::inbox::{Found, Inbox};
use super::lease::Lease;
use super::unseen::Unseen;
use super::{Calls, Seat};
use crate::ingress::access::{Record, Waiting};
use crate::ingress::{Shutdown, waiting};
use crate::mesh::{
    Action, Caller, Credit, Leaving, Refusal, SettleRequest, SubscribeRequest, SubscriptionKey, TopicRef,
};

/// A consumer always gets this much byte credit: a single event passes.
const LEAST_BYTES: u64 = 64 * 1024;

/// So much earlier than we, and by a sixty-fourth of the time it has, a peer may end its call because its time is over: it began to
/// count first, and libraries round what they tell us up by as much as a hundredth. Never by more than half of it. A guess.
const EARLY: Duration = Duration::from_millis(100);

/// Where a subscription begins: of a group only when it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first event of a group and of a durable member, behind the last one otherwise.
    #[default]
    Default,
    /// The first event that can be read.
    Earliest,
    /// Behind the last event of now.
    Latest,
    /// The event at this position.
    Position(u64),
    /// The first event stored at this time or later.
    Time(UnixMillis),
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct ConsumerRequest {
    /// The group, or a durable member of a broadcast group; `None`: an unnamed broadcast subscription.
    pub group: Option<GroupKey>,
    /// Where it begins.
    pub start: Start,
    /// What the group is to be like.
    pub settings: admin::GroupSettings,
    /// Most unsettled; it gets no more than the bounds of the gateway.
    pub credit: Credit,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Settles it, by the same caller over any connection; `None`: there is nothing to settle.
    pub lease: Option<String>,
    /// Failures of before the last start of the gateway, and deliveries since, this one too: 1 for a first one.
    pub attempt: u32,
    /// Where the event is in its topic.
    pub position: u64,
    /// Events that retention took, or that were skipped, just before it.
    pub gap: u64,
    /// When it was stored, or the first of those stored with it.
    pub stored: UnixMillis,
    /// From when on nobody gets it any more.
    pub expires: Option<UnixMillis>,
    /// Its protobuf bytes.
    pub event: Bytes,
}

/// A subscription and its deliveries. Dropped, it was lost: what it handed out and nobody has settled has failed, and what nobody has
/// seen comes as if it had never been delivered. In order, without a failure, it ends by [`Consumer::leave`], at the end of its
/// call's time, and with a gateway that stops.
#[derive(Debug)]
pub struct Consumer {
    calls: Arc<Calls>,
    caller: Caller,
    topic: TopicRef,
    name: TopicName,
    key: SubscriptionKey,
    inbox: Arc<Inbox>,
    stage: watch::Receiver<Shutdown>,
    /// It was told that the gateway stops.
    told: bool,
    leased: bool,
    /// What is left of the run in hand.
    run: DeliverRun,
    /// From where on nobody has seen any delivery.
    unseen: Arc<Unseen>,
    /// From when on its end is in order.
    over: Option<Instant>,
}

impl Calls {
    /// Joins a subscription, once it is kept that it exists.
    ///
    /// # Errors
    /// `INVALID` (the topic's name, a setting), `DENIED`, `TOPIC_NOT_FOUND`, `GROUP_CONFLICT`, `TOO_LARGE` (too many topics or groups),
    /// `STORE_FAILED`; `UNAVAILABLE`: the gateway stops.
    pub async fn consume(
        self: &Arc<Self>,
        caller: &Caller,
        topic: &str,
        request: ConsumerRequest,
    ) -> Result<Consumer, Refusal> {
        let named = request.group.clone();
        let group = named.as_ref().map_or("", |key| key.group.as_str());
        let call =
            Waiting::begin(&self.mesh, caller, Record { operation: "subscribe", topic, group, ..Record::default() });
        let joined = self.join(caller, topic, request).await;
        call.end(joined.as_ref().err().map(|refusal| refusal.kind));
        joined
    }

    pub(super) async fn join(
        self: &Arc<Self>,
        caller: &Caller,
        topic: &str,
        request: ConsumerRequest,
    ) -> Result<Consumer, Refusal> {
        let name = TopicName::parse(topic).map_err(|e| Refusal::new(ErrorKind::Invalid, e.to_string()))?;
        let topic = self.mesh.open_topic(caller, name.as_str(), Action::Subscribe)?;
        let inbox = Inbox::new(self.mesh.memory());
        let key = SubscriptionKey { session: self.mesh.new_session(), subscription: 1 };
        let group = request.group.clone();
        let asked = SubscribeRequest { credit: self.grant(request.credit), ..subscribe_request(request) };
        let (subscribed, ticket) = loop {
            let seen = self.mesh.fetches();
            match self.mesh.subscribe(caller, (topic, name.as_str()), key, asked.clone(), inbox.clone()) {
                Some(joined) => break joined?,
                None => waiting::fetched(&self.mesh, seen).await,
            }
        };
        let leased = !subscribed.ack_wait.is_zero();
        let unseen = Arc::new(Unseen::from(subscribed.next_delivery));
        if let Some(group) = group.filter(|_| leased) {
            let (name, unseen, answered) = (name.clone(), Arc::clone(&unseen), std::sync::Mutex::default());
            let seat = Seat { topic, name, group, key, unseen, answered };
            self.seats().insert(key.session, Arc::new(seat));
        }
        let (run, stage, told, over) = (DeliverRun::default(), self.stage.subscribe(), false, None);
        let (calls, caller) = (Arc::clone(self), caller.clone());
        let consumer = Consumer { calls, caller, topic, name, key, inbox, stage, told, leased, run, unseen, over };
        // From here on it leaves when this is dropped.
        waiting::kept(&self.mesh, ticket).await?;
        self.mesh.start(topic, key);
        Ok(consumer)
    }

    /// Credit within the bounds.
    pub(super) fn grant(&self, credit: Credit) -> Credit {
        let most = u32::try_from(options::PREFETCH_EVENTS.max).unwrap_or(u32::MAX);
        let bytes = credit.bytes.min(self.config.session_bytes).max(LEAST_BYTES);
        Credit { events: credit.events.min(most), bytes }
    }
}

fn subscribe_request(request: ConsumerRequest) -> SubscribeRequest {
    let (start, since) = match request.start {
        Start::Default => (None, None),
        Start::Earliest => (Some(1), None),
        Start::Latest => (Some(u64::MAX), None),
        Start::Position(position) => (Some(position), None),
        Start::Time(time) => (None, Some(time)),
    };
    let ConsumerRequest { group, settings, credit, .. } = request;
    SubscribeRequest { group, start, since, settings, credit, plain: true }
}

impl Consumer {
    /// Ends it in order: what it held comes again at once, without a failure.
    pub fn leave(mut self) {
        self.over = Some(Instant::now());
    }

    /// Its call has time until then, as the peer knows.
    pub fn ends_at(&mut self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        self.over = end.checked_sub((EARLY + left / 64).min(left / 2));
    }

    /// Whether its deliveries are to be settled: not those of unnamed broadcast subscriptions.
    #[must_use]
    pub const fn is_leased(&self) -> bool {
        self.leased
    }

    /// The next delivery; `None` when the gateway stops. What it holds may be settled as long as it is not dropped: called again, it
    /// gives `None` when the gateway closes.
    ///
    /// # Errors
    /// `TOPIC_NOT_FOUND`: the topic was deleted. `DENIED`: the caller may no longer subscribe.
    pub async fn next(&mut self) -> Result<Option<Delivered>, Refusal> {
        loop {
            if self.told {
                drop(self.stage.wait_for(|stage| *stage >= Shutdown::Closing).await);
                return Ok(None);
            }
            if self.leased && self.calls.mesh.is_stopping() {
                self.stop();
                return Ok(None);
            }
            if let Some(delivered) = self.pop() {
                return Ok(Some(delivered));
            }
            let (inbox, stage) = (&self.inbox, &mut self.stage);
            let found = tokio::select! {
                biased;
                found = poll_fn(|cx| inbox.poll(cx)) => found,
                () = async { drop(stage.wait_for(|stage| *stage >= Shutdown::Draining).await) } => {
                    self.stop();
                    return Ok(None);
                }
            };
            self.found(found)?;
        }
    }

    /// [`Consumer::next`] for who is told otherwise that the gateway stops: `None` comes when it closes.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn next_to_the_end(&mut self) -> Result<Option<Delivered>, Refusal> {
        let was_told = self.told;
        match self.next().await? {
            None if !was_told => self.next().await,
            found => Ok(found),
        }
    }

    /// [`Consumer::next`] for who has no word for a gateway that stops but its end: that comes at once where nothing is to be settled,
    /// and else when it closes.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn next_or_over(&mut self) -> Result<Option<Delivered>, Refusal> {
        if self.leased { self.next_to_the_end().await } else { self.next().await }
    }

    /// Whether it has said that the gateway stops.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.told
    }

    /// Nothing more is handed out: what nobody has seen is not waited for.
    fn stop(&mut self) {
        self.told = true;
        if self.leased {
            self.pause(self.next_number());
        }
    }

    /// The next delivery, if it is here already.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn ready(&mut self) -> Result<Option<Delivered>, Refusal> {
        loop {
            if self.leased && self.calls.mesh.is_stopping() {
                return Ok(None);
            }
            if let Some(delivered) = self.pop() {
                return Ok(Some(delivered));
            }
            match self.inbox.take() {
                Some(found) => self.found(found)?,
                None => return Ok(None),
            }
        }
    }

    fn found(&mut self, found: Found) -> Result<(), Refusal> {
        match found {
            Found::Run(run) if self.leased => self.run = run,
            Found::Run(run) => {
                // Nothing is to be settled: what is taken makes room for more.
                let numbers = run.first_delivery..run.first_delivery + u64::from(run.events.count());
                let asked = SettleRequest { numbers, how: SettleKind::Ack.into(), confirm: false };
                self.run = run;
                self.calls.mesh.settle(&self.caller, (self.topic, self.name.as_str()), self.key, asked)?;
            }
            Found::Room => self.calls.mesh.feed(self.topic, self.key),
            Found::Ended => {
                let text = format!("topic {} was deleted", self.name);
                return Err(Refusal::new(ErrorKind::TopicNotFound, text));
            }
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Delivered> {
        let run = &mut self.run;
        let event = run.events.pop_front()?;
        let number = run.first_delivery;
        if !self.unseen.hand_out(number + 1) {
            *run = DeliverRun::default();
            return None;
        }
        let lease = Lease { session: self.key.session, delivery: number };
        let delivered = Delivered {
            lease: self.leased.then(|| self.calls.seal.token(&self.caller, lease)),
            attempt: run.attempt,
            position: run.first_position,
            gap: std::mem::take(&mut run.gap),
            stored: UnixMillis(run.stored_unix_ms),
            expires: (run.expires_unix_ms != 0).then_some(UnixMillis(run.expires_unix_ms)),
            event,
        };
        run.first_delivery += 1;
        run.first_position += 1;
        Some(delivered)
    }

    /// Number of the next delivery.
    pub(super) fn next_number(&self) -> u64 {
        self.unseen.next()
    }

    pub(super) const fn session(&self) -> u64 {
        self.key.session
    }

    /// Deliveries that it holds unsettled, and their bytes.
    pub(super) fn holds(&self) -> (u32, u64) {
        self.calls.mesh.holds(self.topic, self.key)
    }

    /// Whether something that it may get is being read from the disk.
    pub(super) fn is_being_read(&self) -> bool {
        self.calls.mesh.is_being_read(self.topic, self.key)
    }

    /// Sets its credit anew.
    ///
    /// # Errors
    /// `DENIED`; `NOT_FOUND`: the topic was deleted.
    pub fn set_credit(&self, credit: Credit) -> Result<(), Refusal> {
        let credit = self.calls.grant(credit);
        self.calls.mesh.credit(&self.caller, (self.topic, self.name.as_str()), self.key, credit)
    }

    /// What sets its credit, and ends it, while somebody waits for its deliveries.
    #[must_use]
    pub fn handle(&self) -> ConsumerHandle {
        let (calls, caller, unseen) = (Arc::clone(&self.calls), self.caller.clone(), Arc::clone(&self.unseen));
        ConsumerHandle { calls, caller, topic: self.topic, name: self.name.clone(), key: self.key, unseen }
    }

    /// Takes its credit away; deliveries from `next` on come again as if they had never been made. Gives how many it still holds.
    pub(super) fn pause(&mut self, next: u64) -> u32 {
        let (held, _) = self.calls.mesh.pause(self.topic, self.key, next);
        self.run = DeliverRun::default();
        self.inbox.clear();
        self.unseen.go_back(next);
        held
    }

    /// Whether its subscription still stands: its topic was not deleted.
    pub(super) fn stands(&self) -> bool {
        self.calls.mesh.has_subscription(self.topic, self.key)
    }
}

/// Sets a consumer's credit, and ends it, from elsewhere.
#[derive(Debug)]
pub struct ConsumerHandle {
    calls: Arc<Calls>,
    caller: Caller,
    topic: TopicRef,
    name: TopicName,
    key: SubscriptionKey,
    unseen: Arc<Unseen>,
}

impl ConsumerHandle {
    /// As [`Consumer::leave`]: the consumer hands out nothing any more.
    pub fn leave(&self) {
        self.calls.stand_up(self.key.session);
        self.calls.mesh.leave_unseen(self.topic, self.key, self.unseen.stop(), Leaving::Clean);
    }

    /// As [`Consumer::set_credit`].
    ///
    /// # Errors
    /// `DENIED`; `NOT_FOUND`: the consumer was dropped, or its topic deleted.
    pub fn set_credit(&self, credit: Credit) -> Result<(), Refusal> {
        let credit = self.calls.grant(credit);
        self.calls.mesh.credit(&self.caller, (self.topic, self.name.as_str()), self.key, credit)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let in_order = self.calls.mesh.is_stopping() || self.over.is_some_and(|over| over <= Instant::now());
        let how = if in_order { Leaving::Clean } else { Leaving::Lost };
        self.calls.stand_up(self.key.session);
        self.calls.mesh.leave_unseen(self.topic, self.key, self.unseen.next(), how);
    }
}
