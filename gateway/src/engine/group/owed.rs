//! Dead letters that wait: for a block that must be read, or for room in a full store. Until they are there, their
//! events are not settled; retention may take one, which is then counted and told.

use std::collections::BTreeSet;

use super::dispatch::{FETCHES, Found, Pass};
use super::retry::NO_ROOM;
use super::{Dying, Group};
use crate::store::{Failure, Position};

/// What is known of them beside the events themselves.
#[derive(Default)]
pub(super) struct Owed {
    /// Given up before the last start, and not taken up since. They become letters whether somebody is there or not.
    before: BTreeSet<Position>,
    /// Given up with a reason that is in no commit yet.
    unsaid: BTreeSet<Position>,
    /// The same of letters that have to wait: the next settlements carry it.
    to_say: BTreeSet<Position>,
    /// At the last try there was no room.
    no_room: bool,
    /// Retention took so many, and nobody was told yet.
    lost: u64,
}

impl Owed {
    /// What a restored group had given up.
    pub(super) fn of<'a>(failures: impl Iterator<Item = (&'a Position, &'a Failure)>, most: u32) -> Self {
        let before = failures.filter(|(_, failure)| failure.is_final(most)).map(|(position, _)| *position).collect();
        Self { before, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// The first from a position on that was given up before the last start.
    pub(super) fn next(&self, position: Position) -> Option<Position> {
        self.before.range(position..).next().copied()
    }

    /// It is given up, perhaps again; its reason is in no commit.
    pub(super) fn give_up(&mut self, position: Position, has_reason: bool) {
        self.before.remove(&position);
        if has_reason {
            self.unsaid.insert(position);
        }
    }

    /// There is nothing to say of it any more.
    pub(super) fn forget(&mut self, position: Position) {
        self.unsaid.remove(&position);
        self.to_say.remove(&position);
    }

    /// The group goes on elsewhere.
    pub(super) fn forget_before(&mut self) {
        self.before.clear();
    }

    /// Retention took an event whose letter was owed.
    pub(super) const fn lose(&mut self) {
        self.lost += 1;
    }
}

impl Group {
    /// Whether some dead letter is not there yet.
    pub(super) fn owes_letters(&self) -> bool {
        !self.dying.is_empty() || !self.owed.is_empty()
    }

    /// Whether that of this position is not.
    pub(in crate::engine) fn owes_letter_of(&self, position: Position) -> bool {
        self.dying.contains_key(&position) || self.owed.before.contains(&position)
    }

    /// Dead letters that found no room, and events that retention took since the last time before theirs did.
    pub(in crate::engine) fn take_owed(&mut self) -> (u64, u64) {
        let wait = if self.owed.no_room { self.dying.len() + self.owed.before.len() } else { 0 };
        (wait as u64, std::mem::take(&mut self.owed.lost))
    }

    /// Makes letters of what was given up, as far as the bytes are there and the store has room.
    pub(super) fn bury(&mut self, pass: &mut Pass<'_>) {
        let mut fetches = 0;
        let has_room = self.bury_dying(pass, &mut fetches) && self.bury_before(pass, &mut fetches);
        self.owed.no_room = !has_room;
        if !has_room {
            self.bury_at = Some(pass.now.mono + NO_ROOM);
        }
        // Those that wait may do so for longer than this process lives.
        let unsaid = std::mem::take(&mut self.owed.unsaid);
        self.owed.to_say.extend(unsaid);
    }

    /// What was given up before the last start; `false` if there is no room. Nobody waits for it: members get what is in
    /// front of it as ever.
    fn bury_before(&mut self, pass: &mut Pass<'_>, fetches: &mut u32) -> bool {
        let mut from = 0;
        while *fetches < FETCHES
            && let Some(position) = self.owed.next(from)
        {
            from = position + 1;
            if position < self.window.next() || !self.is_exhausted(position) {
                self.owed.before.remove(&position);
                continue;
            }
            match pass.block(position) {
                Found::Block(block) => {
                    let key = block.entry(position).map_or(0, |entry| entry.key);
                    let holds = key != 0 && self.settings.hold_key;
                    let Some(framed) = self.letter((position, self.reason(position)), &block, position) else {
                        continue;
                    };
                    if !pass.has_room(framed.len()) {
                        return false;
                    }
                    if holds {
                        self.hold(key);
                    }
                    pass.dying.push(Dying { framed, key, holds });
                    self.owed.before.remove(&position);
                    self.finish_ahead(position);
                }
                // It is told as missing, with others or alone, when the group comes to it.
                Found::Gone(_) => {
                    self.owed.before.remove(&position);
                    self.owed.lose();
                }
                Found::Later(until) => (from, *fetches) = (until, *fetches + 1),
            }
        }
        while self.window.skip_settled() {}
        true
    }

    /// Whether there are reasons that no commit carries.
    pub(super) fn has_reasons(&self) -> bool {
        !self.owed.to_say.is_empty()
    }

    /// The reasons of what was given up and has to wait, for the log: they go with a restart otherwise.
    pub(in crate::engine) fn take_reasons(&mut self) -> Vec<(Position, String)> {
        let positions = std::mem::take(&mut self.owed.to_say);
        let reason = |position| Some((position, self.window.trouble(position)?.failure.said.clone()));
        positions.into_iter().filter_map(reason).filter(|(_, said)| !said.is_empty()).collect()
    }
}
