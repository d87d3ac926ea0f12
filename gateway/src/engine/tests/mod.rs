//! The engine against promises, in virtual time, over blocks in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod alone;
mod boundary;
mod broadcast;
mod cold;
mod dead_letters;
mod delayed;
mod delete;
mod full;
mod gaps;
mod groups;
mod held_keys;
mod holds;
mod keys;
mod leases;
mod many_groups;
mod rates;
mod restored;
mod retry;

use std::collections::BTreeMap;

use meshwire_proto::frame::SettleKind::{self, Ack, Nack};
use meshwire_proto::wire::admin;
use meshwire_proto::{Event, EventLimits, GroupKey, Timing, TopicName};

use super::*;
use crate::store::{
    Append, Block, Change, DelayChange, Durability, Failure, GroupSettings, Limits, Outcome, ProducerMark, Times,
};

const TOPIC: TopicId = TopicId(1);
const WAIT: Duration = Duration::from_secs(30);
const MANY: Credit = Credit { events: 1000, bytes: 1 << 30 };

const ONE: Credit = Credit { events: 1, bytes: 1 << 30 };

const fn sub(n: u64) -> SubscriptionKey {
    SubscriptionKey { session: n, subscription: 1 }
}

/// What a subscription got: `(number, position, attempt)`.
type Got = BTreeMap<SubscriptionKey, Vec<(u64, Position, u32)>>;

fn positions(got: &[(u64, Position, u32)]) -> Vec<Position> {
    got.iter().map(|g| g.1).collect()
}

#[derive(Default)]
struct Blocks {
    blocks: Vec<(TopicId, Block)>,
    gone_before: Position,
    /// Claims that are still refused.
    full: u32,
    /// Claims before them that find the store making room.
    busy: u32,
    /// Blocks of the topic that hold these events must be fetched.
    cold: std::ops::Range<Position>,
    /// What was to be fetched.
    fetches: Vec<Position>,
}

impl Source for Blocks {
    fn claim(&mut self, _: TopicId, _: u64) -> Result<(), StoreError> {
        if let Some(left) = self.busy.checked_sub(1) {
            self.busy = left;
            return Err(StoreError::Busy("in a moment".to_owned()));
        }
        let Some(left) = self.full.checked_sub(1) else {
            return Ok(());
        };
        self.full = left;
        Err(StoreError::Full("there is none".to_owned()))
    }

    fn first(&mut self, _: TopicId) -> Position {
        self.gone_before.max(1)
    }

    fn block(&mut self, topic: TopicId, from: Position) -> Lookup {
        if topic == TOPIC && from < self.gone_before {
            return Lookup::Gone(self.gone_before);
        }
        let mut of_topic = self.blocks.iter().filter(|(of, _)| *of == topic).map(|(_, block)| block);
        let found = of_topic.find(|b| (b.first..b.next()).contains(&from));
        match found {
            Some(block) if topic == TOPIC && self.cold.contains(&from) => {
                self.fetches.push(from);
                Lookup::Pending(block.next())
            }
            found => found.cloned().map_or(Lookup::Ahead, Lookup::Ready),
        }
    }
}

fn is_failed(outcome: Outcome) -> bool {
    outcome != Outcome::Acked
}

fn key(name: &str) -> GroupKey {
    GroupKey::parse(name).unwrap()
}

/// A group of this id, and a durable member of the next one.
fn group_spec(name: &str, id: u32, settings: admin::GroupSettings) -> GroupSpec {
    GroupSpec { name: key(name), new_ids: [GroupId(id), GroupId(id + 1)], settings, most: 100_000, room: 100_000 }
}

struct Rig {
    engine: Engine,
    blocks: Blocks,
    now: Now,
    got: Got,
    settled: Vec<(Position, u32, crate::store::Outcome)>,
    next_id: u64,
    settings: admin::GroupSettings,
    graves: Vec<(Position, Change)>,
    /// What was told to be missing.
    gaps: Vec<(SubscriptionKey, u64)>,
    /// Runs that came: first position, how many, and until when they are delivered.
    runs: Vec<(Position, u32, Option<i64>)>,
    /// Of what is published from now on.
    timing: Timing,
    delays: Vec<(Position, DelayChange)>,
}

