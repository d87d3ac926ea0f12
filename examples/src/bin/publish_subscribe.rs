//! Two subscribers without a group get every event that is published while they are there.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin publish_subscribe -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use meshwire::{Event, Subscription};

/// Prints the next three events under a name.
async fn print(name: &str, mut prices: Subscription) -> anyhow::Result<()> {
    for _ in 0..3 {
        let Some(delivery) = prices.try_next().await? else {
            break;
        };
        println!("{name}: {}", delivery.text()?);
        // Gives the place in the subscription's credit back. Without a group nothing else
        // depends on it.
        delivery.ack();
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;

    mesh.publish("prices", Event::text("price.changed", "tea 1.80")).await?;
    // Without a start, from here on.
    let board = mesh.subscribe("prices").await?;
    let till = mesh.subscribe("prices").await?;
    for price in ["tea 1.90", "coffee 2.40", "cocoa 3.10"] {
        mesh.publish("prices", Event::text("price.changed", price)).await?;
    }
    print("board", board).await?;
    print("till", till).await?;
    mesh.close().await?;
    Ok(())
}
