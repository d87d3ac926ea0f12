use std::collections::BTreeMap;
use std::sync::Arc;

use super::rig::{Rig, small};
use crate::store::log::{SimDisk, SimFault};
use crate::store::{Durability, GroupId, Op, Outcome, Position, Store, StoreError, TopicId, Watermark};

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// What was committed, and what must still be there.
#[derive(Default)]
struct Model {
    /// Event sizes by place, with the batch.
    events: BTreeMap<(TopicId, Position), (usize, u64)>,
    acks: BTreeMap<(GroupId, Position), u64>,
    topics: BTreeMap<TopicId, (Durability, u64)>,
    totals: Totals,
}

#[derive(Clone, Copy, Default, Debug)]
struct Totals {
    acknowledged: u64,
    lost_unacknowledged: u64,
    kills: u64,
    power_losses: u64,
    torn: u64,
}

const TOPICS: [(u32, Durability); 3] = [(1, Durability::Synced), (2, Durability::Written), (3, Durability::Synced)];

fn group_of(topic: TopicId) -> GroupId {
    GroupId(topic.0 + 10)
}

impl Model {
    fn create(&mut self, rig: &mut Rig) {
        for (id, level) in TOPICS {
            if !rig.recovered.fold.topics.contains_key(&TopicId(id)) {
                let topic = rig.topic(id, level);
                rig.group(topic, id + 10);
                let batch = rig.store.commit(Vec::new());
                self.topics.insert(topic, (level, batch));
            }
        }
    }

    fn step(&mut self, rig: &mut Rig, random: &mut Random) {
        let (id, _) = TOPICS[random.below(3) as usize];
        let topic = TopicId(id);
        match random.below(10) {
            0..=4 => {
                let sizes: Vec<usize> = (0..=random.below(4))
                    .map(|_| if random.below(40) == 0 { 5000 } else { random.below(400) as usize })
                    .collect();
                let first = rig.next[&topic];
                let op = rig.append(topic, &sizes);
                let batch = rig.store.commit(vec![op]);
                for (position, size) in (first..).zip(sizes) {
                    self.events.insert((topic, position), (size, batch));
                }
            }
            5..=6 => {
                let head = rig.reports.heads.lock().unwrap().get(&topic).copied().unwrap_or(0);
                if head > 1 {
                    let position = 1 + random.below(head - 1);
                    let group = group_of(topic);
                    let batch = rig.store.commit(vec![Op::Settle {
                        topic,
                        group,
                        ranges: vec![(position, 1, Outcome::Acked)],
                    }]);
                    self.acks.entry((group, position)).or_insert(batch);
                }
            }
            7..=8 => drop(rig.begin()),
            _ => rig.end(),
        }
        rig.micros.fetch_add(random.below(2000), std::sync::atomic::Ordering::Relaxed);
        if random.below(50) == 0 {
            rig.advance_ms(300);
            rig.store.tick();
        }
    }

    fn covers(watermark: Watermark, power: bool, level: Durability, batch: u64) -> bool {
        let synced = level == Durability::Synced || power;
        if synced { batch <= watermark.synced } else { batch <= watermark.written }
    }

    /// Everything that was acknowledged is there; the rest of the model follows the log.
    fn check(&mut self, rig: &mut Rig, before: Watermark, power: bool) {
        assert_eq!(rig.recovered.damage, [""; 0]);
        let fold = rig.recovered.fold.clone();
        for (id, level) in TOPICS {
            let topic = TopicId(id);
            let created = self.topics.get(&topic).copied();
            let Some(state) = fold.topics.get(&topic) else {
                assert!(created.is_none_or(|(_, batch)| batch > before.synced), "a topic is lost");
                self.events.retain(|(t, _), _| *t != topic);
                continue;
            };
            for position in 1..state.next {
                assert!(self.events.contains_key(&(topic, position)), "phantom {position}");
            }
            for ((_, position), (_, batch)) in self.events.range((topic, 0)..(topic, Position::MAX)) {
                if Self::covers(before, power, level, *batch) {
                    self.totals.acknowledged += 1;
                    assert!(*position < state.next, "topic {id}: acknowledged {position} is lost");
                } else if *position >= state.next {
                    self.totals.lost_unacknowledged += 1;
                }
            }
            self.events.retain(|(t, p), _| *t != topic || *p < state.next);
            let found = rig.read_sizes(topic, 1, state.next);
            assert_eq!(found.len() as u64, state.next - 1, "every event that is left can be read");
            for (position, size) in found {
                assert_eq!(size, self.events[&(topic, position)].0, "a changed event");
            }
            let group = fold.groups.get(&group_of(topic));
            for ((_, position), batch) in self.acks.range((group_of(topic), 0)..(group_of(topic), Position::MAX)) {
                let settled = group.is_some_and(|g| *position < g.floor || g.acked.contains(*position));
                assert!(settled || !Self::covers(before, power, level, *batch), "a settlement is lost");
            }
            assert!(group.is_none_or(|g| g.floor <= state.next), "a cursor is ahead of its events");
        }
        // What was found is kept, whatever batch it had.
        let last = rig.recovered.watermark.written;
        self.events.values_mut().for_each(|(_, batch)| *batch = (*batch).min(last));
        self.topics.retain(|id, _| fold.topics.contains_key(id));
        self.topics.values_mut().for_each(|(_, batch)| *batch = (*batch).min(last));
        let settled = |g: &GroupId, p: Position| fold.groups.get(g).is_some_and(|g| p < g.floor || g.acked.contains(p));
        self.acks.retain(|(group, position), _| settled(group, *position));
        self.acks.values_mut().for_each(|batch| *batch = (*batch).min(last));
    }
}

