//! S12: links that are reset again and again, while each session publishes, consumes, asks and answers at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use meshwire::{Connect, PendingReceipt, Request, Start, State};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::*;
use crate::program::Gateway;

const EVERY: Duration = Duration::from_millis(670);

/// How many resets, and how long a client must have lived with them at least.
const RESETS: (u64, Duration) = (30, Duration::from_secs(20));
const FULL_RESETS: (u64, Duration) = (900, Duration::from_secs(600));

/// Between two events that a client publishes, and two questions.
const PACE: Duration = Duration::from_millis(10);

/// A port before the gateway, and when what goes over it is reset: each time that the number changes.
async fn link(gateway: SocketAddr) -> (SocketAddr, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, resets) = (listener.local_addr().unwrap(), watch::Sender::new(0));
    let reset = resets.subscribe();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut reset = reset.clone();
            reset.mark_unchanged();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(gateway).await else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = reset.changed() => {
                        near.set_zero_linger().unwrap();
                        far.set_zero_linger().unwrap();
                    }
                }
            });
        }
    });
    (address, resets)
}

#[test]
fn s12_resets_lose_nothing_acknowledged_repeat_nothing_settled_and_keep_the_order_on_every_carrier() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let (count, at_least) = if is_full() { FULL_RESETS } else { RESETS };
    runtime().block_on(async {
        let began = Instant::now();
        tokio::join!(
            survive(&gateway, "tcp", count),
            survive(&gateway, "grpc", count),
            survive(&gateway, "ws", count),
            survive(&gateway, "http", count),
        );
        let took = began.elapsed();
        println!("{count} resets of each within {took:?}");
        assert!(took >= at_least, "{took:?} is not the time that is promised");
    });
}

/// One client over one carrier, until its link was reset so often; then looks at what became of everything.
async fn survive(gateway: &Gateway, scheme: &str, count: u64) {
    let (address, resets) = link(gateway.address.parse().unwrap()).await;
    // Back in time for the next reset: with the defaults it would wait longer after each.
    let quick = (Duration::from_millis(5), Duration::from_millis(100));
    let mesh = Connect::new(&format!("{scheme}://{address}")).reconnect(quick.0, quick.1).await.unwrap();
    let (go_on, over) = watch::channel(true);
    let resetting = async {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut state = mesh.state();
        for _ in 0..count {
            ticks.tick().await;
            state.mark_unchanged();
            resets.send_modify(|resets| *resets += 1);
            let again = async {
                if scheme != "http" {
                    state.changed().await.unwrap();
                }
                mesh.connected().await.unwrap();
            };
            timeout(PATIENCE, again).await.unwrap_or_else(|_| panic!("{scheme}: it is not connected again"));
        }
        go_on.send_replace(false);
    };
    let (all_asked, last_answer) = oneshot::channel();
    let serving = mesh.serve(&format!("echo-{scheme}")).until(async { last_answer.await.unwrap() });
    let echo = async |request: &Request| Ok::<_, meshwire::Error>(Event::text("echo", request.text()?));
    let asking = async {
        let asked = ask(&mesh, scheme, over.clone()).await;
        all_asked.send(()).unwrap();
        asked
    };
    let consuming = publish_and_consume(&mesh, scheme, over.clone());
    let ((), last, asked, served) = tokio::join!(resetting, consuming, asking, serving.run(echo));
    served.unwrap();
    let stats = mesh.stats();
    println!("{scheme}: {count} resets, {last} events, {asked} requests, {stats:?}");
    // Over plain HTTP the session sees none of them; elsewhere each is a connection, and the same session.
    let seen = if scheme == "http" { 0 } else { count };
    assert_eq!((stats.reconnects, stats.resumes), (seen, seen), "{scheme}: {stats:?}");
    assert_eq!((stats.replays_by_id, stats.protocol_errors, stats.leases_lost), (0, 0, 0), "{scheme}: {stats:?}");
    assert_eq!(*mesh.state().borrow(), State::Connected);
    check_log(gateway, scheme, last).await;
    mesh.close().await.unwrap();
}

