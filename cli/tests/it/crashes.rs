//! Consumers that are killed: what they held comes to others.
//!
//! `MESHWIRE_CRASHES` says how many are killed; 10 when it is absent. With
//! `MESHWIRE_FULL=1` two of four are killed over 100,000 events, else over a tenth of them.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use meshwire::{Delivery, Event, Mesh, Subscription};
use tokio::runtime::{Builder, Runtime};

use crate::program::{Gateway, Program, id};

const MEMBERS: usize = 3;

fn crashes() -> usize {
    std::env::var("MESHWIRE_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// Longer than the patience of the tests: whoever waits for it fails.
const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn join(url: &str) -> (Mesh, Subscription) {
    let mesh = meshwire::connect(url).await.unwrap();
    let work = mesh.subscribe("work").group("g").ack_wait(LONG).await.unwrap();
    (mesh, work)
}

#[test]
fn s24_nothing_is_lost_when_consumers_are_killed_at_random() {
    let directory = tempfile::tempdir().unwrap();
    kill_at_random(&["--data-dir", directory.path().to_str().unwrap()]);
}

#[test]
fn s24_nothing_is_lost_when_consumers_are_killed_at_random_in_memory() {
    kill_at_random(&["--memory"]);
}

/// At least once holds at saturation, too.
#[test]
fn s35_nothing_is_lost_when_consumers_are_killed_at_random_and_no_core_is_idle() {
    let directory = tempfile::tempdir().unwrap();
    let busy = Busy::start();
    kill_at_random(&["--data-dir", directory.path().to_str().unwrap()]);
    assert!(busy.was_busy());
}

#[test]
fn s35_nothing_is_lost_when_consumers_are_killed_at_random_and_no_core_is_idle_in_memory() {
    let busy = Busy::start();
    kill_at_random(&["--memory"]);
    assert!(busy.was_busy());
}

#[test]
fn s35_what_was_acknowledged_is_there_after_a_kill_when_no_core_is_idle() {
    const EVENTS: usize = 10_000;
    let busy = Busy::start();
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    runtime().block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        publish(&mesh, EVENTS).await;
        gateway.program.kill();
    });
    let gateway = Gateway::on(directory.path());
    let ids: BTreeSet<String> = gateway.all_ids("work").into_iter().collect();
    assert_eq!(ids, (1..=EVENTS).map(|n| n.to_string()).collect());
    assert!(busy.was_busy());
}

/// Keeps every core of the machine at work.
struct Busy {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    before: Used,
}

/// What the cores of the machine have done since it started, in ticks of its clock.
#[derive(Clone, Copy, Debug)]
struct Used {
    idle: u64,
    all: u64,
    /// How many there are.
    cores: u64,
}

impl Used {
    fn now() -> Self {
        Self::read(&std::fs::read_to_string("/proc/stat").expect("the machine says what its cores do"))
    }

    fn read(stat: &str) -> Self {
        let cores = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as u64;
        let sum = stat.lines().find_map(|line| line.strip_prefix("cpu ")).expect("the sum of all cores");
        // Idle, and waiting for a disk, are the fourth and the fifth; those behind the eighth are among the first.
        let ticks: Vec<u64> = sum.split_whitespace().take(8).map(|n| n.parse().unwrap()).collect();
        Self { idle: ticks[3] + ticks[4], all: ticks.iter().sum(), cores }
    }

    /// Whether nine tenths of so many cores were at work since.
    fn kept_busy(self, now: Self, cores: u64) -> bool {
        let (all, idle) = (now.all - self.all, now.idle - self.idle);
        all > 0 && (all - idle) * now.cores * 10 >= all * cores * 9
    }
}

#[test]
fn a_machine_with_an_idle_core_is_not_busy() {
    let used = |user: u64, idle: u64, wait: u64| {
        Used::read(&format!("cpu  {user} 0 0 {idle} {wait} 0 0 0 7 7\ncpu0 1\ncpu1 1\nintr 1\n"))
    };
    let before = used(1000, 5000, 0);
    assert!(before.kept_busy(used(1190, 5010, 0), 2));
    assert!(!before.kept_busy(used(1100, 5100, 0), 2), "one is idle");
    assert!(!before.kept_busy(used(1100, 5000, 100), 2), "one waits for a disk");
    assert!(before.kept_busy(used(1100, 5100, 0), 1), "the other one is not ours");
    assert!(!before.kept_busy(before, 2), "no time has passed");
}