impl Rig {
    fn new() -> Self {
        let settings = Settings {
            dedup_window: Duration::from_secs(120),
            settle_delay: Duration::from_millis(10),
            max_lag_events: 100,
            logged: true,
            dead_letter_retention_ms: 1 << 40,
            dead_letter_bytes: 1 << 20,
        };
        let mut engine = Engine::new(settings, IdBudget::new(1000, 1));
        let (name, limits) = (TopicName::parse("t").unwrap(), Limits::default());
        let topic = TopicSettings { name, durability: Durability::Synced, retention_ms: 1, limits };
        engine.add_topic(TOPIC, topic, 1, UnixMillis(0));
        Self {
            engine,
            blocks: Blocks::default(),
            now: Now::default(),
            got: Got::new(),
            settled: Vec::new(),
            next_id: 1,
            settings: admin::GroupSettings { ack_wait_ms: Some(30_000), ..admin::GroupSettings::default() },
            graves: Vec::new(),
            gaps: Vec::new(),
            runs: Vec::new(),
            timing: Timing::default(),
            delays: Vec::new(),
        }
    }

    fn run(ids: &[String], key: Option<&str>) -> EventRun {
        let event = |id: &String| {
            let event = Event::text("t", "x").id(id).source("/s");
            key.map_or(event.clone(), |k| event.key(k)).encode().unwrap()
        };
        ids.iter().map(event).collect()
    }

    fn publish_run(&mut self, run: &EventRun, mark: Option<ProducerMark>) -> Vec<Judged> {
        let scanned = scan(run, EventLimits::default(), &IdHasher::new([0; 16]));
        let judged = self.engine.publish(
            self.now,
            TOPIC,
            (run, scanned),
            How { producer: mark, room: true, timing: self.timing },
        );
        self.commit();
        judged
    }

    fn commit(&mut self) {
        let mut out = Vec::new();
        self.keep();
        if self.engine.release(self.now, &mut self.blocks) {
            self.keep();
        }
        self.engine.dispatch(self.now, &mut self.blocks, &mut out);
        if self.engine.has_ops() {
            self.keep();
        }
        for Output::Deliver { subscription, run } in out {
            self.runs.push((run.first_position, run.events.count(), run.expires.map(|at| at.0)));
            self.gaps.extend((run.gap > 0).then_some((subscription, run.gap)));
            let got = self.got.entry(subscription).or_default();
            for n in 0..u64::from(run.events.count()) {
                got.push((run.first_delivery + n, run.first_position + n, run.attempt));
            }
        }
    }

    /// One commit, kept at once.
    fn keep(&mut self) {
        for op in self.engine.take_ops(self.now, false) {
            match op {
                Op::Append(Append { topic, first, stored, bytes, index, .. }) => {
                    let block = Block { first, stored, bytes, index: index.into() };
                    self.engine.kept(topic, block.next());
                    self.blocks.blocks.push((topic, block));
                }
                Op::Settle { ranges, .. } => self.settled.extend(ranges),
                Op::Graves { changes, .. } => self.graves.extend(changes),
                Op::Times(Times::Delays { changes, .. }) => self.delays.extend(changes),
                _ => {}
            }
        }
    }

    fn publish(&mut self, count: u64, key: Option<&str>) {
        let ids: Vec<String> = (self.next_id..self.next_id + count).map(|n| n.to_string()).collect();
        self.next_id += count;
        self.publish_run(&Self::run(&ids, key), None);
    }

    /// Events with so many keys in turn.
    fn publish_keys(&mut self, count: u64, keys: u64) {
        let event = |n: u64| Event::text("t", "x").id(n.to_string()).source("/s").key((n % keys).to_string());
        let ids = self.next_id..self.next_id + count;
        self.next_id += count;
        self.publish_run(&ids.map(|n| event(n).encode().unwrap()).collect(), None);
    }

    fn join(&mut self, n: u64, credit: Credit) {
        let group = group_spec("g", 1, self.settings);
        let spec = SubscribeSpec { group: Some(group), start: Some(1), credit };
        self.engine.subscribe(self.now, TOPIC, sub(n), spec).unwrap();
        self.commit();
    }

