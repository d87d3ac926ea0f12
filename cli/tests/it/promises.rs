//! Promises of the product, over the real program and client, named by their row.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use meshwire::{Delivery, ErrorKind, Event, GroupSettings, Mesh, Position, Request, Start, Subscription};

use crate::program::Gateway;

fn changed(n: usize) -> Event {
    Event::text("user.changed", format!("user {n}")).id(n.to_string()).source("/users")
}

async fn publish(mesh: &Mesh, topic: &str, count: usize) {
    for n in 0..count {
        drop(mesh.publish_start(topic, changed(n)).await.unwrap());
    }
    mesh.flush().await.unwrap();
}

/// Reads a topic from its start; `pause` every so many events.
async fn read(mesh: Mesh, group: &str, count: usize, credit: u64, pause: Option<Duration>) -> Vec<usize> {
    let subscribe = mesh.subscribe("users").start(Start::Earliest).prefetch(credit, 1 << 20);
    let mut users = if group.is_empty() { subscribe } else { subscribe.group(group) }.await.unwrap();
    let mut got = Vec::new();
    let mut slow = pause.map(tokio::time::interval);
    while got.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), users.next());
        let delivery = next.await.expect("the next event comes").unwrap().unwrap();
        got.push(delivery.id().parse().unwrap());
        delivery.ack();
        if let Some(slow) = &mut slow {
            slow.tick().await;
        }
    }
    got
}

#[tokio::test]
async fn s01_a_source_publishes_without_knowing_a_consumer_and_a_later_one_gets_all() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    publish(&mesh, "users", 1000).await;
    let got = read(mesh, "", 1000, 256, None).await;
    assert_eq!(got, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn s18_what_was_acknowledged_is_there_after_a_kill_right_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    publish(&mesh, "users", 10_000).await;
    gateway.program.kill();
    drop(mesh);
    let gateway = Gateway::on(directory.path());
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let got = read(mesh, "", 10_000, 4096, None).await;
    assert_eq!(got, (0..10_000).collect::<Vec<_>>());
}

async fn three_speeds(gateway: &Gateway) {
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let began = Instant::now();
    let (fast, slower, slowest) = tokio::join!(
        async {
            let got = read(mesh.clone(), "fast", 500, 256, None).await;
            (got, began.elapsed())
        },
        read(mesh.clone(), "slower", 500, 16, Some(Duration::from_millis(1))),
        async {
            publish(&mesh, "users", 500).await;
            let got = read(mesh.clone(), "slowest", 500, 4, Some(Duration::from_millis(4))).await;
            (got, began.elapsed())
        },
    );
    let all: Vec<usize> = (0..500).collect();
    assert_eq!((&fast.0, &slower, &slowest.0), (&all, &all, &all));
    assert!(fast.1 < slowest.1, "{:?} {:?}", fast.1, slowest.1);
}

#[tokio::test]
async fn s60_three_consumers_at_three_speeds_are_each_complete_and_none_slows_another() {
    let directory = tempfile::tempdir().unwrap();
    three_speeds(&Gateway::on(directory.path())).await;
}

/// The field of an error's context that says which event of a batch it is about.
fn index(error: &meshwire::Error) -> Option<&str> {
    error.context().iter().find(|(name, _)| *name == "index").map(|(_, index)| index.as_str())
}

