//! `kill -9` on the real gateway, at random moments, under load.
//!
//! `MESHWIRE_KILLS` says how many kills; 2 when it is absent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meshwire::{Event, Mesh, PendingReceipt, Start};
use tokio::sync::Notify;

use crate::program::{Gateway, meshwire};

const TOPIC: &str = "kill";
const GROUP: &str = "workers";

/// What must be outstanding when the gateway is killed.
const LEAST_ACKNOWLEDGED: usize = 1000;
const LEAST_UNANSWERED: u64 = 100;
const LEAST_LEASES: usize = 50;

/// A plain ack may be forgotten if it was given so shortly before a kill.
const ACK_GRACE: Duration = Duration::from_millis(250);

/// Longest wait of a client before it tries again.
const RECONNECT: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Seen {
    acknowledged: BTreeSet<u64>,
    duplicates_answered: u64,
    /// When an ack was given, and whether the gateway confirmed it.
    acked: BTreeMap<u64, (Instant, bool)>,
    /// Leases that are open now.
    held: usize,
    /// From each kill until the gateway listened again and clients had time to come back.
    kills: Vec<(Instant, Option<Instant>)>,
    broken: Vec<String>,
}

/// What was seen, and a bell that rings when more is.
#[derive(Default)]
struct Watch {
    seen: Mutex<Seen>,
    more: Notify,
}

impl Watch {
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

/// Publishes numbered events without a pause until told to stop.
async fn publish(mesh: Mesh, seen: Shared, stop: Arc<std::sync::atomic::AtomicBool>) -> u64 {
    let mut pending: VecDeque<(u64, PendingReceipt)> = VecDeque::new();
    let mut next = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) || !pending.is_empty() {
        while pending.len() < 1000 && !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let event = Event::text("kill.test", "x".repeat(200)).id(next.to_string()).source("/kill");
            pending.push_back((next, mesh.publish_start(TOPIC, event).await.unwrap()));
            next += 1;
        }
        let Some((id, receipt)) = pending.pop_front() else {
            continue;
        };
        let receipt = receipt.await.unwrap();
        let mut now = seen.lock();
        now.acknowledged.insert(id);
        now.duplicates_answered += u64::from(receipt.duplicate);
        drop(now);
        seen.more.notify_one();
    }
    next
}

/// Consumes as a member of the group, always holding some leases.
async fn consume(mesh: Mesh, seen: Shared) {
    let mut deliveries = mesh.subscribe(TOPIC).group(GROUP).prefetch(200, 8 << 20).await.unwrap();
    let mut held = VecDeque::new();
    let mut count = 0u64;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery.unwrap();
        let id: u64 = delivery.id().parse().unwrap();
        came(&mut seen.lock(), id);
        held.push_back((id, delivery));
        seen.lock().held = held.len();
        if held.len() <= 2 * LEAST_LEASES {
            continue;
        }
        let (id, delivery) = held.pop_front().unwrap();
        count += 1;
        if count.is_multiple_of(20) {
            let confirmed = delivery.ack_confirmed().await;
            if confirmed.is_ok() {
                seen.lock().acked.insert(id, (Instant::now(), true));
            }
        } else {
            seen.lock().acked.insert(id, (Instant::now(), false));
            delivery.ack();
        }
    }
}

/// Whether an ack may be lost by this kill: given shortly before it, or while there was no gateway.
fn forgivable(at: Instant, (killed, back): (Instant, Option<Instant>)) -> bool {
    at + ACK_GRACE >= killed && back.is_none_or(|back| at <= back + RECONNECT)
}

/// An event that was acked before may only come again for one reason.
fn came(seen: &mut Seen, id: u64) {
    let Some((at, confirmed)) = seen.acked.get(&id).copied() else {
        return;
    };
    if confirmed {
        seen.broken.push(format!("event {id} came again after its ack was confirmed"));
    } else if !seen.kills.iter().any(|kill| forgivable(at, *kill)) {
        let since: Vec<_> = seen.kills.iter().map(|(k, _)| k.saturating_duration_since(at)).collect();
        seen.broken.push(format!("event {id} came again; it was acked {since:?} before the kills"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_when_the_gateway_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = start(directory.path(), "127.0.0.1:0");
    let (address, url) = (gateway.address.clone(), gateway.url.clone());
    let seen = Shared::default();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let publisher = client(&url).await;
    let publishing = tokio::spawn(publish(publisher.clone(), seen.clone(), stop.clone()));
    let consuming = tokio::spawn(consume(client(&url).await, seen.clone()));
    let mut random = u64::from(std::process::id());
    for _ in 0..kills() {
        let before = seen.lock().acknowledged.len();
        let begun = Instant::now();
        // A random moment, but one with enough outstanding.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let earliest = Duration::from_millis(random >> 54);
        loop {
            let (acknowledged, held) = {
                let seen = seen.lock();
                (seen.acknowledged.len() - before, seen.held)
            };
            let ready = acknowledged >= LEAST_ACKNOWLEDGED && held >= LEAST_LEASES && begun.elapsed() >= earliest;
            if ready && publisher.stats().pending >= LEAST_UNANSWERED {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{acknowledged} acknowledged, {held} held");
            seen.more.notified().await;
        }
        gateway.program.kill();
        seen.lock().kills.push((Instant::now(), None));
        gateway = start(directory.path(), &address);
        if let Some((_, back)) = seen.lock().kills.last_mut() {
            *back = Some(Instant::now());
        }
    }
    let more = seen.lock().acknowledged.len() + LEAST_ACKNOWLEDGED;
    while seen.lock().acknowledged.len() < more {
        seen.more.notified().await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let published = publishing.await.unwrap();
    consuming.abort();

    let reader = client(&url).await;
    let mut all = reader.subscribe(TOPIC).start(Start::Earliest).prefetch(4096, 8 << 20).await.unwrap();
    let (mut log, mut doubled) = (BTreeSet::new(), 0);
    while (log.len() as u64) < published {
        let delivery =
            tokio::time::timeout(Duration::from_secs(20), all.next()).await.expect("the whole log").unwrap().unwrap();
        doubled += usize::from(!log.insert(delivery.id().parse::<u64>().unwrap()));
        delivery.ack();
    }
    let seen = seen.lock();
    let lost: Vec<_> = seen.acknowledged.difference(&log).collect();

    println!(
        "{} kills, {published} published, {} acknowledged, {} answered as duplicates, {} acked by the consumer",
        kills(),
        seen.acknowledged.len(),
        seen.duplicates_answered,
        seen.acked.len()
    );
    assert_eq!((lost.len(), doubled), (0, 0), "lost {lost:?}");
    assert!(seen.broken.is_empty(), "{:?}", &seen.broken[..seen.broken.len().min(10)]);
}
