//! One slice: some seconds of one system under load.

use std::time::{Duration, Instant};

use crate::options::Options;
use crate::process::processor_time;

/// What one slice gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice {
    /// Verified events in a second; 0 with a fault.
    pub(crate) rate: f64,
    /// Processor seconds of the server for a million events.
    pub(crate) server: f64,
    /// Processor seconds of the load generator, its client included, for a million events.
    pub(crate) generator: f64,
    /// A loss, gap or duplicate, or why the load ended early.
    pub(crate) fault: Option<String>,
}

/// What was counted between the end of the warm-up and the end of the slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    events: u64,
    time: Duration,
    server: Duration,
    generator: Duration,
}

struct Reading {
    at: Instant,
    events: u64,
    server: Duration,
    generator: Duration,
}

/// Warms up, then counts.
///
/// # Errors
/// The server's process is gone.
pub(crate) async fn count(options: &Options, server: u32, events: impl Fn() -> u64) -> anyhow::Result<Counted> {
    let read = || -> anyhow::Result<Reading> {
        let (server, generator) = (processor_time(server)?, processor_time(std::process::id())?);
        Ok(Reading { at: Instant::now(), events: events(), server, generator })
    };
    tokio::time::sleep(options.warm_up()).await;
    let begin = read()?;
    tokio::time::sleep(options.counted()).await;
    let end = read()?;
    Ok(Counted {
        events: end.events - begin.events,
        time: end.at - begin.at,
        server: end.server.saturating_sub(begin.server),
        generator: end.generator.saturating_sub(begin.generator),
    })
}

impl Counted {
    /// The slice, once it is known whether everything arrived.
    pub(crate) fn verdict(self, verified: anyhow::Result<()>) -> Slice {
        let fault = match verified {
            Err(problem) => Some(format!("{problem:#}")),
            Ok(()) if self.events == 0 => Some("nothing arrived".to_owned()),
            Ok(()) => None,
        };
        if fault.is_some() {
            return Slice { rate: 0.0, server: 0.0, generator: 0.0, fault };
        }
        let millions = self.events as f64 / 1e6;
        Slice {
            rate: self.events as f64 / self.time.as_secs_f64(),
            server: self.server.as_secs_f64() / millions,
            generator: self.generator.as_secs_f64() / millions,
            fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_with_a_loss_counts_as_zero() {
        let second = Duration::from_secs(1);
        let counted = Counted { events: 500_000, time: second * 2, server: second, generator: second * 3 };
        let slice = counted.verdict(Ok(()));
        assert_eq!((slice.rate, slice.server, slice.generator, slice.fault), (250_000.0, 2.0, 6.0, None));
        let slice = counted.verdict(Err(anyhow::anyhow!("event 7 is missing")));
        assert_eq!((slice.rate, slice.fault.as_deref()), (0.0, Some("event 7 is missing")));
        assert_eq!(Counted { events: 0, ..counted }.verdict(Ok(())).rate, 0.0);
    }
}
