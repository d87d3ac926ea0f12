//! Measures Meshwire side by side with its peers, in one run, and prints ratios.
//!
//! Every row alternates slices of ours and of the peer under the same load
//! generator, verifies each event, and is void when the machine changed under it.
//! Absolute figures are notes; the ratios are what counts.

mod flooder;
mod flow;
mod grpc;
mod http;
mod options;
mod ours;
mod pairs;
mod payload;
mod peers;
mod probe;
mod process;
mod raw;
mod report;
mod rows;
mod server;
mod slice;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Arguments, Row};
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) if arguments.row == Row::Bare => {
            if let Err(problem) = runtime.block_on(peers::bare::serve()) {
                report.missed("bare server", &format!("{problem:#}"));
            }
        }
        Ok(runtime) if let Row::Flooder(told) = &arguments.row => {
            if let Err(problem) = runtime.block_on(flooder::run(told)) {
                report.missed("flooder", &format!("{problem:#}"));
            }
        }
        Ok(runtime) => runtime.block_on(rows::run(&arguments, &mut report)),
        Err(problem) => report.missed("load generator", &format!("has no runtime: {problem}")),
    }
    if report.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
