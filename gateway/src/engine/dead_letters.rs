//! Dead letters: kept for the topic, listed and removed there, given back to the
//! group that gave them up.

use std::collections::{BTreeMap, BTreeSet};

use meshwire_proto::{GroupKey, TopicName, UnixMillis};

use super::group::{Dying, key_of, letter};
use super::readers::Reader;
use super::topic::Topic;
use super::{Engine, Now, TopicSettings};
use crate::store::{Append, Block, Change, Durability, Entry, Grave, GroupId, Limits, Op, Position, TopicId};

/// Places of dead letters, in rising order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LettersPage {
    /// With whether each was given back.
    pub letters: Vec<(Position, bool)>,
    /// There are more behind them.
    pub more: bool,
}

/// Why a dead letter cannot be given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// There is none of this number.
    #[error("there is no dead letter {0}")]
    NotFound(Position),
    /// Its group is gone.
    #[error("group {0} does not exist any more")]
    NoGroup(GroupKey),
}

impl Engine {
    /// Where the dead letters of a topic are.
    #[must_use]
    pub const fn letters_of(&self, topic: TopicId) -> TopicId {
        topic.dead_letters(self.settings.logged)
    }

    /// What groups gave up becomes dead letters, in one commit with what settles it.
    pub(super) fn bury(&mut self, now: Now, of: TopicId, group: GroupId, dying: Vec<Dying>) {
        let id = self.letters_of(of);
        let Some(group) = self.topics.get(&of).and_then(|t| t.groups.get(&group)).map(|g| g.name.clone()) else {
            return;
        };
        self.open_letters(now, of);
        let Some(topic) = self.topics.get_mut(&id) else {
            return;
        };
        topic.stored = topic.stored.max(now.wall);
        for Dying { framed, key, holds } in dying {
            let position = topic.next;
            topic.next += 1;
            let grave = Grave { group: group.clone(), key, holds, redriven: false };
            #[cfg(feature = "testing")]
            if super::planted::is(super::planted::Defect::LetterForgotten) && position % 3 == 0 {
                continue;
            }
            topic.graves.insert(position, grave.clone());
            let index = vec![Entry { end: framed.len() as u32, key: 0 }];
            let stored = topic.stored;
            self.ops.push(Op::Append(Append {
                topic: id,
                first: position,
                stored,
                bytes: framed,
                index,
                producer: None,
            }));
            self.ops.push(Op::Graves { topic: id, changes: vec![(position, Change::Buried(grave))] });
        }
    }

    /// The topic of dead letters, made with the first of them.
    fn open_letters(&mut self, now: Now, of: TopicId) {
        let id = self.letters_of(of);
        let Some(source) = self.topics.get(&of).filter(|_| !self.topics.contains_key(&id)) else {
            return;
        };
        // Of a memory topic they outlive the process, if anything does.
        let durability = match source.settings.durability {
            _ if id.is_memory() => Durability::Memory,
            Durability::Memory => Durability::Written,
            other => other,
        };
        let settings = self.letter_settings(source.settings.name.clone(), durability);
        self.topics.insert(id, Topic::new(id, settings, 1, now.wall));
        self.push_topic(id);
    }

    /// Dead letters that a memory topic left are kept from now on as well as the topic that has them.
    pub(super) fn raise_letters(&mut self, of: TopicId, durability: Durability) {
        let id = self.letters_of(of);
        if let Some(topic) = self.topics.get_mut(&id).filter(|letters| letters.settings.durability < durability) {
            topic.settings.durability = durability;
            self.push_topic(id);
        }
    }

    const fn letter_settings(&self, name: TopicName, durability: Durability) -> TopicSettings {
        let limits = Limits { bytes: self.settings.dead_letter_bytes, block: false };
        TopicSettings { name, durability, retention_ms: self.settings.dead_letter_retention_ms, limits }
    }

