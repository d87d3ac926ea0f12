//! Settlements from subscribers.

use std::ops::Range;
use std::time::Duration;

use meshwire_proto::frame::SettleKind;

use super::deliveries::{Part, Settled};
use super::readers::Reader;
use super::{Engine, Now, SubscriptionKey};
use crate::store::TopicId;

/// Consecutive delivery numbers with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleAnswer {
    /// First number.
    pub first_delivery: u64,
    /// How many.
    pub count: u64,
    /// `false`: the lease is lost.
    pub settled: bool,
    /// Of a confirmed settle: where what was on its way ended when these were nacked or taken back, else where it ends
    /// now. Later deliveries of their key that have a lower number were taken back with them. 0: not asked for.
    pub boundary: u64,
}

/// What a consumer says of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct SettleAs<'a> {
    /// What happens to them.
    pub kind: SettleKind,
    /// For a nack: when to deliver again; `None` for when the group's settings say.
    pub delay: Option<Duration>,
    /// For a nack and a reject: why. The first 1024 bytes are kept.
    pub reason: &'a str,
}

impl SettleAs<'_> {
    /// What is said that this kind has not; `None`: it is well.
    #[must_use]
    pub fn misfit(&self) -> Option<&'static str> {
        if self.delay.is_some() && self.kind != SettleKind::Nack {
            return Some("only a nack has a delay_ms");
        }
        let has_reason = matches!(self.kind, SettleKind::Nack | SettleKind::Reject);
        (!self.reason.is_empty() && !has_reason).then_some("only a nack and a reject have a reason")
    }
}

impl From<SettleKind> for SettleAs<'_> {
    fn from(kind: SettleKind) -> Self {
        Self { kind, delay: None, reason: "" }
    }
}

impl Engine {
    /// The same answers with their boundaries.
    #[must_use]
    pub fn with_boundaries(
        &self,
        topic: TopicId,
        key: SubscriptionKey,
        answers: Vec<SettleAnswer>,
    ) -> Vec<SettleAnswer> {
        let Some(topic) = self.topics.get(&topic) else { return answers };
        let subscriber = match topic.reader(key) {
            Some(Reader::Solo(key)) => topic.solos.get(&key).map(|solo| &solo.subscriber),
            Some(Reader::Group(id)) => topic.groups.get(&id).and_then(|group| group.members.get(&key)),
            None => None,
        };
        let Some(subscriber) = subscriber else { return answers };
        let mut told = Vec::with_capacity(answers.len());
        for answer in answers {
            #[cfg(feature = "testing")]
            if super::planted::is(super::planted::Defect::BoundaryForgotten) {
                told.push(SettleAnswer { boundary: subscriber.deliveries.next(), ..answer });
                continue;
            }
            let numbers = answer.first_delivery..answer.first_delivery.saturating_add(answer.count);
            subscriber.deliveries.boundaries(numbers, |numbers, boundary| {
                let (first_delivery, count) = (numbers.start, numbers.end - numbers.start);
                told.push(SettleAnswer { first_delivery, count, boundary, ..answer });
            });
        }
        told
    }

    /// Settles deliveries by their numbers. The first settle wins, the same
    /// again is settled too, anything else is lost.
    pub fn settle(
        &mut self,
        now: Now,
        topic_id: TopicId,
        key: SubscriptionKey,
        numbers: Range<u64>,
        how: SettleAs<'_>,
    ) -> Vec<SettleAnswer> {
        let mut answers: Vec<SettleAnswer> = Vec::with_capacity(1);
        let mut answer = |numbers: Range<u64>, settled: bool| match answers.last_mut() {
            Some(last) if last.settled == settled => last.count += numbers.end - numbers.start,
            _ if numbers.is_empty() => {}
            _ => {
                let count = numbers.end - numbers.start;
                answers.push(SettleAnswer { first_delivery: numbers.start, count, settled, boundary: 0 });
            }
        };
        let Some(topic) = self.topics.get_mut(&topic_id) else {
            answer(numbers, false);
            return answers;
        };
        let Some(reader) = topic.reader(key) else {
            answer(numbers, false);
            return answers;
        };
        if let Some(solo) = topic.solos.get_mut(&key) {
            solo.subscriber.arrived(numbers.end.saturating_sub(1));
            let (deliveries, kind) = (&mut solo.subscriber.deliveries, how.kind);
            if kind == SettleKind::Extend {
                // It has no lease that could end.
                answer(numbers, true);
                return answers;
            }
            for part in deliveries.parts(numbers, kind) {
                match part {
                    Part::All(numbers, settled) => answer(numbers, settled),
                    Part::Each(numbers) => {
                        let next = deliveries.settle_first(numbers.clone(), kind);
                        answer(numbers.start..next, true);
                        (next..numbers.end).for_each(|n| answer(n..n + 1, deliveries.settle(n, kind) != Settled::Lost))
                    }
                }
            }
        } else if let Reader::Group(id) = reader
            && let Some(group) = topic.groups.get_mut(&id)
        {
            group.settle(now, key, numbers, how, &mut answer);
            self.touched(now, topic_id, id);
        }
        self.wake_reader(topic_id, reader);
        answers
    }
}
