//! Alternating slices of ours and of a peer, with guard rails between them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::options::Options;
use crate::probe::{Probe, median};
use crate::report::Report;
use crate::slice::Slice;

/// Runs over again when the machine was not steady.
const TRIES: usize = 3;

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
    pub(crate) fn of(ratios: &[f64]) -> Option<Self> {
        let median = middle(ratios)?;
        let smallest = ratios.iter().copied().min_by(f64::total_cmp)?;
        let largest = ratios.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { median, smallest, largest })
    }
}

/// The median; of an even number the mean of the two in the middle: the upper one would flatter.
fn middle(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let lower = values.get(values.len().checked_sub(1)? / 2)?;
    Some(lower.midpoint(*values.get(values.len() / 2)?))
}

/// How a row's slices are run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) options: &'a Options,
    /// Where the sync probe writes: the file system of the slices.
    pub(crate) folder: &'a Path,
    pub(crate) report: &'a Report,
    /// The peer's name.
    pub(crate) peer: &'static str,
    /// Whether the slices write to the disk. Else a disk that changes says nothing
    /// about them, and only the processor probe can make the run void.
    pub(crate) on_disk: bool,
}

impl Run<'_> {
    /// Runs pairs of slices; again when the machine changed meanwhile.
    ///
    /// # Errors
    /// Void each time; a side cannot be run; the peer failed its own verification.
    pub(crate) async fn pairs(
        &self,
        mut slice_of_ours: impl AsyncFnMut() -> anyhow::Result<Slice>,
        mut slice_of_peer: impl AsyncFnMut() -> anyhow::Result<Slice>,
    ) -> anyhow::Result<Pairs> {
        let (report, peer) = (self.report, self.peer);
        let mut void = String::new();
        for _ in 0..TRIES {
            let mut probes = vec![Probe::take(self.folder)?];
            let (mut ours, mut ratios) = (Vec::new(), Vec::new());
            for _ in 0..self.options.pairs {
                let our = slice_of_ours().await.context("a slice of ours cannot be run")?;
                report.note(&line("ours", &our));
                probes.push(Probe::take(self.folder)?);
                let other = slice_of_peer().await.with_context(|| format!("a slice of {peer} cannot be run"))?;
                report.note(&line(peer, &other));
                probes.push(Probe::take(self.folder)?);
                if let Some(fault) = other.fault {
                    bail!("{peer} failed the verification: {fault}");
                }
                ratios.push(our.rate / other.rate);
                ours.push(our.rate);
            }
            let (Some(ratios), Some(ours)) = (Ratios::of(&ratios), middle(&ours)) else { bail!("no pair was run") };
            let Some(moved) = moved(&probes, self.on_disk) else {
                let sync = median(probes.iter().map(|p| p.sync).collect());
                return Ok(Pairs { ratios, ours, sync });
            };
            report.note(&format!("    void, {moved} between the first slices and the last: {ratios} does not count"));
            void = moved;
        }
        bail!("void {TRIES} times, {void}; run it on a machine that does nothing else")
    }
}

/// How the machine changed between the first pair and the last, each seen by the
/// three probes around it; one reading of a disk is often an outlier.
fn moved(probes: &[Probe], on_disk: bool) -> Option<String> {
    let around = probes.len().min(3);
    let (first, last) = (probes.get(..around)?, probes.get(probes.len() - around..)?);
    Probe::middle(first).moved(&Probe::middle(last), on_disk)
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
        let even = |ratios: &[f64]| Ratios::of(ratios).unwrap().median;
        assert_eq!((even(&[1.0, 2.0]), even(&[9.0, 1.0, 3.0, 2.0])), (1.5, 2.5), "neither of the two in the middle");
    }

    #[test]
    fn a_run_is_void_when_the_machine_changed_and_one_outlier_is_not_a_change() {
        let probe = |sync| Probe { processor: Duration::from_millis(15), sync: Duration::from_micros(sync) };
        let changed = [probe(200), probe(210), probe(220), probe(900), probe(910)];
        assert!(moved(&changed, true).is_some());
        assert_eq!(moved(&changed, false), None);
        assert_eq!(moved(&[probe(200), probe(900), probe(210), probe(220), probe(230)], true), None);
    }
}
