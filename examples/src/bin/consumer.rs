//! Takes five orders for the group `billing`, acks each, and ends.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin consumer -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

#[derive(serde::Deserialize)]
struct Order {
    item: u32,
    customer: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;

    // A new group starts at the earliest event of its topic.
    let mut orders = mesh.subscribe("orders").group("billing").await?;
    for _ in 0..5 {
        let Some(delivery) = orders.try_next().await? else {
            break;
        };
        let order: Order = delivery.json()?;
        println!("bill {} for item {}", order.customer, order.item);
        // Waits for the gateway's word; `ack` would not.
        delivery.ack_confirmed().await?;
    }
    mesh.close().await?;
    Ok(())
}
