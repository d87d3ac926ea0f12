//! Races that one thread cannot have: publishers, members that come and go, resumes,
//! an administrator and the clock, each in a thread of its own, over one mesh and the
//! real log. At the end everything must be there exactly once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use meshwire_gateway::clock::{Clock, SystemClock};
use meshwire_gateway::config::Config;
use meshwire_gateway::delivery::Sink;
use meshwire_gateway::mesh::{
    Action, AllowAll, Answer, Caller, Credit, Leaving, Mesh, MeshConfig, ProducerMark, SettleAs, SettleRequest, SoFar,
    Stores, SubscribeRequest, SubscriptionKey, TopicRef,
};
use meshwire_gateway::recover::open_mesh;
use meshwire_gateway::store::Store;
use meshwire_gateway::store::log::{LogOptions, LogStore};
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_proto::frame::{DeliverRun, SettleKind};
use meshwire_proto::wire::admin::{self, answer, command};
use meshwire_proto::{Event, EventRun, GroupKey};

const TOPIC: &str = "work";
const PUBLISHERS: u64 = 2;
const MEMBERS: u64 = 3;
/// Events of each publisher.
const EVENTS: u64 = 2000;
const ALL: u64 = PUBLISHERS * EVENTS;
/// Only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A row of numbers that looks random.
struct Chance(u64);

impl Chance {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Deliveries for one member.
#[derive(Default)]
struct Inbox {
    runs: Mutex<VecDeque<DeliverRun>>,
    filled: Condvar,
}

impl Sink for Inbox {
    fn deliver(&self, run: DeliverRun) {
        self.runs.lock().unwrap().push_back(run);
        self.filled.notify_one();
    }

    fn ended(&self, _subscription: u32) {
        unreachable!("nobody deletes the topic");
    }
}

impl Inbox {
    /// The runs that came, waiting a little for the first.
    fn take(&self) -> VecDeque<DeliverRun> {
        let runs = self.runs.lock().unwrap();
        let wait = Duration::from_millis(2);
        let (mut runs, _) = self.filled.wait_timeout_while(runs, wait, |runs| runs.is_empty()).unwrap();
        std::mem::take(&mut *runs)
    }
}

/// A mesh, and what was said of each event.
struct Room {
    mesh: Mesh,
    log: Option<Arc<LogStore>>,
    caller: Caller,
    topic: TopicRef,
    /// Acks and rejects that were answered as good, by position.
    said: Mutex<BTreeMap<u64, (u32, u32)>>,
    settled: AtomicU64,
    began: Instant,
    /// For whoever waits a moment.
    pause: (Mutex<()>, Condvar),
}

impl Room {
    fn open(directory: Option<&Path>) -> Self {
        let clock = Arc::new(SystemClock::new());
        let told = clock.clone();
        let time = Arc::new(move || (told.now().mono, told.now().wall));
        let options = LogOptions { segment_bytes: 4 << 20, ..LogOptions::default() };
        let opened = directory.map(|path| LogStore::open(path, &options, time).unwrap());
        let (log, found) = opened.map_or((None, None), |(log, found)| (Some(log), Some(found)));
        let memory = Arc::new(MemoryStore::new(MemoryConfig { ring_bytes: 4 << 20, total_bytes: 8 << 20 }));
        let stores = Stores { memory, log: log.clone().map(|log| log as Arc<dyn Store>) };
        let config = MeshConfig { shards: 2, ..Config::default().mesh([7; 16]) };
        let mesh = open_mesh(config, clock, Arc::new(AllowAll), stores, found).unwrap();
        if let Some(log) = &log {
            log.start(mesh.completions()).unwrap();
        }
        let caller = Caller::anonymous("threads", None);
        let topic = mesh.open_topic(&caller, TOPIC, Action::Publish).unwrap();
        let (said, settled, pause) = (Mutex::default(), AtomicU64::new(0), Default::default());
        Self { mesh, log, caller, topic, said, settled, began: Instant::now(), pause }
    }

    fn is_done(&self) -> bool {
        assert!(self.began.elapsed() < PATIENCE, "{} of {ALL} are settled", self.settled.load(Ordering::Relaxed));
        self.settled.load(Ordering::Relaxed) >= ALL
    }

    /// A moment, in which others go on.
    fn moment(&self) {
        let guard = self.pause.0.lock().unwrap();
        drop(self.pause.1.wait_timeout(guard, Duration::from_millis(1)).unwrap());
    }

