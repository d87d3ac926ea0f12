//! 500 connections that say nothing or stop, and 500 that come and go at once: who was there before is served as before, and nothing is left of
//! them. The bars are wide: other tests run beside this one.

use std::time::Duration;

use meshwire::{Connect, Event, Mesh};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::PATIENCE;
use crate::program::Gateway;

const FLOOD: usize = 500;

/// How often the storm comes.
const ROUNDS: usize = 3;

/// Of the offered load, at least; and its p99, at most so many times that alone, or this.
const LEAST_PART: f64 = 0.5;
const MOST_TIMES: u32 = 4;
const MOST: Duration = Duration::from_millis(250);

/// Beginnings of a login, of which each connection sends one.
const BEGINNINGS: [&[u8]; 4] = [b"", b"GET / HTTP/1.1\r\nhost: local", b"\xf3mesh", b"\x16\x03\x01\x02\0\x01"];

async fn publish(mesh: &Mesh) {
    timeout(PATIENCE, mesh.publish("t", Event::text("t", "x"))).await.expect("a receipt").unwrap();
}

/// Publishes at a fixed rate; of what was offered the part that was taken, and the 99th of a hundred of the times from when each was due.
async fn offer(mesh: &Mesh, period: Duration, count: u32) -> (f64, Duration) {
    let (began, mut ticks, mut took) = (Instant::now(), interval(period), Vec::new());
    for n in 0..count {
        ticks.tick().await;
        publish(mesh).await;
        took.push((began + period * n).elapsed());
    }
    took.sort_unstable();
    let planned = period * count;
    (planned.as_secs_f64() / began.elapsed().max(planned).as_secs_f64(), took[took.len() * 99 / 100])
}

fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.program.id())).unwrap().count()
}

/// Comes, begins, and goes without a word, again and again.
async fn storm(address: String) {
    for _ in 0..ROUNDS {
        let mut coming = JoinSet::new();
        for n in 0..FLOOD {
            let address = address.clone();
            coming.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let _ = stream.write_all(BEGINNINGS[n % BEGINNINGS.len()]).await;
            });
        }
        while let Some(came) = coming.join_next().await {
            came.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_silent_connections_and_a_storm_leave_others_served_and_nothing_behind() {
    let gateway = Gateway::with(&["--memory", "--login-timeout", "3s"]);
    let mesh = Connect::new(&gateway.url).await.unwrap();
    let began = Instant::now();
    let mut published = 0;
    while began.elapsed() < Duration::from_secs(1) {
        publish(&mesh).await;
        published += 1;
    }
    // A quarter of what one after the other gives.
    let period = began.elapsed() * 4 / published;
    let count = u32::try_from(Duration::from_secs(2).as_nanos() / period.as_nanos()).unwrap().max(20);
    let (_, alone) = offer(&mesh, period, count).await;
    let most = (alone * MOST_TIMES).max(MOST);
    let before = descriptors(&gateway);

    let mut silent = Vec::new();
    for n in 0..FLOOD {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        stream.write_all(BEGINNINGS[n % BEGINNINGS.len()]).await.unwrap();
        silent.push(stream);
    }
    let storming = tokio::spawn(storm(gateway.address.clone()));
    let (part, during) = offer(&mesh, period, count).await;
    timeout(PATIENCE, storming).await.expect("the storm ends").unwrap();
    // The gateway ends them, not they themselves.
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends at the login timeout");
    }
    let mut looks = interval(Duration::from_millis(20));
    let closed = async {
        while descriptors(&gateway) > before {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("descriptors return to their start");
    let (_, after) = offer(&mesh, period, count).await;
    println!(
        "R9: {FLOOD} silent, {ROUNDS} x {FLOOD} come and go: {part:.2} of {:.0}/s, p99 {alone:?} alone, {during:?} during, {after:?} after",
        1.0 / period.as_secs_f64()
    );
    assert!(part >= LEAST_PART, "{part} of the offered load");
    assert!(during <= most && after <= most, "p99 {during:?} and {after:?}, over {most:?}");
    mesh.close().await.unwrap();
}
