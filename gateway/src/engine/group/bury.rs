//! Events that are given up: each becomes one dead letter, in the commit that
//! settles it. And dead letters that are given back.

use std::collections::btree_map::Entry;

use bytes::Bytes;
use meshwire_proto::wire::admin::{self, DeathReason};
use meshwire_proto::{EventLimits, EventRun, EventView, Moment};
use prost::Message as _;

use super::Group;
use super::dispatch::{FETCHES, Found, Pass};
use super::slot::State;
use crate::store::{self, Block, DEAD, Outcome, Position, StoreError, key_hash};

/// A dead letter on its way into the store.
pub(in crate::engine) struct Dying {
    /// The letter, framed as an event is.
    pub(in crate::engine) framed: Bytes,
    /// Hash of its key, 0 if it has none.
    pub(in crate::engine) key: u64,
    /// The key is to wait for it.
    pub(in crate::engine) holds: bool,
}

/// The letter in a block of dead letters.
pub(crate) fn letter(block: &Block, position: Position) -> Option<admin::DeadLetter> {
    let run = block.run(position, 1)?;
    admin::DeadLetter::decode(run.iter().next()?).ok()
}

/// Its event as a block of its own, at the place that it has in its topic.
fn event_of(block: &Block, position: Position) -> Option<Block> {
    let letter = letter(block, position)?;
    let framed: EventRun = std::iter::once(letter.event).collect();
    let bytes = framed.as_bytes().clone();
    let index = store::Index::One(store::Entry { end: bytes.len() as u32, key: 0 });
    let stored = meshwire_proto::UnixMillis(letter.stored_unix_ms);
    Some(Block { first: letter.position, stored, bytes, index })
}

/// The hash of the key of the event in a letter.
pub(in crate::engine) fn key_of(letter: &admin::DeadLetter) -> u64 {
    let limits = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };
    EventView::parse(&letter.event, limits)
        .ok()
        .and_then(|view| view.key().map(|key| key_hash(key.as_bytes())))
        .unwrap_or(0)
}

impl Pass<'_> {
    /// A block that holds the event of a position, and where it stands in it.
    pub(super) fn event(&mut self, position: Position) -> (Found, Position) {
        if position & DEAD == 0 {
            return (self.block(position), position);
        }
        let place = position & !DEAD;
        match self.letters(place) {
            Found::Block(block) => match event_of(&block, place) {
                Some(event) => {
                    let at = event.first;
                    (Found::Block(event), at)
                }
                // It cannot be read: nobody will ever get it.
                None => (Found::Gone(place + 1), place),
            },
            Found::Later(until) => (Found::Later(until | DEAD), place),
            other @ Found::Gone(_) => (other, place),
        }
    }
}

impl Group {
    /// A position is to become a dead letter.
    pub(super) fn give_up(&mut self, position: Position) {
        self.unwait(position);
        // Nor is it acked by who had it last.
        self.end_for_good(position);
        self.set_free(position);
        let key = self.window.key(position).filter(|_| self.settings.hold_key).unwrap_or(0);
        let reason = self.reason(position);
        let has_reason = self.window.trouble(position).is_some_and(|trouble| !trouble.failure.said.is_empty());
        if let Entry::Vacant(new) = self.dying.entry(position) {
            new.insert((key, reason));
            self.owed.give_up(position, has_reason);
            if key != 0 {
                self.hold(key);
            }
        }
    }

    /// A position is not to become a dead letter after all: no key waits for it.
    fn spare(&mut self, position: Position) {
        self.owed.forget(position);
        if let Some((key @ 1.., _)) = self.dying.remove(&position) {
            self.release(key);
        }
    }

    /// The same for every event, as the group goes on elsewhere.
    pub(super) fn spare_events(&mut self) {
        let events: Vec<Position> = self.dying.range(..DEAD).map(|(position, _)| *position).collect();
        events.into_iter().for_each(|position| self.spare(position));
        self.owed.forget_before();
    }

    /// A key waits for a dead letter.
    pub(in crate::engine) fn hold(&mut self, key: u64) {
        *self.held.entry(key).or_default() += 1;
        self.wake(key);
    }

