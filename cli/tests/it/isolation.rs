//! S27: who is stuck holds up nobody else: another topic, another group, another client, another member of its group.
//!
//! Those that are stuck are programs that were stopped for good, so that whatever waited for one would never end.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use meshwire::{Event, Mesh, ReplySender, Request, Start, Subscription};
use meshwire_proto::EventRunBuilder;
use meshwire_proto::frame::{ClientFrame, PREFACE, Publish, PublishRun, begin_frame, end_frame};
use meshwire_proto::wire::session::Hello;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::program::{Gateway, Program};

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "shared";

async fn connect(gateway: &Gateway) -> Mesh {
    meshwire::connect(&gateway.url).await.unwrap()
}

fn event(id: String, bytes: usize) -> Event {
    Event::bytes("of.one", vec![b'x'; bytes]).id(id).source("/isolation")
}

async fn publish(mesh: &Mesh, topic: &str, what: &str, (count, bytes): (u32, usize)) {
    for n in 0..count {
        mesh.publish(topic, event(format!("{what}-{n}"), bytes)).await.unwrap();
    }
}

async fn take(subscription: &mut Subscription, what: &str, count: u32) {
    for n in 0..count {
        let delivery = subscription.try_next().await.unwrap().unwrap();
        assert_eq!(delivery.id(), format!("{what}-{n}"));
        delivery.ack_confirmed().await.unwrap();
    }
}

/// What others do beside somebody stuck, by clients of their own.
async fn others_go_on(gateway: &Gateway, beside: &str) {
    let all = async {
        let (publisher, consumer) = (connect(gateway).await, connect(gateway).await);
        let mut same = consumer.subscribe(TOPIC).group(beside).start(Start::Latest).await.unwrap();
        let mut unnamed = consumer.subscribe(TOPIC).await.unwrap();
        let mut other = consumer.subscribe("other").group(beside).start(Start::Latest).await.unwrap();
        publish(&publisher, TOPIC, beside, (50, 1024)).await;
        publish(&publisher, "other", beside, (50, 1024)).await;
        take(&mut same, beside, 50).await;
        take(&mut unnamed, beside, 50).await;
        take(&mut other, beside, 50).await;
        answered(&publisher, &consumer, &format!("of-{beside}")).await;
        assert!(publisher.topics().list().await.unwrap().len() >= 2);
    };
    timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("others wait beside {beside}"));
}

/// Twenty requests one after the other, answered by another client.
async fn answered(requester: &Mesh, responder: &Mesh, topic: &str) {
    let ask = async {
        while requester.request(topic, event("early".into(), 1)).await.is_err() {}
        for n in 0..20 {
            let reply = requester.request(topic, event(n.to_string(), 1)).await.unwrap();
            assert_eq!(reply.text().unwrap(), "answered");
        }
    };
    let serve = responder.serve(topic).until(ask);
    serve.run(async |_: &Request| Ok::<_, String>(Event::text("answer", "answered"))).await.unwrap();
}

/// Holds events and reads nothing more: it has credit for less than there is, and its socket is full.
async fn stuck_subscriber(gateway: &Gateway) -> Program {
    let mesh = connect(gateway).await;
    let mut program = gateway.begin(&["sub", TOPIC, "--group", "stuck", "--json"]);
    publish(&mesh, TOPIC, "first", (1, 1)).await;
    program.line();
    program.pause();
    publish(&mesh, TOPIC, "large", (150, 64 << 10)).await;
    program
}

/// Was asked, and says nothing.
async fn stuck_responder(gateway: &Gateway) -> [Program; 2] {
    let mut responder = gateway.begin(&["reply", "asked", "--data", "never"]);
    responder.wait_for_log("serving requests");
    responder.pause();
    let requester = gateway.begin(&["request", "asked", "--data", "x", "--timeout", "10m"]);
    let mesh = connect(gateway).await;
    let open = async || {
        let topics = mesh.topics().list().await.unwrap();
        topics.iter().filter(|t| t.name == "asked").filter_map(|t| t.requests.as_ref()).map(|r| r.open).sum::<u64>()
    };
    let asked = async { while open().await < 1 {} };
    timeout(PATIENCE, asked).await.expect("it was asked");
    [responder, requester]
}

/// Answers with as many replies as are wanted, in a thread of its own, until `stop` is dropped.
fn flood(url: &str, stop: oneshot::Receiver<()>) {
    let handler = async |request: &Request, replies: &ReplySender| {
        while request.wants_stream() {
            replies.send(event(String::from("flood"), 64 << 10)).await?;
        }
        replies.send(Event::text("answer", "answered")).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = meshwire::connect(url).await.unwrap();
        let serve = mesh.serve("lines").concurrency(4).until(async { drop(stop.await) });
        // Dropped with the end of the test, whatever the stuck one still wants.
        drop(timeout(PATIENCE * 4, serve.run_stream(handler)).await);
    });
}