    fn settle(&mut self, n: u64, first: u64, count: u32, kind: SettleKind) -> Vec<bool> {
        self.settle_as(n, first, count, SettleAs { delay: Some(Duration::ZERO), ..kind.into() })
    }

    fn settle_as(&mut self, n: u64, first: u64, count: u32, how: SettleAs<'_>) -> Vec<bool> {
        let answers = self.engine.settle(self.now, TOPIC, sub(n), first..first + u64::from(count), how);
        self.commit();
        answers.into_iter().flat_map(|a| std::iter::repeat_n(a.settled, a.count as usize)).collect()
    }

    fn advance(&mut self, by: Duration) {
        self.now.mono = self.now.mono + by;
        self.engine.tick(self.now);
        self.commit();
    }

    fn take(&mut self, n: u64) -> Vec<(u64, Position, u32)> {
        self.got.remove(&sub(n)).unwrap_or_default()
    }
}

#[test]
fn an_acked_event_is_never_delivered_again_and_an_unacked_one_is_after_its_lease() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    assert_eq!(rig.take(1), [(1, 1, 1), (2, 2, 1), (3, 3, 1)]);
    assert_eq!(rig.settle(1, 1, 2, Ack), [true, true]);
    rig.advance(WAIT - Duration::from_millis(1));
    assert_eq!(rig.take(1), []);
    rig.advance(Duration::from_millis(1));
    assert_eq!(rig.take(1), [(4, 3, 2)]);
    assert_eq!(rig.settle(1, 3, 1, Ack), [false], "its lease ended");
    assert_eq!(rig.settle(1, 4, 1, Ack), [true]);
    rig.advance(WAIT * 2);
    assert_eq!(rig.take(1), []);
    assert_eq!(rig.engine.deadline(), None, "nothing is left to end");
}

#[test]
fn credit_bounds_what_a_subscriber_holds() {
    let mut rig = Rig::new();
    rig.join(1, Credit { events: 4, bytes: 1 << 30 });
    rig.publish(10, None);
    assert_eq!(rig.take(1).len(), 4);
    rig.settle(1, 1, 3, Ack);
    assert_eq!(rig.take(1), [(5, 5, 1), (6, 6, 1), (7, 7, 1)]);
}

#[test]
fn members_share_the_events_and_a_lost_ones_come_again_elsewhere() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.join(2, MANY);
    rig.publish(100, None);
    let (first, second) = (rig.take(1), rig.take(2));
    assert_eq!(first.len() + second.len(), 100);
    assert!(first.len() >= 32 && second.len() >= 32, "{} {}", first.len(), second.len());
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Lost);
    rig.commit();
    let again = rig.take(2);
    assert_eq!(again.len(), first.len());
    assert!(again.iter().all(|(_, _, attempt)| *attempt == 2));
}