    /// Adds a topic of dead letters from the log, and gives back what had been given back. Its groups come first. Its
    /// retention is that of the options of now.
    pub fn restore_letters(
        &mut self,
        id: TopicId,
        logged: &TopicSettings,
        (next, stored): (Position, UnixMillis),
        graves: BTreeMap<Position, Grave>,
    ) {
        let settings = self.letter_settings(logged.name.clone(), logged.durability);
        let changed = settings != *logged;
        let mut topic = Topic::new(id, settings, next, stored);
        topic.graves = graves;
        let held: Vec<(Position, Grave)> = topic.graves.iter().map(|(p, g)| (*p, g.clone())).collect();
        self.topics.insert(id, topic);
        if changed {
            self.push_topic(id);
        }
        for (position, grave) in &held {
            self.adopt(id, *position, grave);
        }
        if let Some(of) = self.source_of(id) {
            let holding: BTreeSet<GroupKey> = held.into_iter().filter(|(_, g)| g.holds).map(|(_, g)| g.group).collect();
            holding.iter().for_each(|name| self.hold_no_more(of, name));
        }
    }

    /// A group, restored or made again, has what it gave up.
    fn adopt(&mut self, letters: TopicId, position: Position, grave: &Grave) {
        let Some(group) = self.source_of(letters).and_then(|id| self.topics.get_mut(&id)?.named_mut(&grave.group))
        else {
            return;
        };
        if group.settings.hold_key
            && let Some(key) = grave.held_key()
        {
            group.hold(key);
        }
        if grave.redriven {
            group.give_back(position, grave.key);
            let id = group.id;
            self.source_of(letters).into_iter().for_each(|of| self.set_timer(of, id));
        }
    }

    /// Keys of a group that holds none go on whatever becomes of their dead letters.
    pub(super) fn hold_no_more(&mut self, of: TopicId, name: &GroupKey) {
        if self.topics.get(&of).and_then(|t| t.named(name)).is_none_or(|group| group.settings.hold_key) {
            return;
        }
        let id = self.letters_of(of);
        let graves = self.topics.get_mut(&id).map(|t| t.graves.iter_mut()).into_iter().flatten();
        let mut changes = Vec::new();
        for (position, grave) in graves.filter(|(_, grave)| grave.holds && grave.group == *name) {
            grave.holds = false;
            changes.push((*position, Change::Buried(Grave { redriven: false, ..grave.clone() })));
            changes.extend(grave.redriven.then_some((*position, Change::Redriven)));
        }
        if !changes.is_empty() {
            self.ops.push(Op::Graves { topic: id, changes });
        }
    }

    /// A new group of a name that gave up events before has them.
    pub(super) fn adopt_all(&mut self, of: TopicId, name: &GroupKey) {
        let id = self.letters_of(of);
        let graves = self.topics.get(&id).map(|t| t.graves.iter().filter(|(_, grave)| grave.group == *name));
        let graves: Vec<(Position, Grave)> = graves.into_iter().flatten().map(|(p, g)| (*p, g.clone())).collect();
        for (position, grave) in graves {
            self.adopt(id, position, &grave);
        }
        self.hold_no_more(of, name);
    }

    /// Dead letters of a topic behind `after`, of one group with its durable members or of all. One that is not kept yet is
    /// not there.
    #[must_use]
    pub fn letters(&self, of: TopicId, group: Option<&GroupKey>, after: Position, most: usize) -> LettersPage {
        let Some(topic) = self.topics.get(&self.letters_of(of)) else {
            return LettersPage::default();
        };
        let behind = topic.graves.range(after.saturating_add(1).min(topic.head)..topic.head);
        let mut found = behind.filter(|(_, grave)| group.is_none_or(|g| grave.group.is_within(g)));
        let letters: Vec<_> = found.by_ref().take(most).map(|(position, grave)| (*position, grave.redriven)).collect();
        LettersPage { more: found.next().is_some(), letters }
    }

    /// Whether a group is there, or has dead letters of when it was.
    #[must_use]
    pub fn gives_letters(&self, of: TopicId, group: &GroupKey) -> bool {
        self.topics.get(&of).is_some_and(|t| t.named(group).is_some())
            || !self.letters(of, Some(group), 0, 1).letters.is_empty()
    }

    /// How many dead letters each group has that has any, of those that [`Engine::letters`] lists.
    pub(super) fn letter_counts(&self, of: TopicId) -> BTreeMap<&GroupKey, u64> {
        let mut counts = BTreeMap::new();
        let kept = self.topics.get(&self.letters_of(of)).into_iter().flat_map(|t| t.graves.range(..t.head));
        for (_, grave) in kept {
            *counts.entry(&grave.group).or_default() += 1;
        }
        counts
    }

