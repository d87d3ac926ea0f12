//! Where events are kept: the trait every store implements, and its words.
//!
//! A store takes batches of operations in order, says by a rising
//! [`Watermark`] how far they are kept, and gives blocks back for reading. It
//! never waits in a call: what takes time is answered through [`Completions`].
//! A store knows nothing above it.

use std::fmt;

use bytes::Bytes;
use meshwire_proto::{GroupKey, TopicName, UnixMillis};

mod block;
mod claim;
mod error;
mod ids;
pub mod log;
pub mod memory;
mod outcome;
mod settings;
mod syncs;
mod times;

pub use block::{Block, Entry, Index, key_hash};
pub use claim::Claim;
pub use error::StoreError;
pub use ids::{GroupId, TopicId};
pub use outcome::{Change, Failure, Grave, Outcome};
pub use settings::{Difference, GroupSettings};
pub use syncs::SyncTimes;
pub use times::{Delay, DelayChange, Expiries, Times};

/// How much of a topic is kept, beside for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of its events; over it the oldest go. 0: no limit.
    pub bytes: u64,
    /// What a group still needs does not go: publishers are refused instead.
    pub block: bool,
}

/// Bytes of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicBytes {
    /// Of events that can be read, and that will be once they are kept.
    pub live: u64,
    /// Of all its events that are where they were stored, those that retention took too: their space comes back when
    /// nothing around them is needed.
    pub physical: u64,
}

/// Place of an event in its topic: from 1, without gaps, never reused.
pub type Position = u64;

/// The first position that a topic must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed<'a> {
    /// Where it is.
    pub position: Position,
    /// The group or durable member that has not settled it.
    pub group: Option<&'a GroupKey>,
    /// It was given up there, and its dead letter is not there yet.
    pub owed: bool,
}

impl Needed<'_> {
    /// Nothing must be kept.
    pub const NOTHING: Self = Self { position: Position::MAX, group: None, owed: false };
}

/// In settlements of a group a position with this bit is that of a dead letter, given
/// back to the group: its place among the dead letters of the topic.
pub const DEAD: Position = 1 << 63;

/// What an acknowledgement of a topic says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Gone on restart.
    Memory,
    /// In the kernel: survives the process.
    Written,
    /// On disk: survives power loss.
    Synced,
}

/// As it is written by who creates a topic.
impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Synced => "synced",
        })
    }
}

/// What a producer's sequence says of the events of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerMark {
    /// Which producer.
    pub producer: [u8; 16],
    /// Its epoch.
    pub epoch: u32,
    /// Sequence of the first event; the others follow it.
    pub first_sequence: u64,
    /// Nothing up to this sequence is ever replayed.
    pub answered_through: u64,
}

/// Most producers that are known; over it an eighth goes, the longest idle first:
/// looking for one at a time would be quadratic.
pub const MAX_PRODUCERS: usize = 100_000;

/// A producer that stored nothing for so long is forgotten, in milliseconds of
/// stored time. Engine and log go by the same rule, so that a restart changes nothing.
pub const PRODUCER_IDLE_MS: i64 = 24 * 3600 * 1000;

/// How often, in stored time, the idle ones are looked for. A guess.
pub const PRODUCER_SWEEP_MS: i64 = 60_000;

/// Events to append, in position order.
#[derive(Clone, Debug)]
pub struct Append {
    /// Which topic.
    pub topic: TopicId,
    /// Position of the first; follows the topic's last one.
    pub first: Position,
    /// When they came.
    pub stored: UnixMillis,
    /// The framed events.
    pub bytes: Bytes,
    /// One entry an event.
    pub index: Vec<Entry>,
    /// By whom, for our own clients.
    pub producer: Option<ProducerMark>,
}

