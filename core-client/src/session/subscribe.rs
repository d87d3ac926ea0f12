//! Subscriptions of one session, by the numbers that both ends use.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use meshwire_proto::frame::DeliverRun;
use meshwire_proto::wire::{admin, session as wire};
use meshwire_proto::{GroupName, MemberName, TopicName, UnixMillis};
use prost::Message as _;

use super::Position;

/// Of a topic's first event; as a start it is the oldest that is kept.
const FIRST_POSITION: u64 = 1;

/// Names a subscription to this session's owner; survives reconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u32);

/// Where a new group, a new durable member of a broadcast group, or an unnamed subscription
/// begins. An existing one goes on where it was, whatever is said here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest event that is kept. Default of a named group, and of a durable member.
    Earliest,
    /// Behind the newest event. Default without a group, and of a broadcast member without a name.
    Latest,
    /// At the first event stored at this time or later (the time at which the gateway stored it, not the event's
    /// `time`). Before all events it is the oldest that is kept, behind all of them the next that comes.
    Time(UnixMillis),
    /// At this position.
    Position(Position),
}

impl From<Position> for Start {
    fn from(position: Position) -> Self {
        Self::Position(position)
    }
}

impl Start {
    /// Position and time as the administration has them: 0 is none.
    pub(crate) const fn to_wire(self) -> (u64, i64) {
        match self {
            Self::Earliest => (0, 0),
            Self::Latest => (u64::MAX, 0),
            Self::Time(time) => (0, time.0),
            Self::Position(position) => (position.number(), 0),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(time) => write!(f, "at {time}"),
            Self::Position(position) => write!(f, "position {position}"),
        }
    }
}

/// What to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeSpec {
    /// Which topic.
    pub topic: TopicName,
    /// Members of a group share its events; `None` sees all events by itself.
    pub group: Option<GroupName>,
    /// A durable member of a broadcast group.
    pub member: Option<MemberName>,
    /// `None`: the default, see [`Start`].
    pub start: Option<Start>,
    /// What the group is to be like; what is absent is as the group has it.
    pub settings: admin::GroupSettings,
    /// Most unsettled events.
    pub max_events: u32,
    /// Most unsettled bytes; one event may pass over it.
    pub max_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be asked for once the session is up.
    New,
    /// Asked for, not answered.
    Asked,
    Active,
    /// It stands in a topic that was made anew, behind its first events: told to end, to be asked for again.
    Anew,
    /// Told to end, not answered.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) spec: SubscribeSpec,
    pub(super) phase: Phase,
    pub(super) wire: u32,
    /// Counts the sessions this subscription lived in.
    pub(super) generation: u32,
    pub(super) next_delivery: u64,
    /// Position behind the last one delivered, or where it began; 0 before that is known.
    next_position: u64,
    /// The topic that this position is of; empty before that is known, or told.
    topic: Bytes,
    /// It asks for its group as it is.
    as_it_is: bool,
    /// What was said last of whether deliveries are sent.
    flowing: Option<bool>,
}

/// Invariant: `by_wire` holds every subscription that the gateway may know of.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<SubscriptionId, Subscription>,
    by_wire: BTreeMap<u32, SubscriptionId>,
    last_id: u32,
    last_wire: u32,
}

/// A subscription whose session is gone.
pub(super) struct LostLeases {
    pub(super) subscription: SubscriptionId,
    /// Its number in that session.
    pub(super) wire: u32,
    /// The new generation.
    pub(super) generation: u32,
    /// Whether what it held comes again.
    pub(super) again: bool,
}

impl SubscribeSpec {
    fn is_broadcast(&self) -> bool {
        self.group.is_none() || self.settings.mode() == admin::GroupMode::Broadcast
    }

    /// Whether the gateway keeps its place: unsettled events come again.
    pub(super) fn has_place(&self) -> bool {
        self.group.is_some() && (self.member.is_some() || !self.is_broadcast())
    }
}

impl Subscription {
    fn start(&self) -> Start {
        let placed = self.spec.has_place();
        let start = self.spec.start.unwrap_or(if placed { Start::Earliest } else { Start::Latest });
        // Deliveries came in order from where it began: it goes on behind them, also one that began behind the newest event.
        if !placed && self.next_position > 0 {
            Start::Position(Position::from_number(self.next_position))
        } else {
            start
        }
    }

    fn settings(&self) -> admin::GroupSettings {
        let mode = self.spec.settings.mode;
        if self.as_it_is {
            admin::GroupSettings { mode, ..admin::GroupSettings::default() }
        } else {
            self.spec.settings
        }
    }

