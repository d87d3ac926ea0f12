//! More connections than a gateway may have files open: it stays up, its log goes on, it says so once, and it takes connections again.

use std::time::Duration;

use anyhow::{Context, ensure};
use meshwire::Event;
use tokio::time::{Instant, sleep, timeout};

use crate::flooder::{Flooder, Kind};
use crate::options::Options;
use crate::ours::{Gateway, TOPIC};
use crate::report::Report;

/// Files that the gateway may have open, and connections that come.
const FILES: u32 = 256;
const CONNECTIONS: u32 = 600;
/// Longer than a login may take.
const FLOOD: Duration = Duration::from_secs(6);
const AGAIN_BAR: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
/// Events of 512 KiB that fill some segments of 64 MiB, for each of which the log opens a file.
const LARGE: usize = 512 << 10;
const EVENTS: usize = 300;
/// What the log line holds.
const SAID: &str = "made room for others";

pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.note(&format!(
        "    file limit: a gateway on disk that may have {FILES} files open, {CONNECTIONS} silent connections"
    ));
    let folder = options.folder()?;
    let gateway = Gateway::with_files(folder.path(), FILES)?;
    let mesh = gateway.connect().await?;
    let (address, log) = (gateway.address()?, folder.path().join("flooder.log"));
    let starting = move || Flooder::start(Kind::Silent, (address, None), CONNECTIONS, &log);
    let flooder = tokio::task::spawn_blocking(starting).await??;
    let begin = Instant::now();
    let mut kept = 0;
    while kept < EVENTS || begin.elapsed() < FLOOD {
        let publishing = mesh.publish(TOPIC, Event::bytes("t", vec![0; if kept < EVENTS { LARGE } else { 1 }]));
        timeout(PATIENCE, publishing).await.context("a publish is not answered during the flood")??;
        kept += 1;
        sleep(Duration::from_millis(10)).await;
    }
    drop(flooder);
    let end = Instant::now();
    let again = loop {
        if let Ok(Ok(another)) = timeout(PATIENCE, gateway.connect()).await {
            another.publish(TOPIC, Event::text("t", "x")).await?;
            break end.elapsed();
        }
        ensure!(end.elapsed() < PATIENCE, "the gateway takes no connection {PATIENCE:?} after the flood");
        sleep(Duration::from_millis(20)).await;
    };
    mesh.publish(TOPIC, Event::text("t", "x")).await.context("who was there before")?;
    report.bar(
        "file limit: taken again",
        &format!("{again:.2?}, {kept} events kept meanwhile"),
        "<= 2 s",
        again <= AGAIN_BAR,
    );
    let text = std::fs::read_to_string(folder.path().join("meshwire.log"))?;
    let said = text.lines().filter(|line| line.contains(SAID)).count();
    report.bar("file limit: said", &format!("{said} times"), "once", said == 1);
    Ok(())
}