    /// Gives a dead letter back to its group; `block` holds it. Again is nothing.
    ///
    /// # Errors
    /// [`LetterError`].
    pub fn redrive(&mut self, of: TopicId, position: Position, block: &Block) -> Result<(), LetterError> {
        let id = self.letters_of(of);
        let grave = self.topics.get(&id).and_then(|t| t.graves.get(&position));
        let grave = grave.ok_or(LetterError::NotFound(position))?;
        let (name, before) = (grave.group.clone(), grave.redriven);
        let key = letter(block, position).map_or(0, |letter| key_of(&letter));
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::RedriveForgotten) {
            return Ok(());
        }
        let group = self.topics.get_mut(&of).and_then(|t| t.named_mut(&name)).ok_or(LetterError::NoGroup(name))?;
        if before {
            return Ok(());
        }
        group.give_back(position, key);
        let group = group.id;
        if let Some(grave) = self.topics.get_mut(&id).and_then(|t| t.graves.get_mut(&position)) {
            grave.redriven = true;
        }
        self.ops.push(Op::Graves { topic: id, changes: vec![(position, Change::Redriven)] });
        self.wake_reader(of, Reader::Group(group));
        Ok(())
    }

    /// Retention took the letters of a topic of dead letters that are below `first`. Its store knows that.
    pub fn letters_expired(&mut self, letters: TopicId, first: Position) {
        // They outlive a memory topic.
        let of = self.source_of(letters);
        let Some(topic) = self.topics.get_mut(&letters) else {
            return;
        };
        let kept = topic.graves.split_off(&first);
        for (position, grave) in std::mem::replace(&mut topic.graves, kept) {
            let Some(of) = of else { continue };
            if let Some(group) = self.topics.get_mut(&of).and_then(|t| t.named_mut(&grave.group)) {
                group.forget_dead(position);
            }
            self.let_go(of, &grave);
        }
    }

    /// The topic that dead letters are of, if it is there.
    fn source_of(&self, letters: TopicId) -> Option<TopicId> {
        let number = letters.number();
        [TopicId(number), TopicId::memory(number)].into_iter().find(|id| self.topics.contains_key(id))
    }

    /// A dead letter is no more: a key that waited for it goes on.
    fn let_go(&mut self, of: TopicId, grave: &Grave) {
        let Some(group) = self.topics.get_mut(&of).and_then(|t| t.named_mut(&grave.group)) else {
            return;
        };
        if let Some(key) = grave.held_key() {
            group.release(key);
        }
        let group = group.id;
        self.wake_reader(of, Reader::Group(group));
    }

    /// Removes dead letters for good; `false` for those that are not there.
    pub fn purge(&mut self, of: TopicId, position: Position) -> bool {
        let id = self.letters_of(of);
        let Some(grave) = self.topics.get(&id).and_then(|t| t.graves.get(&position)).cloned() else {
            return false;
        };
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::PurgeForgotten) {
            return true;
        }
        #[cfg(feature = "testing")]
        let leaves_given = super::planted::is(super::planted::Defect::PurgeLeavesGiven);
        #[cfg(not(feature = "testing"))]
        let leaves_given = false;
        if let Some(group) = self.topics.get_mut(&of).and_then(|t| t.named_mut(&grave.group))
            && !leaves_given
        {
            group.forget_dead(position);
            let group = group.id;
            self.wake_reader(of, Reader::Group(group));
        }
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::PurgeHoldsKey) {
            self.topics
                .get_mut(&id)
                .and_then(|t| t.graves.get_mut(&position))
                .into_iter()
                .for_each(|g| g.holds = false);
        }
        self.end_graves(of, vec![position]);
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::PurgeUnlogged) {
            self.ops.pop();
        }
        true
    }

    /// Dead letters are settled: they are no more, and keys that waited for them go on.
    pub(super) fn end_graves(&mut self, of: TopicId, gone: Vec<Position>) {
        let id = self.letters_of(of);
        let mut changes = Vec::with_capacity(gone.len());
        for position in gone {
            let Some(grave) = self.topics.get_mut(&id).and_then(|t| t.graves.remove(&position)) else {
                continue;
            };
            changes.push((position, Change::Gone));
            self.let_go(of, &grave);
        }
        if !changes.is_empty() {
            self.ops.push(Op::Graves { topic: id, changes });
        }
    }
}