#[test]
fn a_key_goes_to_one_member_at_a_time_and_a_nack_takes_back_what_follows() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.join(2, MANY);
    rig.publish(5, Some("k"));
    let (member, got) = if rig.got.contains_key(&sub(1)) { (1, rig.take(1)) } else { (2, rig.take(2)) };
    assert_eq!(got.iter().map(|g| g.1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    rig.settle(member, 1, 1, Ack);
    rig.settle(member, 3, 1, Nack);
    // 2 is still in flight there, so 3, 4 and 5 come again to the same member, in order.
    let again = rig.take(member);
    assert_eq!(again.iter().map(|g| (g.1, g.2)).collect::<Vec<_>>(), [(3, 2), (4, 2), (5, 2)]);
    assert_eq!(rig.settle(member, 4, 2, Ack), [false, false], "they were taken back");
    assert_eq!(rig.take(3 - member), []);
    rig.advance(Duration::from_millis(10));
    let failed: Vec<_> = rig.settled.iter().filter(|s| is_failed(s.2)).collect();
    assert_eq!(failed.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>(), [(3, 1)], "only the nacked one gains a failure");
}

#[test]
fn a_key_whose_member_has_no_room_waits_and_others_go_on() {
    let mut rig = Rig::new();
    rig.join(1, Credit { events: 1, bytes: 1 << 30 });
    rig.publish(2, Some("a"));
    assert_eq!(rig.take(1), [(1, 1, 1)]);
    rig.join(2, MANY);
    rig.publish(1, Some("b"));
    assert_eq!(rig.take(2).iter().map(|g| g.1).collect::<Vec<_>>(), [3], "2 waits behind 1");
    rig.settle(1, 1, 1, Ack);
    let second = [rig.take(1), rig.take(2)].concat();
    assert_eq!(second.iter().map(|g| g.1).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_clean_leave_gives_back_at_once_without_a_failure() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.commit();
    rig.join(2, MANY);
    assert_eq!(rig.take(2).iter().map(|g| g.1).collect::<Vec<_>>(), [1, 2, 3]);
    rig.advance(Duration::from_millis(10));
    assert_eq!(rig.settled, []);
}

#[test]
fn a_resumed_subscriber_gets_again_what_never_arrived_under_the_same_numbers() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(4, None);
    rig.take(1);
    rig.engine.suspend(TOPIC, sub(1));
    rig.publish(1, None);
    assert_eq!(rig.take(1), [], "nothing is delivered to a suspended one");
    assert!(rig.engine.resume(TOPIC, sub(1), 3));
    rig.commit();
    assert_eq!(rig.take(1), [(3, 3, 1), (4, 4, 1), (5, 5, 1)]);
    assert_eq!(rig.settle(1, 1, 5, Ack), [true; 5]);
    assert!(!rig.engine.resume(TOPIC, sub(1), 9), "it cannot have seen what was not sent");
}

#[test]
fn every_unnamed_subscriber_gets_every_event_from_its_start() {
    let mut rig = Rig::new();
    rig.publish(2, None);
    for (n, start) in [(1, Some(1)), (2, None)] {
        rig.engine.subscribe(rig.now, TOPIC, sub(n), SubscribeSpec { group: None, start, credit: MANY }).unwrap();
    }
    rig.publish(2, None);
    assert_eq!(rig.take(1).iter().map(|g| g.1).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(rig.take(2).iter().map(|g| g.1).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(rig.settle(1, 2, 1, Nack), [true], "without a group a settle only returns credit");
    assert_eq!(rig.take(1), []);
}

#[test]
fn what_retention_took_is_told_as_a_gap() {
    let mut rig = Rig::new();
    let one = Credit { events: 1, bytes: 1 << 30 };
    rig.engine.subscribe(rig.now, TOPIC, sub(1), SubscribeSpec { group: None, start: Some(1), credit: one }).unwrap();
    rig.publish(10, None);
    rig.take(1);
    rig.blocks.gone_before = 8;
    rig.engine.settle(rig.now, TOPIC, sub(1), 1..2, Ack.into());
    let mut out = Vec::new();
    rig.engine.dispatch(rig.now, &mut rig.blocks, &mut out);
    let Some(Output::Deliver { run, .. }) = out.first() else { panic!("a delivery") };
    assert_eq!((run.first_position, run.gap), (8, 6));
}

#[test]
fn duplicates_are_found_by_id_and_by_sequence_and_bad_events_by_index() {
    let mut rig = Rig::new();
    let mark = ProducerMark { producer: [9; 16], epoch: 1, first_sequence: 1, answered_through: 0 };
    let ids = ["a", "b"].map(str::to_owned);
    assert_eq!(rig.publish_run(&Rig::run(&ids, None), Some(mark))[0], Judged { count: 2, verdict: Verdict::New(1) });
    assert_eq!(rig.publish_run(&Rig::run(&ids, None), Some(mark))[0].verdict, Verdict::Duplicate(0), "a replay");
    let mixed: EventRun = [
        Event::text("t", "x").id("b").source("/s").encode().unwrap(),
        bytes::Bytes::from_static(b"\x0a\x01c"),
        Event::text("t", "x").id("d").source("/s").encode().unwrap(),
    ]
    .into_iter()
    .collect();
    let judged = rig.publish_run(&mixed, None);
    assert_eq!(judged[0].verdict, Verdict::Duplicate(2));
    assert!(matches!(judged[1].verdict, Verdict::Refused(_)));
    assert_eq!(judged[2], Judged { count: 1, verdict: Verdict::New(3) });
    let (_, stored) = rig.blocks.blocks.last().unwrap();
    let run = stored.run(3, 1).unwrap();
    assert_eq!(run.iter().next().unwrap(), mixed.iter().nth(2).unwrap(), "bytes as they came");
}

#[test]
fn a_group_is_refused_other_settings_by_name() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    let group = group_spec("g", 2, admin::GroupSettings { ack_wait_ms: Some(5000), ..rig.settings });
    let refused =
        rig.engine.subscribe(rig.now, TOPIC, sub(2), SubscribeSpec { group: Some(group), start: None, credit: MANY });
    assert!(refused.unwrap_err().to_string().contains("ack_wait"));
}

#[test]
fn settles_ride_in_a_commit_or_start_their_own_within_ten_milliseconds() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.settle(1, 1, 1, Ack);
    assert_eq!(rig.settled, []);
    assert_eq!(rig.engine.deadline(), Some(Moment(10_000)));
    rig.publish(1, None);
    assert_eq!(rig.settled, [(1, 1, crate::store::Outcome::Acked)], "rode along");
    rig.settle(1, 2, 2, Ack);
    rig.advance(Duration::from_millis(10));
    assert_eq!(rig.settled.last(), Some(&(2, 2, crate::store::Outcome::Acked)));
}

#[test]
fn an_event_whose_lease_has_ended_may_be_settled_until_somebody_has_it_again() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(3, None);
    rig.take(1);
    rig.engine.credit(TOPIC, sub(1), Credit { events: 0, bytes: 0 });
    rig.advance(WAIT);
    assert_eq!(rig.settle(1, 1, 1, Ack), [true], "late, and nobody has it");
    assert_eq!(rig.settle(1, 1, 1, Ack), [true], "the same again");
    assert_eq!(rig.settle(1, 1, 1, Nack), [false]);
    assert_eq!(rig.settle(1, 2, 1, Nack), [true]);
    assert_eq!(rig.settle(1, 2, 1, Ack), [false], "the first settle wins");
    rig.join(2, MANY);
    assert_eq!(rig.take(2), [(1, 2, 2), (2, 3, 2)], "one failure each, and the acked one is done");
    assert_eq!(rig.settle(1, 3, 1, Ack), [false], "it was leased again");
    rig.advance(Duration::from_millis(10));
    let failed: Vec<_> = rig.settled.iter().map(|s| (s.0, s.1, is_failed(s.2))).collect();
    assert_eq!(failed, [(1, 3, true), (1, 1, false)]);
}

