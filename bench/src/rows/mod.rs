//! The rows: what is measured, and its bars.

use crate::options::{Arguments, Row};
use crate::report::Report;

mod floods;
mod footprint;
mod healthy;
mod memory;
mod p1;
mod p2;
mod p5;
mod p6;
mod recovery;
mod slow_reader;

/// Runs one row, or all.
pub(crate) async fn run(arguments: &Arguments, report: &mut Report) {
    let (row, options) = (&arguments.row, &arguments.options);
    if matches!(row, Row::Smoke | Row::Footprint) {
        footprint::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::P1) {
        p1::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::P2) {
        p2::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::P5) {
        p5::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::P6) {
        p6::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::Memory) {
        memory::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::Recovery) {
        recovery::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::SlowReader) {
        slow_reader::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::Healthy) {
        healthy::run(options, report).await;
    }
    if matches!(row, Row::Smoke | Row::Floods) {
        floods::run(options, report).await;
    }
}
