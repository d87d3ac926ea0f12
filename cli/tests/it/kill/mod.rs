//! `kill -9` on the real gateway, at random moments, under load.
//!
//! `MESHWIRE_KILLS` says how many kills; 2 when it is absent.
//!
//! What was seen becomes a [`History`], on which the verdict is passed; [`member`] is
//! the consumer.

mod member;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meshwire::{Delivery, Event, Mesh, PendingReceipt, Position, Start, UnixMillis};
use meshwire_history::{Answer, Death, Group, History, Published, Stored, judge};
use tokio::sync::{Notify, oneshot};

use crate::program::{Gateway, meshwire};
use member::Member;

const TOPIC: &str = "kill";
const GROUP: &str = "workers";

/// What must be outstanding when the gateway is killed.
const LEAST_ACKNOWLEDGED: usize = 1000;
const LEAST_UNANSWERED: u64 = 100;
const LEAST_LEASES: usize = 50;

/// A plain ack may be forgotten if it was given so shortly before a kill.
const ACK_GRACE: Duration = Duration::from_millis(250);

/// What the group has by default.
const ACK_WAIT: Duration = Duration::from_secs(30);

struct Seen {
    began: Instant,
    /// Of the topic. Events are numbered from 0, and published in that order.
    history: History,
    acknowledged: usize,
    duplicates_answered: u64,
    /// Logins of the member when a life had ended: later ones are to later lives.
    logins: Vec<u64>,
    /// Deliveries that this life made and that are not acked. The gateway holds a
    /// lease for each: one ends with an ack, after the ack wait (30 s, far more than
    /// the member keeps any), or with the session, which a kill alone ends here. So
    /// what came from an earlier life, or waits in the client, does not count.
    leases: usize,
}

impl Seen {
    /// The gateway's life that a login of the member was to.
    fn life_of(&self, login: u64) -> u64 {
        self.logins.iter().filter(|last| **last < login).count() as u64
    }

    /// Of the gateway that runs.
    fn life(&self) -> u64 {
        self.history.deaths.len() as u64
    }

    fn count_leases(&mut self, lives: impl Iterator<Item = u64>) {
        let now = self.life();
        self.leases = lives.filter(|life| *life == now).count();
    }

    fn published(&mut self, id: u64) {
        let event = meshwire_history::Event::new(id, None, &event(id).encode().unwrap());
        self.history.published.push(Published { event, at: self.began.elapsed(), answer: Answer::Open });
    }

    fn acknowledged(&mut self, id: u64) {
        self.history.published[id as usize].answer = Answer::Acknowledged(self.began.elapsed());
        self.acknowledged += 1;
    }
}

/// What was seen, and a bell that rings when more is.
struct Watch {
    seen: Mutex<Seen>,
    more: Notify,
}

