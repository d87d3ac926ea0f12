//! What `bench/c` measures, through crate `meshwire`: the two side by side show what the border to C costs.
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

fn rate(what: &str, events: u64, began: Instant) {
    println!("{what} {:.0} events/s", events as f64 / began.elapsed().as_secs_f64());
}

async fn publish(mesh: &Mesh, topic: &str, events: u64) -> anyhow::Result<()> {
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
    rate("publish", events, began);
    Ok(())
}

async fn receive(mesh: &Mesh, topic: &str, events: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut subscription = mesh.subscribe(topic).group("bench").prefetch(IN_FLIGHT as u64, 8 << 20).await?;
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
    rate("receive", events, began);
    anyhow::ensure!(bytes as u64 >= events * BYTES as u64, "{bytes} bytes came");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_default();
    let events = arguments.next().map_or(Ok(400_000), |events| events.parse())?;
    let mesh = meshwire::connect(&url).await?;
    let topic = format!("bench-{}", std::process::id());
    let mut settings = TopicSettings::new();
    settings.durability = Some(Durability::Memory);
    mesh.topics().create(&topic, settings).await?;
    publish(&mesh, &topic, events).await?;
    receive(&mesh, &topic, events).await?;
    mesh.close().await?;
    Ok(())
}