    fn frame(&self) -> wire::Subscribe {
        let at = match self.start() {
            Start::Earliest => wire::start::At::Earliest(true),
            Start::Latest => wire::start::At::Latest(true),
            Start::Time(time) => wire::start::At::TimeUnixMs(time.0),
            Start::Position(position) => wire::start::At::Position(position.number()),
        };
        let name = |name: Option<String>| name.unwrap_or_default();
        let mode = if self.spec.is_broadcast() { wire::GroupMode::Broadcast } else { wire::GroupMode::Cluster };
        wire::Subscribe {
            subscription: self.wire,
            topic: self.spec.topic.to_string(),
            group: name(self.spec.group.as_ref().map(ToString::to_string)),
            member: name(self.spec.member.as_ref().map(ToString::to_string)),
            mode: mode.into(),
            start: Some(wire::Start { at: Some(at) }),
            settings: self.settings().encode_to_vec().into(),
            max_events: self.spec.max_events,
            max_bytes: self.spec.max_bytes,
            ..wire::Subscribe::default()
        }
    }
}

impl Subscriptions {
    pub(super) fn add(&mut self, spec: SubscribeSpec) -> SubscriptionId {
        self.last_id += 1;
        let id = SubscriptionId(self.last_id);
        let (phase, topic) = (Phase::New, Bytes::new());
        let new = Subscription {
            spec,
            phase,
            wire: 0,
            generation: 0,
            next_delivery: 0,
            next_position: 0,
            topic,
            as_it_is: false,
            flowing: None,
        };
        self.all.insert(id, new);
        id
    }

    pub(super) fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.all.get(&id)
    }

    pub(super) fn by_wire(&mut self, wire: u32) -> Option<(SubscriptionId, &mut Subscription)> {
        let id = *self.by_wire.get(&wire)?;
        Some((id, self.all.get_mut(&id)?))
    }

    pub(super) fn of_wire(&self, wire: u32) -> Option<&Subscription> {
        self.all.get(self.by_wire.get(&wire)?)
    }

    /// Whether this number was ever given to a subscription.
    pub(super) const fn was_used(&self, wire: u32) -> bool {
        wire > 0 && wire <= self.last_wire
    }

    /// A number that no subscription of this client ever had.
    pub(super) const fn next_wire(&mut self) -> u32 {
        self.last_wire += 1;
        self.last_wire
    }

    /// Gives a subscription a number of its own and the frame that asks for it.
    pub(super) fn ask(&mut self, id: SubscriptionId) -> Option<wire::Subscribe> {
        let subscription = self.all.get_mut(&id)?;
        self.last_wire += 1;
        subscription.wire = self.last_wire;
        subscription.phase = Phase::Asked;
        self.by_wire.insert(self.last_wire, id);
        Some(subscription.frame())
    }

    /// The one that was asked for by this number and is not answered.
    pub(super) fn asked(&self, wire: u32) -> Option<SubscriptionId> {
        let id = *self.by_wire.get(&wire)?;
        self.all.get(&id).filter(|s| s.phase == Phase::Asked).map(|_| id)
    }

    /// It is asked for again later, by another number.
    pub(super) fn not_yet(&mut self, wire: u32) {
        if let Some(subscription) = self.by_wire.remove(&wire).and_then(|id| self.all.get_mut(&id)) {
            subscription.phase = Phase::New;
        }
    }

    /// Whether it ran before, in a session that is gone.
    pub(super) fn has_run(&self, id: SubscriptionId) -> bool {
        self.all.get(&id).is_some_and(|s| s.generation > 0)
    }

    /// Its group has other settings than it named when it joined: somebody has changed them since. It asks for it as it is,
    /// and the frame to send is given; `None` if that would change nothing.
    pub(super) fn as_it_is(&mut self, id: SubscriptionId) -> Option<wire::Subscribe> {
        let subscription = self.all.get_mut(&id).filter(|s| s.generation > 0 && !s.as_it_is)?;
        let all = subscription.settings();
        subscription.as_it_is = true;
        if subscription.settings() == all {
            return None;
        }
        let wire = subscription.wire;
        self.not_yet(wire);
        self.ask(id)
    }

    /// One that began in a topic made anew has ended there; the frame that asks for it again.
    pub(super) fn anew(&mut self, wire: u32) -> Option<wire::Subscribe> {
        let id = *self.by_wire.get(&wire)?;
        self.all.get(&id).filter(|s| s.phase == Phase::Anew)?;
        self.by_wire.remove(&wire);
        self.ask(id)
    }

    /// Begins to end one; the frame to send if the gateway may know of it.
    pub(super) fn leave(&mut self, id: SubscriptionId) -> Option<wire::Unsubscribe> {
        let subscription = self.all.get_mut(&id)?;
        if subscription.phase == Phase::New {
            self.all.remove(&id);
            return None;
        }
        subscription.phase = Phase::Leaving;
        Some(wire::Unsubscribe { subscription: subscription.wire })
    }

    pub(super) fn remove(&mut self, wire: u32) -> Option<(SubscriptionId, Subscription)> {
        let id = self.by_wire.remove(&wire)?;
        Some((id, self.all.remove(&id)?))
    }

    pub(super) fn ids(&self) -> Vec<SubscriptionId> {
        self.all.keys().copied().collect()
    }

    /// The frame that says it, if the gateway knows of the subscription.
    pub(super) fn set_flowing(&mut self, id: SubscriptionId, flowing: bool) -> Option<wire::Credit> {
        let subscription = self.all.get_mut(&id).filter(|s| s.phase == Phase::Active)?;
        subscription.flowing = Some(flowing);
        subscription.credit()
    }

    /// Credit that may not have arrived.
    pub(super) fn credits(&self) -> Vec<wire::Credit> {
        self.active().filter_map(Subscription::credit).collect()
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Subscription> {
        self.all.values().filter(|s| s.phase == Phase::Active)
    }

    /// What a resumed session goes on with.
    pub(super) fn held(&self) -> Vec<wire::HeldSubscription> {
        let held = |s: &Subscription| wire::HeldSubscription { subscription: s.wire, next_delivery: s.next_delivery };
        self.all
            .values()
            .filter(|s| matches!(s.phase, Phase::Active | Phase::Leaving) && s.next_delivery > 0)
            .map(held)
            .collect()
    }

    /// The session goes on. Frames that end or ask for a subscription may have
    /// been lost, so they are sent again, the latter under new numbers.
    pub(super) fn resumed(&mut self) -> (Vec<wire::Unsubscribe>, Vec<wire::Subscribe>) {
        let (mut leave, mut ask) = (Vec::new(), Vec::new());
        for id in self.ids() {
            let Some(subscription) = self.all.get(&id) else {
                continue;
            };
            let (phase, wire) = (subscription.phase, subscription.wire);
            if matches!(phase, Phase::Asked | Phase::Anew | Phase::Leaving) {
                leave.push(wire::Unsubscribe { subscription: wire });
            }
            if matches!(phase, Phase::Asked | Phase::Anew) {
                self.by_wire.remove(&wire);
            }
            if matches!(phase, Phase::New | Phase::Asked | Phase::Anew) {
                ask.extend(self.ask(id));
            }
        }
        (leave, ask)
    }

    /// The session is gone: every subscription begins a new generation. Gives the
    /// frames to send and who lost leases, each with its number of that session.
    pub(super) fn lost(&mut self) -> (Vec<wire::Subscribe>, Vec<LostLeases>) {
        self.by_wire.clear();
        self.all.retain(|_, s| s.phase != Phase::Leaving);
        let (mut ask, mut reset) = (Vec::new(), Vec::new());
        for id in self.ids() {
            if let Some(s) = self.all.get_mut(&id).filter(|s| s.phase == Phase::Active) {
                s.generation += 1;
                s.next_delivery = 0;
                // It is asked for with all its credit.
                s.flowing = None;
                let (wire, generation, again) = (s.wire, s.generation, s.spec.has_place());
                reset.push(LostLeases { subscription: id, wire, generation, again });
            }
            ask.extend(self.ask(id));
        }
        (ask, reset)
    }
}

