//! What was seen from outside: what clients published, were told, received and
//! settled; and what went wrong. Verdicts are passed on this alone.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use bytes::Bytes;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::admin::DeathReason;
use meshwire_proto::{EventLimits, EventView, Moment, Timing};

use crate::brief::Brief;
use crate::fleeting::Fleeting;
use crate::holding::Holding;
use crate::limits::Limited;
use crate::moved::Sought;
use crate::overtaken::Scarce;
use crate::requests::Question;
use crate::script::{FLEETING, HOLDING, MOVED, REMADE, TUNED};
use crate::stops::Stopping;
use crate::tuned::Tuned;

/// The topics of every simulation; [`Topic::ALL`] are those that are read at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// Synced.
    Orders,
    /// Written.
    Audit,
    /// Synced; its events expire, and it is not read at the end.
    Brief,
    /// Synced, with room for few events: retention overtakes its readers.
    Scarce,
    /// The same, and publishers wait for its groups.
    Tight,
    /// Synced; keys of its group wait for their dead letters.
    Held,
    /// Synced; it is deleted and made anew.
    Fleeting,
}

impl Topic {
    pub(crate) const ALL: [Self; 2] = [Self::Orders, Self::Audit];

    /// Those with room for few events.
    pub(crate) const SCARCE: [Self; 2] = [Self::Scarce, Self::Tight];

    /// Those that members of a group read; who has no group reads all that may be read without one.
    pub(crate) const fn of_group(group: Option<u8>) -> &'static [Self] {
        match group {
            Some(MOVED | REMADE | TUNED) => &Self::ALL,
            Some(HOLDING) => &[Self::Held],
            Some(FLEETING) => &[Self::Fleeting],
            None => &[Self::Orders, Self::Audit, Self::Scarce, Self::Tight, Self::Fleeting],
            // Nothing is read of events that expire but by the group that gives nothing up.
            Some(0) => &[Self::Orders, Self::Audit, Self::Scarce, Self::Tight, Self::Brief],
            _ => &[Self::Orders, Self::Audit, Self::Scarce, Self::Tight],
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Audit => "audit",
            Self::Brief => "brief",
            Self::Scarce => "scarce",
            Self::Tight => "tight",
            Self::Held => "held",
            Self::Fleeting => "fleeting",
        }
    }
}

/// One event and what its publisher knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) id: u32,
    pub(crate) topic: Topic,
    /// Which life of which client.
    pub(crate) publisher: (usize, u32),
    pub(crate) key: Option<u8>,
    pub(crate) bytes: Bytes,
    /// When it is to be delivered.
    pub(crate) timing: Timing,
    /// How long after it was first published that was, in milliseconds.
    pub(crate) delay_ms: i64,
    /// When it was first published.
    pub(crate) at: Moment,
    /// When it was answered as kept.
    pub(crate) acked: Option<Moment>,
    /// It was refused at least once, so that a later copy may have another place.
    pub(crate) refused: bool,
}

/// One event handed to a program.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) at: Moment,
    /// Which life of the gateway.
    pub(crate) life: u32,
    pub(crate) client: usize,
    /// Which life of the client, and which subscription and session in it.
    pub(crate) generation: (u32, u32),
    pub(crate) group: Option<u8>,
    pub(crate) topic: Topic,
    pub(crate) position: u64,
    pub(crate) id: u32,
    pub(crate) attempt: u32,
    pub(crate) bytes: Bytes,
}

/// A settle that was given to a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) at: Moment,
    /// How many were given before it, by anybody: what was given at one moment has an order too.
    pub(crate) nth: u64,
    pub(crate) client: usize,
    /// The session was logged in.
    pub(crate) connected: bool,
    /// When the delivery it is about had come, and as which attempt.
    pub(crate) delivered: Moment,
    pub(crate) attempt: u32,
    pub(crate) kind: SettleKind,
    /// When the gateway's word came that an ack stands.
    pub(crate) confirmed: Option<Moment>,
}

/// What happened to one event in one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) acks: Vec<Given>,
    /// Rejects among them.
    pub(crate) nacks: Vec<Given>,
}

impl Settled {
    /// Whether it was rejected at least once.
    pub(crate) fn is_rejected(&self) -> bool {
        self.nacks.iter().any(|n| n.kind == SettleKind::Reject)
    }
}

