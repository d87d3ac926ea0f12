//! Connections and sessions that find no room: how many may be open, and that a flood of them is said once.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::time::Instant;

/// Files that are not connections with a place: the log keeps 64 open, 64 connections are being told that there is no place, and there
/// are some more. Without them a flood of connections would take the file that the log needs next, and the log would fail.
const OWN_FILES: u64 = 160;

/// After so long it is said again.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How many connections may be open, of so many that are asked for: each is an open file. Says so when the system allows fewer.
#[must_use]
pub fn most_connections(asked: usize) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return asked };
    let most = usize::try_from(beside_own(files)).unwrap_or(usize::MAX);
    if most < asked {
        tracing::warn!(
            files,
            asked,
            most,
            "the system allows fewer open files than connections (option max_connections): raise ulimit -n"
        );
    }
    asked.min(most)
}

/// Half of the files at least.
fn beside_own(files: u64) -> u64 {
    files.saturating_sub(OWN_FILES).max(files / 2).max(1)
}

/// Those refused, or ended, for one reason.
#[derive(Debug, Default)]
pub(super) struct FloodCount {
    said: Option<Instant>,
    count: u64,
}

impl FloodCount {
    /// One more. Gives how many there were since it was said last, when it is to be said.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SAY_AGAIN) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_said_once_a_minute_with_its_count() {
        let (mut refused, began) = (FloodCount::default(), Instant::now());
        assert_eq!(refused.count(began), Some(1));
        for n in 0..1000 {
            assert_eq!(refused.count(began + Duration::from_millis(n)), None);
        }
        assert_eq!(refused.count(began + SAY_AGAIN), Some(1001));
    }

    #[test]
    fn connections_leave_files_to_the_log() {
        for (files, most) in [(20_000, 19_840), (400, 240), (256, 128), (1, 1)] {
            assert_eq!(beside_own(files), most);
        }
    }
}
