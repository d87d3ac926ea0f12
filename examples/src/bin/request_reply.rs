//! Asks for prices of a responder that this program runs as well, and for what nobody serves.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin request_reply -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use meshwire::{ErrorKind, Event, Mesh, Request};

/// Answers with twice the number of the sku; there is no sku 0.
async fn quote(request: &Request) -> anyhow::Result<Event> {
    let sku: u32 = request.json()?;
    anyhow::ensure!(sku > 0, "there is no sku {sku}");
    Ok(Event::json("quote.given", &(2 * sku))?)
}

async fn ask(mesh: &Mesh, topic: &str, sku: u32) -> anyhow::Result<()> {
    match mesh.request(topic, Event::json("quote.asked", &sku)?).await {
        Ok(reply) => println!("sku {sku} costs {}", reply.json::<u32>()?),
        Err(error) if error.kind() == ErrorKind::NoResponders => println!("nobody serves {topic}"),
        Err(error) if error.kind() == ErrorKind::ResponderFailed => println!("refused: {}", error.message()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;
    let asking = async {
        for sku in [1, 21, 0] {
            ask(&mesh, "quote", sku).await?;
        }
        ask(&mesh, "discount", 1).await
    };
    tokio::select! {
        // It begins first, and what one client says arrives in its order.
        biased;
        served = mesh.serve("quote").concurrency(4).run(quote) => served?,
        asked = asking => asked?,
    }
    mesh.close().await?;
    Ok(())
}
