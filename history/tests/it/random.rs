//! Good histories drawn at random pass.

use std::collections::VecDeque;
use std::time::Duration;

use meshwire_history::{
    Answer, DeadLetter, Death, Delivery, Event, Group, History, Level, Published, Settle, SettleKind, Stored, judge,
};
use proptest::prelude::{ProptestConfig, any, prop};
use proptest::{prop_assert, proptest};

const GROUP: &str = "work";
const LIMIT: u32 = 3;
const GRACE: Duration = Duration::from_millis(250);

/// What happens to a delivery, or before it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Ack,
    Confirm,
    Nack,
    Reject,
    /// The gateway dies; what is in flight comes again.
    Death,
    /// The gateway dies right behind the ack, which is forgotten.
    ForgottenAck,
}

/// A gateway that keeps every promise, and its programs: a step each millisecond.
struct Good {
    seen: History,
    now: Duration,
    life: u64,
    fates: VecDeque<u8>,
}

impl Good {
    fn new(events: &[(u8, bool)], fates: &[u8]) -> Self {
        let mut seen = History::new("orders");
        seen.level = Level::Written;
        seen.forgive.settle_before_death = GRACE;
        let ack_wait = Duration::from_secs(30);
        seen.groups.push(Group { name: GROUP.into(), ack_wait, max_failures: Some(LIMIT), finished: true });
        let mut good = Self { seen, now: Duration::ZERO, life: 0, fates: fates.iter().copied().collect() };
        for (id, (key, answered)) in (1..).zip(events) {
            good.publish(id, *key, *answered);
        }
        good
    }

    fn tick(&mut self) -> Duration {
        self.now += Duration::from_millis(1);
        self.now
    }

    fn publish(&mut self, id: u64, key: u8, answered: bool) {
        let key = (key < 4).then(|| format!("key-{key}"));
        let event = Event::new(id, key.as_deref(), &id.to_le_bytes());
        let at = self.tick();
        let answer = if answered { Answer::Acknowledged(self.tick()) } else { Answer::Open };
        self.seen.published.push(Published { event: event.clone(), at, answer });
        // Half of what was not answered is kept all the same.
        if answered || id.is_multiple_of(2) {
            self.seen.log.push(Stored { position: self.seen.log.len() as u64 + 1, event });
        }
    }

    /// Windows of a few events that are in flight together, until all are settled.
    fn consume(mut self) -> History {
        let log = self.seen.log.clone();
        for window in log.chunks(5) {
            let mut open: Vec<(Stored, u32)> = window.iter().map(|stored| (stored.clone(), 0)).collect();
            while !open.is_empty() {
                open = self.round(open);
            }
        }
        self.seen
    }

    /// Hands out what is open with its failures, settles it, and gives what comes again.
    fn round(&mut self, open: Vec<(Stored, u32)>) -> Vec<(Stored, u32)> {
        for (stored, failures) in &open {
            self.deliver(stored, failures + 1);
        }
        let mut left: Vec<(Stored, u32)> = Vec::new();
        let mut open: VecDeque<(Stored, u32)> = open.into();
        while let Some((stored, failures)) = open.pop_front() {
            // It was taken back with an earlier one of its key: a new attempt of this life.
            let behind = |(earlier, _): &(Stored, u32)| earlier.event.key == stored.event.key;
            if stored.event.key.is_some() && left.iter().any(behind) {
                left.push((stored, failures + 1));
                continue;
            }
            match self.fate(failures) {
                Fate::Ack => self.settle(&stored, SettleKind::Ack),
                Fate::Confirm => {
                    self.settle(&stored, SettleKind::Ack);
                    let confirmed = self.tick();
                    self.seen.settles.last_mut().unwrap().confirmed = Some(confirmed);
                }
                Fate::Nack => {
                    self.settle(&stored, SettleKind::Nack);
                    if failures + 1 < LIMIT { left.push((stored, failures + 1)) } else { self.give_up(stored) }
                }
                Fate::Reject => {
                    self.settle(&stored, SettleKind::Reject);
                    self.give_up(stored);
                }
                Fate::Death => {
                    open.push_front((stored, failures));
                    return self.die(left, open);
                }
                Fate::ForgottenAck => {
                    self.settle(&stored, SettleKind::Ack);
                    open.push_front((stored, failures));
                    return self.die(left, open);
                }
            }
        }
        left
    }

    /// Everything ends well when the fates are used up.
    fn fate(&mut self, failures: u32) -> Fate {
        match self.fates.pop_front() {
            Some(0) if failures == 0 => Fate::Reject,
            Some(1 | 2) => Fate::Nack,
            Some(3) => Fate::Death,
            Some(4) => Fate::ForgottenAck,
            Some(5..8) => Fate::Confirm,
            _ => Fate::Ack,
        }
    }

    fn die(&mut self, left: Vec<(Stored, u32)>, open: VecDeque<(Stored, u32)>) -> Vec<(Stored, u32)> {
        let at = self.tick();
        self.seen.deaths.push(Death { at, life: self.life, power_lost: false });
        self.life += 1;
        self.now += GRACE;
        let mut all: Vec<(Stored, u32)> = left.into_iter().chain(open).collect();
        all.sort_by_key(|(stored, _)| stored.position);
        all
    }

    fn deliver(&mut self, stored: &Stored, attempt: u32) {
        let member = stored.event.key.clone().unwrap_or_else(|| "anybody".into());
        let event = stored.event.clone();
        let (at, life, position) = (self.tick(), self.life, stored.position);
        let group = Some(GROUP.into());
        let subscription = self.life;
        let came = Delivery { at, life, group, member, subscription, position, attempt, event, excused: false };
        self.seen.deliveries.push(came);
    }

    fn settle(&mut self, stored: &Stored, kind: SettleKind) {
        let (at, life, event) = (self.tick(), self.life, stored.event.id);
        let settle = Settle { at, life, group: GROUP.into(), event, kind, confirmed: None, excused: false };
        self.seen.settles.push(settle);
    }

    fn give_up(&mut self, stored: Stored) {
        self.seen.letters.push(DeadLetter { group: GROUP.into(), position: stored.position, event: stored.event });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_good_history_drawn_at_random_passes(
        events in prop::collection::vec((0..6_u8, any::<bool>()), 1..40),
        fates in prop::collection::vec(0..20_u8, 0..120),
    ) {
        let seen = Good::new(&events, &fates).consume();
        let broken = judge(&seen).broken;
        prop_assert!(broken.is_empty(), "{:?}", broken);
    }
}
