//! Retention: how far each topic's first readable position moves, by age and by bytes.
//!
//! It moves block by block where the index of a segment is in memory. Of a sealed segment it is
//! known what a topic has in it, so that all of it can go at once; to take a part the index is
//! read in the background, and only when it is worth it. Space is another matter: a segment is
//! given back when everything in it is gone (`retire`).

use std::collections::{BTreeMap, BTreeSet};

use meshwire_proto::UnixMillis;

use super::LogMachine;
use crate::store::log::fold::{Fold, GroupState, TopicState};
use crate::store::log::index::BlockEntry;
use crate::store::log::segment::Span;
use crate::store::{Append, GroupId, Needed, Position, StoreError, TopicId};

/// Most topics that are looked at in one tick: bounds the time that the lock is held.
const MOST_A_TICK: usize = 1000;

/// A topic whose events a group needs is looked at again so much later, or when somebody publishes.
const BLOCKED_MS: i64 = 5000;

/// How often it is looked for segments to give back though nothing has changed: the window of de-duplication goes on.
const RETIRE_MS: i64 = 10_000;

/// What is known of the events of a topic from its first readable position on.
#[derive(Debug, Default)]
struct Kept {
    live: u64,
    /// Over so many it is to be looked at; 0: not known yet, or no limit.
    most: u64,
    /// Bytes of the first segment that are gone.
    cut: u64,
    /// `live` and `cut` do not know yet what was gone of the first segment at the start.
    rough: bool,
    /// The first event was stored then, or later.
    oldest: UnixMillis,
    /// When it is to be looked at again.
    due: Option<UnixMillis>,
    /// Something had to go that a group needs.
    blocked: bool,
}

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Retention {
    topics: BTreeMap<TopicId, Kept>,
    due: BTreeSet<(UnixMillis, TopicId)>,
    /// To be looked at in the next tick.
    look: BTreeSet<TopicId>,
    /// Topics that wait for the index of a segment.
    wanted: BTreeMap<u64, BTreeSet<TopicId>>,
    groups: BTreeMap<TopicId, BTreeSet<GroupId>>,
    /// Where groups begin, or begin again, that the fold does not know yet.
    begins: BTreeMap<TopicId, Position>,
    /// A first position has moved, or a topic is gone: segments may be given back.
    moved: bool,
    /// Topics of dead letters whose first position has moved and that nobody was told of.
    letters: BTreeSet<TopicId>,
    /// Or time has passed.
    next_retire: UnixMillis,
    /// A first position has moved since the last checkpoint was made.
    unsaved: bool,
    /// While there is no space, a checkpoint is made for it then.
    next_save: UnixMillis,
}

/// What a change in the log is to retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A topic is new, or has other settings.
    Settings(TopicId),
    Gone(TopicId),
    Group(TopicId, GroupId),
    GroupGone(TopicId, GroupId),
    /// Events no longer wait for their time, perhaps.
    Delays,
}

/// What retention asks of a topic.
#[derive(Clone, Copy)]
struct RetainRules {
    keep_ms: i64,
    most: u64,
    /// Nothing at this position or behind it goes.
    hold: Position,
    /// Nothing behind it was shown yet.
    visible: Position,
    next: Position,
    wall: UnixMillis,
}

/// What is to happen with the first segment of a topic.
enum Step {
    /// All that is left of it goes.
    Whole(Position),
    /// What is before this position goes, stored when the first that stays was.
    Part(Position, UnixMillis),
    /// Only its index can say.
    Index,
}

impl RetainRules {
    fn is_past(&self, stored: UnixMillis) -> bool {
        stored.0.saturating_add(self.keep_ms) <= self.wall.0
    }

    /// As long as an index must be read for it, so much more may stay: a sixteenth.
    fn slack_ms(&self) -> i64 {
        (self.keep_ms / 16).clamp(1000, 3_600_000)
    }

    const fn slack(&self) -> u64 {
        if self.most / 16 > 256 << 10 { self.most / 16 } else { 256 << 10 }
    }
}

