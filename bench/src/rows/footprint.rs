//! P9 in part: idle memory, time to ready, size of the program.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use crate::options::Options;
use crate::ours::{self, Gateway};
use crate::probe::median;
use crate::process::resident_bytes;
use crate::report::Report;

const IDLE_BAR: f64 = 12.0;
const READY_BAR: Duration = Duration::from_millis(60);
const SIZE_BAR: f64 = 16.0;
const STARTS: usize = 10;
/// Until what a start leaves to do is done.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(options: &Options, report: &mut Report) {
    report.note("Footprint  MB are 1,000,000 bytes");
    match idle(options).await {
        Ok(bytes) => megabytes(report, "idle memory", bytes, IDLE_BAR),
        Err(problem) => report.missed("idle memory", &format!("{problem:#}")),
    }
    match ready(options) {
        Ok(times) => {
            let slowest = times.iter().max().copied().unwrap_or_default();
            let middle = median(times);
            let value = format!("{:.1} ms (slowest of {STARTS}: {:.1})", millis(middle), millis(slowest));
            report.bar(
                "ready, empty directory",
                &value,
                &format!("<= {} ms", READY_BAR.as_millis()),
                middle <= READY_BAR,
            );
        }
        Err(problem) => report.missed("ready, empty directory", &format!("{problem:#}")),
    }
    match stripped(options, &ours::program()) {
        Ok(bytes) => megabytes(report, "stripped program", bytes, SIZE_BAR),
        Err(problem) => report.missed("stripped program", &format!("{problem:#}")),
    }
}

pub(super) fn megabytes(report: &mut Report, what: &str, bytes: u64, bar: f64) {
    let size = bytes as f64 / 1e6;
    report.bar(what, &format!("{size:.1} MB"), &format!("<= {bar:.0} MB"), size <= bar);
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn idle(options: &Options) -> anyhow::Result<u64> {
    let folder = options.folder()?;
    let gateway = Gateway::on_disk(folder.path())?;
    tokio::time::sleep(SETTLE).await;
    resident_bytes(gateway.pid())
}

fn ready(options: &Options) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let folder = options.folder()?;
        times.push(Gateway::on_disk(folder.path())?.ready_after());
    }
    Ok(times)
}

fn stripped(options: &Options, program: &Path) -> anyhow::Result<u64> {
    let folder = options.folder()?;
    let copy = folder.path().join("stripped");
    let output = Command::new("strip").arg("-o").arg(&copy).arg(program).output()?;
    ensure!(output.status.success(), "strip failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(std::fs::metadata(&copy)?.len())
}