#[tokio::test]
async fn s19_a_batch_with_three_invalid_events_stores_the_others_and_names_those() {
    for args in [&["--memory"][..], &["--data-dir", "."]] {
        let directory = tempfile::tempdir().unwrap();
        let mut serve = crate::program::meshwire(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
        serve.current_dir(directory.path());
        let gateway = Gateway::spawn(serve);
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        let event = |n| match n {
            7 => changed(n).attribute("Bad-Name", "x"),
            50 => Event::bytes("user.changed", vec![0; 5 << 20]).id("50").source("/users"),
            99 => changed(n).key("tab\tand\u{1}"),
            _ => changed(n),
        };
        let results = mesh.publish_batch("users", (0..100).map(event).collect()).await;
        let refused = results.iter().filter_map(|r| r.as_ref().err()).map(|e| (index(e).unwrap(), e.kind()));
        let expected = [("7", ErrorKind::Invalid), ("50", ErrorKind::TooLarge), ("99", ErrorKind::Invalid)];
        assert_eq!(refused.collect::<Vec<_>>(), expected);
        assert!(results.iter().enumerate().all(|(n, r)| r.is_err() == [7, 50, 99].contains(&n)));
        let stored = read(mesh, "", 97, 256, None).await;
        assert_eq!(stored, (0..100).filter(|n| ![7, 50, 99].contains(n)).collect::<Vec<_>>());
        assert_eq!(gateway.all_ids("users").len(), 97);
    }
}

#[tokio::test]
async fn s44_a_poison_event_is_a_dead_letter_until_it_is_replayed_after_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    poison(&Gateway::on(directory.path())).await;
}

#[tokio::test]
async fn s44_a_poison_event_is_a_dead_letter_until_it_is_replayed_after_the_fix_in_memory() {
    poison(&Gateway::start()).await;
}

async fn poison(gateway: &Gateway) {
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    publish(&mesh, "users", 10).await;
    let (is_fixed, attempts, handled) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let settings = GroupSettings::new().max_failures(3).backoff(Duration::from_millis(10), Duration::from_millis(20));
    let handle = async |delivery: &Delivery| {
        if delivery.id() == "4" {
            attempts.fetch_add(1, Ordering::Relaxed);
            if !is_fixed.load(Ordering::Relaxed) {
                return Err("cannot divide by zero");
            }
        }
        handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let letters = async || match mesh.groups("users").list().await.unwrap().first() {
        Some(group) => group.dead_letters,
        None => 0,
    };
    let watch = async {
        while letters().await == 0 {}
        let page = mesh.dead_letters("users").pages(true).next().await.unwrap().unwrap();
        let [letter] = &page[..] else { panic!("{page:?}") };
        assert_eq!((letter.event().unwrap().id(), letter.failures, letter.attempts), ("4", 3, 3));
        assert_eq!(letter.error, "cannot divide by zero");
        is_fixed.store(true, Ordering::Relaxed);
        assert_eq!(mesh.dead_letters("users").redrive_all().await.unwrap().count, 1);
        while letters().await > 0 {}
    };
    let consume = mesh.consume("users").group("g").settings(settings).until(watch).run(handle);
    tokio::time::timeout(Duration::from_secs(30), consume).await.expect("it ends").unwrap();
    assert_eq!((attempts.into_inner(), handled.into_inner()), (4, 10), "three attempts and the replay");
    assert_eq!(mesh.dead_letters("users").pages(false).next().await.unwrap(), Some(Vec::new()));
}

#[tokio::test]
async fn s60_three_consumers_at_three_speeds_are_each_complete_in_memory() {
    three_speeds(&Gateway::start()).await;
}

/// A member of the broadcast group `all`; without a name when it is empty.
async fn member(mesh: &Mesh, name: &str) -> Subscription {
    let all = mesh.subscribe("users").group("all").broadcast();
    if name.is_empty() { all.await.unwrap() } else { all.member(name).await.unwrap() }
}

/// Takes so many events, and acks each.
async fn take(users: &mut Subscription, count: usize) -> Vec<usize> {
    let mut got = Vec::new();
    while got.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), users.next());
        let delivery = next.await.expect("the next event comes").unwrap().unwrap();
        got.push(delivery.id().parse().unwrap());
        delivery.ack();
    }
    got
}

async fn broadcast(gateway: &Gateway) {
    let mut members = Vec::new();
    for name in ["a", "b", "", ""] {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        members.push(member(&mesh, name).await);
    }
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    publish(&mesh, "users", 2000).await;
    let all: Vec<usize> = (0..2000).collect();
    for member in &mut members {
        assert_eq!(take(member, 2000).await, all);
    }
}

