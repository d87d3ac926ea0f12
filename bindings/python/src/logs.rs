//! What the client logs, fetched by a thread that Python made.

use std::time::{Duration, UNIX_EPOCH};

use meshwire_embed::Level;
use pyo3::prelude::*;

use crate::errors::Raise as _;

/// Level as Python's logging counts, part of the client, time, text.
type Record = (u8, String, f64, String);

const fn number(level: Level) -> u8 {
    match level {
        Level::Trace => 5,
        Level::Debug => 10,
        Level::Info => 20,
        Level::Warn => 30,
        Level::Error => 40,
    }
}

/// Keeps from now on what is logged at this level of Python's and above.
#[pyfunction]
pub(crate) fn keep_logs(py: Python<'_>, least: u8) -> PyResult<()> {
    let level = match least {
        0..=9 => Level::Trace,
        10..=19 => Level::Debug,
        20..=29 => Level::Info,
        30..=39 => Level::Warn,
        _ => Level::Error,
    };
    meshwire_embed::keep_logs(level).raise(py)
}

/// Waits for records, and gives them, and how many were pushed out; `None`: no more come.
#[pyfunction]
pub(crate) fn take_logs(py: Python<'_>) -> Option<(Vec<Record>, u64)> {
    // In slices: a thread that waits for ever has no end to look for.
    let taken = py.detach(|| meshwire_embed::take_logs(Some(Duration::from_secs(3600))))?;
    let (records, dropped) = taken;
    let shown = records.into_iter().map(|record| {
        let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        (number(record.level), record.target, time, record.text)
    });
    Some((shown.collect(), dropped))
}

/// Keeps no more, for the end of the process.
#[pyfunction]
pub(crate) fn close_logs(py: Python<'_>) {
    py.detach(meshwire_embed::close_logs);
}