/// A dead letter as it was found at the end.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// Its place among the letters of its topic.
    pub(crate) number: u64,
    pub(crate) group: u8,
    pub(crate) topic: Topic,
    pub(crate) position: u64,
    pub(crate) reason: DeathReason,
    pub(crate) failures: u32,
    pub(crate) bytes: Bytes,
}

impl Letter {
    /// Of its event; 0 if there is none.
    pub(crate) fn id(&self) -> u32 {
        EventView::parse(&self.bytes, EventLimits::default()).map_or(0, |view| view.id().parse().unwrap_or(0))
    }
}

/// An end of a gateway process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disaster {
    /// kill -9.
    Kill,
    /// What was not synced may be gone.
    PowerLoss,
    /// A disk operation failed, and the gateway ended itself.
    DiskFailure,
    /// It was stopped, and nothing was in flight any more. No disaster.
    Stop,
}

/// When a gateway process ended, which it was, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) at: Moment,
    pub(crate) life: u32,
    pub(crate) how: Disaster,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) published: BTreeMap<u32, Published>,
    pub(crate) delivered: Vec<Delivered>,
    /// Durable members that there are.
    pub(crate) members: Vec<u8>,
    /// When the group was moved that is moved, and when that was made anew that is.
    pub(crate) sought: Vec<Sought>,
    /// Some programs never settle some of their events before it is calm; a gateway that stops waits in vain for them.
    pub(crate) forgetful: bool,
    /// When gateways were told to stop.
    pub(crate) stopping: Vec<Stopping>,
    /// When rates of the gateway were set.
    pub(crate) limited: Vec<Limited>,
    /// When events came to programs, of all topics, and receipts of such as are no duplicates.
    pub(crate) handed: Vec<Moment>,
    pub(crate) receipts: Vec<Moment>,
    /// When settings of a group were changed.
    pub(crate) tuned: Vec<Tuned>,
    /// The group of each client that is a member of one.
    pub(crate) consumers: BTreeMap<usize, u8>,
    pub(crate) settled: BTreeMap<(u8, u32), Settled>,
    /// How many settles were given.
    pub(crate) given: u64,
    pub(crate) disasters: Vec<Ended>,
    /// When a client was without its connection, killed or new, by client.
    pub(crate) breaks: BTreeMap<usize, Vec<Moment>>,
    /// Breaks that were not the end of the gateway: its member may be lost.
    pub(crate) lost: BTreeMap<usize, Vec<Moment>>,
    /// When a client's connection ended with a reason: a cut, silence, or the end of the gateway.
    pub(crate) cut_off: BTreeMap<usize, Vec<Moment>>,
    /// When a client ended subscriptions, or itself, on purpose.
    pub(crate) left: BTreeMap<usize, Vec<Moment>>,
    /// A disk operation was made to fail, or the disk had no space.
    pub(crate) disk_was_unwell: bool,
    /// From when to when the disk had no space.
    pub(crate) full: Vec<(Moment, Moment)>,
    /// When a gateway had no room for somebody, and the last event as of then.
    pub(crate) no_room: Vec<(Moment, u32)>,
    /// Why a gateway did not start, while the disk was not well.
    pub(crate) refused_starts: Vec<String>,
    /// When wires were held back.
    pub(crate) stalls: Vec<Moment>,
    /// When the gateway's wall clock was set, and by how many milliseconds.
    pub(crate) clock_set: Vec<(Moment, i64)>,
    /// Events that expire.
    pub(crate) brief: BTreeMap<u32, Brief>,
    /// Topics with room for few: the one that drops, and the one that blocks.
    pub(crate) scarce: Scarce,
    pub(crate) tight: Scarce,
    /// The topic whose dead letters are removed.
    pub(crate) holding: Holding,
    /// The topic that is deleted.
    pub(crate) fleeting: Fleeting,
    /// What a reader from the start got at the end: by topic, in order.
    pub(crate) log: BTreeMap<Topic, Vec<(u64, Bytes)>>,
    /// Dead letters at the end.
    pub(crate) letters: Vec<Letter>,
    /// What clients asked each other.
    pub(crate) questions: BTreeMap<u32, Question>,
    /// When the simulation was over.
    pub(crate) ended: Moment,
    /// Found while running.
    pub(crate) complaints: Vec<String>,
    pub(crate) totals: Totals,
}

