//! Two hosts keep a cache of prices: each gets every change. One goes away and comes back to
//! where it was; a third one only looks on.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin broadcast -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use meshwire::{Event, Mesh, Subscription};

/// A durable member: its place is kept under its name.
async fn host(mesh: &Mesh, name: &str) -> meshwire::Result<Subscription> {
    mesh.subscribe("prices").group("caches").broadcast().member(name).await
}

async fn change(mesh: &Mesh, text: &str) -> meshwire::Result<()> {
    mesh.publish("prices", Event::text("price.changed", text)).await.map(drop)
}

async fn take(who: &str, prices: &mut Subscription, changes: usize) -> anyhow::Result<()> {
    for _ in 0..changes {
        let change = prices.try_next().await?.ok_or_else(|| anyhow::anyhow!("the subscription ended"))?;
        println!("{who}: {}", change.text()?);
        change.ack_confirmed().await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;

    let (mut north, mut south) = (host(&mesh, "north").await?, host(&mesh, "south").await?);
    change(&mesh, "apples 3").await?;
    take("north", &mut north, 1).await?;
    take("south", &mut south, 1).await?;

    drop(south);
    change(&mesh, "pears 4").await?;
    take("north", &mut north, 1).await?;

    // Without a name it begins with the next change, and nothing is kept of it.
    let mut guest = mesh.subscribe("prices").group("caches").broadcast().await?;
    change(&mesh, "plums 5").await?;
    take("guest", &mut guest, 1).await?;

    let mut south = host(&mesh, "south").await?;
    take("south", &mut south, 2).await?;
    for group in mesh.groups("prices").list().await? {
        for member in group.durable_members {
            println!("{} has {} waiting", member.name, member.lag);
        }
    }
    mesh.close().await?;
    Ok(())
}
