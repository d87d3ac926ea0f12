//! Dead letters through the waist: list, give back, remove.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::wire::admin::{self, answer};
use meshwire_proto::{ErrorKind, GroupKey, TopicName};
use prost::Message as _;

use super::admin::Answered;
use super::groups::no_group;
use super::{Action, Caller, Inner, Memory, Mesh, Refusal, TopicRef, shard};
use crate::engine::{self, LetterError};
use crate::store::{Block, Lookup, Position, Ticket, TopicId};

/// A page of a list ends with the letter that makes it so large: with that one it has no more bytes than the longest
/// run of deliveries, which every client takes.
const PAGE_BYTES: usize = engine::MAX_RUN_BYTES as usize / 2;

/// Most bytes of dead letters that are read from the disk for one page, whatever it says of them.
const READ_BYTES: usize = 64 << 20;

/// What was done of a command while what the rest of it needs is fetched.
#[derive(Debug, Default)]
pub struct SoFar {
    listed: Listed,
    redriven: Redriven,
}

/// Letters of a list: no more than a page.
#[derive(Debug, Default)]
struct Listed {
    letters: Vec<admin::DeadLetter>,
    /// Bytes of the answer, and those that were read for it.
    bytes: usize,
    read: usize,
    waits: Option<Waits>,
    /// The last letter that was looked at.
    through: Position,
}

/// Bytes of a page that waits: they count with the answers that do.
#[derive(Debug)]
struct Waits {
    answers: Arc<Memory>,
    bytes: u64,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.answers.change(self.bytes, 0);
    }
}

/// Letters that were given back.
#[derive(Debug, Default)]
struct Redriven {
    count: u32,
    /// Those that stay where they are, by group.
    left: BTreeMap<GroupKey, u32>,
    /// When that is kept.
    ticket: Option<Ticket>,
    /// How many were looked at, and the last of them.
    looked: usize,
    through: Position,
}

impl SoFar {
    /// Why a command ends: what it did before that stays done.
    pub(super) fn refuse(&self, mut refusal: Refusal) -> Refusal {
        match self.redriven.count {
            0 => {}
            1 => refusal.message.push_str("; before that 1 dead letter was redriven, and no more"),
            count => {
                let _ = write!(refusal.message, "; before that {count} dead letters were redriven, and no more");
            }
        }
        refusal
    }
}

impl Listed {
    /// Whether it may wait for the rest: one that has something only while there is room for it.
    fn may_wait(&mut self, answers: Arc<Memory>) -> bool {
        // What it had is in its bytes of now.
        self.waits = None;
        let bytes = self.bytes as u64;
        let fits = bytes <= answers.allowance();
        if fits {
            answers.change(0, bytes);
            self.waits = Some(Waits { answers, bytes });
        }
        fits
    }

    /// Whether nothing more goes into its page.
    const fn ends_page(&self) -> bool {
        self.bytes >= PAGE_BYTES || self.read >= READ_BYTES
    }

    fn add(&mut self, mut letter: admin::DeadLetter, events: bool) {
        self.read += letter.encoded_len();
        // A copy: what waits for others must not hold the block that it came in.
        letter.event = if events { Bytes::copy_from_slice(&letter.event) } else { Bytes::new() };
        self.bytes += letter.encoded_len();
        self.letters.push(letter);
    }
}

/// Which dead letters a command is about.
pub(super) struct LetterSelection<'a> {
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    pub(super) after: Position,
    pub(super) limit: u32,
    pub(super) numbers: &'a [Position],
}

/// The same, resolved.
struct Page {
    topic: TopicRef,
    /// Number, and whether it was given back.
    letters: Vec<(Position, bool)>,
    more: bool,
    /// How many were asked for at most.
    most: usize,
}

impl Page {
    /// `after` of the next page when this one ended behind `last`.
    fn next(&self, last: Position) -> Position {
        let ended_early = self.letters.last().is_some_and(|(position, _)| *position > last);
        if ended_early || self.more { last } else { 0 }
    }
}

fn invalid(problem: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, problem)
}

impl Inner {
    /// Retention took the letters below these positions of topics of dead letters.
    pub(super) fn letters_moved(&self, moved: &[(TopicId, Position)]) {
        for (letters, first) in moved {
            if let Some(shard) = self.shards.get(self.shard_of(*letters)) {
                self.with(shard, |engine, _| engine.letters_expired(*letters, *first));
            }
        }
    }
}