impl Retention {
    pub(super) fn new(fold: &Fold, spans: impl Iterator<Item = Span>) -> Self {
        let mut retention = Self { moved: true, ..Self::default() };
        // Events that wait for their time go when they are released: `Space::retire` sees to them.
        for span in spans.filter(|span| !span.topic.is_delayed()) {
            let Some(topic) = fold.topics.get(&span.topic) else {
                continue;
            };
            if span.next <= topic.first {
                continue;
            }
            let kept = retention.topics.entry(span.topic).or_default();
            kept.live += span.bytes;
            kept.rough |= span.first < topic.first;
        }
        retention.look.extend(retention.topics.keys());
        for (id, group) in &fold.groups {
            retention.groups.entry(group.topic).or_default().insert(*id);
        }
        retention
    }

    /// An append was taken.
    pub(super) fn add(&mut self, append: &Append) {
        if append.topic.is_delayed() {
            return;
        }
        let kept = self.topics.entry(append.topic).or_default();
        if kept.live == 0 {
            kept.oldest = append.stored;
            self.look.insert(append.topic);
        }
        kept.live += append.bytes.len() as u64;
        if kept.most > 0 && kept.live > kept.most {
            self.look.insert(append.topic);
        }
    }

    /// Groups of a topic begin there: the fold will know it with the next cut.
    pub(super) fn begins(&mut self, topic: TopicId, at: Position) {
        let lowest = self.begins.entry(topic).or_insert(at);
        *lowest = at.min(*lowest);
    }

    /// The fold has taken in what was pending.
    pub(super) fn cut(&mut self, changes: &[Change]) {
        self.begins.clear();
        for change in changes {
            match *change {
                Change::Settings(topic) => drop(self.look.insert(topic)),
                Change::Group(topic, group) => drop(self.groups.entry(topic).or_default().insert(group)),
                Change::GroupGone(topic, group) => {
                    self.groups.entry(topic).or_default().remove(&group);
                    self.look.insert(topic);
                }
                Change::Delays => self.moved = true,
                Change::Gone(topic) => {
                    if let Some(due) = self.topics.remove(&topic).and_then(|kept| kept.due) {
                        self.due.remove(&(due, topic));
                    }
                    self.look.remove(&topic);
                    self.groups.remove(&topic);
                    self.moved = true;
                }
            }
        }
    }

    pub(super) fn live(&self, topic: TopicId) -> u64 {
        self.topics.get(&topic).map_or(0, |kept| kept.live)
    }

    /// Whether segments may be given back since the last time.
    pub(super) fn take_moved(&mut self, wall: UnixMillis) -> bool {
        let later = wall >= self.next_retire;
        if later {
            self.next_retire = UnixMillis(wall.0.saturating_add(RETIRE_MS));
        }
        std::mem::take(&mut self.moved) || later
    }

    /// A first position that no checkpoint has.
    pub(super) const fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// A checkpoint is made: all first positions are in it.
    pub(super) const fn saved(&mut self) {
        self.unsaved = false;
    }

    /// A segment is full: everything in it may be gone already.
    pub(super) const fn sealed(&mut self) {
        self.moved = true;
    }

    fn set_due(&mut self, topic: TopicId, due: Option<UnixMillis>) {
        let Some(kept) = self.topics.get_mut(&topic) else {
            return;
        };
        let before = std::mem::replace(&mut kept.due, due);
        before.map(|before| self.due.remove(&(before, topic)));
        self.due.extend(due.map(|due| (due, topic)));
    }

    /// The next segment whose index is wanted.
    pub(super) fn wants_index(&self) -> Option<u64> {
        self.wanted.first_key_value().map(|(segment, _)| *segment)
    }

    pub(super) fn take_wanted(&mut self, segment: u64) -> BTreeSet<TopicId> {
        self.wanted.remove(&segment).unwrap_or_default()
    }
}

impl LogMachine {
    /// Looks at the topics that are due.
    pub(super) fn retain(&mut self) {
        let wall = self.wall;
        let due = self.retention.due.iter().take_while(|(due, _)| *due <= wall).map(|(_, topic)| *topic);
        let look: Vec<_> = self.retention.look.iter().copied().chain(due).take(MOST_A_TICK).collect();
        for topic in look {
            self.trim(topic);
        }
    }

