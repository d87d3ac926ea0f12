//! Publishes a hundred readings at once, one of which is wrong, and takes them in batches.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin batch -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use meshwire::{Delivery, Event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;

    // They share writes of the log. Each has a result of its own, in their order.
    let mut readings = (1..=100).map(|n| Event::json("reading", &n)).collect::<Result<Vec<_>, _>>()?;
    if let Some(wrong) = readings.get_mut(41) {
        *wrong = Event::text("reading", "x".repeat(5 << 20));
    }
    let results = mesh.publish_batch("readings", readings).await;
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        println!("one is refused: {}", error.kind());
    }
    println!("{} are kept", results.iter().filter(|result| result.is_ok()).count());

    let mut subscription = mesh.subscribe("readings").group("archive").await?;
    let (mut rows, mut sum) = (0, 0);
    while rows < 99 {
        // One is waited for; what else is at hand comes with it, up to a batch's size.
        let mut batch: Vec<Delivery> = subscription.try_next().await?.into_iter().collect();
        while batch.len() < 32
            && let Some(delivery) = subscription.next_now()?
        {
            batch.push(delivery);
        }
        for delivery in &batch {
            sum += delivery.json::<u64>()?;
        }
        // The batch is done: here it would be written. Acks of neighbours are one word.
        rows += batch.len();
        batch.into_iter().for_each(Delivery::ack);
    }
    println!("archived {rows} readings, their sum is {sum}");
    mesh.close().await?;
    Ok(())
}