fn cores() -> usize {
    available_parallelism().unwrap().get()
}

impl Busy {
    fn start() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let turn = |_| {
            let done = done.clone();
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    std::hint::black_box(&done);
                }
            })
        };
        let threads = (0..cores()).map(turn).collect();
        Self { done, threads, before: Used::now() }
    }

    /// Ends it; whether no core was idle meanwhile.
    fn was_busy(self) -> bool {
        let now = Used::now();
        self.done.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().all(|thread| thread.join().is_ok());
        ended && self.before.kept_busy(now, cores() as u64)
    }
}

async fn publish(mesh: &Mesh, count: usize) {
    for n in 1..=count {
        let event = Event::text("work", n.to_string()).id(n.to_string()).source("/crashes");
        drop(mesh.publish_start("work", event).await.unwrap());
    }
    mesh.flush().await.unwrap();
}

const URL: &str = "MESHWIRE_MEMBER";
const NAME: &str = "crashes::a_member_prints_what_it_gets_and_what_it_has_acked";
/// Events that a member acks together.
const TOGETHER: usize = 64;

/// A member that prints what it gets, and what is acked when the gateway has confirmed it.
async fn print_and_ack(url: &str) {
    let (_mesh, mut work) = join(url).await;
    while let Some(first) = work.try_next().await.unwrap() {
        let mut together = vec![first];
        while together.len() < TOGETHER
            && let Some(next) = work.next_now().unwrap()
        {
            together.push(next);
        }
        let ids: Vec<String> = together.iter().map(|delivery| delivery.id().to_owned()).collect();
        ids.iter().for_each(|id| println!("got {id}"));
        let last = together.pop().unwrap();
        together.into_iter().for_each(Delivery::ack);
        // With the last one those before it are confirmed.
        last.ack_confirmed().await.unwrap();
        ids.iter().for_each(|id| println!("acked {id}"));
    }
}

/// This test is the member as well: in a process of its own, where it finds [`URL`].
#[test]
fn a_member_prints_what_it_gets_and_what_it_has_acked() {
    if let Ok(url) = std::env::var(URL) {
        return runtime().block_on(print_and_ack(&url));
    }
    let gateway = Gateway::start();
    gateway.publish("work", &["1", "2"]);
    let mut member = Member::start(&gateway);
    let deadline = Instant::now() + PATIENCE;
    while member.acked.len() < 2 {
        assert!(Instant::now() < deadline, "{:?} of {:?}", member.acked, member.got);
        member.read(Duration::from_millis(50));
    }
    assert_eq!((member.got, member.acked), (vec![1, 2], BTreeSet::from([1, 2])));
    assert_eq!(gateway.group_ids("work", "g"), Vec::<String>::new());
}

/// What one member printed, and whether it was killed.
struct Member {
    program: Option<Program>,
    got: Vec<usize>,
    acked: BTreeSet<usize>,
}

impl Member {
    fn start(gateway: &Gateway) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(URL, &gateway.url).args([NAME, "--exact", "--nocapture"]);
        Self { program: Some(Program::spawn(command)), got: Vec::new(), acked: BTreeSet::new() }
    }

    /// Takes what was printed; gives how many of it were got.
    fn read(&mut self, mut wait: Duration) -> usize {
        let before = self.got.len();
        while let Some(line) = self.program.as_mut().and_then(|program| program.line_within(wait)) {
            self.printed(&line);
            wait = Duration::ZERO;
        }
        self.got.len() - before
    }

    /// The harness of the tests prints lines of its own, and may have begun one of these.
    fn printed(&mut self, line: &str) {
        let mut words = line.split_whitespace().rev();
        if let (Some(Ok(id)), Some(verb)) = (words.next().map(str::parse), words.next()) {
            match verb {
                "got" => self.got.push(id),
                "acked" => drop(self.acked.insert(id)),
                _ => {}
            }
        }
    }

    fn kill(&mut self) {
        let rest = self.program.take().unwrap().kill();
        rest.iter().for_each(|line| self.printed(line));
    }

    /// What it had got and not acked.
    fn held(&self) -> impl Iterator<Item = usize> {
        self.got.iter().copied().filter(|id| !self.acked.contains(id))
    }
}

