//! Calls for the tests of the doors.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::{Event, Timing};

use super::{Calls, CallsConfig, Offer};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::mesh::{AllowAll, Caller, Stores};
use crate::store::memory::{MemoryConfig, MemoryStore};

/// Calls over a ring of 64 KiB.
pub(in crate::ingress) fn calls() -> Arc<Calls> {
    let memory = MemoryStore::new(MemoryConfig { ring_bytes: 64 << 10, total_bytes: 1 << 20 });
    let stores = Stores { memory: Arc::new(memory), log: None };
    let config = Config { memory: true, ..Config::default() };
    let (clock, judge) = (Arc::new(SystemClock::new()), Arc::new(AllowAll));
    let mesh = crate::recover::open_mesh(config.mesh([7; 16]), clock, judge, stores, None).unwrap();
    Calls::new(
        mesh,
        CallsConfig { max_fetch_members: 1, session_bytes: 1 << 20, stop_timeout: Duration::from_secs(10) },
        [1; 24],
    )
}

/// Publishes events of these ids to topic `t`, 16 KiB each.
pub(in crate::ingress) async fn publish(calls: &Calls, ids: Range<u32>) {
    let mut offer = Offer::default();
    let event = |id: u32| Event::text("t", "x".repeat(16 << 10)).source("/s").id(id.to_string());
    ids.for_each(|id| offer.event(Ok(event(id))));
    for taken in calls.publish(&Caller::anonymous("test", None), "t", offer, Timing::default()).await.unwrap() {
        taken.unwrap();
    }
}
