//! Dead letters that wait: for a block that must be read, or for room in a full store. Until they are there, their
//! events are not settled; retention may take one, which is then counted and told.

use std::collections::BTreeSet;

use meshwire_proto::Moment;

use super::dispatch::{FETCHES, Found, Pass};
use super::{Dying, Group};
use crate::engine::no_room::{ask_again, is_for_want_of_disk};
use crate::store::{Failure, Position, StoreError};

/// What is known of them beside the events themselves.
#[derive(Default)]
pub(super) struct Owed {
    /// Given up before the last start, and not taken up since. They become letters whether somebody is there or not.
    before: BTreeSet<Position>,
    /// Given up with a reason that is in no commit yet. The next settlements carry it, unless the letter is made before:
    /// it may wait for longer than this process lives.
    unsaid: BTreeSet<Position>,
    /// At the last try the disk was full.
    disk_full: bool,
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

    /// Bytes of settlements that are committed with the first dead letter of a pass.
    pub(super) fn goes_along(&self, pass: &Pass<'_>) -> usize {
        let bytes = if pass.dying.is_empty() { self.unlogged_bytes() } else { 0 };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Whether that of this position is not.
    pub(in crate::engine) fn owes_letter_of(&self, position: Position) -> bool {
        self.dying.contains_key(&position) || self.owed.before.contains(&position)
    }

    /// Dead letters that wait for room on the disk, and events that retention took since the last time before theirs did.
    pub(in crate::engine) fn take_owed(&mut self) -> (u64, u64) {
        let wait = if self.owed.disk_full { self.dying.len() + self.owed.before.len() } else { 0 };
        (wait as u64, std::mem::take(&mut self.owed.lost))
    }

    /// It was tried to make letters of all that is owed.
    pub(super) fn tried_to_bury(&mut self, now: Moment, tried: &Result<(), StoreError>) {
        self.owed.disk_full = tried.as_ref().is_err_and(is_for_want_of_disk);
        if let Err(refused) = tried {
            self.bury_at = Some(now + ask_again(refused));
        }
    }

    /// What was given up before the last start. Nobody waits for it: members get what is in front of it as ever.
    ///
    /// # Errors
    /// Why the store does not take it.
    pub(super) fn bury_before(&mut self, pass: &mut Pass<'_>, fetches: &mut u32) -> Result<(), StoreError> {
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
                    pass.claim(framed.len() + self.goes_along(pass))?;
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
        Ok(())
    }

    /// Whether there are reasons that no commit carries.
    pub(super) fn has_reasons(&self) -> bool {
        !self.owed.unsaid.is_empty()
    }

    /// The reasons of what was given up and is no letter yet, for the log: they go with a restart otherwise.
    pub(in crate::engine) fn take_reasons(&mut self) -> Vec<(Position, String)> {
        let positions = std::mem::take(&mut self.owed.unsaid);
        let reason = |position| Some((position, self.window.trouble(position)?.failure.said.clone()));
        positions.into_iter().filter_map(reason).filter(|(_, said)| !said.is_empty()).collect()
    }
}