/// Counts over one or many simulations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Totals {
    pub events: u64,
    pub kills: u64,
    pub power_losses: u64,
    pub disk_failures: u64,
    pub disk_full: u64,
    pub torn_writes: u64,
    pub cuts: u64,
    pub resumes: u64,
    pub replays: u64,
    pub redeliveries: u64,
    pub duplicates_refused: u64,
    pub leases_lost: u64,
    pub dead_letters: u64,
    pub redriven: u64,
    pub purged: u64,
    pub broadcast: u64,
    pub members_in_use: u64,
    pub requests: u64,
    pub answered: u64,
    pub delayed: u64,
    pub expiring: u64,
    pub expired: u64,
    pub clocks_set: u64,
    pub overtaken: u64,
    pub topic_full: u64,
    pub seeks: u64,
    pub topics_deleted: u64,
    pub groups_deleted: u64,
    pub groups_in_use: u64,
    pub tuned: u64,
    pub limited: u64,
    pub stops: u64,
    pub told: u64,
    pub conflicts: u64,
    pub boundaries: u64,
    pub leaves: u64,
    pub closes: u64,
}

impl Totals {
    /// `(name, count, must not be zero over many seeds)`.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 37] {
        [
            ("events", self.events),
            ("kills", self.kills),
            ("power losses", self.power_losses),
            ("disk failures", self.disk_failures),
            ("disk full", self.disk_full),
            ("torn writes", self.torn_writes),
            ("cut connections", self.cuts),
            ("resumes", self.resumes),
            ("replays", self.replays),
            ("redeliveries", self.redeliveries),
            ("duplicates refused", self.duplicates_refused),
            ("leases lost", self.leases_lost),
            ("dead letters", self.dead_letters),
            ("redriven", self.redriven),
            ("dead letters removed", self.purged),
            ("deliveries to durable members", self.broadcast),
            ("durable members in use", self.members_in_use),
            ("requests", self.requests),
            ("requests answered", self.answered),
            ("delayed", self.delayed),
            ("expiring", self.expiring),
            ("expired", self.expired),
            ("clocks set", self.clocks_set),
            ("overtaken by retention", self.overtaken),
            ("publishes refused by full topics", self.topic_full),
            ("groups moved", self.seeks),
            ("topics deleted", self.topics_deleted),
            ("groups deleted", self.groups_deleted),
            ("groups in use", self.groups_in_use),
            ("settings changed", self.tuned),
            ("rates set", self.limited),
            ("gateways stopped", self.stops),
            ("clients told of it", self.told),
            ("subscriptions with other settings", self.conflicts),
            ("nacks that said what they took back", self.boundaries),
            ("members that left", self.leaves),
            ("programs that ended", self.closes),
        ]
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.disk_failures += other.disk_failures;
        self.disk_full += other.disk_full;
        self.torn_writes += other.torn_writes;
        self.cuts += other.cuts;
        self.resumes += other.resumes;
        self.replays += other.replays;
        self.redeliveries += other.redeliveries;
        self.duplicates_refused += other.duplicates_refused;
        self.leases_lost += other.leases_lost;
        self.dead_letters += other.dead_letters;
        self.redriven += other.redriven;
        self.purged += other.purged;
        self.broadcast += other.broadcast;
        self.members_in_use += other.members_in_use;
        self.requests += other.requests;
        self.answered += other.answered;
        self.delayed += other.delayed;
        self.expiring += other.expiring;
        self.expired += other.expired;
        self.clocks_set += other.clocks_set;
        self.overtaken += other.overtaken;
        self.topic_full += other.topic_full;
        self.seeks += other.seeks;
        self.topics_deleted += other.topics_deleted;
        self.groups_deleted += other.groups_deleted;
        self.groups_in_use += other.groups_in_use;
        self.tuned += other.tuned;
        self.limited += other.limited;
        self.stops += other.stops;
        self.told += other.told;
        self.conflicts += other.conflicts;
        self.boundaries += other.boundaries;
        self.leaves += other.leaves;
        self.closes += other.closes;
    }
}