    fn publish(&self, publisher: u64) {
        let mut chance = Chance(publisher);
        let mut first = 1;
        while first <= EVENTS {
            let count = (1 + chance.below(20)).min(EVENTS + 1 - first);
            let event = |n: u64| {
                let event = Event::text("t", "x").id(format!("{publisher}-{n}")).source("/threads");
                let key = n % 11;
                if key < 8 { event.key(format!("{publisher}-{key}")) } else { event }.encode().unwrap()
            };
            let run: EventRun = (first..first + count).map(event).collect();
            let producer = [publisher as u8; 16];
            let mark = ProducerMark { producer, epoch: 1, first_sequence: first, answered_through: 0 };
            let published = self.mesh.publish(&self.caller, self.topic, TOPIC, &run, Some(mark)).unwrap();
            let refused = published.answers.iter().find(|(_, answer)| matches!(answer, Answer::Refused(_)));
            if refused.is_some() || chance.below(20) == 0 {
                // No room just then; or a replay: those that were taken are told apart.
                self.moment();
                continue;
            }
            first += count;
        }
    }

    fn settle(&self, key: SubscriptionKey, number: u64, how: SettleAs<'_>, confirm: bool) -> bool {
        let asked = SettleRequest { numbers: number..number + 1, how, confirm };
        let answers = self.mesh.settle(&self.caller, (self.topic, TOPIC), key, asked).unwrap().answers;
        assert_eq!(answers.iter().map(|a| a.count).sum::<u64>(), 1);
        answers.iter().all(|a| a.settled)
    }

