//! What is measured on the real clock, with the real gateway and client. The step
//! `on-time` runs these tests alone: beside others they would measure the machine.
//!
//! `MESHWIRE_FULL=1` gives them their full length, which is minutes.

mod beginner;
mod cut;
mod limits;
mod redelivery;
mod resets;
mod surges;

use std::time::{Duration, Instant};

use meshwire::{Delivery, Event, GroupSettings, Mesh, Subscription};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Longest a step may take. Generous: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

const TOPIC: &str = "work";
const GROUP: &str = "g";

fn is_full() -> bool {
    std::env::var("MESHWIRE_FULL").is_ok_and(|full| full == "1")
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn connect(url: &str) -> Mesh {
    meshwire::connect(url).await.unwrap()
}

async fn join(mesh: &Mesh, settings: GroupSettings) -> Subscription {
    mesh.subscribe(TOPIC).group(GROUP).settings(settings).await.unwrap()
}

async fn next(work: &mut Subscription) -> Delivery {
    timeout(PATIENCE, work.try_next()).await.expect("an event comes").unwrap().unwrap()
}

fn numbered(n: u64) -> Event {
    Event::text("numbered", n.to_string()).id(n.to_string()).source("/on-time")
}

async fn publish(mesh: &Mesh, count: u64) {
    for n in 1..=count {
        drop(mesh.publish_start(TOPIC, numbered(n)).await.unwrap());
    }
    mesh.flush().await.unwrap();
}

/// Whether something came when it was due: never early, and late by a tenth of its
/// wait or 50 ms, whichever is more. `since` was taken before the wait began.
fn assert_due(what: &str, since: Instant, due: Duration) {
    let took = since.elapsed();
    let most = due + Duration::from_millis(50).max(due / 10);
    assert!(took >= due && took <= most, "{what}: after {took:?}, due after {due:?}");
}
