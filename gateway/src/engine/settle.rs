//! Settlements from subscribers.

use std::ops::Range;

use meshwire_proto::frame::SettleKind;

use super::deliveries::Settled;
use super::{Engine, Now, SubscriptionKey};
use crate::store::TopicId;

/// Consecutive delivery numbers with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleAnswer {
    /// First number.
    pub first_delivery: u64,
    /// How many.
    pub count: u32,
    /// `false`: the lease is lost.
    pub settled: bool,
}

impl Engine {
    /// Settles deliveries by their numbers. The first settle wins, the same
    /// again is settled too, anything else is lost.
    pub fn settle(
        &mut self,
        now: Now,
        topic_id: TopicId,
        key: SubscriptionKey,
        numbers: Range<u64>,
        kind: SettleKind,
    ) -> Vec<SettleAnswer> {
        let mut answers: Vec<SettleAnswer> = Vec::with_capacity(1);
        let mut answer = |number: u64, settled: bool| match answers.last_mut() {
            Some(last) if last.settled == settled => last.count += 1,
            _ => answers.push(SettleAnswer { first_delivery: number, count: 1, settled }),
        };
        let first = numbers.start;
        let mut lost = Vec::new();
        lose_rest(&mut lost, first, numbers.end);
        let Some(topic) = self.topics.get_mut(&topic_id) else {
            return lost;
        };
        if let Some(solo) = topic.solos.get_mut(&key) {
            let deliveries = &mut solo.subscriber.deliveries;
            // A count far beyond what was delivered must not cost a loop of its size.
            let delivered = numbers.end.min(deliveries.next()).max(first);
            for number in first..delivered {
                answer(number, deliveries.settle(number, kind) != Settled::Lost);
            }
            lose_rest(&mut answers, delivered, numbers.end);
        } else if let Some(group) = topic.group_of(key) {
            let next = group.members.get(&key).map_or(first, |m| m.deliveries.next());
            let delivered = numbers.end.min(next).max(first);
            group.settle(key, first..delivered, kind, &mut answer);
            lose_rest(&mut answers, delivered, numbers.end);
            self.note_unlogged(now, topic_id);
            self.set_timers(topic_id);
        } else {
            return lost;
        }
        self.woken.insert(topic_id);
        answers
    }
}

/// Numbers that were never delivered.
fn lose_rest(answers: &mut Vec<SettleAnswer>, from: u64, to: u64) {
    if let Some(count) = to.checked_sub(from).filter(|c| *c > 0) {
        answers.push(SettleAnswer {
            first_delivery: from,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            settled: false,
        });
    }
}
