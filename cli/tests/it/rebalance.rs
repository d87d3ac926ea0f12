//! Members that come, go, crash and fail, against order and completeness.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use meshwire::{Delivery, Event, GroupSettings, Mesh, Subscription};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::program::Gateway;

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn next(work: &mut Subscription) -> Delivery {
    timeout(PATIENCE, work.try_next()).await.unwrap().unwrap().unwrap()
}

/// A group in which one failure is enough: what comes and goes with its member is none.
fn strict() -> GroupSettings {
    GroupSettings::new().max_failures(1)
}

async fn publish(mesh: &Mesh, ids: std::ops::Range<usize>, keys: usize) {
    for n in ids {
        let event = Event::text("work", "x").id(n.to_string()).source("/s").key((n % keys).to_string());
        drop(mesh.publish_start("work", event).await.unwrap());
    }
    mesh.flush().await.unwrap();
}

async fn ack(delivery: Delivery, done: &mut BTreeSet<String>) {
    let id = delivery.id().to_owned();
    delivery.ack_confirmed().await.unwrap();
    assert!(done.insert(id.clone()), "{id} came again after its ack");
}

async fn a_member_joins_and_leaves_in_a_loop(gateway: &Gateway) {
    const ROUNDS: usize = 60;
    const EACH: usize = 20;
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let mut steady = mesh.subscribe("work").group("g").settings(strict()).prefetch(8, 1 << 20).await.unwrap();
    let restless = meshwire::connect(&gateway.url).await.unwrap();
    let mut done = BTreeSet::new();
    let mut taken = 0;
    for round in 0..ROUNDS {
        let mut held = Vec::new();
        let mut loops = restless.subscribe("work").group("g").prefetch(8, 1 << 20).await.unwrap();
        publish(&mesh, round * EACH..(round + 1) * EACH, 7).await;
        // It holds something, or nothing: keys may be with the other one.
        while let Ok(Some(delivery)) = loops.next_now() {
            taken += 1;
            held.push(delivery);
        }
        for _ in 0..EACH / 4 {
            let delivery = next(&mut steady).await;
            ack(delivery, &mut done).await;
        }
        // It lets go of nothing before it leaves.
        drop(loops);
        drop(held);
    }
    while done.len() < ROUNDS * EACH {
        let delivery = next(&mut steady).await;
        ack(delivery, &mut done).await;
    }
    assert!(taken > 0, "the restless member got something");
    let group = mesh.groups("work").list().await.unwrap().remove(0);
    assert_eq!((group.lag, group.dead_letters), (0, 0), "leaving is no failure");
}

#[test]
fn a_member_that_joins_and_leaves_in_a_loop_stops_nobody_and_fails_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for gateway in [Gateway::start(), Gateway::on(directory.path())] {
        runtime().block_on(a_member_joins_and_leaves_in_a_loop(&gateway));
    }
}

const KEYS: usize = 32;
const CONSUMERS: u64 = 8;
const EVENTS: usize = 3200;

/// What consumers have done, in the order in which they said so.
#[derive(Default)]
struct Done {
    /// By key: events that the gateway confirmed as acked, in the order in which the acks were sent.
    acked: BTreeMap<usize, Vec<(Instant, usize)>>,
    /// Events whose ack was not answered: it may stand.
    open: BTreeSet<usize>,
    nacks: usize,
    crashes: usize,
    leaves: usize,
}

/// A road to the gateway that can be torn up: what a crash of the program looks like from there.
async fn road(gateway: &str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mesh://{}", listener.local_addr().unwrap());
    let to = gateway.trim_start_matches("mesh://").to_owned();
    let road = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut gateway = TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
    });
    (url, road)
}

/// The same in every run.
struct Dice(u64);

impl Dice {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33).is_multiple_of(n)
    }
}

async fn consumer(gateway: String, mut dice: Dice, done: Arc<Mutex<Done>>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let (url, road) = road(&gateway).await;
        let mesh = meshwire::connect(&url).await.unwrap();
        let patient = GroupSettings::new().max_failures(0).backoff(Duration::ZERO, Duration::ZERO);
        let mut work = mesh.subscribe("work").group("g").settings(patient).prefetch(16, 1 << 20).await.unwrap();
        loop {
            let delivery = tokio::select! {
                delivery = work.try_next() => delivery.unwrap().unwrap(),
                _ = stop.changed() => break,
            };
            if dice.one_in(16) {
                delivery.nack();
                done.lock().unwrap().nacks += 1;
                continue;
            }
            let crashes = dice.one_in(60);
            let id: usize = delivery.id().parse().unwrap();
            let sent = Instant::now();
            if crashes {
                // The ack is on its way when the road is torn up.
                delivery.ack();
                road.abort();
                let mut done = done.lock().unwrap();
                done.open.insert(id);
                done.crashes += 1;
                break;
            }
            if delivery.ack_confirmed().await.is_ok() {
                done.lock().unwrap().acked.entry(id % KEYS).or_default().push((sent, id));
            }
            if dice.one_in(60) {
                done.lock().unwrap().leaves += 1;
                break;
            }
        }
        // Who crashed cannot say that it leaves: its road is gone.
    }
}

async fn keys_and_consumers(gateway: &Gateway) {
    let done = Arc::new(Mutex::new(Done::default()));
    let (stop, stopped) = watch::channel(false);
    let mut consumers = JoinSet::new();
    for n in 1..=CONSUMERS {
        consumers.spawn(consumer(gateway.url.clone(), Dice(n), Arc::clone(&done), stopped.clone()));
    }
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    publish(&mesh, 0..EVENTS, KEYS).await;
    let began = Instant::now();
    loop {
        let groups = mesh.groups("work").list().await.unwrap();
        if groups.first().is_some_and(|group| group.lag == 0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", groups.first());
    }
    stop.send(true).unwrap();
    consumers.join_all().await;
    judge(&done.lock().unwrap());
}

/// Each key in order, each event once, all of them.
fn judge(done: &Done) {
    let mut all = done.open.clone();
    for (key, acked) in &done.acked {
        let mut acked = acked.clone();
        acked.sort_unstable();
        for pair in acked.windows(2) {
            assert!(pair[0].1 < pair[1].1, "key {key}: {} was done before {}", pair[0].1, pair[1].1);
        }
        all.extend(acked.iter().map(|(_, id)| *id));
    }
    assert_eq!(all, (0..EVENTS).collect(), "nothing is lost");
    assert!(done.nacks > 50 && done.crashes > 5 && done.leaves > 5, "{} {} {}", done.nacks, done.crashes, done.leaves);
}

#[test]
fn s63_32_keys_keep_their_order_among_8_consumers_that_fail_crash_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    for store in [&["--memory"][..], &["--data-dir", data]] {
        let gateway = Gateway::with(&[store, &["--resume-window", "100ms"]].concat());
        runtime().block_on(keys_and_consumers(&gateway));
    }
}