#[tokio::test]
async fn s22_every_member_of_a_broadcast_group_gets_every_event() {
    let directory = tempfile::tempdir().unwrap();
    broadcast(&Gateway::on(directory.path())).await;
}

#[tokio::test]
async fn s22_every_member_of_a_broadcast_group_gets_every_event_in_memory() {
    broadcast(&Gateway::start()).await;
}

/// Takes what comes to two members of a group until both have all together.
async fn share(one: &mut Subscription, other: &mut Subscription, count: usize) -> Vec<usize> {
    let mut got = Vec::new();
    while got.len() < count {
        let next = async {
            tokio::select! { next = one.next() => next, next = other.next() => next }
        };
        let next = tokio::time::timeout(Duration::from_secs(30), next);
        let delivery = next.await.expect("the next event comes").unwrap().unwrap();
        got.push(delivery.id().parse().unwrap());
        delivery.ack();
    }
    got.sort_unstable();
    got
}

/// A queue, facts for all and a later replay, of one stream.
async fn queue_facts_and_replay(gateway: &Gateway) {
    let (mesh, second) =
        (meshwire::connect(&gateway.url).await.unwrap(), meshwire::connect(&gateway.url).await.unwrap());
    let queue = |mesh: &Mesh| mesh.subscribe("users").group("queue");
    let (mut one, mut other) = (queue(&mesh).await.unwrap(), queue(&second).await.unwrap());
    let (mut a, mut b) = (member(&mesh, "a").await, member(&second, "").await);
    publish(&mesh, "users", 1000).await;
    let all: Vec<usize> = (0..1000).collect();
    assert_eq!(share(&mut one, &mut other, 1000).await, all, "each event once for the queue");
    assert_eq!((take(&mut a, 1000).await, take(&mut b, 1000).await), (all.clone(), all.clone()));
    let mut replay = mesh.subscribe("users").start(Start::Position(Position::from_number(401))).await.unwrap();
    assert_eq!(take(&mut replay, 600).await, all[400..], "what was settled by all is there still");
    assert_eq!((one.next_now().unwrap().is_none(), a.next_now().unwrap().is_none()), (true, true));
}

#[tokio::test]
async fn s62_a_queue_a_broadcast_and_a_replay_consume_one_stream() {
    let directory = tempfile::tempdir().unwrap();
    queue_facts_and_replay(&Gateway::on(directory.path())).await;
}

#[tokio::test]
async fn s62_a_queue_a_broadcast_and_a_replay_consume_one_stream_in_memory() {
    queue_facts_and_replay(&Gateway::start()).await;
}

/// A responder of its own thread, which is busy as long as it likes: it answers what it was asked once it is told to.
fn busy_responder(url: &str, asked: &mpsc::SyncSender<String>, go_on: &mpsc::Receiver<()>) {
    let handler = async |request: &Request| {
        asked.send(request.text()?.to_owned()).unwrap();
        // Nothing else runs in this thread meanwhile, so it does not hear that nobody waits any more.
        go_on.recv().unwrap();
        Ok::<_, meshwire::Error>(Event::text("order.billed", format!("{} billed", request.text()?)))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = meshwire::connect(url).await.unwrap();
        // It ends with the thread of the test, whose ends of the channels are gone.
        mesh.serve("orders").run(handler).await.unwrap();
    });
}

async fn ask(mesh: &Mesh, order: &str, limit: Duration) -> meshwire::Result<String> {
    let event = Event::text("order.placed", order).source("/shop");
    let reply = mesh.request("orders", event).timeout(limit).await?;
    Ok(reply.text()?.to_owned())
}

