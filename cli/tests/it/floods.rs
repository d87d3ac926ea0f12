//! 500 connections that say nothing, then 500 that get on byte by byte, then 500 clients that log in and are lost, again and again: who was
//! there before loses nothing, goes on at its rate and is answered as soon, and nothing is left of them. `meshwire-bench floods` does the
//! same with 5,000. It is timed: the step `on-time` of `cargo xtask test` plays it with nothing beside it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use meshwire::{Connect, Event, Mesh, Start, Subscription};
use meshwire_proto::frame::{ClientFrame, PREFACE, begin_frame, end_frame};
use meshwire_proto::wire::session::Hello;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep_until, timeout, timeout_at};

use crate::program::Gateway;

const FLOOD: usize = 500;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the storm comes.
const ROUNDS: usize = 3;

/// How long it is looked at what a publisher can do alone.
const ALONE: Duration = Duration::from_millis(500);

/// Of what it can, it is to do one of so many parts during the floods; and of these, how much has to be answered.
const PARTS: u32 = 4;
const ANSWERED: f64 = 0.8;

/// Events before the floods that say how long one takes then.
const BEFORE: usize = 200;

/// During the floods, 99 of 100 are answered within twice what it took before them, or within this.
const TIMES: u32 = 2;
const SOON: Duration = Duration::from_millis(20);

/// The machine may do something else just then, for some milliseconds: so often a flood comes until that is so.
const TRIES: usize = 3;

/// Timers have milliseconds, and events may be due more often than that: what waits for the same one is published when it is over.
const TICK: Duration = Duration::from_millis(2);

/// From the end of a flood until all is as before: what is due is answered, a client that comes is served, nothing is left.
const BACK: Duration = Duration::from_secs(2);

/// Beginnings of a login, of which each connection sends one.
const BEGINNINGS: [&[u8]; 4] = [
    b"",
    b"GET / HTTP/1.1\r\nhost: local",
    b"\xf3meshw\0\x01\0\0\x01\0aaaaaaaaaa",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
];

async fn publish(mesh: &Mesh, id: usize) {
    let event = Event::text("t", "x").id(id.to_string());
    timeout(PATIENCE, mesh.publish("t", event)).await.expect("a receipt").unwrap();
}

/// One event after the other, for a while; gives how many, from `id` on, and how long one took.
async fn alone(mesh: &Mesh, id: usize) -> (usize, Duration) {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < ALONE {
        publish(mesh, id + count).await;
        count += 1;
    }
    (count, began.elapsed() / u32::try_from(count).unwrap())
}

/// A publisher at a fixed rate: an event that could not be published when it was due follows at once.
struct Offering {
    began: Instant,
    period: Duration,
    answered: Arc<AtomicUsize>,
    /// When each was due, and how long after that it was answered.
    took: Arc<Mutex<Vec<(Instant, Duration)>>>,
    over: Arc<AtomicBool>,
    publishing: JoinHandle<usize>,
}

