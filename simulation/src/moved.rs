//! A group that is moved while its members hold leases: what must hold between two moves.
//!
//! The other checks see each stretch between two moves as a group of its own, and leave out what was under way when
//! it was moved: it may be of either.

use std::collections::{BTreeMap, BTreeSet};

use meshwire_history::Name;
use meshwire_proto::Moment;

use crate::history::{Delivered, Topic};
use crate::report::group_name;
use crate::script::MOVED;
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};
use crate::verdict::Log;

/// Somebody moved the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought {
    pub(crate) at: Moment,
    /// In which life of the gateway.
    pub(crate) life: u32,
    pub(crate) topic: Topic,
    /// Where it goes on, as it was answered.
    pub(crate) to: u64,
    /// When that was kept. A move that was not may be undone by the end of the gateway.
    pub(crate) kept: Option<Moment>,
}

impl Seen<'_> {
    fn moves(&self, topic: Topic) -> impl Iterator<Item = &Sought> {
        self.history.sought.iter().filter(move |sought| sought.topic == topic)
    }

    /// Behind how many moves of its group a delivery was made; `None` if that is not known.
    pub(crate) fn stretch(&self, d: &Delivered) -> Option<usize> {
        if d.group != Some(MOVED) {
            return Some(0);
        }
        let before: Vec<&Sought> = self.moves(d.topic).filter(|sought| sought.at <= d.at).collect();
        let Some(last) = before.last() else { return Some(0) };
        let slack = if self.stalled(last.at, d.at) { HELD_BACK } else { UNDER_WAY };
        let stands = last.kept.is_some() || d.life == last.life;
        (stands && d.at > last.at + slack).then_some(before.len())
    }

    /// Whether a delivery may have been taken back by a move.
    pub(crate) fn is_moved_after(&self, d: &Delivered) -> bool {
        d.group == Some(MOVED) && self.moves(d.topic).any(|sought| sought.at + HELD_BACK >= d.at)
    }

    /// The group of a delivery as the library is to see it.
    pub(crate) fn seen_as(&self, d: &Delivered) -> Option<Name> {
        let group = d.group?;
        let name = group_name(group);
        Some(match self.stretch(d) {
            _ if group != MOVED => name,
            Some(stretch) => stretch_name(stretch),
            None => format!("{name}?").into(),
        })
    }

    /// Every name that the group has to the library.
    pub(crate) fn stretches(&self, topic: Topic) -> Vec<Name> {
        (0..=self.moves(topic).count()).map(stretch_name).collect()
    }

    /// Events that a stretch says nothing of: they stand before it, or came when nobody knows in which it was.
    pub(crate) fn out_of_stretch(&self, topic: Topic, log: &[(u64, u64)]) -> Vec<(Name, u64)> {
        let mine = self.history.delivered.iter().filter(|d| d.topic == topic && d.group == Some(MOVED));
        let unknown: BTreeSet<u64> = mine.filter(|d| self.stretch(d).is_none()).map(|d| d.id.into()).collect();
        let begins = std::iter::once(0).chain(self.moves(topic).map(|sought| sought.to));
        let names = begins.enumerate().map(|(n, to)| (stretch_name(n), to));
        let names = names.chain([(format!("{}?", group_name(MOVED)).into(), u64::MAX)]);
        let left_out = |to, id: &u64, position: &u64| *position < to || unknown.contains(id);
        let of = |(name, to): (Name, u64)| {
            let events = log.iter().filter(move |(id, position)| left_out(to, id, position));
            events.map(|(id, _)| (name.clone(), *id)).collect::<Vec<_>>()
        };
        names.flat_map(of).collect()
    }

    /// Whether all members of the group and the gateway were there in this span.
    fn went_on(&self, from: Moment, to: Moment) -> bool {
        // The gateway may hear of a break later.
        let before = Moment(from.0.saturating_sub(HELD_BACK.as_micros() as u64));
        !self.history.was_away(MOVED, before, to) && !self.restarted(from, to)
    }
}

fn stretch_name(stretch: usize) -> Name {
    format!("{}.{stretch}", group_name(MOVED)).into()
}

/// A group that is moved goes on there and nowhere else: nothing before comes, all that follows comes as if for the
/// first time, and is done at the end.
pub(crate) fn a_moved_group_goes_on_where_it_was_moved(
    seen: &Seen<'_>,
    logs: &BTreeMap<Topic, Log>,
    broken: &mut Vec<String>,
) {
    for (topic, log) in logs {
        let moves: Vec<&Sought> = seen.moves(*topic).collect();
        let mine = || seen.history.delivered.iter().filter(|d| d.topic == *topic && d.group == Some(MOVED));
        let unknown: BTreeSet<u32> = mine().filter(|d| seen.stretch(d).is_none()).map(|d| d.id).collect();
        // Two members may see its deliveries in another order than they were made in.
        let mut first: BTreeMap<(usize, u32), (u32, &Delivered)> = BTreeMap::new();
        for d in mine() {
            if let Some(stretch) = seen.stretch(d) {
                let (attempt, _) = first.entry((stretch, d.id)).or_insert((d.attempt, d));
                *attempt = d.attempt.min(*attempt);
            }
        }
        for d in mine() {
            let Some(stretch @ 1..) = seen.stretch(d) else { continue };
            let Some(sought) = moves.get(stretch - 1) else { continue };
            let first = first.get(&(stretch, d.id)).filter(|(_, first)| std::ptr::eq(*first, d));
            let attempt = first.filter(|_| !unknown.contains(&d.id)).map_or(1, |(attempt, _)| *attempt);
            let problem = if d.position < sought.to {
                "before that".to_owned()
            } else if attempt > 1 && seen.went_on(sought.at, d.at) {
                format!("first as attempt {attempt}")
            } else {
                continue;
            };
            broken.push(format!(
                "{}: the group was moved to {} at {:?}, and {} came at {:?}, {problem}",
                topic.name(),
                sought.to,
                sought.at,
                d.position,
                d.at
            ));
        }
        if !seen.history.may_be_rewritten(*topic) {
            all_is_done(seen, (*topic, log), moves.last().copied(), broken);
        }
    }
}

/// What follows the last move came since, and was acked.
fn all_is_done(seen: &Seen<'_>, (topic, log): (Topic, &Log), last: Option<&Sought>, broken: &mut Vec<String>) {
    if seen.history.consumers.values().all(|group| *group != MOVED) || last.is_some_and(|sought| sought.kept.is_none())
    {
        return;
    }
    let (at, to) = last.map_or((Moment(0), 1), |sought| (sought.at, sought.to));
    for (id, position) in log.position.iter().filter(|(_, position)| **position >= to) {
        let came = seen.deliveries(MOVED, *id).iter().any(|d| d.at >= at);
        let acked = seen.history.settled.get(&(MOVED, *id)).is_some_and(|s| s.acks.iter().any(|ack| ack.at >= at));
        if !came || !acked {
            let what = if came { "was not acked" } else { "never came" };
            broken
                .push(format!("{}: the group was moved to {to} at {at:?}, and {position} {what} since", topic.name()));
        }
    }
}