impl Subscription {
    /// What was said last of whether deliveries are sent, if anything was.
    fn credit(&self) -> Option<wire::Credit> {
        let (max_events, max_bytes) = if self.flowing? { (self.spec.max_events, self.spec.max_bytes) } else { (0, 0) };
        Some(wire::Credit { subscription: self.wire, max_events, max_bytes })
    }

    /// It stands, and begins there: what went before was of another session. `false`: it went on at a position of a
    /// topic that is gone. Every event of the one that was made anew is new to it, so it has to begin with the first.
    pub(super) fn began(&mut self, subscribed: &wire::Subscribed) -> bool {
        let told = !self.topic.is_empty() && !subscribed.topic_identity.is_empty();
        let other = told && self.topic != subscribed.topic_identity;
        #[cfg(feature = "testing")]
        let other = other && !super::defect::is_set(super::defect::Defect::TopicUnnoticed);
        self.topic = subscribed.topic_identity.clone();
        if other && !self.spec.has_place() && self.next_position > FIRST_POSITION {
            (self.phase, self.next_position) = (Phase::Anew, FIRST_POSITION);
            return false;
        }
        // A group that has to be made anew is what was asked for.
        (self.phase, self.as_it_is) = (Phase::Active, false);
        (self.next_delivery, self.next_position) = (subscribed.next_delivery, subscribed.next_position);
        true
    }

    /// Takes note of a run.
    ///
    /// # Errors
    /// The sentence about a gap or an overlap of delivery numbers.
    pub(super) fn delivered(&mut self, run: &DeliverRun) -> Result<(), String> {
        if run.events.is_empty() {
            return Err(format!("an empty delivery for subscription {}", run.subscription));
        }
        if run.first_delivery != self.next_delivery {
            let (wire, first, next) = (run.subscription, run.first_delivery, self.next_delivery);
            return Err(format!("delivery {first} of subscription {wire} where {next} was due"));
        }
        let count = u64::from(run.events.count());
        // Numbers come from the peer: they may be at their end.
        self.next_delivery = self.next_delivery.saturating_add(count);
        self.next_position = self.next_position.max(run.first_position.saturating_add(count));
        Ok(())
    }
}