impl Offering {
    /// Of events from `id` on.
    fn begin(mesh: Mesh, id: usize, period: Duration) -> Self {
        let (began, answered, over) = (Instant::now(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let took = Arc::<Mutex<Vec<_>>>::default();
        let (counted, ends, seen) = (Arc::clone(&answered), Arc::clone(&over), Arc::clone(&took));
        let publishing = tokio::spawn(async move {
            let mut count = 0;
            while !ends.load(Ordering::Relaxed) {
                let due = began + period * u32::try_from(count).unwrap();
                sleep_until(due).await;
                publish(&mesh, id + count).await;
                seen.lock().unwrap().push((due, due.elapsed()));
                count += 1;
                counted.store(count, Ordering::Relaxed);
            }
            id + count
        });
        Self { began, period, answered, took, over, publishing }
    }

    /// Events that are answered by now, and those that are due.
    fn now(&self) -> (usize, usize) {
        let due = self.began.elapsed().as_nanos() / self.period.as_nanos();
        (self.answered.load(Ordering::Relaxed), usize::try_from(due).unwrap())
    }

    /// The 99th of a hundred of the times of those that were due between two moments. All of them are answered by now.
    fn p99(&self, (from, until): (Instant, Instant)) -> Duration {
        let took = self.took.lock().unwrap();
        let mut times: Vec<_> =
            took.iter().filter(|(due, _)| (from..until).contains(due)).map(|(_, took)| *took).collect();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }

    /// Waits until so many are answered.
    async fn answered(&self, count: usize) {
        let mut looks = interval(Duration::from_millis(5));
        while self.now().0 < count {
            looks.tick().await;
        }
    }

    /// Waits until nothing is behind but what a timer brings at once.
    async fn caught_up(&self) {
        let at_once = usize::try_from(TICK.as_nanos() / self.period.as_nanos()).unwrap();
        let mut looks = interval(Duration::from_millis(5));
        loop {
            let (answered, due) = self.now();
            if answered + at_once >= due {
                return;
            }
            looks.tick().await;
        }
    }

    /// Ends it; gives the id behind its last event.
    async fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.publishing.await.unwrap()
    }
}

/// All of them, in order.
async fn arrive(subscription: &mut Subscription, count: usize) {
    for id in 0..count {
        let delivery = timeout(PATIENCE, subscription.next()).await.expect("an event").unwrap().unwrap();
        assert_eq!(delivery.event().id(), id.to_string());
        delivery.ack();
    }
}

/// Open files and tasks of the gateway.
async fn open(gateway: &Gateway) -> (usize, usize) {
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an answer").unwrap();
    let tasks = text.lines().find_map(|line| line.strip_prefix("meshwire_tasks ")).expect(&text).parse().unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", gateway.program.id())).unwrap().count();
    (files, tasks)
}

/// Waits until there is no more than before, for as long as that may take.
async fn returned(gateway: &Gateway, (files, tasks): (usize, usize), until: Instant) {
    let mut looks = interval(Duration::from_millis(20));
    loop {
        looks.tick().await;
        let now = open(gateway).await;
        if now.0 <= files && now.1 <= tasks {
            return;
        }
        assert!(Instant::now() < until, "{now:?} files and tasks are left, before there were {:?}", (files, tasks));
    }
}

/// As many files as the system allows this process: a connection is one.
fn make_room() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// Sends the first bytes and waits until the gateway ends it.
async fn silent(address: String, n: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(BEGINNINGS[n % BEGINNINGS.len()]).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends at the login timeout");
}

/// Sends byte after byte until the gateway ends it.
async fn slow(address: String, n: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut ticks = interval(Duration::from_millis(250));
    let bytes = BEGINNINGS[1 + n % 3].iter().copied();
    let dripping = async {
        for byte in bytes.chain(std::iter::repeat(b'a')) {
            ticks.tick().await;
            let mut rest = [0; 64];
            if stream.write_all(&[byte]).await.is_err() || matches!(stream.try_read(&mut rest), Ok(0)) {
                return;
            }
        }
    };
    timeout(PATIENCE, dripping).await.expect("it ends at the login timeout");
}

/// Logs in as a client of its own; the gateway's Welcome has come.
async fn log_in(address: String, n: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut out = BytesMut::from(PREFACE.as_slice());
    let mut producer_id = vec![0; 16];
    producer_id[..8].copy_from_slice(&n.to_le_bytes());
    let hello = Hello { producer_id: producer_id.into(), min_version: 1, max_version: 1, ..Hello::default() };
    let start = begin_frame(&mut out);
    ClientFrame::Hello(hello).encode(&mut out);
    end_frame(&mut out, start, 0);
    stream.write_all(&out).await.unwrap();
    let mut welcome = vec![0; PREFACE.len() + 1];
    stream.read_exact(&mut welcome).await.unwrap();
    stream
}

/// All log in, and are lost all at once.
async fn storm(address: String) {
    for round in 0..ROUNDS {
        let mut coming: JoinSet<_> = (0..FLOOD).map(|n| log_in(address.clone(), round * FLOOD + n)).collect();
        let mut here = Vec::new();
        while let Some(came) = timeout(PATIENCE, coming.join_next()).await.expect("they are let in") {
            here.push(came.unwrap());
        }
    }
}

/// All of a kind at once.
async fn all<F: Future<Output = ()> + Send + 'static>(one: impl Fn(usize) -> F) {
    let mut flood: JoinSet<_> = (0..FLOOD).map(one).collect();
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
}