/// Publishes and consumes over one session until it is told to stop, and then until everything is settled.
async fn publish_and_consume(mesh: &Mesh, scheme: &str, over: watch::Receiver<bool>) -> u64 {
    let mut members = mesh.subscribe(scheme).group(GROUP).await.unwrap();
    let total = watch::Sender::new(u64::MAX);
    let publishing = async {
        let mut ticks = tokio::time::interval(PACE);
        let mut pending: Vec<PendingReceipt> = Vec::new();
        while *over.borrow() {
            ticks.tick().await;
            let event = numbered(pending.len() as u64 + 1);
            pending.push(mesh.publish_start(scheme, event).await.unwrap());
        }
        total.send_replace(pending.len() as u64);
        let mut last = None;
        for (receipt, n) in pending.into_iter().zip(1_u64..) {
            let receipt = timeout(PATIENCE, receipt).await.expect("a receipt comes").unwrap();
            // Of what was kept when the connection was lost the place is not told, and it was sent again.
            assert!(!receipt.duplicate || receipt.position.is_none(), "{scheme}: {n} is another one");
            if receipt.position.is_some() {
                assert!(receipt.position > last, "{scheme}: {n} stands out of order");
                last = receipt.position;
            }
        }
    };
    let consuming = async {
        let (mut acked, mut furthest, mut acking) = (BTreeSet::new(), 0, JoinSet::new());
        let mut total = total.subscribe();
        while (acked.len() as u64) < *total.borrow() {
            let delivery = tokio::select! {
                delivery = timeout(PATIENCE, members.try_next()) => {
                    let delivery = delivery.unwrap_or_else(|_| panic!("{scheme}: {} of {} came", acked.len(), *total.borrow()));
                    delivery.unwrap().unwrap()
                }
                // An ack that the gateway could not take leaves the event to come again.
                Some(ended) = acking.join_next() => {
                    let (n, is_acked): (u64, bool) = ended.unwrap();
                    assert!(!is_acked || acked.insert(n), "{scheme}: {n} was acked twice");
                    continue;
                }
                Ok(()) = total.changed() => continue,
            };
            let n: u64 = delivery.event().id().parse().unwrap();
            assert!(!acked.contains(&n), "{scheme}: {n} came again after its ack was confirmed");
            assert!(n <= furthest + 1, "{scheme}: {n} came behind {furthest}");
            furthest = furthest.max(n);
            acking.spawn(async move { (n, delivery.ack_confirmed().await.is_ok()) });
        }
        acked.len() as u64
    };
    tokio::join!(publishing, consuming).1
}

/// Asks and answers over the same session; each answer must be that of its question.
async fn ask(mesh: &Mesh, scheme: &str, over: watch::Receiver<bool>) -> u64 {
    let mut asked = 0;
    let topic = format!("echo-{scheme}");
    // The responder is this very client, which may only just begin to serve.
    let served = async {
        while mesh.topics().list().await.unwrap().iter().all(|listed| listed.name != topic) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.expect("somebody serves");
    let mut ticks = tokio::time::interval(PACE);
    while *over.borrow() {
        ticks.tick().await;
        asked += 1;
        let question = Event::text("question", asked.to_string());
        let reply = mesh.request(&topic, question).timeout(PATIENCE).retry(true).await;
        let reply = reply.unwrap_or_else(|e| panic!("{scheme}: {asked}: {e}"));
        assert_eq!(reply.text().unwrap(), asked.to_string(), "{scheme}");
    }
    asked
}

/// The log has every event once, in the order of its publishes.
async fn check_log(gateway: &Gateway, topic: &str, last: u64) {
    let direct = connect(&gateway.url).await;
    let listed = direct.topics().list().await.unwrap();
    let next = listed.iter().find(|listed| listed.name == topic).unwrap().next;
    assert_eq!(next.number(), last + 1, "{topic}");
    let mut reader = direct.subscribe(topic).start(Start::Earliest).await.unwrap();
    for n in 1..=last {
        assert_eq!(next_id(&mut reader).await, n.to_string(), "{topic}");
    }
}

async fn next_id(reader: &mut Subscription) -> String {
    let delivery = next(reader).await;
    let id = delivery.event().id().to_owned();
    delivery.ack();
    id
}
