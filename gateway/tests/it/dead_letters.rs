//! Dead letters past their retention, over the wire and over both stores.

use std::sync::Arc;
use std::time::Duration;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::Event;
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::admin::{AfterDeadLetter, Command, CreateGroup, CreateTopic, GroupSettings, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::rig::{Peer, Rig, earliest, event, memory, run_of};

async fn admin(peer: &mut Peer, command: command::Command) {
    let command = Command { command: Some(command) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(answer.code, 0, "{}", answer.message);
}

/// Rejects the first of two events of a key that waits for its dead letter, and so many others of 8 KiB; then reads on.
async fn reject_and_wait(config: Config, others: u32) {
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    admin(&mut peer, command::Command::CreateTopic(CreateTopic { name: "t".into(), ..CreateTopic::default() })).await;
    let settings = GroupSettings { after_dead_letter: Some(AfterDeadLetter::Hold.into()), ..GroupSettings::default() };
    let (topic, group, settings) = ("t".into(), "g".into(), Some(settings));
    admin(&mut peer, command::Command::CreateGroup(CreateGroup { topic, group, settings, ..CreateGroup::default() }))
        .await;
    peer.publish("t", run_of(&[event("1").key("k"), event("2").key("k")])).await;
    let large = |n: u32| Event::bytes("t", vec![7; 8192]).id(format!("large-{n}")).source("/rig");
    if others > 0 {
        peer.publish("t", run_of(&(0..others).map(large).collect::<Vec<_>>())).await;
    }
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(2 + others).await;
    assert_eq!(peer.settle(1, 1, 1, SettleKind::Reject).await, [(1, 1, 0)]);
    if others > 0 {
        assert_eq!(peer.settle(1, 3, others, SettleKind::Reject).await, [(3, others, 0)]);
    }
    assert_eq!(peer.deliveries(1).await[0].first_position, 2, "once the letter is gone");
    peer.settle(1, 3 + u64::from(others), 1, SettleKind::Ack).await;
    rig.stop().await;
}

/// A gateway with a log in a folder, and one in memory.
fn configs(folder: &tempfile::TempDir) -> [Config; 2] {
    let mut logged = Config::default();
    logged.listen = "127.0.0.1:0".parse().unwrap();
    logged.data_dir = folder.path().into();
    [logged, memory()]
}

#[tokio::test]
async fn a_key_waits_for_a_dead_letter_no_longer_than_that_is_kept() {
    for mut config in configs(&tempfile::tempdir().unwrap()) {
        config.dead_letter_retention = Duration::from_secs(1);
        reject_and_wait(config, 0).await;
    }
}

#[tokio::test]
async fn over_their_bytes_the_oldest_dead_letters_go() {
    for mut config in configs(&tempfile::tempdir().unwrap()) {
        config.dead_letter_bytes = 65_536;
        reject_and_wait(config, 20).await;
    }
}
