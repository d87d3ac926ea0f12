//! A group that is moved while its members hold leases, and one that is deleted and made anew: what must hold between
//! two moves. To be made anew is to be moved to where it begins.
//!
//! The other checks see each stretch between two moves as a group of its own, and leave out what was under way when
//! it was moved: it may be of either.

use std::collections::{BTreeMap, BTreeSet};

use meshwire_history::Name;
use meshwire_proto::Moment;

use crate::history::{Delivered, Topic};
use crate::report::group_name;
use crate::script::{MOVED, REMADE};
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};
use crate::verdict::Log;

/// Groups that are moved, and made anew.
const MOVING: [u8; 2] = [MOVED, REMADE];

/// Somebody moved the group, or deleted it, or made it anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought {
    pub(crate) at: Moment,
    /// In which life of the gateway.
    pub(crate) life: u32,
    pub(crate) group: u8,
    pub(crate) topic: Topic,
    /// Where it goes on, as it was answered.
    pub(crate) to: u64,
    /// When that was kept. A move that was not may be undone by the end of the gateway.
    pub(crate) kept: Option<Moment>,
}

impl Seen<'_> {
    fn moves(&self, group: u8, topic: Topic) -> impl Iterator<Item = &Sought> {
        self.history.sought.iter().filter(move |sought| sought.group == group && sought.topic == topic)
    }

    /// Behind how many moves of its group a delivery was made; `None` if that is not known.
    pub(crate) fn stretch(&self, d: &Delivered) -> Option<usize> {
        let Some(group) = d.group.filter(|group| MOVING.contains(group)) else {
            return Some(0);
        };
        let before: Vec<&Sought> = self.moves(group, d.topic).filter(|sought| sought.at <= d.at).collect();
        let Some(last) = before.last() else { return Some(0) };
        let slack = if self.stalled(last.at, d.at) { HELD_BACK } else { UNDER_WAY };
        let stands = last.kept.is_some() || d.life == last.life;
        (stands && d.at > last.at + slack).then_some(before.len())
    }

    /// Whether a delivery may have been taken back by a move.
    pub(crate) fn is_moved_after(&self, d: &Delivered) -> bool {
        d.group.is_some_and(|group| self.moves(group, d.topic).any(|sought| sought.at + HELD_BACK >= d.at))
    }

    /// The group of a delivery as the library is to see it.
    pub(crate) fn seen_as(&self, d: &Delivered) -> Option<Name> {
        let group = d.group?;
        let name = group_name(group);
        Some(match self.stretch(d) {
            _ if !MOVING.contains(&group) => name,
            Some(stretch) => stretch_name(group, stretch),
            None => format!("{name}?").into(),
        })
    }

    /// Every name that the groups have to the library.
    pub(crate) fn stretches(&self, topic: Topic) -> Vec<Name> {
        let of = |group| (0..=self.moves(group, topic).count()).map(move |stretch| stretch_name(group, stretch));
        MOVING.into_iter().flat_map(of).collect()
    }

    /// Events that a stretch says nothing of: they stand before it, or came when nobody knows in which it was.
    pub(crate) fn out_of_stretch(&self, topic: Topic, log: &[(u64, u64)]) -> Vec<(Name, u64)> {
        MOVING.into_iter().flat_map(|group| self.out_of_stretch_of(group, topic, log)).collect()
    }

    fn out_of_stretch_of(&self, group: u8, topic: Topic, log: &[(u64, u64)]) -> Vec<(Name, u64)> {
        let mine = self.history.delivered.iter().filter(|d| d.topic == topic && d.group == Some(group));
        let unknown: BTreeSet<u64> = mine.filter(|d| self.stretch(d).is_none()).map(|d| d.id.into()).collect();
        let begins = std::iter::once(0).chain(self.moves(group, topic).map(|sought| sought.to));
        let names = begins.enumerate().map(|(n, to)| (stretch_name(group, n), to));
        let names = names.chain([(format!("{}?", group_name(group)).into(), u64::MAX)]);
        let stands: BTreeSet<u64> = log.iter().map(|(id, _)| *id).collect();
        let left_out = |to, id: &u64, position: &u64| *position < to || unknown.contains(id);
        let of = |(name, to): (Name, u64)| {
            let events = log.iter().filter(move |(id, position)| left_out(to, id, position)).map(|(id, _)| *id);
            // Nor of those that went with the power, which are not in the log any more.
            let lost = unknown.difference(&stands).copied();
            events.chain(lost).map(|id| (name.clone(), id)).collect::<Vec<_>>()
        };
        names.flat_map(of).collect()
    }

    /// Whether all members of the group and the gateway were there in this span.
    fn went_on(&self, group: u8, from: Moment, to: Moment) -> bool {
        // The gateway may hear of a break later.
        let before = Moment(from.0.saturating_sub(HELD_BACK.as_micros() as u64));
        !self.history.was_away(group, before, to) && !self.restarted(from, to)
    }
}