/// Asked for many replies, and reads none of them any more; the same responder answers others.
async fn beside_a_stuck_requester(gateway: &Gateway) {
    let (stop, stopped) = oneshot::channel();
    let url = gateway.url.clone();
    std::thread::spawn(move || flood(&url, stopped));
    let mesh = connect(gateway).await;
    let served = async { while !mesh.topics().list().await.unwrap().iter().any(|t| t.name == "lines") {} };
    timeout(PATIENCE, served).await.expect("somebody serves");
    let mut stuck = gateway.begin(&["request", "lines", "--data", "x", "--stream", "--timeout", "10m"]);
    stuck.line();
    stuck.pause();
    for n in 0..20 {
        let reply = mesh.request("lines", event(n.to_string(), 1)).await.unwrap();
        assert_eq!(reply.text().unwrap(), "answered");
    }
    others_go_on(gateway, "a-requester").await;
    drop(stop);
}

fn put(out: &mut BytesMut, frame: &ClientFrame) {
    let start = begin_frame(out);
    frame.encode(out);
    end_frame(out, start, 0);
}

/// Publishes one event after the other, half of them to a name that is none, and never reads what it is answered:
/// until the gateway takes no more of it.
fn deaf_publisher(gateway: &Gateway) -> TcpStream {
    const RUNS: u64 = 64;
    const MOST_FRAMES: u64 = 10_000;
    let mut stream = TcpStream::connect(&gateway.address).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut out = BytesMut::from(PREFACE.as_slice());
    let hello = Hello { producer_id: vec![7; 16].into(), min_version: 1, max_version: 1, ..Hello::default() };
    put(&mut out, &ClientFrame::Hello(hello));
    let no_name = format!("no name {}", "x".repeat(100));
    for frame in 0..MOST_FRAMES {
        let mut events = EventRunBuilder::default();
        let mut run = |n| {
            let first_sequence = frame * RUNS + n + 1;
            events.push(&event(format!("deaf-{first_sequence}"), 1).encode().unwrap());
            let topic = if n % 2 == 0 { "deaf".to_owned() } else { no_name.clone() };
            let alias = u32::try_from(n % 2).unwrap() + 1;
            PublishRun { alias, topic, first_sequence, events: events.take(), ..PublishRun::default() }
        };
        put(&mut out, &ClientFrame::Publish(Publish { runs: (0..RUNS).map(&mut run).collect(), answered_through: 0 }));
        if let Err(error) = stream.write_all(&out) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it is still connected");
            return stream;
        }
        out.clear();
    }
    panic!("the gateway answers a publisher that does not read without a bound");
}

/// A member of the same group has all its credit and all its keys, and settles nothing: what comes of these keys waits,
/// and nothing else does.
async fn beside_a_stuck_member(gateway: &Gateway) {
    const KEYS: u32 = 16;
    const BEHIND: u32 = 1_200;
    let clients = [connect(gateway).await, connect(gateway).await];
    let join = async |client: &Mesh| {
        let joining = client.subscribe("keyed").group("team").start(Start::Earliest);
        joining.ack_wait(Duration::from_secs(3600)).prefetch(KEYS.into(), 1 << 20).await.unwrap()
    };
    let publisher = connect(gateway).await;
    let of_key = async |n: u32| {
        let keyed = event(format!("keyed-{n}"), 1).key(format!("key-{}", n % KEYS));
        publisher.publish("keyed", keyed).await.unwrap();
    };
    let mut stuck = join(&clients[0]).await;
    let mut held = Vec::new();
    for n in 0..KEYS {
        of_key(n).await;
        held.push(stuck.try_next().await.unwrap().unwrap());
    }
    let mut healthy = join(&clients[1]).await;
    for n in KEYS..BEHIND {
        of_key(n).await;
    }
    publish(&publisher, "keyed", "free", (20, 1)).await;
    timeout(PATIENCE, take(&mut healthy, "free", 20)).await.expect("it waits beside a stuck member of its group");
    // Once that one is gone the other one gets everything, each key in its order.
    drop((held, stuck));
    let mut next: Vec<u32> = (0..KEYS).collect();
    for _ in 0..BEHIND {
        let delivery = timeout(PATIENCE, healthy.try_next()).await.expect("what waited comes").unwrap().unwrap();
        let n: u32 = delivery.id().strip_prefix("keyed-").unwrap().parse().unwrap();
        let expected = next.get_mut(usize::try_from(n % KEYS).unwrap()).unwrap();
        assert_eq!(n, *expected);
        *expected += KEYS;
        delivery.ack_confirmed().await.unwrap();
    }
}

async fn nobody_waits(store: &[&str]) {
    let gateway = Gateway::with(store);
    others_go_on(&gateway, "nobody").await;
    let _subscriber = stuck_subscriber(&gateway).await;
    others_go_on(&gateway, "a-subscriber").await;
    let _asked = stuck_responder(&gateway).await;
    let (requester, responder) = (connect(&gateway).await, connect(&gateway).await);
    timeout(PATIENCE, answered(&requester, &responder, "asked")).await.expect("another one of the topic answers");
    others_go_on(&gateway, "a-responder").await;
    let _publisher = deaf_publisher(&gateway);
    others_go_on(&gateway, "a-publisher").await;
    beside_a_stuck_requester(&gateway).await;
    beside_a_stuck_member(&gateway).await;
}

#[tokio::test]
async fn s27_other_topics_groups_and_clients_go_on_beside_all_who_are_stuck() {
    let directory = tempfile::tempdir().unwrap();
    nobody_waits(&["--data-dir", directory.path().to_str().unwrap()]).await;
}

#[tokio::test]
async fn s27_other_topics_groups_and_clients_go_on_beside_all_who_are_stuck_in_memory() {
    nobody_waits(&["--memory"]).await;
}
