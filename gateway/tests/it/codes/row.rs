//! What each door says of one code.

use std::collections::{BTreeMap, BTreeSet};

use meshwire_proto::ErrorKind;

use crate::doors::{Ask, Door, Said};
use crate::rig::Rig;

/// Why a code is not to be had over a door.
pub(super) const CLIENT: &str = "a client makes it of what it finds out itself";
pub(super) const EVENTS_ONLY: &str = "CloudEvents come and go here, and nothing else";
pub(super) const NO_ADMIN: &str = "no administration";
pub(super) const NO_SESSION: &str = "only a session";

pub(super) enum Cell {
    /// What was said; what is to be said, where that is not what the catalogue has.
    Told {
        said: Said,
        want: Option<Said>,
    },
    CannotBe(&'static str),
}

pub(super) struct Row {
    pub(super) kind: ErrorKind,
    pub(super) cells: BTreeMap<Door, Cell>,
}

impl Row {
    pub(super) const fn new(kind: ErrorKind) -> Self {
        Self { kind, cells: BTreeMap::new() }
    }

    /// The same asked over every door that can.
    pub(super) async fn asked(kind: ErrorKind, rig: &Rig, ask: &Ask<'_>) -> Self {
        let mut row = Self::new(kind);
        for door in Door::ALL {
            if let Some(said) = door.ask(rig, ask).await {
                row = row.told(door, said);
            }
        }
        row
    }

    pub(super) fn told(mut self, door: Door, said: Said) -> Self {
        self.cells.insert(door, Cell::Told { said, want: None });
        self
    }

    /// It says so in other words than the catalogue's.
    pub(super) fn told_otherwise(mut self, door: Door, said: Said, want: Said) -> Self {
        self.cells.insert(door, Cell::Told { said, want: Some(want) });
        self
    }

    /// A cell that is not there yet cannot be.
    pub(super) fn cannot(mut self, doors: &[Door], why: &'static str) -> Self {
        for door in doors {
            let before = self.cells.insert(*door, Cell::CannotBe(why));
            assert!(before.is_none(), "{} over {door:?} was provoked", self.kind);
        }
        self
    }

    pub(super) fn reasons(&self) -> Vec<String> {
        let why = |cell: &Cell| if let Cell::CannotBe(why) = cell { Some((*why).to_owned()) } else { None };
        self.cells.values().filter_map(why).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Some doors say when to try again and others do not.
    pub(super) fn disagreement(&self) -> Option<String> {
        let told = |(door, cell): (&Door, &Cell)| match cell {
            Cell::Told { said, want: None } => said.retry().map(|retry| (retry, *door)),
            _ => None,
        };
        let (with, without): (Vec<_>, Vec<_>) = self.cells.iter().filter_map(told).partition(|(retry, _)| *retry);
        let both = !with.is_empty() && !without.is_empty();
        both.then(|| format!("{}: a time to try again over {with:?}, none over {without:?}", self.kind))
    }

    /// Every door says when to try again, if it can say that.
    pub(super) fn with_a_time(self) -> Self {
        for (door, cell) in &self.cells {
            if let Cell::Told { said, want: None } = cell {
                assert_ne!(said.retry(), Some(false), "{} over {door:?}: {said:?}", self.kind);
            }
        }
        self
    }
}