    /// Where a topic begins is in checkpoints only: what has gone since the last one goes before anybody reads. What
    /// needs an index is looked at with the first tick: whoever opens the log does not wait for it.
    pub(super) fn retained(mut self) -> Self {
        self.retain();
        let wanted = std::mem::take(&mut self.retention.wanted);
        self.retention.look.extend(wanted.into_values().flatten());
        self
    }

    /// First positions are in checkpoints only. As long as there is no space no segment is sealed, which else makes one.
    pub(super) fn save_firsts(&mut self) {
        if self.space.is_refused() && self.retention.unsaved && self.wall >= self.retention.next_save {
            self.retention.next_save = UnixMillis(self.wall.0.saturating_add(RETIRE_MS));
            self.jobs.want_checkpoint();
        }
    }

    /// The index that topics waited for is in memory, or the segment is gone.
    pub(super) fn retain_with_index(&mut self, segment: u64) {
        for topic in self.retention.take_wanted(segment) {
            self.trim(topic);
        }
    }

    /// The first position that a group of the topic has not settled, and whose it is.
    fn needed(&self, topic: TopicId) -> Needed<'_> {
        let groups = self.retention.groups.get(&topic).into_iter().flatten();
        // A broadcast group has no place of its own: its durable members have.
        let places = |group: &&GroupState| !group.settings.broadcast || group.name.member.is_some();
        let groups = groups.filter_map(|id| self.fold.groups.get(id)).filter(places);
        let floors = groups.map(|group| Needed {
            position: group.floor,
            group: Some(&group.name),
            owed: group.failures.get(&group.floor).is_some_and(|f| f.is_final(group.settings.max_failures)),
        });
        let begins = self.retention.begins.get(&topic);
        let begins = begins.map(|at| Needed { position: *at, group: None, owed: false });
        floors.chain(begins).min_by_key(|needed| needed.position).unwrap_or(Needed::NOTHING)
    }

    /// Whether a topic that blocks takes more.
    ///
    /// # Errors
    /// [`StoreError::Blocked`], naming the group.
    pub fn admit(&mut self, topic: TopicId) -> Result<(), StoreError> {
        let most = self.fold.topics.get(&topic).map_or(0, |t| t.limits.bytes);
        let kept = self.retention.topics.get(&topic);
        if kept.is_none_or(|kept| !kept.blocked && (most == 0 || kept.live <= most)) {
            return Ok(());
        }
        self.trim(topic);
        if self.retention.topics.get(&topic).is_none_or(|kept| !kept.blocked) {
            return Ok(());
        }
        Err(StoreError::blocked(self.needed(topic)))
    }

    /// Moves the first position of a topic as far as its retention says.
    fn trim(&mut self, topic: TopicId) {
        self.retention.look.remove(&topic);
        let Some(state) = self.fold.topics.get(&topic) else {
            return;
        };
        let asked = self.asked(topic, state);
        let (mut first, before) = (state.first, state.first);
        let Some(mut kept) = self.retention.topics.remove(&topic) else {
            return;
        };
        (kept.blocked, kept.most) = (false, state.limits.bytes);
        let mut front_known = true;
        while let Some(segment) = self.places.front(topic) {
            match self.step(topic, segment, (&mut kept, first), asked) {
                Step::Whole(next) => {
                    first = first.max(next);
                    self.places.pop_front(topic);
                    kept.cut = 0;
                }
                Step::Part(next, oldest) => {
                    first = first.max(next);
                    kept.oldest = kept.oldest.max(oldest);
                    break;
                }
                Step::Index => {
                    front_known = false;
                    break;
                }
            }
        }
        // What is too much may not even be written.
        kept.blocked |= kept.live > asked.most && first >= asked.hold;
        let due = self.next_due(topic, &kept, asked, front_known);
        self.retention.topics.insert(topic, kept);
        self.retention.set_due(topic, due);
        if first > before {
            self.fold.retain_from(topic, first);
            self.retention.moved = true;
            if topic.is_dead_letters() {
                self.retention.letters.insert(topic);
            }
            self.retention.unsaved = true;
        }
    }

    /// Topics of dead letters whose first position has moved since the last call, with it.
    pub fn poll_moved(&mut self) -> Vec<(TopicId, Position)> {
        let moved = std::mem::take(&mut self.retention.letters);
        moved.into_iter().map(|topic| (topic, self.first(topic))).collect()
    }

    fn asked(&self, topic: TopicId, state: &TopicState) -> RetainRules {
        let blocks = state.limits.block;
        #[cfg(feature = "testing")]
        let blocks = blocks && !crate::store::log::planted::is(crate::store::log::planted::Defect::HoldIgnored);
        RetainRules {
            keep_ms: i64::try_from(state.retention_ms).unwrap_or(i64::MAX),
            most: if state.limits.bytes == 0 { u64::MAX } else { state.limits.bytes },
            hold: if blocks { self.needed(topic).position } else { Position::MAX },
            visible: self.places.visible(topic),
            next: state.next,
            wall: self.wall,
        }
    }

    /// When a topic is to be looked at again though nothing is published. Wants the index that is missing, if it is worth it.
    fn next_due(&mut self, topic: TopicId, kept: &Kept, asked: RetainRules, front_known: bool) -> Option<UnixMillis> {
        if kept.blocked {
            return Some(UnixMillis(asked.wall.0.saturating_add(BLOCKED_MS)));
        }
        if kept.live == 0 {
            return None;
        }
        let mut due = kept.oldest.0.saturating_add(asked.keep_ms);
        if !front_known {
            due = due.saturating_add(asked.slack_ms());
            let much = asked.most.saturating_add(asked.slack());
            if (kept.rough || kept.live > much || due <= asked.wall.0)
                && let Some(segment) = self.places.front(topic)
            {
                self.retention.wanted.entry(segment).or_default().insert(topic);
                return None;
            }
        }
        Some(UnixMillis(due))
    }

    fn step(&self, topic: TopicId, segment: u64, (kept, first): (&mut Kept, Position), asked: RetainRules) -> Step {
        if let Some(index) = self.index_of(segment) {
            let sealed = self.space.sealed.contains_key(&segment);
            return take_blocks(index.blocks(topic), sealed, (kept, first), asked);
        }
        let Some(span) = self.space.sealed.get(&segment).and_then(|s| s.span(topic)) else {
            // It has nothing of it any more.
            return Step::Whole(first);
        };
        let left = span.bytes.saturating_sub(kept.cut);
        let must = asked.is_past(span.stored) || kept.live.saturating_sub(left) >= asked.most;
        if must && span.next <= asked.hold && span.next <= asked.visible {
            kept.live = kept.live.saturating_sub(left);
            kept.rough = false;
            kept.oldest = kept.oldest.max(span.stored);
            return Step::Whole(span.next);
        }
        if must && first.max(span.first) >= asked.hold {
            kept.blocked = true;
            return Step::Part(first, kept.oldest);
        }
        Step::Index
    }
}

/// Goes through the blocks of a segment that a topic has left in it.
fn take_blocks(blocks: &[BlockEntry], sealed: bool, (kept, first): (&mut Kept, Position), asked: RetainRules) -> Step {
    let gone = blocks.partition_point(|b| b.next() <= first);
    if std::mem::take(&mut kept.rough) {
        kept.cut = blocks.iter().take(gone).map(|b| u64::from(b.len)).sum();
        kept.live = kept.live.saturating_sub(kept.cut);
    }
    let mut next = first;
    for block in blocks.iter().skip(gone) {
        let too_much = kept.live > asked.most && block.next() < asked.next;
        let must = too_much || asked.is_past(block.stored);
        if must && block.next() > asked.hold {
            kept.blocked = true;
            return Step::Part(next, block.stored);
        }
        if !must || block.next() > asked.visible {
            return Step::Part(next, block.stored);
        }
        next = block.next();
        kept.live = kept.live.saturating_sub(u64::from(block.len));
        kept.cut += u64::from(block.len);
    }
    if sealed { Step::Whole(next) } else { Step::Part(next, blocks.last().map_or(kept.oldest, |b| b.stored)) }
}