async fn reply_after_processing(gateway: &Gateway) {
    let patience = Duration::from_secs(30);
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let nobody = ask(&mesh, "0", patience).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NoResponders);
    let ((asked, was_asked), (let_go_on, go_on)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
    let url = gateway.url.clone();
    std::thread::spawn(move || busy_responder(&url, &asked, &go_on));
    let served = async || {
        let topics = mesh.topics().list().await.unwrap();
        topics.into_iter().find(|topic| topic.name == "orders").and_then(|topic| topic.requests)
    };
    let until = async |what: &str, done: fn(&meshwire::TopicRequests) -> bool| {
        let wait = async { while !served().await.as_ref().is_some_and(done) {} };
        tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| panic!("{what}"));
    };
    until("somebody serves", |served| served.members == 1).await;
    let_go_on.send(()).unwrap();
    assert_eq!(ask(&mesh, "1", patience).await.unwrap(), "1 billed");
    assert_eq!(was_asked.recv().unwrap(), "1", "it was processed before it was answered");
    let late = ask(&mesh, "2", Duration::from_secs(2)).await.unwrap_err();
    assert_eq!((late.kind(), was_asked.recv().unwrap()), (ErrorKind::Timeout, "2".to_owned()));
    // The requester's own clock has said so: a reply that overtakes its word to the gateway would not be late there.
    until("the gateway has ended it too", |served| served.open == 0).await;
    let_go_on.send(()).unwrap();
    until("the late reply is counted", |served| served.late_replies == 1).await;
    let_go_on.send(()).unwrap();
    assert_eq!(ask(&mesh, "3", patience).await.unwrap(), "3 billed", "a late reply is taken for no other");
}

#[tokio::test]
async fn s17_a_publish_with_reply_returns_once_it_was_processed_and_what_comes_late_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    reply_after_processing(&Gateway::on(directory.path())).await;
}

#[tokio::test]
async fn s17_a_publish_with_reply_returns_once_it_was_processed_and_what_comes_late_is_counted_in_memory() {
    reply_after_processing(&Gateway::start()).await;
}

/// Keeps the last word of each key.
async fn view(mut users: Subscription, count: usize) -> (BTreeMap<String, String>, Instant) {
    let mut view = BTreeMap::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(30), users.next());
        let delivery = next.await.expect("the next event comes").unwrap().unwrap();
        view.insert(delivery.event().key().unwrap().to_owned(), delivery.id().to_owned());
        delivery.ack();
    }
    (view, Instant::now())
}

/// A burst is taken at once, worked off at each consumer's own rate, and all come to the same state.
async fn level_load(gateway: &Gateway) {
    const EVENTS: usize = 600;
    const RATE: u32 = 300;
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let slow = mesh.subscribe("users").group("slow").settings(GroupSettings::new().max_rate(RATE)).await.unwrap();
    let fast = mesh.subscribe("users").group("fast").await.unwrap();
    let publisher = meshwire::connect(&gateway.url).await.unwrap();
    let began = Instant::now();
    let burst = async {
        for n in 0..EVENTS {
            drop(publisher.publish_start("users", changed(n).key((n % 10).to_string())).await.unwrap());
        }
        publisher.flush().await.unwrap();
        Instant::now()
    };
    let (published, slow, fast) = tokio::join!(burst, view(slow, EVENTS), view(fast, EVENTS));
    let last = (EVENTS - 10..EVENTS).map(|n| ((n % 10).to_string(), n.to_string()));
    assert_eq!(slow.0, last.collect(), "the last word of every key");
    assert_eq!(slow.0, fast.0);
    let least = Duration::from_secs_f64((EVENTS - RATE as usize / 10 - 1) as f64 / f64::from(RATE));
    assert!(slow.1.duration_since(began) >= least, "it was worked off at its own rate");
    assert!(published < slow.1 && fast.1 < slow.1, "and held up neither the publisher nor another consumer");
}

#[tokio::test]
async fn s81_a_burst_is_levelled_and_all_come_to_the_same_state() {
    let directory = tempfile::tempdir().unwrap();
    level_load(&Gateway::on(directory.path())).await;
}

#[tokio::test]
async fn s81_a_burst_is_levelled_and_all_come_to_the_same_state_in_memory() {
    level_load(&Gateway::start()).await;
}
