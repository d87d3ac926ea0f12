//! Promises of the product that take minutes, in virtual time, named by their row.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind::{Ack, Nack};
use meshwire_proto::wire::admin::GroupSettings;

use super::person::{Got, Say};
use super::stage::{Keeps, Stage};
use crate::history::Disaster;

/// Credit of whoever takes as much as comes.
const MANY: u32 = 1000;

struct Scene {
    stage: Stage,
    publisher: usize,
    published: u64,
}

impl Scene {
    fn new(keeps: Keeps) -> Self {
        let mut stage = Stage::new(keeps);
        let publisher = stage.enter();
        Self { stage, publisher, published: 0 }
    }

    fn join(&mut self, settings: GroupSettings) -> usize {
        let person = self.stage.enter();
        self.stage.people[person].join("g", settings, MANY);
        self.stage.pump(person);
        self.stage.run(Duration::from_millis(40));
        person
    }

    /// Publishes so many events, of the next numbers, and waits for their receipts; gives how long that took.
    fn publish(&mut self, count: u64) -> Duration {
        let began = self.stage.now;
        for _ in 0..count {
            self.published += 1;
            self.stage.people[self.publisher].publish(&self.published.to_string(), None);
        }
        self.stage.pump(self.publisher);
        let (publisher, all) = (self.publisher, self.published);
        let kept = self.stage.run_until(began + Duration::from_secs(10), |s| s.people[publisher].kept >= all);
        assert!(kept, "not kept: {:?}", self.stage.people[publisher].refused);
        self.stage.now.since(began)
    }

    /// What a member has got by now, each acked at once.
    fn ack_all(&mut self, person: usize) -> Vec<Got> {
        let got: Vec<Got> = std::iter::from_fn(|| self.stage.people[person].look()).collect();
        for got in &got {
            self.stage.people[person].settle(&got.id, Ack.into(), false);
        }
        self.stage.pump(person);
        got
    }

    fn lag(&mut self) -> u64 {
        self.stage.groups(self.publisher).iter().map(|g| g.lag + g.in_flight).sum()
    }
}

fn numbers(got: &[Got]) -> Vec<u64> {
    got.iter().map(|got| got.id.parse().unwrap()).collect()
}

#[test]
fn s10_a_target_that_is_down_for_ten_minutes_is_not_felt_by_the_publisher_and_catches_up() {
    for keeps in Keeps::ALL {
        let mut scene = Scene::new(keeps);
        let target = scene.join(GroupSettings::default());
        let mut handled = Vec::new();
        let mut second = |scene: &mut Scene, target: Option<usize>| {
            let mut slowest = Duration::ZERO;
            for _ in 0..5 {
                slowest = slowest.max(scene.publish(1));
                scene.stage.run(Duration::from_millis(200).saturating_sub(slowest));
                handled.extend(target.map(|target| numbers(&scene.ack_all(target))).unwrap_or_default());
            }
            slowest
        };
        let usual = (0..30).map(|_| second(&mut scene, Some(target))).max().unwrap();
        scene.publish(1);
        scene.stage.kill(target);
        let during = (0..600).map(|_| second(&mut scene, None)).max().unwrap();
        assert!(during <= usual, "{keeps:?}: a publish took {during:?}, and {usual:?} with the target there");
        assert_eq!(scene.lag(), 3001);
        let target = scene.join(GroupSettings::default());
        let began = scene.stage.now;
        let all = scene.published;
        while (handled.len() as u64) < all {
            scene.stage.run(Duration::from_millis(5));
            handled.extend(numbers(&scene.ack_all(target)));
            assert!(scene.stage.now.since(began) < Duration::from_secs(30), "{} of {all}", handled.len());
        }
        handled.sort_unstable();
        assert_eq!(handled, (1..=all).collect::<Vec<_>>(), "{keeps:?}: each once");
    }
}