/// One operation. A batch of them is kept whole or not at all.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new topic, or another retention of one.
    Topic {
        /// Its id.
        topic: TopicId,
        /// Its name.
        name: TopicName,
        /// Its level.
        durability: Durability,
        /// How long its events stay at least readable, in milliseconds.
        retention_ms: u64,
    },
    /// A new group or durable member, or other settings of one.
    Group {
        /// Its topic.
        topic: TopicId,
        /// Its id.
        group: GroupId,
        /// Its name, unique in the topic; of a durable member with the group's, whose settings it has.
        name: GroupKey,
        /// First position it gets.
        start: Position,
        /// How it delivers.
        settings: GroupSettings,
    },
    /// New events.
    Append(Append),
    /// Settlements of one group.
    Settle {
        /// The group's topic.
        topic: TopicId,
        /// The group.
        group: GroupId,
        /// `(first position, count, outcome)`.
        ranges: Vec<(Position, u32, Outcome)>,
    },
    /// Why events were given up whose dead letters have to wait, behind the failures themselves. A store that is full may
    /// leave them out.
    Reasons {
        /// The group's topic.
        topic: TopicId,
        /// The group.
        group: GroupId,
        /// What its consumers said last of each position.
        reasons: Vec<(Position, String)>,
    },
    /// A group that is no more.
    GroupGone {
        /// Its topic.
        topic: TopicId,
        /// Which.
        group: GroupId,
    },
    /// A group goes on elsewhere, with nothing settled from there on.
    Seek {
        /// Its topic.
        topic: TopicId,
        /// Which.
        group: GroupId,
        /// Where.
        to: Position,
    },
    /// How much of a topic is kept.
    Limits {
        /// Which.
        topic: TopicId,
        /// How much.
        limits: Limits,
    },
    /// A topic that is no more, with its events and groups. Its dead letters are another one.
    TopicGone {
        /// Which.
        topic: TopicId,
    },
    /// What has become of dead letters.
    Graves {
        /// The topic of dead letters.
        topic: TopicId,
        /// In order.
        changes: Vec<(Position, Change)>,
    },
    /// When events are delivered, or until when.
    Times(Times),
}

impl Op {
    /// The topic it is about.
    #[must_use]
    pub const fn topic(&self) -> TopicId {
        match self {
            Self::Topic { topic, .. }
            | Self::TopicGone { topic }
            | Self::Limits { topic, .. }
            | Self::Group { topic, .. }
            | Self::Settle { topic, .. }
            | Self::Reasons { topic, .. }
            | Self::GroupGone { topic, .. }
            | Self::Seek { topic, .. }
            | Self::Graves { topic, .. } => *topic,
            Self::Append(append) => append.topic,
            Self::Times(times) => times.topic(),
        }
    }

    /// Memory of the events in it, about.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        match self {
            Self::Append(append) => (append.bytes.len() + append.index.len() * size_of::<Entry>() + 128) as u64,
            _ => 0,
        }
    }
}

/// What settlements are to be committed.
#[derive(Clone, Copy, Debug)]
pub struct Settlements {
    /// What these take.
    pub bytes: u64,
    /// What all that wait take.
    pub waiting: u64,
}

/// How far a store has kept what it took. Both numbers only rise, and a failure is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Batches up to this number survive the process.
    pub written: u64,
    /// Batches up to this number survive power loss.
    pub synced: u64,
    /// Nothing beyond these numbers will be kept any more.
    pub failed: bool,
    /// Nothing beyond these numbers will be kept until there is space on the disk.
    pub stuck: bool,
}

/// When a batch counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Number of the batch.
    pub batch: u64,
    /// The level it must reach.
    pub level: Durability,
}

impl Ticket {
    /// Kept from the start.
    pub const KEPT: Self = Self { batch: 0, level: Durability::Memory };

    /// The ticket that is kept last.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self { batch: self.batch.max(other.batch), level: self.level.max(other.level) }
    }
}

impl Watermark {
    /// Whether a ticket's batch has reached its level.
    #[must_use]
    pub const fn covers(&self, ticket: Ticket) -> bool {
        match ticket.level {
            Durability::Memory => true,
            Durability::Written => ticket.batch <= self.written,
            Durability::Synced => ticket.batch <= self.synced,
        }
    }
}

/// What a store can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The strongest level.
    pub durability: Durability,
    /// All operations of a batch are kept or none.
    pub atomic_commit: bool,
    /// The store has groups of its own.
    pub native_groups: bool,
}

/// Answer to a read.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A block that holds the position.
    Ready(Block),
    /// Being fetched, with what follows it below this position; [`Completions::fetched`] brings it.
    Pending(Position),
    /// Nothing is kept there yet.
    Ahead,
    /// Retention took it; the first readable position is named.
    Gone(Position),
}

