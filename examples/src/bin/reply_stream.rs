//! Asks for a report that comes line by line, and leaves another one in the middle.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin reply_stream -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use meshwire::{Event, Mesh, ReplySender, Request};

/// As many lines as are asked for. Sending waits for a reader that is slower.
async fn report(request: &Request, replies: &ReplySender) -> anyhow::Result<()> {
    let lines: u64 = request.json()?;
    for line in 1..=lines {
        replies.send(Event::text("report.line", format!("line {line}"))).await?;
    }
    Ok(())
}

async fn read(mesh: &Mesh, lines: u64, most: usize) -> anyhow::Result<()> {
    let mut replies = mesh.request_stream("report", Event::json("report.asked", &lines)?).credit(8).await?;
    let mut read = 0;
    while let Some(reply) = replies.try_next().await? {
        println!("{}", reply.text()?);
        read += 1;
        if read == most {
            // Dropping the replies cancels the rest: the handler is told.
            println!("that is enough");
            return Ok(());
        }
    }
    println!("all of it");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;
    let reading = async {
        read(&mesh, 3, usize::MAX).await?;
        read(&mesh, 1_000_000, 2).await
    };
    tokio::select! {
        // It begins first, and what one client says arrives in its order.
        biased;
        served = mesh.serve("report").run_stream(report) => served?,
        read = reading => read?,
    }
    mesh.close().await?;
    Ok(())
}