impl Watch {
    fn new() -> Self {
        let mut history = History::new(TOPIC);
        history.forgive.settle_before_death = ACK_GRACE;
        history.groups.push(Group { name: GROUP.into(), ack_wait: ACK_WAIT, max_failures: None, finished: true });
        let seen = Seen {
            began: Instant::now(),
            history,
            acknowledged: 0,
            duplicates_answered: 0,
            logins: Vec::new(),
            leases: 0,
        };
        Self { seen: Mutex::new(seen), more: Notify::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

type Shared = Arc<Watch>;

fn kills() -> usize {
    std::env::var("MESHWIRE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

fn start(directory: &std::path::Path, address: &str) -> Gateway {
    Gateway::spawn(meshwire(&["serve", "--listen", address, "--data-dir", directory.to_str().unwrap()]))
}

async fn client(url: &str) -> Mesh {
    meshwire::connect(url).await.unwrap()
}

/// Nothing is left to be filled in, so that its bytes are known.
fn event(id: u64) -> Event {
    Event::text("kill.test", format!("{id:x<200}")).id(id.to_string()).source("/kill").time(UnixMillis(0))
}

fn as_it_came(delivery: &Delivery) -> meshwire_history::Event {
    let event = delivery.event();
    meshwire_history::Event::new(event.id().parse().unwrap(), event.key(), delivery.raw())
}

/// Publishes numbered events without a pause until told to stop; then one more,
/// behind all that were answered. Gives its position: the head of the log.
async fn publish(mesh: Mesh, seen: Shared, stop: Arc<AtomicBool>) -> Position {
    let mut pending: VecDeque<(u64, PendingReceipt)> = VecDeque::new();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) || !pending.is_empty() {
        while pending.len() < 1000 && !stop.load(Ordering::Relaxed) {
            seen.lock().published(next);
            pending.push_back((next, mesh.publish_start(TOPIC, event(next)).await.unwrap()));
            next += 1;
        }
        let Some((id, receipt)) = pending.pop_front() else {
            continue;
        };
        let receipt = receipt.await.unwrap();
        let mut now = seen.lock();
        now.acknowledged(id);
        now.duplicates_answered += u64::from(receipt.duplicate);
        drop(now);
        seen.more.notify_one();
    }
    seen.lock().published(next);
    let last = mesh.publish(TOPIC, event(next)).await.unwrap();
    seen.lock().acknowledged(next);
    last.position.expect("a receipt that no kill delayed has a position")
}

/// Waits for a random moment, but one with enough outstanding.
async fn moment_to_kill(publisher: &Mesh, seen: &Shared, random: &mut u64) {
    let before = seen.lock().acknowledged;
    let begun = Instant::now();
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let earliest = Duration::from_millis(*random >> 54);
    loop {
        let (acknowledged, leases) = {
            let seen = seen.lock();
            (seen.acknowledged - before, seen.leases)
        };
        let ready = acknowledged >= LEAST_ACKNOWLEDGED && leases >= LEAST_LEASES && begun.elapsed() >= earliest;
        if ready && publisher.stats().pending >= LEAST_UNANSWERED {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{acknowledged} acknowledged, {leases} leases");
        seen.more.notified().await;
    }
}

fn kill(gateway: Gateway, member: &Mesh, seen: &Shared) {
    // Before the signal: an ack given later is one for a dead life.
    let at = seen.lock().began.elapsed();
    gateway.program.kill();
    let mut seen = seen.lock();
    let life = seen.life();
    seen.history.deaths.push(Death { at, life, power_lost: false });
    // It is dead and no other listens: whatever login comes now is to the next life.
    seen.logins.push(member.stats().reconnects);
    seen.leases = 0;
}

/// The events from the start of the log to its head, behind which there is nothing.
async fn read_log(mesh: &Mesh, head: Position) -> Vec<Stored> {
    let mut all = mesh.subscribe(TOPIC).start(Start::Earliest).prefetch(4096, 8 << 20).await.unwrap();
    let mut log = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), all.next()).await;
        let delivery = next.expect("the whole log").unwrap().unwrap();
        let position = delivery.position();
        log.push(Stored { position: position.number(), event: as_it_came(&delivery) });
        delivery.ack();
        if position >= head {
            break;
        }
    }
    let topics = mesh.topics().list().await.unwrap();
    let next = topics.into_iter().find(|t| t.name == TOPIC).unwrap().next;
    assert_eq!(next.number(), head.number() + 1, "events behind the last one that was acknowledged");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_when_the_gateway_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = start(directory.path(), "127.0.0.1:0");
    // A long run is more than a topic keeps by default.
    let created = gateway.run(&["topics", "create", TOPIC, "--retention-bytes", "100GiB"]);
    assert_eq!(created.code, Some(0), "{created:?}");
    let (address, url) = (gateway.address.clone(), gateway.url.clone());
    let seen = Arc::new(Watch::new());
    let stop = Arc::new(AtomicBool::new(false));
    let (publisher, consumer) = (client(&url).await, client(&url).await);
    let publishing = tokio::spawn(publish(publisher.clone(), seen.clone(), stop.clone()));
    let (drain, draining) = oneshot::channel();
    let member = Member::join(consumer.clone(), seen.clone()).await;
    let consuming = tokio::spawn(member.work(draining));
    let mut random = u64::from(std::process::id());
    for _ in 0..kills() {
        moment_to_kill(&publisher, &seen, &mut random).await;
        kill(gateway, &consumer, &seen);
        gateway = start(directory.path(), &address);
    }
    let more = seen.lock().acknowledged + LEAST_ACKNOWLEDGED;
    while seen.lock().acknowledged < more {
        seen.more.notified().await;
    }
    stop.store(true, Ordering::Relaxed);
    let head = publishing.await.unwrap();
    drain.send(head).unwrap();
    consuming.await.unwrap();
    let log = read_log(&client(&url).await, head).await;

    let mut seen = seen.lock();
    seen.history.log = log;
    let verdict = judge(&seen.history);
    println!(
        "{} kills, {} acknowledged, {} answered as duplicates, {:?}, last login {}",
        kills(),
        seen.acknowledged,
        seen.duplicates_answered,
        verdict.forgiven,
        consumer.stats().reconnects,
    );
    let broken: Vec<String> = verdict.broken.iter().take(10).map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{} broken: {broken:?}", verdict.broken.len());
    assert_eq!(seen.history.deaths.len(), kills());
}
