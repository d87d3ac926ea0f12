//! Dead letters past their retention, over the wire and over both stores.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::Event;
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::admin::{
    AfterDeadLetter, Answer, Command, CreateGroup, CreateTopic, Durability, GroupSettings, ListDeadLetters,
    PurgeDeadLetters, RedriveDeadLetters, answer, command,
};
use meshwire_proto::wire::session as wire;
use prost::Message as _;
use serde_json::json;

use crate::rig::{PATIENCE, Peer, Rig, earliest, event, memory, run_of};

async fn admin(peer: &mut Peer, command: command::Command) -> Bytes {
    let command = Command { command: Some(command) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(answer.code, 0, "{}", answer.message);
    answer.answer
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

#[tokio::test]
async fn what_is_rejected_while_the_gateway_stops_is_a_dead_letter_with_its_reason_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let [mut config, _] = configs(&folder);
    // Never over.
    config.stop_timeout = 3 * PATIENCE;
    let mut rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
    rig.offer("t", &["1"]).await;
    let group = "/v1/topics/t/groups/g";
    let fetched = rig.post(&format!("{group}/fetch"), &json!({})).await.json();
    rig.begin_stop();
    let told = async { while rig.get("/readyz").await.status == 200 {} };
    tokio::time::timeout(PATIENCE, told).await.expect("it says that it stops");
    let reject = json!({"lease": fetched["deliveries"][0]["lease"], "kind": "reject", "reason": "too late"});
    let settled = rig.post(&format!("{group}/settle"), &json!({"settlements": [reject]})).await.json();
    assert_eq!(settled["results"][0]["settled"], true, "{settled}");
    rig.ended().await;

    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let made = async {
        loop {
            let page = rig.get(&format!("{group}/dead-letters")).await.json();
            if let [letter] = &page["items"].as_array().unwrap()[..] {
                break letter["error"].clone();
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, made).await.expect("a letter"), "too late");
    rig.stop().await;
}

#[tokio::test]
async fn a_page_of_dead_letters_fits_a_frame_that_every_client_takes() {
    for mut config in configs(&tempfile::tempdir().unwrap()) {
        // What a client has to accept is then little more than a run of deliveries.
        (config.limits.max_event_bytes, config.limits.max_attribute_bytes) = (65_536, 1024);
        let rig = Rig::with(config, Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        let large = |n: u32| Event::bytes("t", vec![7; 60_000]).id(n.to_string()).source("/rig");
        peer.publish("t", run_of(&(0..12).map(large).collect::<Vec<_>>())).await;
        peer.subscribe(earliest(1, "t", "g")).await;
        peer.deliveries(12).await;
        assert_eq!(peer.settle(1, 1, 12, SettleKind::Reject).await, [(1, 12, 0)]);
        let (mut numbers, mut after) = (Vec::new(), 0);
        while numbers.len() < 12 {
            let list = ListDeadLetters { topic: "t".into(), after, events: true, ..ListDeadLetters::default() };
            let answer = admin(&mut peer, command::Command::ListDeadLetters(list)).await;
            assert!(answer.len() <= (256 << 10) + 65_536, "a page of {} bytes", answer.len());
            let Some(answer::Answer::DeadLetters(page)) = Answer::decode(answer).unwrap().answer else {
                panic!("a list")
            };
            assert!(!page.letters.is_empty());
            numbers.extend(page.letters.iter().map(|letter| letter.number));
            after = page.next;
        }
        assert_eq!((numbers, after), ((1..=12).collect::<Vec<u64>>(), 0));
        rig.stop().await;
    }
}

/// Numbers of the dead letters of `t`.
async fn letters(peer: &mut Peer) -> Vec<u64> {
    let list = ListDeadLetters { topic: "t".into(), ..ListDeadLetters::default() };
    match Answer::decode(admin(peer, command::Command::ListDeadLetters(list)).await).unwrap().answer {
        Some(answer::Answer::DeadLetters(page)) => page.letters.iter().map(|letter| letter.number).collect(),
        other => panic!("{other:?}"),
    }
}

async fn create(peer: &mut Peer, durability: Durability) {
    let create = CreateTopic { name: "t".into(), durability: durability.into(), ..CreateTopic::default() };
    admin(peer, command::Command::CreateTopic(create)).await;
}

#[tokio::test]
async fn dead_letters_of_a_memory_topic_are_found_after_a_restart_whatever_the_topic_is_then() {
    for durability in [Durability::Synced, Durability::Written, Durability::Memory] {
        let folder = tempfile::tempdir().unwrap();
        let [config, _] = configs(&folder);
        let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        create(&mut peer, Durability::Memory).await;
        peer.publish("t", run_of(&[event("1"), event("2")])).await;
        peer.subscribe(earliest(1, "t", "g")).await;
        peer.deliveries(2).await;
        assert_eq!(peer.settle(1, 1, 2, SettleKind::Reject).await, [(1, 2, 0)]);
        assert_eq!(letters(&mut peer).await, [1, 2]);
        rig.stop().await;

        let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        assert_eq!(letters(&mut peer).await, [1, 2], "before anybody made the topic again");
        let purge = PurgeDeadLetters { topic: "t".into(), numbers: vec![1], ..PurgeDeadLetters::default() };
        admin(&mut peer, command::Command::PurgeDeadLetters(purge)).await;
        create(&mut peer, durability).await;
        assert_eq!(letters(&mut peer).await, [2]);
        rig.stop().await;

        let rig = Rig::with(config, Arc::new(AllowAll)).await;
        let mut peer = rig.session().await;
        if durability == Durability::Memory {
            create(&mut peer, durability).await;
        }
        peer.subscribe(earliest(1, "t", "g")).await;
        let redrive = RedriveDeadLetters { topic: "t".into(), ..RedriveDeadLetters::default() };
        let mut operator = rig.session().await;
        admin(&mut operator, command::Command::RedriveDeadLetters(redrive)).await;
        assert_eq!(peer.deliveries(1).await[0].first_position, 2, "with {durability:?}");
        assert_eq!(peer.settle(1, 1, 1, SettleKind::Ack).await, [(1, 1, 0)]);
        assert_eq!(letters(&mut peer).await, [0_u64; 0]);
        rig.stop().await;
    }
}
