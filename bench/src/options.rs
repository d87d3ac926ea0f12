//! What the bench is told.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::flooder::Told;

/// Measures Meshwire side by side with NATS, Redis and bare handlers, and prints ratios.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  meshwire-bench smoke\n  meshwire-bench p1 --pairs 3 --seconds 2\n\nThe gateway is MESHWIRE_BIN, else `meshwire` beside this program, else on PATH."
)]
pub(crate) struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) row: Row,
    /// How to measure it.
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Row {
    /// Every row below.
    Smoke,
    /// Not durable, one publisher to one subscriber, against NATS core.
    P1,
    /// Synced, 50 publishers with one event in flight each, against Redis.
    P2,
    /// CloudEvents over HTTP, single against a bare handler of the same crates, batches against single.
    P5,
    /// A gRPC stream against a bare one of the same crates, gRPC batches against unary calls.
    P6,
    /// Idle memory, time to ready, size of the program.
    Footprint,
    /// Memory after a million events, with 200 connections open.
    Memory,
    /// Time to ready on 512 MiB of events after `kill -9`.
    Recovery,
    /// One of four subscribers does not read its socket: memory, and the rate of the others.
    SlowReader,
    /// A healthy consumer beside a stuck, a slow and a crashing one: its rate, and its latency.
    Healthy,
    /// Clients beside floods of silent, slow, returning and TLS connections, and a gateway that runs out of files.
    Floods,
    /// Is a flood, and measures nothing.
    #[command(hide = true)]
    Flooder(Told),
    /// Is the bare server of P5 and P6, and measures nothing.
    #[command(hide = true)]
    Bare,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Pairs of slices, ours and the peer's; the result is the median of their ratios.
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) pairs: u32,
    /// Seconds counted in each slice.
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds before counting begins.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=60))]
    warm_up: u64,
    /// Events sent ahead to our subscriber in P1. The client's default is 256; NATS' client buffers 65,536.
    #[arg(long, global = true, default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub(crate) prefetch: u64,
    /// Publish in P2 with crate `meshwire` instead of bare frames; Redis is always spoken to in bare RESP.
    #[arg(long, global = true)]
    pub(crate) with_crate: bool,
    /// Wide bars and less to offer, for slow-reader and healthy: tells whether a bound is broken, and measures nothing.
    #[arg(long, global = true)]
    pub(crate) guard: bool,
    /// Connections of each flood in floods. This process and the gateway each have as many files open.
    #[arg(long = "flood", global = true, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=60000))]
    pub(crate) connections: u32,
    /// Where data directories are made: a folder on the disk to measure. Default: the system's temporary folder.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

impl Options {
    pub(crate) const fn counted(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub(crate) const fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    /// A fresh folder on the disk to measure, removed when dropped.
    pub(crate) fn folder(&self) -> anyhow::Result<tempfile::TempDir> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        tempfile::Builder::new()
            .prefix("meshwire-bench-")
            .tempdir_in(&parent)
            .with_context(|| format!("{} cannot hold the data; choose another folder with --dir", parent.display()))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