#[test]
fn a_number_that_a_resume_uses_again_is_not_that_of_an_ended_lease() {
    let mut rig = Rig::new();
    rig.join(1, Credit { events: 16, bytes: 1 << 30 });
    rig.join(2, Credit { events: 1, bytes: 1 << 30 });
    rig.publish(17, None);
    assert_eq!((rig.take(1).len(), rig.take(2)), (16, vec![(1, 17, 1)]));
    rig.engine.suspend(TOPIC, sub(2));
    rig.advance(WAIT);
    rig.take(1);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    assert!(rig.engine.resume(TOPIC, sub(2), 1), "17 had not arrived");
    rig.commit();
    assert_eq!(rig.take(2), [(1, 1, 3)]);
    rig.engine.credit(TOPIC, sub(2), Credit { events: 0, bytes: 0 });
    assert_eq!(rig.settle(2, 1, 1, Ack), [true]);
    rig.join(3, MANY);
    assert_eq!(rig.take(3).iter().map(|g| g.1).collect::<Vec<_>>(), (2..=17).collect::<Vec<_>>(), "1 is done, not 17");
}

#[test]
fn a_settle_of_half_of_all_numbers_is_answered_in_three() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(10, None);
    let all = 0..u64::MAX / 2;
    for _ in 0..2 {
        let answers = rig.engine.settle(rig.now, TOPIC, sub(1), all.clone(), Ack.into());
        let answers: Vec<_> = answers.iter().map(|a| (a.first_delivery, a.count, a.settled)).collect();
        assert_eq!(answers, [(0, 1, false), (1, 10, true), (11, all.end - 11, false)]);
    }
    assert_eq!(rig.engine.settle(rig.now, TOPIC, sub(9), all.clone(), Ack.into())[0].count, all.end, "nobody's");
}