/// Where a topic is read from, when it is read from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The first event stored at that time or later.
    At(Position),
    /// Every event was stored before.
    Behind,
    /// Being looked up; [`Completions::looked_up`] tells when to ask again.
    Pending,
}

/// Where a store reports what took time. Called from the store's own threads,
/// never from inside a call to the store.
pub trait Completions: Send + Sync {
    /// The watermark rose (or failed). `heads`: topics whose events up to
    /// before that position may now be shown to consumers.
    fn kept(&self, watermark: Watermark, heads: &[(TopicId, Position)]);

    /// A read that was pending has ended: with all blocks that it brought, in rising order and one of them with the
    /// position, or with the damage in its place, which reads of it then pass over. Whoever waits for any position of
    /// these blocks is told by it. A store that only fails to read tries again by itself, and the read stays pending.
    fn fetched(&self, topic: TopicId, from: Position, result: Result<Vec<Block>, StoreError>);

    /// A place that was [`Since::Pending`] is known.
    fn looked_up(&self) {}

    /// Retention has moved the first position of these topics of dead letters: what is below is gone.
    fn moved(&self, _: &[(TopicId, Position)]) {}
}

/// Keeps events.
pub trait Store: Send + Sync + 'static {
    /// What this store promises.
    fn capability(&self) -> Capability;

    /// How long its syncs took; `None` of a store that has none.
    fn sync_times(&self) -> Option<SyncTimes> {
        None
    }

    /// Claims room for `bytes` more: as long as the claim is held, a commit of at most so many bytes finds its space,
    /// whoever else commits or claims meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Full`] naming what holds the space, [`StoreError::Busy`] while
    /// room is being made, or [`StoreError::Failed`].
    fn reserve(&self, bytes: u64) -> Result<Claim<'_>, StoreError>;

    /// The same of what no publisher waits for, such as events whose time has come: it is not counted among the publishes that a
    /// store says it refused.
    ///
    /// # Errors
    /// As [`Store::reserve`].
    fn reserve_quietly(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        self.reserve(bytes)
    }

    /// The same for dead letters, which find room for a while where events find none: what consumers give up is to be
    /// kept, so that it can go. A store without such a reserve has none.
    ///
    /// # Errors
    /// As [`Store::reserve`].
    fn reserve_letter(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        self.reserve(bytes)
    }

    /// Promises room for settlements; `None`: there is none. A store leaves some to what gives space back: settlements
    /// wait in their engine rather than in its way.
    fn reserve_settlements(&self, settlements: Settlements) -> Option<Claim<'_>> {
        let _ = settlements;
        Some(Claim::unbounded())
    }

    /// Takes a batch, whole, in the order of the calls, without waiting. The
    /// number says when it is kept.
    fn commit(&self, ops: Vec<Op>) -> u64;

    /// A block that holds `from`. Never waits.
    fn read(&self, topic: TopicId, from: Position) -> Lookup;

    /// The first position that retention has not taken.
    fn first(&self, topic: TopicId) -> Position;

    /// The first event that was stored at a time or later, of all that was taken. Never waits.
    fn since(&self, topic: TopicId, at: UnixMillis) -> Since;

    /// Bytes of a topic.
    fn topic_bytes(&self, topic: TopicId) -> TopicBytes;

    /// Whether a topic that blocks ([`Limits::block`]) takes more events: not while one at `needed()` or behind it, which
    /// its groups have not settled, would have to go. Asked with the shard locked, before a commit. `needed` looks at all
    /// groups of the topic: it is called only if something would have to go.
    ///
    /// # Errors
    /// [`StoreError::Blocked`].
    fn admit<'a>(&self, topic: TopicId, needed: &dyn Fn() -> Needed<'a>, now: UnixMillis) -> Result<(), StoreError>;

    /// Takes what is past its retention, in a store that has no time of its own. Gives what another one reports as
    /// [`Completions::moved`].
    fn expire(&self, _: UnixMillis) -> Vec<(TopicId, Position)> {
        Vec::new()
    }

    /// When [`Store::expire`] has something to do.
    fn next_expiry(&self) -> Option<UnixMillis> {
        None
    }

    /// Ends: what was taken is kept, then files are closed. Waits. Nobody reads any more: a read that is pending stays so.
    fn close(&self);
}
