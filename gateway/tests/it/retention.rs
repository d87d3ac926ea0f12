//! Groups that retention overtakes, or that hold it up, over the wire.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::admin::{
    Answer, Command, CreateGroup, CreateTopic, DeleteGroup, Lagging, ListTopics, Topic, UpdateTopic, answer, command,
};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event, EventRun};
use prost::Message as _;

use crate::rig::{PATIENCE, Peer, Rig, earliest, memory, run_of};

async fn admin(peer: &mut Peer, command: command::Command) -> Option<answer::Answer> {
    let command = Command { command: Some(command) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(answer.code, 0, "{}", answer.message);
    Answer::decode(answer.answer).unwrap().answer
}

async fn topic(peer: &mut Peer) -> Topic {
    match admin(peer, command::Command::ListTopics(ListTopics::default())).await {
        Some(answer::Answer::Topics(list)) => list.topics.into_iter().find(|t| t.name == "t").unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A topic of 64 KiB.
async fn create(peer: &mut Peer, lagging: Lagging) {
    let create =
        CreateTopic { name: "t".into(), retention_bytes: 65_536, lagging: lagging.into(), ..CreateTopic::default() };
    admin(peer, command::Command::CreateTopic(create)).await;
    let group = CreateGroup { topic: "t".into(), group: "g".into(), ..CreateGroup::default() };
    admin(peer, command::Command::CreateGroup(group)).await;
}

/// Events of 8 KiB each.
fn events(ids: std::ops::Range<u32>) -> EventRun {
    run_of(&ids.map(|id| Event::bytes("t", vec![7; 8192]).id(id.to_string()).source("/rig")).collect::<Vec<_>>())
}

/// A gateway with a log in a folder, or in memory.
async fn rigs() -> Vec<(Rig, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut logged = Config::default();
    logged.listen = "127.0.0.1:0".parse().unwrap();
    logged.data_dir = folder.path().into();
    let logged = Rig::with(logged, Arc::new(AllowAll)).await;
    vec![(Rig::with(memory(), Arc::new(AllowAll)).await, None), (logged, Some(folder))]
}

/// The code of the last event's receipt, one event a publish.
async fn publish(peer: &mut Peer, id: u32) -> (u32, u32) {
    let receipt = peer.publish("t", events(id..id + 1)).await.remove(0);
    (receipt.code, receipt.retry_after_ms)
}

/// Publishes until the topic is full.
async fn fill(peer: &mut Peer, id: &mut u32) {
    let most = *id + 20;
    while publish(peer, *id).await.0 != ErrorKind::TopicFull.number() {
        *id += 1;
        assert!(*id < most, "it is never full");
    }
}

#[tokio::test]
async fn a_group_that_is_overtaken_goes_on_with_what_is_left_and_is_told_how_much_is_missing() {
    for (rig, folder) in rigs().await {
        let mut peer = rig.session().await;
        create(&mut peer, Lagging::Drop).await;
        for id in 0..30 {
            assert_eq!(publish(&mut peer, id).await.0, 0);
        }
        // The log looks after it twice a second.
        let trimmed = async {
            loop {
                let listed = topic(&mut peer).await;
                if listed.bytes <= 65_536 {
                    return listed;
                }
            }
        };
        let listed = tokio::time::timeout(PATIENCE, trimmed).await.expect("it goes down to its limit");
        let first = listed.first_position;
        assert!(first > 20 && listed.physical_bytes >= listed.bytes, "{listed:?}");
        let lag = listed.groups[0].lag;
        assert_eq!((lag, listed.overtaken), (31 - first, first - 1), "what is missing is no lag, and said at once");
        peer.subscribe(earliest(1, "t", "g")).await;
        let run = peer.deliveries(1).await.remove(0);
        assert_eq!((run.first_position, run.gap, run.first_delivery), (first, first - 1, 1), "{}", folder.is_some());
        assert_eq!(topic(&mut peer).await.overtaken, first - 1);
        // Who comes now begins with what there is: nothing is missing.
        peer.subscribe(earliest(2, "t", "new")).await;
        let new =
            |f| if let ServerFrame::Deliver(d) = f { d.runs.into_iter().find(|r| r.subscription == 2) } else { None };
        let run = peer.find(new).await;
        assert_eq!((run.first_position, run.gap), (first, 0));
    }
}

#[tokio::test]
async fn in_a_topic_that_blocks_publishers_wait_for_the_group() {
    for (rig, _folder) in rigs().await {
        let mut peer = rig.session().await;
        create(&mut peer, Lagging::Block).await;
        let mut taken = 0;
        let refused = loop {
            match publish(&mut peer, taken).await {
                (0, _) => taken += 1,
                refused => break refused,
            }
            assert!(taken < 20, "it is never full");
        };
        assert_eq!(refused, (ErrorKind::TopicFull.number(), 1000), "with a time to try again");
        assert!((7..=9).contains(&taken), "{taken}");
        let told = peer.publish("t", events(taken..taken + 1)).await.remove(0).message;
        let text = "topic t: group g has not settled the event at position 1, which retention would remove";
        assert!(told.starts_with(text) && told.contains("; let it catch up, seek or delete it, "), "{told}");
        assert_eq!(topic(&mut peer).await.first_position, 1);
        // One that is there already is still answered.
        let again = peer.publish("t", events(0..1)).await.remove(0);
        assert_eq!((again.code, again.duplicate), (0, true));
        peer.subscribe(earliest(1, "t", "g")).await;
        peer.deliveries(3).await;
        peer.settle(1, 1, 3, SettleKind::Ack).await;
        assert_eq!(publish(&mut peer, 100).await.0, 0, "there is room as soon as it has settled");
        let mut id = 200;
        fill(&mut peer, &mut id).await;
        // Without the setting, or without the group, nothing holds it up.
        let set = |lagging: Lagging| {
            let update = UpdateTopic { name: "t".into(), lagging: lagging.into(), ..UpdateTopic::default() };
            command::Command::UpdateTopic(update)
        };
        admin(&mut peer, set(Lagging::Drop)).await;
        assert_eq!(publish(&mut peer, 100 + id).await.0, 0);
        admin(&mut peer, set(Lagging::Block)).await;
        fill(&mut peer, &mut id).await;
        peer.send(ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 1 })).await;
        let group = DeleteGroup { topic: "t".into(), group: "g".into() };
        admin(&mut peer, command::Command::DeleteGroup(group)).await;
        assert_eq!(publish(&mut peer, 1000).await.0, 0);
        let settled = topic(&mut peer).await;
        assert_eq!((settled.retention_bytes, settled.lagging()), (65_536, Lagging::Block));
    }
}
