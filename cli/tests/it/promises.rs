//! Promises of the product, over the real program and client, named by their row.

use std::time::{Duration, Instant};

use meshwire::{Event, Mesh, Start};

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

#[tokio::test]
async fn s60_three_consumers_at_three_speeds_are_each_complete_and_none_slows_another() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
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
