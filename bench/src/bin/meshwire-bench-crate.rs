//! What the programs of `bench/{c,python,node,go}` measure, through crate `meshwire`: side by side they show what a border costs.
//!
//! `meshwire-bench-crate publish|receive|both|round-trip|slope URL [EVENTS]`
#![expect(clippy::print_stdout, reason = "a command line program")]

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use meshwire::{Durability, Event, Mesh, PendingReceipt, TopicSettings};

const BYTES: usize = 256;
const IN_FLIGHT: usize = 1024;
const BATCH: usize = 256;

fn rate(events: u64, began: Instant) -> f64 {
    events as f64 / began.elapsed().as_secs_f64()
}

async fn publish(mesh: &Mesh, topic: &str, events: u64) -> anyhow::Result<f64> {
    let payload = Bytes::from_static(&[0; BYTES]);
    let mut pending: VecDeque<PendingReceipt> = VecDeque::with_capacity(IN_FLIGHT);
    let began = Instant::now();
    for _ in 0..events {
        if pending.len() == IN_FLIGHT {
            if let Some(first) = pending.pop_front() {
                first.await?;
            }
            while let Some(kept) = pending.front_mut().and_then(|first| first.now_or_never()) {
                kept?;
                pending.pop_front();
            }
        }
        pending.push_back(mesh.publish_start(topic, Event::bytes("", payload.clone())).await?);
    }
    for receipt in pending {
        receipt.await?;
    }
    Ok(rate(events, began))
}

async fn receive(mesh: &Mesh, topic: &str, events: u64) -> anyhow::Result<f64> {
    let mut subscription = mesh.subscribe(topic).group("bench").prefetch(IN_FLIGHT as u64, 8 << 20).await?;
    let began = Instant::now();
    let (mut taken, mut bytes) = (0, 0);
    while taken < events {
        let first = subscription.try_next().await?.context("the subscription ended")?;
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(delivery) = subscription.next_now()?
        {
            batch.push(delivery);
        }
        bytes += batch.iter().map(|delivery| delivery.event().data().bytes().len()).sum::<usize>();
        taken += batch.len() as u64;
        batch.into_iter().for_each(meshwire::Delivery::ack);
    }
    let rate = rate(events, began);
    anyhow::ensure!(bytes as u64 >= events * BYTES as u64, "{bytes} bytes came");
    Ok(rate)
}

/// The microseconds of a publish that is waited for, in the middle.
async fn round_trip(mesh: &Mesh, topic: &str, events: u64) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..events {
        let began = Instant::now();
        mesh.publish(topic, Event::bytes("", Bytes::from_static(&[0; BYTES]))).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let middle = times.get(times.len() / 2).context("no event is to be published")?;
    Ok(middle.as_secs_f64() * 1e6)
}

/// Bytes of this process.
fn resident() -> anyhow::Result<f64> {
    let statm =
        std::fs::read_to_string("/proc/self/statm").context("this system does not say how large a process is")?;
    let pages: u64 = statm.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok((pages * rustix::param::page_size() as u64) as f64)
}

/// Bytes that stay of each publish, over the last four fifths.
async fn slope(mesh: &Mesh, topic: &str, events: u64) -> anyhow::Result<f64> {
    let last = events - events / 5;
    publish(mesh, topic, events / 5).await?;
    let before = resident()?;
    publish(mesh, topic, last).await?;
    Ok((resident()? - before) / last as f64)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (what, url) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let events = arguments.next().map_or(Ok(400_000), |events| events.parse())?;
    let mesh = meshwire::connect(&url).await?;
    let topic = format!("bench-{}", std::process::id());
    let mut settings = TopicSettings::new();
    settings.durability = Some(Durability::Memory);
    mesh.topics().create(&topic, settings).await?;
    match what.as_str() {
        "round-trip" => println!("round-trip {:.1}", round_trip(&mesh, &topic, events).await?),
        "slope" => println!("slope {:.3}", slope(&mesh, &topic, events).await?),
        _ => {
            println!("publish {:.0}", publish(&mesh, &topic, events).await?);
            if what != "publish" {
                println!("receive {:.0}", receive(&mesh, &topic, events).await?);
            }
        }
    }
    mesh.close().await?;
    Ok(())
}