#[test]
fn s21_four_members_get_all_though_two_are_killed_and_only_what_those_held_comes_twice() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    four_members(&["--data-dir", data]);
}

#[test]
fn s21_four_members_get_all_though_two_are_killed_and_only_what_those_held_comes_twice_in_memory() {
    four_members(&["--memory"]);
}

fn four_members(store: &[&str]) {
    let events = if std::env::var("MESHWIRE_FULL").is_ok_and(|full| full == "1") { 100_000 } else { 10_000 };
    let gateway = Gateway::with(&[store, &["--resume-window", "200ms"]].concat());
    let mut members: Vec<Member> = (0..4).map(|_| Member::start(&gateway)).collect();
    let url = gateway.url.clone();
    let publisher = std::thread::spawn(move || {
        runtime().block_on(async { publish(&meshwire::connect(&url).await.unwrap(), events).await });
    });
    let deadline = Instant::now() + Duration::from_secs(if events > 10_000 { 300 } else { 60 });
    let read = |members: &mut [Member], until: usize| {
        let mut union: BTreeSet<usize> = members.iter().flat_map(|m| m.got.iter().copied()).collect();
        while union.len() < until {
            assert!(Instant::now() < deadline, "{} of {until} events came", union.len());
            for member in &mut *members {
                let came = member.read(Duration::from_millis(5));
                union.extend(member.got.iter().rev().take(came));
            }
        }
    };
    read(&mut members, events / 2);
    members[..2].iter_mut().for_each(Member::kill);
    read(&mut members, events);
    publisher.join().unwrap();
    let (killed, stay_on) = members.split_at_mut(2);
    for member in &mut *stay_on {
        member.read(Duration::from_secs(1));
    }
    check_duplicates(killed, stay_on);
    assert_eq!(gateway.group_ids("work", "g"), Vec::<String>::new(), "all is settled");
}

/// An event that was got twice was got by a killed member, and not acked.
fn check_duplicates(killed: &[Member], stay: &[Member]) {
    let held: BTreeSet<usize> = killed.iter().flat_map(Member::held).collect();
    let all = killed.iter().chain(stay);
    let mut seen = BTreeSet::new();
    let twice: Vec<usize> = all.flat_map(|m| &m.got).copied().filter(|n| !seen.insert(*n)).collect();
    let others: Vec<&usize> = twice.iter().filter(|n| !held.contains(n)).collect();
    assert!(others.is_empty(), "came twice, and no killed member held them: {others:?}");
    assert!(killed.iter().all(|m| !m.got.is_empty() && !m.acked.is_empty()), "both had work");
    let distinct: BTreeSet<usize> = twice.iter().copied().collect();
    assert_eq!(distinct.len(), twice.len(), "nothing came three times");
}

fn kill_at_random(store: &[&str]) {
    let gateway = Gateway::with(&[store, &["--resume-window", "100ms"]].concat());
    let member = || gateway.begin(&["sub", "work", "--group", "g", "--json"]);
    let mut members: Vec<Program> = (0..MEMBERS).map(|_| member()).collect();
    let (mut got, mut published) = (BTreeSet::new(), 0);
    for round in 0..crashes() {
        let ids: Vec<String> = (published..published + 50).map(|n| n.to_string()).collect();
        gateway.publish("work", &ids.iter().map(String::as_str).collect::<Vec<_>>());
        published += 50;
        let victim = round % MEMBERS;
        // It dies after a few lines, with others taken and not acked.
        for _ in 0..round % 7 {
            got.insert(id(&members[victim].line()));
        }
        let killed = std::mem::replace(&mut members[victim], member());
        got.extend(killed.kill().iter().map(|line| id(line)));
    }
    // An event that was acked was printed before: whatever is missing must still come.
    let deadline = Instant::now() + Duration::from_secs(60);
    while got.len() < published {
        assert!(Instant::now() < deadline, "{} of {published} events came", got.len());
        for program in &mut members {
            while let Some(line) = program.line_within(Duration::from_millis(10)) {
                got.insert(id(&line));
            }
        }
    }
}
