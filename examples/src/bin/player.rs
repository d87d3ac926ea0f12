//! The demo's player in Rust: publishes events, and receives those of the players in all languages.
//!
//! ```sh
//! player URL NAME EVENTS ALL
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what the demo reads")]

use std::collections::BTreeMap;

use anyhow::Context;
use meshwire::{Event, Start};

const LANGUAGE: &str = concat!("Rust ", env!("RUSTC_VERSION"));

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, events, all] = &words[..] else { anyhow::bail!("usage: player URL NAME EVENTS ALL") };
    let mesh = meshwire::connect(url).await?;
    let mut came = mesh.subscribe("languages").group(format!("in-{name}")).start(Start::Earliest).await?;
    let greeting = |n: u32| {
        let event = Event::json("greeting", &serde_json::json!({ "n": n }))?;
        anyhow::Ok(event.id(format!("{name}-{n}")).attribute("language", LANGUAGE))
    };
    let greetings = (0..events.parse()?).map(greeting).collect::<anyhow::Result<Vec<_>>>()?;
    for receipt in mesh.publish_batch("languages", greetings).await {
        receipt?;
    }
    let mut received = BTreeMap::<String, u32>::new();
    for _ in 0..all.parse()? {
        let delivery = came.try_next().await?.context("the subscription ended")?;
        let language = delivery.event().attribute("language").context("who says that?")?.to_string();
        *received.entry(language).or_default() += 1;
        delivery.ack_confirmed().await?;
    }
    println!("{}", serde_json::json!({ "language": LANGUAGE, "received": received }));
    mesh.close().await?;
    Ok(())
}