impl Mesh {
    fn page(&self, caller: &Caller, action: Action, asked: &LetterSelection<'_>) -> Result<Page, Refusal> {
        let group = match asked.group {
            "" => None,
            group => Some(GroupKey::parse(group).map_err(|e| invalid(e.to_string()))?),
        };
        let limit = match asked.limit {
            0 => 100,
            limit @ 1..=1000 => limit as usize,
            other => return Err(invalid(format!("limit is {other}; from 1 to 1000 is accepted"))),
        };
        if asked.numbers.len() > 1000 {
            return Err(invalid(format!("{} numbers; up to 1000 are accepted", asked.numbers.len())));
        }
        let (topic, name) = match self.known_topic(caller, action, asked.topic) {
            // Dead letters of a memory topic are there before it is made again.
            Err(absent) if absent.kind == ErrorKind::TopicNotFound => {
                let topic = self.inner.orphan(asked.topic).ok_or(absent)?;
                (topic, TopicName::parse(asked.topic).map_err(|e| invalid(e.to_string()))?)
            }
            found => found?,
        };
        let most = if asked.numbers.is_empty() { limit } else { asked.numbers.len() };
        let shard = shard::lock(self.shard(topic)?);
        let engine::LettersPage { letters, more } = if asked.numbers.is_empty() {
            shard.engine.letters(topic.id, group.as_ref(), asked.after, limit)
        } else {
            let mut numbers: Vec<Position> = asked.numbers.to_vec();
            numbers.sort_unstable();
            numbers.dedup();
            let one = |number: Position| {
                let found = shard.engine.letters(topic.id, group.as_ref(), number.saturating_sub(1), 1).letters;
                found.first().copied().filter(|(position, _)| *position == number)
            };
            engine::LettersPage { letters: numbers.into_iter().filter_map(one).collect(), more: false }
        };
        // A later page may have nothing left of a group that is gone.
        let unknown = group.filter(|_| letters.is_empty() && asked.after == 0);
        if let Some(group) = unknown.filter(|group| !shard.engine.gives_letters(topic.id, group)) {
            return Err(no_group(&name, &group));
        }
        drop(shard);
        Ok(Page { topic, letters, more, most })
    }

    /// The block of a letter; `None` while it is fetched. One that retention took is forgotten.
    fn letter_block(&self, topic: TopicRef, number: Position) -> Result<Option<Block>, Refusal> {
        let mutex = self.shard(topic)?;
        let letters = shard::lock(mutex).engine.letters_of(topic.id);
        if let Some(block) = self.inner.fetched.block(letters, number) {
            return Ok(Some(block));
        }
        match self.inner.stores.of(letters).read(letters, number) {
            Lookup::Ready(block) if (block.first..block.next()).contains(&number) => Ok(Some(block)),
            Lookup::Pending(_) => Ok(None),
            Lookup::Gone(first) => {
                self.inner.with(mutex, |engine, _| engine.letters_expired(letters, first));
                Err(LetterError::NotFound(number)).map_err(|e| Refusal::new(ErrorKind::NotFound, e.to_string()))
            }
            _ => Err(Refusal::new(ErrorKind::NotFound, LetterError::NotFound(number).to_string())),
        }
    }

