//! Topics that are deleted, over the wire.

use std::sync::Arc;

use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, Receipt, ServerFrame, SettleKind};
use meshwire_proto::wire::admin::{Command, DeleteTopic, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::machine::{Line, Machine};
use crate::rig::{Peer, Rig, earliest, event, hello, memory, run_of};

fn delete(name: &str, force: bool) -> ClientFrame {
    let command = command::Command::DeleteTopic(DeleteTopic { name: name.into(), force });
    let command = Command { command: Some(command) }.encode_to_vec().into();
    ClientFrame::Admin(wire::Admin { number: 7, command })
}

/// The code of the answer, and its text.
async fn deleted(peer: &mut Peer, name: &str, force: bool) -> (u32, String) {
    peer.send(delete(name, force)).await;
    peer.find(|f| if let ServerFrame::Admin(a) = f { Some((a.code, a.message)) } else { None }).await
}

const NOT_FOUND: u32 = ErrorKind::TopicNotFound.number();

#[tokio::test]
async fn a_topic_of_the_same_name_is_another_one() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    let before = peer.subscribe(earliest(1, "t", "g")).await.topic_identity;
    peer.deliveries(2).await;
    peer.settle(1, 1, 1, SettleKind::Ack).await;
    peer.settle(1, 2, 1, SettleKind::Reject).await;
    peer.send(ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 1 })).await;
    assert_eq!(deleted(&mut peer, "t", false).await.0, 0);
    assert_eq!(deleted(&mut peer, "t", false).await.0, NOT_FOUND);
    // The alias is bound to the old one; the ids were published before.
    let receipts = peer.publish("t", run_of(&[event("2"), event("3")])).await;
    assert_eq!(receipts.iter().map(|r| (r.first_position, r.count, r.duplicate)).collect::<Vec<_>>(), [(1, 2, false)]);
    let subscribed = peer.subscribe(earliest(2, "t", "g")).await;
    assert_eq!((subscribed.new_group, subscribed.next_position), (true, 1));
    let identity = subscribed.topic_identity;
    assert!(!before.is_empty() && identity != before, "a position of the old one says nothing here");
    assert_eq!(peer.subscribe(earliest(3, "t", "other")).await.topic_identity, identity);
    assert_eq!(peer.deliveries(2).await[0].first_position, 1);
    // A settle of the subscription that ended long ago touches nothing.
    assert_eq!(peer.settle(1, 1, 1, SettleKind::Ack).await, [(1, 1, ErrorKind::LeaseLost.number())]);
}

#[tokio::test]
async fn a_topic_that_is_read_is_deleted_only_by_force_and_its_subscriptions_hear_of_it() {
    let rig = Rig::start().await;
    let (mut peer, mut other) = (rig.session().await, rig.session().await);
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.subscribe(earliest(2, "t", "")).await;
    peer.subscribe(earliest(3, "kept", "g")).await;
    let (code, text) = deleted(&mut other, "t", false).await;
    assert_eq!(code, ErrorKind::GroupConflict.number());
    assert!(text.contains("topic t was not deleted: it has 2 subscriptions"), "{text}");
    assert_eq!(deleted(&mut other, "t", true).await.0, 0);
    for number in [1, 2] {
        let ended = peer.find(|f| if let ServerFrame::Unsubscribed(u) = f { Some(u) } else { None }).await;
        assert_eq!(
            (ended.subscription, ended.code, ended.message.as_str()),
            (number, NOT_FOUND, "topic t was deleted")
        );
    }
    other.publish("kept", run_of(&[event("1")])).await;
    assert_eq!(peer.deliveries(1).await[0].subscription, 3, "others go on");
    // Their numbers are free for others of the client, and unknown to settles and credit.
    peer.subscribe(earliest(1, "t", "")).await;
    assert_eq!(peer.settle(2, 1, 1, SettleKind::Ack).await, [(1, 1, ErrorKind::LeaseLost.number())]);
}

