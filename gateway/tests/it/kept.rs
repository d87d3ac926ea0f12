//! Answers wait for the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use meshwire_gateway::store::log::{Disk, LogOptions, LogStore, SimFault};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::admin::{Command, CreateGroup, DeleteGroup, Durability, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::machine::Machine;
use crate::rig::{earliest, hello};

#[test]
fn a_subscription_is_answered_and_served_once_its_topic_and_its_group_are_kept() {
    let machine = Machine::start();
    let (first, second) = (machine.session(), machine.session());
    first.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    second.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert_eq!(first.frames(), [], "the group is not kept");
    assert_eq!(second.frames(), [], "and not for who joins it, either");
    machine.run_disk();
    for line in [&first, &second] {
        assert!(matches!(line.frames()[..], [ServerFrame::Subscribed(_)]));
    }
    let third = machine.session();
    third.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert!(matches!(third.frames()[..], [ServerFrame::Subscribed(_)]), "it is kept already");
}

#[test]
fn nothing_is_delivered_before_the_answer_to_subscribe() {
    let machine = Machine::start();
    let (publisher, reader) = (machine.session(), machine.session());
    publisher.publish(1, "t");
    machine.run_disk();
    reader.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert_eq!(reader.frames(), [], "the event is there and the group is not");
    machine.run_disk();
    assert!(matches!(reader.frames()[..], [ServerFrame::Subscribed(_), ServerFrame::Deliver(_)]));
}

#[test]
fn a_subscription_without_a_group_waits_for_the_topic_it_creates() {
    let machine = Machine::start();
    let reader = machine.session();
    reader.send(&ClientFrame::Subscribe(earliest(1, "t", "")));
    assert_eq!(reader.frames(), []);
    machine.run_disk();
    assert!(matches!(reader.frames()[..], [ServerFrame::Subscribed(_)]));
}

#[test]
fn a_topic_that_is_created_twice_is_answered_twice_when_it_is_kept() {
    let machine = Machine::start();
    let (first, second) = (machine.session(), machine.session());
    first.create("t");
    second.create("t");
    assert_eq!((first.frames(), second.frames()), (vec![], vec![]));
    machine.run_disk();
    for line in [&first, &second] {
        assert!(matches!(&line.frames()[..], [ServerFrame::Admin(answer)] if answer.code == 0));
    }
}

#[test]
fn an_event_that_creates_its_topic_is_acknowledged_when_both_are_kept() {
    let machine = Machine::start();
    let publisher = machine.session();
    publisher.publish(1, "t");
    assert_eq!(publisher.frames(), []);
    machine.run_disk();
    assert!(matches!(&publisher.frames()[..], [ServerFrame::Receipts(r)] if r.receipts[0].code == 0));
    machine.disk.power_loss(1);
    let on: Arc<dyn Disk> = Arc::new(machine.disk.duplicate());
    let (_, found) = LogStore::open_on(on, &LogOptions::default(), Arc::new(Default::default)).unwrap();
    assert_eq!(found.fold.topics.values().map(|t| (t.name.as_str(), t.next)).collect::<Vec<_>>(), [("t", 2)]);
}

#[test]
fn a_subscription_whose_group_cannot_be_kept_is_refused() {
    let machine = Machine::start();
    let reader = machine.session();
    machine.disk.plan(machine.disk.counts().ops + 1, SimFault::Error);
    reader.send(&ClientFrame::Subscribe(earliest(7, "t", "g")));
    machine.run_disk();
    let frames = reader.frames();
    let errors = frames.iter().filter_map(|f| if let ServerFrame::Error(e) = f { Some(e) } else { None });
    let errors: Vec<_> = errors.map(|e| (e.code, e.subscription, e.operation.as_str())).collect();
    assert_eq!(errors, [(ErrorKind::StoreFailed.number(), 7, "subscribe")]);
    assert!(!frames.iter().any(|f| matches!(f, ServerFrame::Subscribed(_))));
}

#[test]
fn the_end_of_a_group_is_answered_when_it_survives_power_loss_whatever_its_topic() {
    let machine = Machine::start();
    let line = machine.session();
    line.create_as("t", Durability::Written);
    let create = CreateGroup { topic: "t".into(), group: "g".into(), ..CreateGroup::default() };
    machine.run_disk();
    machine.admin(command::Command::CreateGroup(create)).unwrap();
    machine.run_disk();
    line.frames();
    let delete = DeleteGroup { topic: "t".into(), group: "g".into() };
    let command = Command { command: Some(command::Command::DeleteGroup(delete)) }.encode_to_vec().into();
    machine.clock.0.fetch_add(1, Ordering::Relaxed);
    let before = machine.disk.counts().syncs;
    line.send(&ClientFrame::Admin(wire::Admin { number: 2, command }));
    let mut answered = line.frames();
    while answered.is_empty() && machine.step_disk() {
        answered = line.frames();
    }
    assert!(matches!(&answered[..], [ServerFrame::Admin(answer)] if answer.code == 0), "{answered:?}");
    assert!(machine.disk.counts().syncs > before, "it is written and not synced");
}

#[test]
fn an_idle_producer_is_forgotten_alike_by_a_gateway_that_runs_and_by_one_that_begins_anew() {
    const DAY: i64 = 24 * 3600 * 1000;
    let mut machine = Machine::start();
    let (idle, busy) = (hello(), hello());
    let known = |machine: &Machine, hello: &wire::Hello| {
        machine.login(wire::Hello { first_unanswered: 2, ..hello.clone() }).1.producer_known
    };
    for (at, sequence, remembered) in [(0, 2, true), (DAY - 1, 3, true), (2 * DAY, 4, false)] {
        machine.clock.0.store(at, Ordering::Relaxed);
        if at == 0 {
            machine.login(idle.clone()).0.publish(1, "t");
        }
        machine.login(busy.clone()).0.publish(sequence, "t");
        machine.run_disk();
        assert_eq!(known(&machine, &idle), remembered, "at {at}");
        assert!(known(&machine, &busy), "at {at}");
        machine = machine.restart();
        assert_eq!(known(&machine, &idle), remembered, "at {at}, after a restart");
        assert!(known(&machine, &busy), "at {at}, after a restart");
    }
}
