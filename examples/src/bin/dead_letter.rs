//! Bills three orders, one of which has no price: it is tried twice, becomes a dead
//! letter, is looked at, given back once billing knows what to do, and is done.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin dead_letter -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use anyhow::anyhow;
use meshwire::{Delivery, Event, GroupSettings, Mesh};
use serde_json::json;

#[derive(serde::Deserialize)]
struct Order {
    price: Option<u32>,
}

/// Bills `count` deliveries; what fails comes again, and after two failures no more.
async fn bill(mesh: &Mesh, count: usize, handler: impl AsyncFn(&Delivery) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let settings = GroupSettings::new().max_failures(2).backoff(Duration::from_millis(50), Duration::from_secs(1));
    let mut orders = mesh.subscribe("priced-orders").group("billing").settings(settings).await?;
    for _ in 0..count {
        let delivery = orders.try_next().await?.ok_or_else(|| anyhow!("the subscription ended"))?;
        match handler(&delivery).await {
            Ok(()) => delivery.ack_confirmed().await?,
            Err(problem) => {
                println!("{} failed, attempt {}: {problem}", delivery.id(), delivery.attempt());
                // `reject` would give it up at once.
                delivery.nack_confirmed().await?;
            }
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;
    for (id, order) in [("1", json!({"price": 5})), ("2", json!({})), ("3", json!({"price": 7}))] {
        mesh.publish("priced-orders", Event::json("order.created", &order)?.id(id)).await?;
    }
    let strict = async |delivery: &Delivery| {
        let price = delivery.json::<Order>()?.price.ok_or_else(|| anyhow!("it has no price"))?;
        println!("{} costs {price}", delivery.id());
        Ok(())
    };
    bill(&mesh, 4, strict).await?;

    let letters = mesh.dead_letters("priced-orders").group("billing");
    let mut pages = letters.clone().pages(true);
    while let Some(page) = pages.next().await? {
        for letter in page {
            let id = letter.event().map(|event| event.id().to_owned()).unwrap_or_default();
            println!("dead letter {}: order {id}, {} failures", letter.number, letter.failures);
        }
    }
    println!("given back: {}", letters.redrive_all().await?.count);
    let generous = async |delivery: &Delivery| {
        println!("{} is free", delivery.id());
        Ok(())
    };
    bill(&mesh, 1, generous).await?;
    println!("left: {}", letters.redrive_all().await?.count);
    mesh.close().await?;
    Ok(())
}