#[tokio::test]
async fn without_auto_create_publishers_of_a_deleted_topic_are_told() {
    let mut config = memory();
    config.auto_create = false;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    let create = command::Command::CreateTopic(meshwire_proto::wire::admin::CreateTopic {
        name: "t".into(),
        ..Default::default()
    });
    let command = Command { command: Some(create) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number: 1, command })).await;
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, 0);
    assert_eq!(deleted(&mut peer, "t", false).await.0, 0);
    let receipt = peer.publish("t", run_of(&[event("2")])).await.remove(0);
    assert_eq!(receipt.code, NOT_FOUND);
    assert!(receipt.message.contains("create it with: meshwire topics create t"), "{}", receipt.message);
}

fn answers(line: &Line) -> usize {
    line.frames().iter().filter(|f| matches!(f, ServerFrame::Admin(a) if a.code == 0)).count()
}

fn receipts(line: &Line) -> Vec<Receipt> {
    let of = |f| if let ServerFrame::Receipts(r) = f { r.receipts } else { Vec::new() };
    line.frames().into_iter().flat_map(of).collect()
}

#[test]
fn a_deletion_is_answered_when_it_is_kept_and_outlives_a_restart() {
    let machine = Machine::start();
    let line = machine.session();
    line.create("t");
    line.publish(1, "t");
    line.publish_as(2, "kept", 2);
    machine.run_disk();
    line.frames();
    line.send(&delete("t", false));
    assert_eq!(answers(&line), 0);
    machine.run_disk();
    assert_eq!(answers(&line), 1);

    let machine = machine.restart();
    let line = machine.session();
    line.publish(1, "t");
    line.publish_as(2, "kept", 2);
    machine.run_disk();
    let mut receipts = receipts(&line);
    receipts.sort_by_key(|r| r.first_sequence);
    let seen: Vec<_> = receipts.iter().map(|r| (r.first_position, r.duplicate)).collect();
    assert_eq!(seen, [(1, false), (1, true)], "ids of the deleted topic are not remembered, those of others are");
    // The last number that was given was the deleted topic's: the new one has another.
    line.send(&ClientFrame::Subscribe(earliest(1, "t", "")));
    machine.run_disk();
    let delivered = line.frames().into_iter().chain({
        machine.run_disk();
        line.frames()
    });
    let events: u32 = delivered
        .filter_map(|f| if let ServerFrame::Deliver(d) = f { Some(d) } else { None })
        .flat_map(|d| d.runs)
        .map(|run| run.events.count())
        .sum();
    assert_eq!(events, 1, "nothing of the old one is seen");
}

#[test]
fn a_session_that_was_away_hears_of_the_deletion_and_keeps_its_other_subscriptions() {
    let machine = Machine::start();
    let who = hello();
    let (line, welcome) = machine.login(who.clone());
    line.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    line.send(&ClientFrame::Subscribe(earliest(2, "kept", "g")));
    machine.run_disk();
    line.frames();
    line.publish_as(1, "kept", 2);
    machine.run_disk();
    line.cut();
    let admin = machine.session();
    admin.send(&delete("t", true));
    machine.run_disk();
    let held =
        [(1, 1), (2, 1)].map(|(subscription, next_delivery)| wire::HeldSubscription { subscription, next_delivery });
    let resume = wire::Hello {
        resume_session: welcome.session.clone(),
        resume_secret: welcome.secret.clone(),
        held: held.to_vec(),
        ..who
    };
    for _ in 0..2 {
        let (line, said) = machine.hello(resume.clone());
        assert!(matches!(&said[0], ServerFrame::Welcome(welcome) if welcome.resumed), "{said:?}");
        let of =
            |f: &ServerFrame| if let ServerFrame::Unsubscribed(u) = f { Some((u.subscription, u.code)) } else { None };
        assert_eq!(said.iter().filter_map(of).collect::<Vec<_>>(), [(1, NOT_FOUND)]);
        // It never read that, and comes again.
        line.cut();
    }
}

#[test]
fn a_subscription_that_ends_before_it_is_answered_begins_first() {
    let machine = Machine::start();
    let (line, admin) = (machine.session(), machine.session());
    line.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    admin.send(&delete("t", true));
    assert!(line.frames().is_empty(), "neither is kept");
    machine.run_disk();
    let told: Vec<_> = line.frames().iter().map(|f| matches!(f, ServerFrame::Subscribed(_))).collect();
    assert_eq!(told, [true, false]);
}