    /// A dead letter that a key waited for is settled.
    pub(in crate::engine) fn release(&mut self, key: u64) {
        if let Some(count) = self.held.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&key);
            }
        }
        self.wake(key);
    }

    /// No key waits for a dead letter any more.
    pub(super) fn release_all(&mut self) {
        std::mem::take(&mut self.held).into_keys().for_each(|key| self.wake(key));
        self.dying.values_mut().for_each(|(key, _)| *key = 0);
    }

    pub(super) fn is_held(&self, key: u64) -> bool {
        !self.held.is_empty() && self.held.contains_key(&key)
    }

    /// Gives a dead letter back to the group.
    pub(in crate::engine) fn give_back(&mut self, place: Position, key: u64) {
        let position = place | DEAD;
        self.window.push_dead(position, key);
        self.wait(position, key);
        if self.is_exhausted(position) {
            // Before the last start it was given up again, and is no new letter yet. What its last failure says of a delay
            // is void.
            self.give_up(position);
            self.bury_at = Some(Moment(0));
        } else if let Some(due) = self.window.restored_due(position) {
            self.schedule(due, position);
        }
    }

    /// Takes a dead letter away that was given back, as it is removed.
    pub(in crate::engine) fn forget_dead(&mut self, place: Position) {
        let position = place | DEAD;
        let Some(slot) = self.window.slot(position).copied() else {
            return;
        };
        if let State::Leased(member, number) = slot.state() {
            self.lose(member, number);
            self.end_in_flight(slot.key, position);
        }
        self.end_for_good(position);
        self.unwait(position);
        self.scheduled.remove(position, slot.key);
        self.wake(slot.key);
        self.spare(position);
        self.set_free(position);
        self.window.drop_dead(position);
    }

    /// Dead letters that are settled: to be forgotten by the topic.
    pub(in crate::engine) fn take_gone(&mut self) -> Vec<Position> {
        std::mem::take(&mut self.gone)
    }

    /// Makes letters of what was given up, as far as the bytes are there and the store has room.
    pub(super) fn bury(&mut self, pass: &mut Pass<'_>) {
        let mut fetches = 0;
        let tried = self.bury_dying(pass, &mut fetches).and_then(|()| self.bury_before(pass, &mut fetches));
        self.tried_to_bury(pass.now.mono, &tried);
    }

    /// What was given up since the start.
    ///
    /// # Errors
    /// Why the store does not take it.
    fn bury_dying(&mut self, pass: &mut Pass<'_>, fetches: &mut u32) -> Result<(), StoreError> {
        let mut from = 0;
        while *fetches < FETCHES
            && let Some((position, (held, reason))) = self.dying.range(from..).next().map(|(p, why)| (*p, *why))
        {
            from = position + 1;
            let (found, at) = pass.event(position);
            match found {
                Found::Block(block) => {
                    let Some(framed) = self.letter((position, reason), &block, at) else {
                        continue;
                    };
                    pass.claim(framed.len() + self.goes_along(pass))?;
                    let key = self.window.key(position).filter(|key| *key != 0);
                    let key = key.or_else(|| block.entry(at).map(|entry| entry.key)).unwrap_or(0);
                    pass.dying.push(Dying { framed, key, holds: held != 0 });
                    self.finish(position);
                }
                Found::Gone(_) => {
                    self.spare(position);
                    self.finish(position);
                    if position & DEAD == 0 {
                        self.overtaken += 1;
                        self.owed.lose();
                    }
                }
                Found::Later(until) => (from, *fetches) = (until, *fetches + 1),
            }
        }
        Ok(())
    }

    /// Why a position is given up now: by the time of its letter the settings may be others.
    pub(super) fn reason(&self, position: Position) -> DeathReason {
        if self.window.trouble(position).is_some_and(|trouble| trouble.failure.rejected) {
            DeathReason::Rejected
        } else if self.is_exhausted(position) {
            DeathReason::Failures
        } else {
            DeathReason::Age
        }
    }

    /// The letter, framed as an event is.
    pub(super) fn letter(
        &self,
        (position, reason): (Position, DeathReason),
        block: &Block,
        at: Position,
    ) -> Option<Bytes> {
        let framed = block.run(at, 1)?;
        let event = framed.iter().next()?;
        let trouble = self.window.trouble(position)?;
        let failure = &trouble.failure;
        let letter = admin::DeadLetter {
            number: 0,
            group: self.name.to_string(),
            position: at,
            reason: reason.into(),
            failures: failure.count,
            attempts: self.window.attempts(position),
            error: trouble.why().to_owned(),
            first_failure_unix_ms: failure.first.0,
            last_failure_unix_ms: failure.last.0,
            stored_unix_ms: block.stored.0,
            redriven: false,
            event,
        };
        let run: EventRun = std::iter::once(Bytes::from(letter.encode_to_vec())).collect();
        Some(run.as_bytes().clone())
    }

    /// A position is done: acked, a dead letter, or gone.
    pub(super) fn finish(&mut self, position: Position) {
        let Some(key) = self.window.settle(position) else {
            return;
        };
        if key != 0 {
            self.end_in_flight(key, position);
        }
        self.dying.remove(&position);
        self.owed.forget(position);
        self.set_free(position);
        if position & DEAD == 0 {
            self.log(position, 1, Outcome::Acked);
            self.window.advance();
        } else {
            self.window.drop_dead(position);
            self.gone.push(position & !DEAD);
        }
    }

    /// A position that was not taken up yet is a dead letter.
    pub(super) fn finish_ahead(&mut self, position: Position) {
        self.window.settle_ahead(position);
        self.log(position, 1, Outcome::Acked);
    }

    /// A position that was delivered alone is no longer.
    pub(super) fn set_free(&mut self, position: Position) {
        if self.isolated.is_some_and(|(_, alone)| alone == position) {
            self.isolated = None;
        }
    }
}
