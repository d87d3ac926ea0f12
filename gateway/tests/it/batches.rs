//! Batches of protocols without sessions, at a publish rate: in time that stands still until somebody waits.

use std::sync::Arc;
use std::time::Duration;

use meshwire_gateway::clock::Clock;
use meshwire_gateway::config::Config;
use meshwire_gateway::engine::Now;
use meshwire_gateway::ingress::calls::{Calls, CallsConfig, Offer};
use meshwire_gateway::mesh::{AllowAll, Caller, Rates, Stores};
use meshwire_gateway::recover::open_mesh;
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_proto::{ErrorKind, Moment, Timing, UnixMillis};
use tokio::time::Instant;

use crate::rig::event;

/// The time of the runtime.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let millis = i64::try_from(passed.as_millis()).unwrap();
        Now { mono: Moment(0) + passed, wall: UnixMillis(1_700_000_000_000 + millis) }
    }
}

fn calls(publish: (u64, u64)) -> Arc<Calls> {
    let memory = Arc::new(MemoryStore::new(MemoryConfig { ring_bytes: 1 << 24, total_bytes: 1 << 25 }));
    let mut config = Config::default();
    (config.memory, config.rates) = (true, Rates { publish, ..Rates::default() });
    let (clock, stores) = (Arc::new(Paused(Instant::now())), Stores { memory, log: None });
    let mesh = open_mesh(config.mesh([7; 16]), clock, Arc::new(AllowAll), stores, None).unwrap();
    Calls::new(
        mesh,
        CallsConfig { max_fetch_members: 10, session_bytes: 1 << 20, stop_timeout: Duration::from_secs(10) },
        [1; 24],
    )
}

/// Publishes so many; gives how many were taken, and that what was not is all at the end, as BUSY.
async fn publish(calls: &Calls, name: &str, count: u64) -> u64 {
    let mut offer = Offer::default();
    (0..count).for_each(|n| offer.raw(&event(&format!("{name}-{n}")).encode().unwrap()));
    let taken = calls.publish(&Caller::anonymous("test", None), "t", offer, Timing::default()).await.unwrap();
    assert_eq!(taken.len() as u64, count);
    let good = taken.iter().take_while(|taken| taken.is_ok()).count();
    assert!(taken[good..].iter().all(|taken| matches!(taken, Err(refusal) if refusal.kind == ErrorKind::Busy)));
    good as u64
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_over_the_publish_rate_those_are_taken_whose_turn_comes_within_5_s_and_others_are_not_kept_out() {
    let calls = calls((100, 0));
    let began = Instant::now();
    let taken = publish(&calls, "large", 9_000).await;
    // All pieces whose turn comes in 5 s, and the first tenth of a second that needs none.
    assert!((500..=530).contains(&taken), "{taken}");
    assert!(began.elapsed() <= Duration::from_millis(5_200), "{:?}", began.elapsed());
    assert_eq!(publish(&calls, "next", 1).await, 1);
    assert!(began.elapsed() <= Duration::from_millis(10_400), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_batch_within_the_rate_is_taken_whole_in_its_time_and_without_a_rate_at_once() {
    let began = Instant::now();
    assert_eq!(publish(&calls((0, 0)), "free", 5_000).await, 5_000);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(publish(&calls((1_000, 0)), "paced", 3_000).await, 3_000);
    assert!((2_800..=3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
