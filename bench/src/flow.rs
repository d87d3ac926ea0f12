//! What lies between one publisher and one subscriber: how much is on the way,
//! and whether all of it arrives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::payload::Verifier;

/// Most events between publisher and subscriber, the same for both sides: fewer
/// than our ring of a `memory` topic holds (16 MiB) and than NATS' client buffers
/// (65,536), so that neither side may drop any.
pub(crate) const MOST_ON_THE_WAY: u64 = 30_000;

/// Arrivals between two looks at whether the publisher waits. It waits only with
/// far more than these on the way, so the next look always comes.
const LOOK_EVERY: u64 = 1024;

#[derive(Debug, Default)]
pub(crate) struct Flow {
    arrived: AtomicU64,
    stopped: AtomicBool,
    waiting: AtomicBool,
    room: Notify,
    fault: OnceLock<String>,
}

impl Flow {
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Whether the publishers are to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The publisher ends with the event it is at.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.room.notify_one();
    }

    /// Ends the slice, which counts as zero. The first reason is kept.
    pub(crate) fn fail(&self, why: &anyhow::Error) {
        self.fault.get_or_init(|| format!("{why:#}"));
        self.stop();
    }

    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }
}

/// The publisher's end.
#[derive(Debug)]
pub(crate) struct Admission {
    flow: Arc<Flow>,
    sent: u64,
    seen: u64,
}

impl Admission {
    pub(crate) const fn new(flow: Arc<Flow>) -> Self {
        Self { flow, sent: 0, seen: 0 }
    }

    /// How many events were admitted.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Waits until one more event may go; `false`: the slice is over.
    pub(crate) async fn admit(&mut self) -> bool {
        while self.sent - self.seen >= MOST_ON_THE_WAY {
            self.seen = self.flow.arrived();
            if self.sent - self.seen < MOST_ON_THE_WAY || self.flow.stopped.load(Ordering::Acquire) {
                break;
            }
            if self.flow.waiting.swap(true, Ordering::SeqCst) {
                self.flow.room.notified().await;
            }
        }
        let goes_on = !self.flow.stopped.load(Ordering::Relaxed);
        self.sent += u64::from(goes_on);
        goes_on
    }
}

/// The subscriber's end.
#[derive(Debug)]
pub(crate) struct Arrivals {
    flow: Arc<Flow>,
    verifier: Verifier,
}

impl Arrivals {
    pub(crate) fn new(flow: Arc<Flow>) -> Self {
        Self::of(flow, 1)
    }

    /// Of so many publishers.
    pub(crate) fn of(flow: Arc<Flow>, publishers: usize) -> Self {
        Self { flow, verifier: Verifier::new(publishers) }
    }

    /// Verifies and counts one event's data.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take(&mut self, data: &[u8]) -> anyhow::Result<()> {
        self.verifier.check(data)?;
        let count = self.verifier.count();
        self.flow.arrived.store(count, Ordering::Release);
        if count.is_multiple_of(LOOK_EVERY) && self.flow.waiting.swap(false, Ordering::SeqCst) {
            self.flow.room.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use futures_util::FutureExt;

    use super::*;
    use crate::payload::Payloads;

    #[test]
    fn no_more_than_the_limit_is_on_the_way() {
        let flow = Arc::new(Flow::default());
        let mut admission = Admission::new(Arc::clone(&flow));
        let mut arrivals = Arrivals::new(flow);
        let mut payloads = Payloads::small(0);
        for _ in 0..MOST_ON_THE_WAY {
            assert_eq!(admission.admit().now_or_never(), Some(true));
        }
        assert_eq!(admission.admit().now_or_never(), None);
        for _ in 0..LOOK_EVERY {
            arrivals.take(&payloads.next()).unwrap();
        }
        assert_eq!(admission.admit().now_or_never(), Some(true));
        assert_eq!(admission.sent(), MOST_ON_THE_WAY + 1);
    }

    #[test]
    fn a_waiting_publisher_learns_of_the_end() {
        let flow = Arc::new(Flow::default());
        let mut admission = Admission::new(Arc::clone(&flow));
        while admission.admit().now_or_never() == Some(true) {}
        flow.fail(&anyhow::anyhow!("lost"));
        flow.fail(&anyhow::anyhow!("later"));
        assert_eq!(admission.admit().now_or_never(), Some(false));
        assert_eq!((admission.sent(), flow.fault()), (MOST_ON_THE_WAY, Some("lost")));
    }
}
