//! A gateway that is told to stop: what was settled before is kept.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::{ClientFrame, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::session as wire;

use crate::rig::{Rig, earliest, event, run_of};

/// Settlements wait for company for 10 ms, and the gateway is told to stop before these are over.
#[tokio::test]
async fn what_was_settled_at_the_last_moment_is_kept_though_nobody_was_to_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.data_dir = folder.path().into();
    for first in 1..=5 {
        let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        peer.publish("t", run_of(&[event(&first.to_string())])).await;
        peer.subscribe(earliest(1, "t", "g")).await;
        assert_eq!(peer.deliveries(1).await[0].first_position, first, "those before are settled");
        let ack = SettleRange { subscription: 1, first_delivery: 1, count: 1, ..SettleRange::default() };
        assert_eq!(ack.kind, SettleKind::Ack);
        peer.send(ClientFrame::Settle(Settle { sequence: 1, ranges: vec![ack], confirm: false })).await;
        peer.send(ClientFrame::Ping(wire::Ping { nonce: 1, answer: false })).await;
        peer.find(|frame| if let ServerFrame::Ping(_) = frame { Some(()) } else { None }).await;
        rig.stop().await;
    }
}