#[test]
fn s59_a_burst_of_ten_times_the_rate_comes_at_the_rate_and_the_backlog_is_shown() {
    const RATE: u64 = 10;
    for keeps in Keeps::ALL {
        let mut scene = Scene::new(keeps);
        let settings = GroupSettings { max_rate: Some(RATE as u32), ..GroupSettings::default() };
        let consumer = scene.join(settings);
        let mut got = Vec::new();
        let mut pass = |scene: &mut Scene, publish: u64| {
            scene.publish(publish);
            scene.stage.run(Duration::from_millis(90));
            got.extend(scene.ack_all(consumer));
            got.len() as u64
        };
        // Ten times the rate for a minute.
        let burst_ends = scene.stage.now + Duration::from_secs(60);
        let mut came = 0;
        while scene.stage.now < burst_ends {
            came = pass(&mut scene, RATE);
        }
        let shown = scene.lag();
        assert!(shown.abs_diff(scene.published - came) <= 2, "{shown} shown, {}", scene.published - came);
        let drained_by = scene.stage.now + Duration::from_secs(shown / RATE + shown / RATE / 10);
        while came < scene.published {
            assert!(scene.stage.now < drained_by, "{came} of {}", scene.published);
            came = pass(&mut scene, 0);
        }
        assert_eq!(numbers(&got), (1..=scene.published).collect::<Vec<_>>(), "{keeps:?}: all, once, in order");
        // A tenth of a second's worth may come at once after a pause.
        for span in [1, 10] {
            let most = most_within(&got, Duration::from_secs(span));
            assert!(most <= RATE * span + RATE / 10 + 1, "{keeps:?}: {most} within {span} s");
        }
        assert_eq!(scene.lag(), 0);
    }
}

/// The most deliveries in any span of that length.
fn most_within(got: &[Got], span: Duration) -> u64 {
    let within = |(n, first): (usize, &Got)| got[n..].iter().take_while(|g| g.at.since(first.at) < span).count();
    got.iter().enumerate().map(within).max().unwrap_or(0) as u64
}

/// Nacks so many events as they come, each its attempt; gives when each was.
fn nack_all(scene: &mut Scene, member: usize, attempt: u32, count: usize) -> BTreeMap<String, Moment> {
    let mut nacked = BTreeMap::new();
    let until = scene.stage.now + Duration::from_secs(60);
    while nacked.len() < count {
        assert!(scene.stage.now < until, "only {} of {count} came", nacked.len());
        while let Some(got) = scene.stage.people[member].look() {
            assert_eq!(got.attempt, attempt, "event {}", got.id);
            scene.stage.people[member].settle(&got.id, Say::from(Nack), false);
            nacked.insert(got.id, scene.stage.now);
        }
        scene.stage.pump(member);
        scene.stage.run(Duration::from_millis(1));
    }
    nacked
}

#[test]
fn s43_waits_double_inside_their_bounds_are_spread_and_go_on_over_a_restart() {
    const EVENTS: u64 = 400;
    let settings = GroupSettings {
        max_failures: Some(0),
        backoff_min_ms: Some(1000),
        backoff_max_ms: Some(8000),
        ..GroupSettings::default()
    };
    let mut scene = Scene::new(Keeps::Log);
    let mut member = scene.join(settings);
    for _ in 0..EVENTS / 20 {
        scene.publish(20);
    }
    // Waits by failures, in milliseconds above the least one.
    let mut waits: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for failures in 1..=5 {
        let least = Duration::from_millis(1000 << (failures - 1)).min(Duration::from_secs(8));
        let nacked = nack_all(&mut scene, member, failures, EVENTS as usize);
        // In the third round the gateway is killed while all of them wait.
        if failures == 3 {
            scene.stage.run(Duration::from_millis(100));
            scene.stage.kill(member);
            scene.stage.end_gateway(Disaster::Kill);
            scene.stage.start_gateway();
            member = scene.join(settings);
        }
        let of_round = waits.entry(failures).or_default();
        let until = scene.stage.now + least * 2;
        while of_round.len() < EVENTS as usize {
            assert!(scene.stage.now < until, "{} came after {failures} failures", of_round.len());
            scene.stage.run(Duration::from_millis(1));
            let came = scene.stage.people[member].inbox.iter().skip(of_round.len());
            of_round.extend(came.map(|got| got.at.since(nacked[&got.id] + least).as_millis() as u64));
            let early = scene.stage.people[member].inbox.iter().find(|got| got.at < nacked[&got.id] + least);
            assert!(early.is_none(), "{early:?} is early after {failures} failures");
        }
    }
    for (failures, waits) in waits {
        let fifth = (1000_u64 << (failures - 1)).min(8000) / 5;
        let most = waits.iter().max().unwrap();
        assert!(*most <= fifth + 50, "{failures} failures: {most} ms above the least wait");
        // Four bins over the jitter: each has its share, so those that failed together do not come together.
        let bin = |n: u64| waits.iter().filter(|wait| (**wait * 4 / fifth).min(3) == n).count();
        let bins = [bin(0), bin(1), bin(2), bin(3)];
        assert!(bins.iter().all(|count| *count > EVENTS as usize / 8), "{failures} failures: {bins:?}");
    }
}