    /// Says something of a delivery, or nothing.
    fn handle(&self, key: SubscriptionKey, number: u64, position: u64, chance: &mut Chance) {
        let how = |kind| SettleAs { kind, delay: Some(Duration::ZERO), reason: "" };
        match chance.below(100) {
            0..2 => {}
            2..12 => drop(self.settle(key, number, how(SettleKind::Nack), false)),
            roll => {
                let is_reject = roll < 14;
                let kind = if is_reject { SettleKind::Reject } else { SettleKind::Ack };
                if self.settle(key, number, how(kind), roll > 90) {
                    let mut said = self.said.lock().unwrap();
                    let (acks, rejects) = said.entry(position).or_default();
                    *(if is_reject { rejects } else { acks }) += 1;
                    drop(said);
                    self.settled.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn join(&self, key: SubscriptionKey, inbox: Arc<Inbox>, credit: u64) -> u64 {
        let settings = admin::GroupSettings { max_failures: Some(0), ..Default::default() };
        let request = SubscribeRequest {
            group: Some(GroupKey::parse("g").unwrap()),
            start: Some(1),
            since: None,
            settings,
            credit: Credit { events: credit as u32, bytes: 1 << 20 },
            plain: false,
        };
        let joined = self.mesh.subscribe(&self.caller, (self.topic, TOPIC), key, request, inbox);
        // Only a start at a time may have to wait for a block.
        let (subscribed, ticket) = joined.unwrap().unwrap();
        while !self.mesh.is_kept(ticket) {
            self.moment();
        }
        self.mesh.start(self.topic, key);
        subscribed.next_delivery
    }

    /// A member after the other, each for a while.
    fn consume(&self, member: u64) {
        let mut chance = Chance(100 + member);
        while !self.is_done() {
            let key = SubscriptionKey { session: self.mesh.new_session(), subscription: 1 };
            let mut inbox = Arc::new(Inbox::default());
            let mut next = self.join(key, inbox.clone(), 1 + chance.below(64));
            for _ in 0..chance.below(40) {
                if self.is_done() {
                    break;
                }
                for run in inbox.take() {
                    let count = u64::from(run.events.count());
                    for (number, position) in (run.first_delivery..).zip(run.first_position..).take(count as usize) {
                        assert_eq!(number, next, "delivery numbers have no gap");
                        next += 1;
                        self.handle(key, number, position, &mut chance);
                    }
                }
                if chance.below(8) == 0 {
                    // Its connection is lost, with what it has not looked at, and comes back.
                    self.mesh.suspend(self.topic, key);
                    inbox = Arc::new(Inbox::default());
                    assert!(self.mesh.resume(self.topic, key, next, inbox.clone()));
                }
            }
            let how = if chance.below(20) == 0 { Leaving::Lost } else { Leaving::Clean };
            self.mesh.leave(self.topic, key, how);
        }
    }

    fn admin(&self, command: command::Command) -> answer::Answer {
        let command = admin::Command { command: Some(command) };
        let mut so_far = SoFar::default();
        loop {
            if let Some(answered) = self.mesh.admin(&self.caller, &command, &mut so_far) {
                return answered.unwrap().0.answer.unwrap();
            }
            self.moment();
        }
    }

    fn group(&self) -> admin::GroupSummary {
        match self.admin(command::Command::ListTopics(admin::ListTopics::default())) {
            answer::Answer::Topics(list) => list.topics[0].groups[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn letters(&self) -> BTreeSet<u64> {
        let (mut positions, mut after) = (BTreeSet::new(), 0);
        loop {
            let list = admin::ListDeadLetters { topic: TOPIC.into(), after, ..Default::default() };
            let answer::Answer::DeadLetters(page) = self.admin(command::Command::ListDeadLetters(list)) else {
                panic!("no list");
            };
            positions.extend(page.letters.iter().map(|l| l.position));
            after = page.next;
            if after == 0 {
                return positions;
            }
        }
    }

    /// Changes what the group may have in flight, again and again.
    fn administer(&self) {
        let mut chance = Chance(7);
        while !self.is_done() {
            let most = 20 + chance.below(100) as u32;
            let settings = Some(admin::GroupSettings { max_in_flight: Some(most), ..Default::default() });
            let update = admin::UpdateGroup { topic: TOPIC.into(), group: "g".into(), settings };
            let command = admin::Command { command: Some(command::Command::UpdateGroup(update)) };
            // Before the first member there is no group.
            drop(self.mesh.admin(&self.caller, &command, &mut SoFar::default()));
            assert!(self.letters().len() as u64 <= ALL);
            self.moment();
        }
    }

    fn keep_time(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.mesh.tick();
            self.moment();
        }
    }

    /// What must hold once nobody does anything any more.
    fn check(&self) {
        let said = self.said.lock().unwrap();
        let not_once: Vec<_> = said.iter().filter(|(_, (acks, rejects))| acks + rejects != 1).collect();
        assert!(not_once.is_empty(), "settled for good more than once: {not_once:?}");
        assert!(said.keys().copied().eq(1..=ALL), "{} of {ALL} positions", said.len());
        let rejected: BTreeSet<u64> =
            said.iter().filter(|(_, (_, r))| *r == 1).map(|(position, _)| *position).collect();
        assert!(!rejected.is_empty());
        // The last settlements are still on their way to the log.
        while self.letters().len() < rejected.len() {
            self.mesh.tick();
            self.moment();
            assert!(self.began.elapsed() < PATIENCE, "{} letters", self.letters().len());
        }
        assert_eq!(self.letters(), rejected, "each rejected event is one dead letter");
        let group = self.group();
        assert_eq!((group.lag, group.in_flight, group.delayed, group.members), (0, 0, 0, 0));
        assert_eq!((group.settled_through, group.dead_letters), (ALL, rejected.len() as u64));
    }
}

fn race(directory: Option<&Path>) -> BTreeSet<u64> {
    let room = Room::open(directory);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (room, over) = (&room, &over);
        scope.spawn(move || room.keep_time(over));
        let mut threads: Vec<_> = (1..=PUBLISHERS).map(|p| scope.spawn(move || room.publish(p))).collect();
        threads.extend((0..MEMBERS).map(|member| scope.spawn(move || room.consume(member))));
        threads.push(scope.spawn(|| room.administer()));
        let ended: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a thread panicked");
    });
    room.check();
    let letters = room.letters();
    if let Some(log) = &room.log {
        while room.mesh.deadline().is_some() {
            room.mesh.tick();
            room.moment();
        }
        log.close();
    }
    letters
}

#[test]
fn many_threads_settle_every_event_exactly_once_and_the_log_says_the_same_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let letters = race(Some(directory.path()));
    let again = Room::open(Some(directory.path()));
    let group = again.group();
    assert_eq!((group.settled_through, group.lag), (ALL, 0));
    assert_eq!(again.letters(), letters);
    again.log.as_ref().unwrap().close();
}

#[test]
fn many_threads_settle_every_event_exactly_once_in_memory() {
    race(None);
}
