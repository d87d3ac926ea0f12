//! Alternating slices of ours and of a peer, with guard rails between them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::options::Options;
use crate::probe::{Probe, median};
use crate::report::Report;
use crate::slice::Slice;

/// Runs over again when the machine was not steady.
const TRIES: usize = 2;

/// What a row's slices gave.
#[derive(Debug)]
pub(crate) struct Pairs {
    /// One a pair: ours divided by the peer's.
    pub(crate) ratios: Ratios,
    /// Median rate of ours.
    pub(crate) ours: f64,
    /// Median sync of the raw probe.
    pub(crate) sync: Duration,
}

/// Median, smallest and largest of the pairs' ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratios {
    pub(crate) median: f64,
    pub(crate) smallest: f64,
    pub(crate) largest: f64,
}

impl Ratios {
    /// Of at least one pair.
    fn of(ratios: &[f64]) -> Option<Self> {
        let median = middle(ratios)?;
        let smallest = ratios.iter().copied().min_by(f64::total_cmp)?;
        let largest = ratios.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { median, smallest, largest })
    }
}

fn middle(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Runs pairs of slices; once more when the machine changed meanwhile.
///
/// # Errors
/// Void both times; a side cannot be run; the peer failed its own verification.
pub(crate) async fn run(
    options: &Options,
    folder: &Path,
    report: &Report,
    peer: &str,
    mut slice_of_ours: impl AsyncFnMut() -> anyhow::Result<Slice>,
    mut slice_of_peer: impl AsyncFnMut() -> anyhow::Result<Slice>,
) -> anyhow::Result<Pairs> {
    let mut void = String::new();
    for _ in 0..TRIES {
        let mut probes = vec![Probe::take(folder)?];
        let (mut ours, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..options.pairs {
            let our = slice_of_ours().await.context("a slice of ours cannot be run")?;
            report.note(&line("ours", &our));
            probes.push(Probe::take(folder)?);
            let other = slice_of_peer().await.with_context(|| format!("a slice of {peer} cannot be run"))?;
            report.note(&line(peer, &other));
            probes.push(Probe::take(folder)?);
            if let Some(fault) = other.fault {
                bail!("{peer} failed the verification: {fault}");
            }
            ratios.push(our.rate / other.rate);
            ours.push(our.rate);
        }
        let sync = median(probes.iter().map(|p| p.sync).collect());
        if let Some(moved) = moved(&probes) {
            report.note(&format!("    void: {moved} between the first slices and the last"));
            void = moved;
            continue;
        }
        let (Some(ratios), Some(ours)) = (Ratios::of(&ratios), middle(&ours)) else { bail!("no pair was run") };
        return Ok(Pairs { ratios, ours, sync });
    }
    bail!("void {TRIES} times: {void}; run it on a machine that does nothing else")
}

/// How the machine changed between the first pair and the last, each seen by the
/// three probes around it; one reading of a disk is often an outlier.
fn moved(probes: &[Probe]) -> Option<String> {
    let around = probes.len().min(3);
    let (first, last) = (probes.get(..around)?, probes.get(probes.len() - around..)?);
    Probe::middle(first).moved(&Probe::middle(last))
}

fn line(side: &str, slice: &Slice) -> String {
    match &slice.fault {
        Some(fault) => format!("    {side:<6}          0/s  {fault}"),
        None => format!(
            "    {side:<6} {:>10.0}/s  processor seconds a million: server {:.2}, generator {:.2}",
            slice.rate, slice.server, slice.generator
        ),
    }
}

impl std::fmt::Display for Ratios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} (smallest {:.2}, largest {:.2})", self.median, self.smallest, self.largest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn ratios_are_given_as_median_smallest_and_largest() {
        let ratios = Ratios::of(&[0.9, 0.5, 1.4, 0.7, 0.8]).unwrap();
        assert_eq!(ratios.to_string(), "0.80 (smallest 0.50, largest 1.40)");
        assert_eq!(Ratios::of(&[]), None);
    }
}