/// One seed: several lives of a log, each ended by a kill or a power loss.
fn life(seed: u64, with_faults: bool) -> Totals {
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut rig = Rig::open(Arc::new(SimDisk::new()), small(), Arc::default()).unwrap();
    for _ in 0..4 {
        model.create(&mut rig);
        if with_faults {
            let op = rig.disk.counts().ops + random.below(60);
            rig.disk.plan(op, SimFault::PowerOff);
        }
        for _ in 0..random.below(200) {
            model.step(&mut rig, &mut random);
        }
        let before = rig.watermark();
        let power = with_faults || random.below(2) == 0;
        if let Some(task) = rig.next_write().filter(|_| random.below(2) == 0) {
            let op = task.write().unwrap();
            rig.disk.interrupt(op, random.below(u64::MAX));
        }
        let (disk, micros) = (rig.disk.clone(), rig.micros.clone());
        drop(rig);
        if power {
            disk.power_loss(random.below(u64::MAX));
            model.totals.power_losses += 1;
        } else {
            model.totals.kills += 1;
        }
        rig = Rig::open(disk, small(), micros).unwrap();
        model.check(&mut rig, before, power);
    }
    model.totals.torn = rig.disk.counts().torn;
    model.totals
}

fn lives(seeds: std::ops::Range<u64>, with_faults: bool) {
    let mut sum = Totals::default();
    for seed in seeds {
        let totals = std::panic::catch_unwind(|| life(seed, with_faults));
        let t = totals.unwrap_or_else(|_| panic!("seed {seed} failed"));
        sum.acknowledged += t.acknowledged;
        sum.lost_unacknowledged += t.lost_unacknowledged;
        sum.kills += t.kills;
        sum.power_losses += t.power_losses;
        sum.torn += t.torn;
    }
    let Totals { acknowledged, lost_unacknowledged, power_losses, torn, .. } = sum;
    assert!(acknowledged > 1000 && lost_unacknowledged > 100 && power_losses > 100 && torn > 50, "{sum:?}");
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_and_power_losses() {
    lives(0..250, false);
}

#[test]
fn nothing_acknowledged_is_lost_when_power_fails_within_any_job() {
    lives(1000..1250, true);
}

#[test]
fn a_failed_sync_ends_every_promise_and_is_never_tried_again() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[10]);
    rig.idle();
    let kept = rig.publish(topic, &[10]);
    rig.settle();
    let synced = rig.watermark().synced;
    assert!(synced >= kept);
    let lost = rig.publish(topic, &[10]);
    let counts = rig.disk.counts();
    rig.disk.plan(counts.ops + 1, SimFault::Error);
    rig.settle();
    rig.idle();
    let after = rig.watermark();
    assert!(after.failed && after.synced < lost, "{after:?}");
    assert_eq!(rig.disk.counts().syncs, counts.syncs, "no sync after the failed one");
    assert!(matches!(rig.store.reserve(10), Err(StoreError::Failed(_))));
    let never = rig.publish(topic, &[10]);
    rig.idle();
    assert!(rig.watermark().synced < never);
    assert_eq!(rig.read_all(topic, 1, 3), [1, 2], "what was synced can still be read");
    rig.store.close();
}

#[test]
fn a_failed_write_ends_every_promise() {
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Written);
    rig.idle();
    let batch = rig.publish(topic, &[10]);
    rig.disk.plan(rig.disk.counts().ops, SimFault::Error);
    rig.settle();
    assert!(rig.watermark().failed && rig.watermark().written < batch);
    rig.store.close();
}

#[cfg(feature = "testing")]
#[test]
fn every_planted_defect_is_caught_within_a_hundred_seeds() {
    use crate::store::log::planted::{Defect, plant};
    for defect in [Defect::AckBeforeSync, Defect::SyncNothing, Defect::SettleBeforeAppend] {
        plant(Some(defect));
        let caught = (0..100).find(|seed| std::panic::catch_unwind(|| life(*seed, false)).is_err());
        plant(None);
        assert!(caught.is_some(), "{defect:?} was not noticed");
    }
    let mut rig = Rig::new();
    let topic = rig.topic(1, Durability::Synced);
    rig.publish(topic, &[10]);
    rig.idle();
    plant(Some(Defect::DedupForgotten));
    let rig = rig.restart();
    plant(None);
    assert_eq!((rig.recovered.fold.producers.iter().count(), rig.recovered.recent.events()), (0, 0));
}
