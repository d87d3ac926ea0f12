//! Guard rails: what the machine itself can do, measured between slices.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::payload;

/// How far a probe may move between the first and the last slice.
const STEADY: f64 = 0.25;
/// Rounds of the fixed loop: some 15 ms.
const ROUNDS: u64 = 20_000_000;
const LOOPS: usize = 7;
/// A sync probe appends what 50 publishers with one event in flight do.
const APPENDED: usize = 50 * payload::BYTES;
const SYNC_TIME: Duration = Duration::from_millis(400);
const FEWEST_SYNCS: usize = 20;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// Median time of a fixed loop of arithmetic.
    pub(crate) processor: Duration,
    /// Median time of one append with `fdatasync`.
    pub(crate) sync: Duration,
}

impl Probe {
    /// Measures for about half a second. Nothing else of the bench may run.
    ///
    /// # Errors
    /// The folder's disk fails.
    pub(crate) fn take(folder: &Path) -> anyhow::Result<Self> {
        let processor = median((0..LOOPS).map(|_| fixed_loop()).collect());
        let sync = sync(folder).with_context(|| format!("the sync probe in {} failed", folder.display()))?;
        Ok(Self { processor, sync })
    }

    /// The medians of several readings.
    pub(crate) fn middle(readings: &[Self]) -> Self {
        Self {
            processor: median(readings.iter().map(|p| p.processor).collect()),
            sync: median(readings.iter().map(|p| p.sync).collect()),
        }
    }

    /// `Some`: the machine changed between two readings, and how. `on_disk`: its disk counts too.
    pub(crate) fn moved(&self, later: &Self, on_disk: bool) -> Option<String> {
        let moved = |what, first: Duration, last: Duration| {
            let change = last.as_secs_f64() / first.as_secs_f64() - 1.0;
            (change.abs() > STEADY).then(|| format!("the {what} probe moved by {:+.0} %", change * 100.0))
        };
        let processor = moved("processor", self.processor, later.processor);
        processor.or_else(|| on_disk.then(|| moved("sync", self.sync, later.sync)).flatten())
    }
}

fn fixed_loop() -> Duration {
    let began = Instant::now();
    let mut state = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for round in 0..ROUNDS {
        state = (state ^ round).wrapping_mul(0xD129_0DDB_53C4_3E49).rotate_left(23);
    }
    black_box(state);
    began.elapsed()
}

fn sync(folder: &Path) -> anyhow::Result<Duration> {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path)?;
    let mut bytes = vec![0; APPENDED];
    fastrand::fill(&mut bytes);
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < SYNC_TIME || times.len() < FEWEST_SYNCS {
        let append = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(append.elapsed());
    }
    drop(file);
    std::fs::remove_file(&path)?;
    let time = median(times);
    ensure!(!time.is_zero(), "a sync took no time");
    Ok(time)
}

/// The median, the upper of two; zero of nothing.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn probe(processor: u64, sync: u64) -> Probe {
        Probe { processor: Duration::from_micros(processor), sync: Duration::from_micros(sync) }
    }

    #[test]
    fn a_probe_that_moves_by_more_than_a_quarter_is_named() {
        assert_eq!(probe(100, 1000).moved(&probe(124, 760), true), None);
        assert!(probe(100, 1000).moved(&probe(126, 1000), true).unwrap().contains("processor probe moved by +26 %"));
        assert!(probe(100, 1000).moved(&probe(100, 700), true).unwrap().contains("sync probe moved by -30 %"));
    }

    #[test]
    fn a_reading_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!sync(folder.path()).unwrap().is_zero());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
