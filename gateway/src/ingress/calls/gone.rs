//! What was settled by the leases of subscriptions that have gone: who says the same again, since it heard no answer, is told the same.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use meshwire_proto::frame::SettleKind;
use meshwire_proto::{GroupName, TopicName};

use crate::mesh::TopicRef;

/// Most ranges that are remembered of one subscription; the oldest go first. Settled in order, it has one.
const MOST_RANGES: usize = 256;

/// Most ranges of all subscriptions that have gone, about 2 MiB.
const MOST_OF_ALL: usize = 32 * 1024;

/// Consecutive deliveries that were settled in the same way, the newest last.
#[derive(Debug, Default)]
pub(super) struct Answered(VecDeque<(Range<u64>, SettleKind)>);

impl Answered {
    /// These were settled. An extension settles nothing.
    pub(super) fn add(&mut self, numbers: Range<u64>, kind: SettleKind) {
        if kind == SettleKind::Extend {
            return;
        }
        if let Some((last, before)) = self.0.back_mut()
            && (last.end, *before) == (numbers.start, kind)
        {
            last.end = numbers.end;
            return;
        }
        self.0.push_back((numbers, kind));
        if self.0.len() > MOST_RANGES {
            self.0.pop_front();
        }
    }

    pub(super) fn has(&self, number: u64, kind: SettleKind) -> bool {
        self.0.iter().any(|(numbers, settled)| *settled == kind && numbers.contains(&number))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A subscription that has gone.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) topic_ref: TopicRef,
    pub(super) topic: TopicName,
    pub(super) group: GroupName,
    pub(super) answered: Answered,
}

/// Subscriptions that have gone, the newest last.
#[derive(Debug, Default)]
pub(super) struct Gone {
    left: BTreeMap<u64, Left>,
    order: VecDeque<(u64, usize)>,
    ranges: usize,
}

impl Gone {
    /// One has gone. That of which nothing was settled is not remembered.
    pub(super) fn add(&mut self, session: u64, left: Left) {
        let ranges = left.answered.len();
        if ranges == 0 {
            return;
        }
        self.left.insert(session, left);
        self.order.push_back((session, ranges));
        self.ranges += ranges;
        while self.ranges > MOST_OF_ALL {
            let Some((oldest, ranges)) = self.order.pop_front() else { return };
            self.left.remove(&oldest);
            self.ranges -= ranges;
        }
    }

    pub(super) fn find(&self, session: u64) -> Option<&Left> {
        self.left.get(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(ranges: usize) -> Option<Left> {
        let mut answered = Answered::default();
        (0..ranges as u64).for_each(|n| answered.add(2 * n..2 * n + 1, SettleKind::Ack));
        let (topic, group) = (TopicName::parse("t").ok()?, GroupName::parse("g").ok()?);
        Some(Left { topic_ref: TopicRef::ANY, topic, group, answered })
    }

    #[test]
    fn what_was_settled_is_known_with_its_kind_and_an_extension_settles_nothing() {
        let mut answered = Answered::default();
        answered.add(1..4, SettleKind::Ack);
        answered.add(4..6, SettleKind::Ack);
        answered.add(6..7, SettleKind::Nack);
        answered.add(9..10, SettleKind::Extend);
        assert_eq!(answered.len(), 2);
        assert!(answered.has(5, SettleKind::Ack) && answered.has(6, SettleKind::Nack));
        assert!(!answered.has(6, SettleKind::Ack) && !answered.has(7, SettleKind::Ack));
        assert!(!answered.has(9, SettleKind::Extend));
        (0..1000).for_each(|n| answered.add(100 + 2 * n..101 + 2 * n, SettleKind::Ack));
        assert!(
            answered.len() == MOST_RANGES && answered.has(2098, SettleKind::Ack) && !answered.has(5, SettleKind::Ack)
        );
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_go_first() {
        let mut gone = Gone::default();
        for (session, ranges) in std::iter::once((1, 0)).chain((2..1000).map(|session| (session, MOST_RANGES))) {
            left(ranges).into_iter().for_each(|left| gone.add(session, left));
            assert!(session > 1 || gone.find(1).is_none(), "nothing was settled");
        }
        assert!(gone.find(2).is_none() && gone.find(999).is_some());
        assert_eq!((gone.ranges, gone.left.len()), (MOST_OF_ALL, MOST_OF_ALL / MOST_RANGES));
    }
}
