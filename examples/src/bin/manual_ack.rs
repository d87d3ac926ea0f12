//! Says itself when a delivery is done: one is acked, one comes again after a while, one is
//! forgotten and comes again when its lease ends.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin manual_ack -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use meshwire::Event;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;
    for letter in ["a", "b", "c"] {
        mesh.publish("letters", Event::text("letter.sent", letter)).await?;
    }

    // A delivery may stay unsettled for two seconds; the default is 30 s.
    let mut letters = mesh.subscribe("letters").group("postmen").ack_wait(Duration::from_secs(2)).await?;
    let mut left = 3;
    while left > 0 {
        let Some(delivery) = letters.try_next().await? else {
            break;
        };
        let (letter, attempt) = (delivery.text()?.to_owned(), delivery.attempt());
        match (letter.as_str(), attempt) {
            ("b", 1) => {
                println!("b: nobody at home, again in 100 ms");
                delivery.nack_after(Duration::from_millis(100));
            }
            ("c", 1) => {
                println!("c: lost on the way");
                // Without a word it is leased until the ack wait ends.
                drop(delivery);
            }
            _ => {
                println!("{letter}: delivered at attempt {attempt}");
                // Answered when it can no longer come again.
                delivery.ack_confirmed().await?;
                left -= 1;
            }
        }
    }
    mesh.close().await?;
    Ok(())
}
