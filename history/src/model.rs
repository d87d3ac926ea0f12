//! What a history is made of: plain tables, each in the order in which it was seen.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

/// Of a topic, key, group or member.
pub type Name = Arc<str>;

/// Everything that was seen of one topic. Whoever has several writes a history for each.
///
/// All times are spans since the history began. What is about a program is when
/// the program saw or did it, never when the gateway did.
#[derive(Clone, Debug)]
pub struct History {
    /// Begins every sentence.
    pub topic: Name,
    /// How the topic's events are kept: what a death may take.
    pub level: Level,
    /// Every event that was handed to a client, once, however often it was published.
    pub published: Vec<Published>,
    /// The whole log, from its start to its head, as it was read at the end.
    pub log: Vec<Stored>,
    /// The groups of the topic.
    pub groups: Vec<Group>,
    /// What came to programs, in the order in which it came.
    pub deliveries: Vec<Delivery>,
    /// What programs settled.
    pub settles: Vec<Settle>,
    /// Dead letters, as they were read at the end.
    pub letters: Vec<DeadLetter>,
    /// Group and id of events that may have been given up and given back to the group:
    /// such a one begins again at attempt 1, behind every event of its key.
    pub given_back: Vec<(Name, u64)>,
    /// Ends of gateway processes.
    pub deaths: Vec<Death>,
    /// When members were killed or without their connection: what they held may come again.
    pub absences: Vec<Absence>,
    /// What is no broken promise.
    pub forgive: Forgive,
}

impl History {
    /// Nothing was seen yet of a `synced` topic, and nothing is forgiven.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.into(),
            level: Level::Synced,
            published: Vec::new(),
            log: Vec::new(),
            groups: Vec::new(),
            deliveries: Vec::new(),
            settles: Vec::new(),
            letters: Vec::new(),
            given_back: Vec::new(),
            deaths: Vec::new(),
            absences: Vec::new(),
            forgive: Forgive::default(),
        }
    }

    /// Whether what was kept by a time was kept for good: no later death takes it.
    #[must_use]
    pub fn is_for_good(&self, since: Duration) -> bool {
        !self.deaths.iter().any(|death| death.at >= since && !self.level.survives(death))
    }

    /// Whether positions may have gone to other events: the log at the end then says
    /// nothing of what stood where before.
    #[must_use]
    pub fn may_be_rewritten(&self) -> bool {
        !self.is_for_good(Duration::ZERO)
    }
}

/// How events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A death of the process takes them.
    Memory,
    /// A loss of power may take them.
    Written,
    /// Nothing takes them.
    Synced,
}

impl Level {
    const fn survives(self, death: &Death) -> bool {
        match self {
            Self::Memory => false,
            Self::Written => !death.power_lost,
            Self::Synced => true,
        }
    }
}

/// An event, as its publisher made it or as somebody got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A number that the test gave it, and can tell from what it got.
    pub id: u64,
    /// Its `partitionkey`.
    pub key: Option<Name>,
    /// Stands for its bytes.
    pub digest: u64,
}

impl Event {
    /// Takes the digest of the bytes. It finds what changed by mistake, and is the
    /// same only within one process.
    #[must_use]
    pub fn new(id: u64, key: Option<&str>, bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self { id, key: key.map(Name::from), digest: hasher.finish() }
    }
}

/// An event and what its publisher was told.
#[derive(Clone, Debug)]
pub struct Published {
    /// As it was made.
    pub event: Event,
    /// When it was first handed to a client.
    pub at: Duration,
    /// What came back.
    pub answer: Answer,
}

/// What a publisher was told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or nothing that says whether it is kept: it may be in the log.
    Open,
    /// It is kept, said at this time.
    Acknowledged(Duration),
    /// It is not kept and never will be, said at this time.
    Refused(Duration),
}

/// An event in the log.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place.
    pub position: u64,
    /// As it was read.
    pub event: Event,
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: Name,
    /// A lease lasts so long.
    pub ack_wait: Duration,
    /// After so many failures an event becomes a dead letter; `None` is never.
    pub max_failures: Option<u32>,
    /// It began at the log's start and was waited for: no event may be left open.
    pub finished: bool,
}

/// An event that came to a program.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it came.
    pub at: Duration,
    /// Which process of the gateway it came from; a later one has a higher number.
    pub life: u64,
    /// `None` is a subscription without a group.
    pub group: Option<Name>,
    /// The program.
    pub member: Name,
    /// Which subscription of the program. One that resumes is the same; one that
    /// begins anew is another, to which nothing came yet.
    pub subscription: u64,
    /// The event's place in the log.
    pub position: u64,
    /// As it was said with the event.
    pub attempt: u32,
    /// As it came.
    pub event: Event,
    /// The test knows why the event may have come again: nothing is made of when it did.
    pub excused: bool,
}

/// What a program said of a delivery.
#[derive(Clone, Debug)]
pub struct Settle {
    /// When it was given.
    pub at: Duration,
    /// The life of the delivery that it is about.
    pub life: u64,
    /// The group of the delivery.
    pub group: Name,
    /// The id of the event.
    pub event: u64,
    /// What was said.
    pub kind: SettleKind,
    /// When the gateway's word came that it stands.
    pub confirmed: Option<Duration>,
    /// The test knows why the gateway may not have had it, or not in time. Without
    /// effect once it is confirmed.
    pub excused: bool,
}

/// What can be said of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleKind {
    /// Done.
    Ack,
    /// Again.
    Nack,
    /// Never again: a dead letter.
    Reject,
}

/// An event that a group gave up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The group.
    pub group: Name,
    /// The event's place in the log.
    pub position: u64,
    /// As it was read.
    pub event: Event,
}

/// The end of a gateway process.
#[derive(Clone, Debug)]
pub struct Death {
    /// When, at the earliest.
    pub at: Duration,
    /// Which life ended.
    pub life: u64,
    /// The power went with it: what was not synced may be gone.
    pub power_lost: bool,
}

/// A member was gone for a moment or for ever.
#[derive(Clone, Debug)]
pub struct Absence {
    /// When.
    pub at: Duration,
    /// Who.
    pub member: Name,
}

/// What is no broken promise, because the promises have a grain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgive {
    /// A settle that nobody confirmed is forgotten if it was given so shortly before
    /// the death of the gateway that it was for.
    pub settle_before_death: Duration,
    /// So long may anything be on its way: a lease began so much before its delivery was seen.
    pub under_way: Duration,
}
