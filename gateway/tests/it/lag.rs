//! Subscriptions that are far behind, over the wire.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::{DeliverRun, SettleKind};
use meshwire_proto::{Event, EventRun};

use crate::rig::{Peer, Rig, earliest, memory, run_of};

/// Events of 4 KiB each.
fn events(ids: std::ops::Range<u32>) -> EventRun {
    run_of(&ids.map(|id| Event::bytes("t", vec![7; 4096]).id(id.to_string()).source("/rig")).collect::<Vec<_>>())
}

/// First position, events and gap of each run.
fn said(runs: &[DeliverRun]) -> Vec<(u64, u32, u64)> {
    runs.iter().map(|run| (run.first_position, run.events.count(), run.gap)).collect()
}

/// Subscribes from the first event on, with room for ten.
async fn subscribe(peer: &mut Peer) {
    let mut ask = earliest(1, "t", "");
    ask.max_events = 10;
    peer.subscribe(ask).await;
}

#[tokio::test]
async fn in_memory_a_subscription_that_is_too_far_behind_skips_ahead_and_is_told_and_a_group_is_not() {
    let mut config = memory();
    config.max_lag_events = 100;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.publish("t", events(0..150)).await;
    subscribe(&mut peer).await;
    let runs = peer.deliveries(10).await;
    assert_eq!((runs[0].first_position, runs[0].gap, runs[0].first_delivery), (51, 50, 1));
    peer.publish("t", events(150..200)).await;
    peer.settle(1, 1, 1, SettleKind::Ack).await;
    assert_eq!(said(&peer.deliveries(1).await), [(101, 1, 40)]);
    let mut group = earliest(2, "t", "g");
    group.max_events = 1;
    peer.subscribe(group).await;
    assert_eq!(said(&peer.deliveries(1).await), [(1, 1, 0)], "a group misses nothing that is there");
}

#[tokio::test]
async fn a_subscription_far_behind_on_a_topic_in_the_log_is_served_from_the_log_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.data_dir = folder.path().into();
    config.max_lag_events = 100;
    // The log keeps no more than this in memory: most of the topic is on disk alone.
    config.cache_bytes = 256 * 1024;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    for first in (0..1000).step_by(50) {
        peer.publish("t", events(first..first + 50)).await;
    }
    subscribe(&mut peer).await;
    let mut next = 1;
    while next <= 1000 {
        for run in peer.deliveries(10).await {
            assert_eq!((run.first_position, run.gap, run.first_delivery), (next, 0, next));
            next += u64::from(run.events.count());
        }
        peer.settle(1, next - 10, 10, SettleKind::Ack).await;
    }
    assert_eq!(next, 1001);
}