    pub(super) fn list_letters(
        &self,
        caller: &Caller,
        (asked, events): (&LetterSelection<'_>, bool),
        SoFar { listed, .. }: &mut SoFar,
    ) -> Option<Answered> {
        let page = match self.page(caller, Action::ReadDeadLetters, asked) {
            Ok(page) => page,
            Err(refusal) => return Some(Err(refusal)),
        };
        let through = listed.through;
        for (number, redriven) in page.letters.iter().filter(|(number, _)| *number > through) {
            if listed.ends_page() {
                break;
            }
            match self.letter_block(page.topic, *number) {
                Ok(Some(block)) => {
                    if let Some(letter) = engine::letter(&block, *number) {
                        listed.add(admin::DeadLetter { number: *number, redriven: *redriven, ..letter }, events);
                    }
                }
                Ok(None) if listed.may_wait(self.answers()) => return None,
                // What is there is a page of its own.
                Ok(None) => break,
                Err(_) => {}
            }
            listed.through = *number;
        }
        let Listed { letters, through, .. } = std::mem::take(listed);
        let list = admin::DeadLetterList { letters, next: page.next(through) };
        Some(Ok((admin::Answer { answer: Some(answer::Answer::DeadLetters(list)) }, Ticket::KEPT)))
    }

    pub(super) fn redrive_letters(
        &self,
        caller: &Caller,
        asked: &LetterSelection<'_>,
        SoFar { redriven, .. }: &mut SoFar,
    ) -> Option<Answered> {
        let page = match self.page(caller, Action::RedriveDeadLetters, asked) {
            Ok(page) => page,
            Err(refusal) => return Some(Err(refusal)),
        };
        let behind = redriven.through;
        for (number, _) in page.letters.iter().filter(|(number, _)| *number > behind) {
            // Those that came back meanwhile, or take the places of others, are for the next page.
            if redriven.looked == page.most {
                break;
            }
            match self.letter_block(page.topic, *number) {
                Ok(Some(block)) => match self.redrive(page.topic, *number, &block) {
                    Ok(kept) => {
                        redriven.count += 1;
                        redriven.ticket = Some(redriven.ticket.map_or(kept, |before| before.later(kept)));
                    }
                    Err(LetterError::NotFound(_)) => {}
                    // Those of other groups need not wait for somebody to make it again.
                    Err(LetterError::NoGroup(group)) => *redriven.left.entry(group).or_default() += 1,
                },
                Ok(None) => return None,
                Err(_) => {}
            }
            redriven.looked += 1;
            redriven.through = *number;
        }
        let Redriven { count, left, ticket, through, .. } = std::mem::take(redriven);
        let left = left.into_iter().map(|(group, count)| admin::LettersLeft { group: group.to_string(), count });
        Some(Ok((changed(count, page.next(through), left.collect()), ticket.unwrap_or(Ticket::KEPT))))
    }

    fn redrive(&self, topic: TopicRef, number: Position, block: &Block) -> Result<Ticket, LetterError> {
        let Ok(mutex) = self.shard(topic) else {
            return Err(LetterError::NotFound(number));
        };
        self.inner.with(mutex, |engine, _| engine.redrive(topic.id, number, block))?;
        let shard = shard::lock(mutex);
        Ok(shard.engine.ticket(shard.engine.letters_of(topic.id)))
    }

    pub(super) fn purge_letters(&self, caller: &Caller, asked: &LetterSelection<'_>) -> Answered {
        let page = self.page(caller, Action::PurgeDeadLetters, asked)?;
        let mutex = self.shard(page.topic)?;
        let of = page.topic.id;
        let purge =
            |engine: &mut engine::Engine| page.letters.iter().filter(|(number, _)| engine.purge(of, *number)).count();
        let count = self.inner.with(mutex, |engine, _| purge(engine));
        let shard = shard::lock(mutex);
        let ticket = shard.engine.ticket(shard.engine.letters_of(of));
        let last = page.letters.last().map_or(0, |(number, _)| *number);
        Ok((changed(u32::try_from(count).unwrap_or(u32::MAX), page.next(last), Vec::new()), ticket))
    }
}

fn changed(count: u32, next: Position, left: Vec<admin::LettersLeft>) -> admin::Answer {
    admin::Answer { answer: Some(answer::Answer::DeadLettersChanged(admin::DeadLettersChanged { count, next, left })) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use meshwire_proto::wire::admin::command::Command;

    use super::*;
    use crate::clock::SystemClock;
    use crate::mesh::{AllowAll, Recovered, Stores};
    use crate::store::memory::{MemoryConfig, MemoryStore};

    #[test]
    fn pages_that_wait_count_as_answers_and_no_more_of_them_wait_than_there_is_room_for() {
        let (answers, mut waiting) = (Arc::new(Memory::new(1 << 20)), Vec::new());
        loop {
            let mut page = Listed::default();
            for bytes in [100, 60_000, 60_000] {
                page.add(admin::DeadLetter { event: vec![0; bytes].into(), ..admin::DeadLetter::default() }, true);
            }
            if !page.may_wait(answers.clone()) {
                break;
            }
            assert!(page.may_wait(answers.clone()), "again is nothing more");
            waiting.push(page);
        }
        let bytes = waiting.iter().map(|page| page.bytes as u64).sum::<u64>();
        assert!(waiting.len() >= 4 && bytes <= 1 << 20, "{}", waiting.len());
        assert_eq!(answers.used(), bytes);
        assert!(Listed::default().may_wait(answers.clone()), "what has nothing waits in any case");
        drop(waiting);
        assert_eq!(answers.used(), 0);
    }

    #[test]
    fn a_redrive_whose_later_part_is_refused_says_what_was_redriven_before() {
        let config = crate::config::Config::default().mesh([7; 16]);
        let ring = MemoryConfig { ring_bytes: 64 << 10, total_bytes: 1 << 20 };
        let stores = Stores { memory: Arc::new(MemoryStore::new(ring)), log: None };
        let mesh = Mesh::open(config, Arc::new(SystemClock::new()), Arc::new(AllowAll), stores, &Recovered::default());
        let redrive = admin::RedriveDeadLetters { topic: "gone".to_owned(), ..admin::RedriveDeadLetters::default() };
        let command = admin::Command { command: Some(Command::RedriveDeadLetters(redrive)) };
        for (count, told) in [(0, false), (1, true), (3, true)] {
            let mut so_far = SoFar { redriven: Redriven { count, ..Redriven::default() }, ..SoFar::default() };
            let refused = mesh.admin(&Caller::anonymous("test", None), &command, &mut so_far).unwrap().unwrap_err();
            assert_eq!(refused.kind, ErrorKind::TopicNotFound);
            let text = refused.message;
            assert_eq!(text.contains(&format!("before that {count} dead letter")), told, "{text}");
        }
    }
}