/// Floods from a thread of its own: whoever is timed in this process does not wait for it here.
async fn elsewhere(flood: impl Future<Output = ()> + Send + 'static) {
    let (over, ended) = oneshot::channel();
    std::thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(flood);
        let _ = over.send(());
    });
    ended.await.expect("the flood ends");
}

/// Who was there before the floods.
struct World<'a> {
    gateway: &'a Gateway,
    offering: &'a Offering,
    /// Its files and tasks.
    before: (usize, usize),
}

impl World<'_> {
    /// A flood of a kind, and all that holds for each; gives within what 99 of 100 of the events that were due meanwhile were answered.
    async fn flood(&self, kind: &str) -> Duration {
        let (begin, first, address) = (Instant::now(), self.offering.now(), self.gateway.address.clone());
        match kind {
            "silent" => elsewhere(all(move |n| silent(address.clone(), n))).await,
            "a byte at a time" => elsewhere(all(move |n| slow(address.clone(), n))).await,
            _ => elsewhere(storm(address)).await,
        }
        let (end, last) = (Instant::now(), self.offering.now());
        let (answered, due) = (last.0 - first.0, last.1 - first.1);
        assert!(
            answered as f64 >= ANSWERED * due as f64,
            "{kind}: of {due} events that were due {answered} are answered"
        );
        let until = end + BACK;
        timeout_at(until, self.offering.caught_up()).await.expect("what is due is answered");
        returned(self.gateway, self.before, until).await;
        let comes = timeout_at(until, Connect::new(&self.gateway.url)).await.expect("a client is served");
        comes.expect("a client is let in").close().await.unwrap();
        println!("R9: {FLOOD} {kind}: {answered} answered of {due} that were due");
        self.offering.p99((begin, end))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_floods_of_connections_lose_nothing_of_others_and_leave_nothing_behind() {
    make_room();
    let gateway = Gateway::with(&["--memory", "--login-timeout", "3s"]);
    let mesh = Connect::new(&gateway.url).await.unwrap();
    let mut subscription = mesh.subscribe("t").start(Start::Earliest).await.unwrap();
    let (first, took) = alone(&mesh, 0).await;
    let before = open(&gateway).await;

    let offering = Offering::begin(mesh.clone(), first, took * PARTS);
    offering.answered(BEFORE).await;
    let quiet = offering.p99((offering.began, Instant::now()));
    let world = World { gateway: &gateway, offering: &offering, before };
    for kind in ["silent", "a byte at a time", "log in and are lost"] {
        let most = SOON.max(quiet * TIMES);
        let mut seen = Vec::new();
        while seen.last().is_none_or(|during| *during > most) {
            assert!(seen.len() < TRIES, "{kind}: 99 of 100 took {seen:?}, before the floods {quiet:?}");
            seen.push(world.flood(kind).await);
        }
        println!("R9: {FLOOD} {kind}: 99 of 100 within {seen:?}, before {quiet:?}");
    }
    let published = offering.stop().await;
    arrive(&mut subscription, published).await;
    println!("R9: {published} events, one each {took:?} x {PARTS}, none lost; {before:?} files and tasks");
    mesh.close().await.unwrap();
}
