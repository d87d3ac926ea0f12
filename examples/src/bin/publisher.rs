//! Publishes five orders and prints their receipts.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin publisher -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use meshwire::Event;

#[derive(serde::Serialize)]
struct Order {
    item: u32,
    customer: &'static str,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;

    // Started one after the other, so that they share a write; awaited afterwards.
    let mut receipts = Vec::new();
    for (item, customer) in (1..=5).zip(["ada", "ben", "ada", "cy", "ben"]) {
        let event = Event::json("order.created", &Order { item, customer })?.key(customer);
        receipts.push(mesh.publish_start("orders", event).await?);
    }
    for (item, receipt) in (1..).zip(receipts) {
        receipt.await?;
        println!("order {item} is kept");
    }
    mesh.close().await?;
    Ok(())
}
