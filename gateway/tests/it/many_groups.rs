//! Ten thousand groups of one topic.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::admin::{self, answer, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::rig::{Peer, Rig, earliest, event, memory, run_of};

const GROUPS: u64 = 10_000;

/// Commands that are sent without waiting for their answers.
const TOGETHER: u64 = 500;

async fn send(peer: &mut Peer, number: u64, command: command::Command) {
    let command = admin::Command { command: Some(command) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number, command })).await;
}

async fn answered(peer: &mut Peer) -> Option<answer::Answer> {
    let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(answer.code, 0, "{}", answer.message);
    admin::Answer::decode(answer.answer).unwrap().answer
}

async fn create_all(peer: &mut Peer) {
    for first in (1..=GROUPS).step_by(TOGETHER as usize) {
        for n in first..first + TOGETHER {
            let create =
                admin::CreateGroup { topic: "t".into(), group: format!("g{n}"), ..admin::CreateGroup::default() };
            send(peer, n, command::Command::CreateGroup(create)).await;
        }
        for _ in 0..TOGETHER {
            assert!(matches!(answered(peer).await, Some(answer::Answer::Group(_))));
        }
    }
}

/// One group is answered alone.
async fn one_is_asked_for(peer: &mut Peer) {
    let get = |group: &str| command::Command::GetGroup(admin::GetGroup { topic: "t".into(), group: group.into() });
    send(peer, GROUPS + 2, get("g10000")).await;
    let Some(answer::Answer::Group(group)) = answered(peer).await else { panic!("a group") };
    assert_eq!((group.name.as_str(), group.settled_through, group.lag), ("g10000", 2, 1));
    send(peer, GROUPS + 3, get("h")).await;
    let refused = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(refused.code, ErrorKind::NotFound.number(), "{}", refused.message);
}

async fn each_goes_its_own_way(mut config: Config) {
    config.max_topic_groups = GROUPS as usize;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&["1", "2", "3"].map(event))).await;
    create_all(&mut peer).await;
    for (subscription, group) in [(1, "g1"), (2, "g10000")] {
        peer.subscribe(earliest(subscription, "t", group)).await;
        assert_eq!(peer.deliveries(3).await.iter().map(|r| r.events.count()).sum::<u32>(), 3);
    }
    assert_eq!(peer.settle(2, 1, 2, SettleKind::Ack).await, [(1, 2, 0)]);
    send(&mut peer, GROUPS + 1, command::Command::ListTopics(admin::ListTopics::default())).await;
    let Some(answer::Answer::Topics(list)) = answered(&mut peer).await else { panic!("a list") };
    let groups = &list.topics[0].groups;
    assert_eq!(groups.len() as u64, GROUPS);
    let lag = |name: &str| groups.iter().find(|g| g.name == name).map(|g| g.lag);
    assert_eq!([lag("g1"), lag("g5000"), lag("g10000")], [Some(3), Some(3), Some(1)]);
    one_is_asked_for(&mut peer).await;
}

#[tokio::test]
async fn ten_thousand_groups_of_a_memory_topic_each_go_their_own_way() {
    each_goes_its_own_way(memory()).await;
}

#[tokio::test]
async fn ten_thousand_groups_of_a_logged_topic_each_go_their_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = memory();
    (config.memory, config.data_dir) = (false, folder.path().to_owned());
    each_goes_its_own_way(config).await;
}