fn stretch_name(group: u8, stretch: usize) -> Name {
    format!("{}.{stretch}", group_name(group)).into()
}

/// A group that is moved goes on there and nowhere else: nothing before comes, all that follows comes as if for the
/// first time, and is done at the end.
pub(crate) fn a_moved_group_goes_on_where_it_was_moved(
    seen: &Seen<'_>,
    logs: &BTreeMap<Topic, Log>,
    broken: &mut Vec<String>,
) {
    for group in MOVING {
        for (topic, log) in logs {
            nothing_before_and_all_anew(seen, (group, *topic), broken);
            if !seen.history.may_be_rewritten(*topic) {
                all_is_done(seen, (group, *topic, log), broken);
            }
        }
    }
}

fn nothing_before_and_all_anew(seen: &Seen<'_>, (group, topic): (u8, Topic), broken: &mut Vec<String>) {
    let moves: Vec<&Sought> = seen.moves(group, topic).collect();
    let mine: Vec<&Delivered> =
        seen.history.delivered.iter().filter(|d| d.topic == topic && d.group == Some(group)).collect();
    let unknown: BTreeSet<u32> = mine.iter().filter(|d| seen.stretch(d).is_none()).map(|d| d.id).collect();
    // Two members may see its deliveries in another order than they were made in.
    let mut first: BTreeMap<(usize, u32), (u32, &Delivered)> = BTreeMap::new();
    for d in &mine {
        if let Some(stretch) = seen.stretch(d) {
            let (attempt, _) = first.entry((stretch, d.id)).or_insert((d.attempt, d));
            *attempt = d.attempt.min(*attempt);
        }
    }
    for d in mine {
        let Some(stretch @ 1..) = seen.stretch(d) else { continue };
        let Some(sought) = moves.get(stretch - 1) else { continue };
        let first = first.get(&(stretch, d.id)).filter(|(_, first)| std::ptr::eq(*first, d));
        let attempt = first.filter(|_| !unknown.contains(&d.id)).map_or(1, |(attempt, _)| *attempt);
        let problem = if d.position < sought.to {
            "before that".to_owned()
        } else if attempt > 1 && seen.went_on(group, sought.at, d.at) {
            format!("first as attempt {attempt}")
        } else {
            continue;
        };
        broken.push(format!(
            "{}: {} to {} at {:?}, and {} came at {:?}, {problem}",
            topic.name(),
            was_moved(group),
            sought.to,
            sought.at,
            d.position,
            d.at
        ));
    }
}

const fn was_moved(group: u8) -> &'static str {
    if group == REMADE { "the group was made anew, moved" } else { "the group was moved" }
}

/// What follows the last move came since, and was acked.
fn all_is_done(seen: &Seen<'_>, (group, topic, log): (u8, Topic, &Log), broken: &mut Vec<String>) {
    let last = seen.moves(group, topic).last();
    if seen.history.consumers.values().all(|of| *of != group) || last.is_some_and(|sought| sought.kept.is_none()) {
        return;
    }
    let (at, to) = last.map_or((Moment(0), 1), |sought| (sought.at, sought.to));
    for (id, position) in log.position.iter().filter(|(_, position)| **position >= to) {
        let came = seen.deliveries(group, *id).iter().any(|d| d.at >= at);
        let acked = seen.history.settled.get(&(group, *id)).is_some_and(|s| s.acks.iter().any(|ack| ack.at >= at));
        if !came || !acked {
            let what = if came { "was not acked" } else { "never came" };
            let was_moved = was_moved(group);
            broken.push(format!("{}: {was_moved} to {to} at {at:?}, and {position} {what} since", topic.name()));
        }
    }
}
