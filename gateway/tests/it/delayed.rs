//! Events that wait for their time, and those that expire.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, Receipt, ServerFrame};
use meshwire_proto::wire::admin::{Answer, Command, Durability, ListTopics, answer, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::machine::{Line, Machine};
use crate::rig::{Rig, earliest, event, hello, memory, run_of};

fn receipts(line: &Line) -> Vec<Receipt> {
    let receipts = |frame| if let ServerFrame::Receipts(r) = frame { r.receipts } else { Vec::new() };
    line.frames().into_iter().flat_map(receipts).collect()
}

/// The ids of what was delivered since the last look.
fn delivered(line: &Line) -> Vec<String> {
    let mut ids = Vec::new();
    for frame in line.frames() {
        if let ServerFrame::Deliver(deliver) = frame {
            for event in deliver.runs.iter().flat_map(|run| run.events.iter()) {
                ids.push(meshwire_proto::event_identity(&event).unwrap().1.to_owned());
            }
        }
    }
    ids
}

fn reader(machine: &Machine) -> Line {
    let line = machine.session();
    line.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    machine.run_disk();
    line
}

/// How many events of the topic wait, and how many the group saw expire.
fn counts(line: &Line) -> (u64, u64) {
    let command = Command { command: Some(command::Command::ListTopics(ListTopics::default())) };
    line.send(&ClientFrame::Admin(wire::Admin { number: 1, command: command.encode_to_vec().into() }));
    let frames = line.frames();
    let answer = frames.iter().find_map(|f| if let ServerFrame::Admin(a) = f { Some(&a.answer) } else { None });
    match Answer::decode(answer.unwrap().clone()).unwrap().answer {
        Some(answer::Answer::Topics(list)) => {
            let topic = &list.topics[0];
            (topic.delayed, topic.groups.first().map_or(0, |g| g.expired))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delayed_event_is_acknowledged_when_it_is_kept_and_shown_at_its_time() {
    let machine = Machine::start();
    let (publisher, reader) = (machine.session(), reader(&machine));
    publisher.publish_timed(1, (10_000, 0));
    assert_eq!(receipts(&publisher), [], "it is not kept");
    machine.run_disk();
    let receipt = Receipt { first_sequence: 1, count: 1, ..Receipt::default() };
    assert_eq!(receipts(&publisher), [receipt], "kept, and its position is not known yet");
    assert_eq!(counts(&publisher), (1, 0));
    let now = machine.clock.0.load(std::sync::atomic::Ordering::Relaxed);
    // The disk takes a millisecond each time.
    machine.advance(9_997 - now);
    assert_eq!(delivered(&reader), [""; 0]);
    machine.advance(1);
    assert_eq!(delivered(&reader), ["1"]);
    assert_eq!(counts(&publisher), (0, 0));
}

#[test]
fn a_kill_before_a_time_neither_loses_nor_doubles_nor_hastens_an_event() {
    let mut machine = Machine::start();
    let publisher = machine.session();
    for (sequence, at) in [(1, 30_000), (2, 10_000), (3, 20_000)] {
        publisher.publish_timed(sequence, (at, 0));
    }
    machine.run_disk();
    assert_eq!(receipts(&publisher).iter().map(|r| r.count).sum::<u32>(), 3);
    drop(publisher);
    machine = machine.restart();
    let line = reader(&machine);
    machine.advance(5_000);
    assert_eq!(delivered(&line), [""; 0]);
    machine.advance(5_000);
    assert_eq!(delivered(&line), ["2"]);
    drop(line);
    // The next two fall due while nobody runs.
    machine.clock.0.fetch_add(60_000, std::sync::atomic::Ordering::Relaxed);
    machine = machine.restart();
    let line = reader(&machine);
    machine.advance(0);
    let mut ids = delivered(&line);
    ids.retain(|id| id != "2");
    assert_eq!(ids, ["3", "1"], "at once, in the order in which they were due");
    assert_eq!(counts(&line), (0, 0));
    drop(line);
    machine = machine.restart();
    machine.advance(100_000);
    assert_eq!(delivered(&reader(&machine)).len(), 3, "each stands in the topic once");
}

#[test]
fn a_replay_after_a_kill_is_a_duplicate_of_the_event_that_waits() {
    let machine = Machine::start();
    let hello = hello();
    let (line, _) = machine.login(hello.clone());
    line.publish_timed(1, (10_000, 0));
    machine.run_disk();
    drop(line);
    let machine = machine.restart();
    let (line, welcome) = machine.login(wire::Hello { first_unanswered: 1, ..hello });
    assert_eq!(welcome.kept_through, 1, "known by its sequence");
    line.publish_timed(1, (10_000, 0));
    let by_id = machine.session();
    by_id.publish_timed(1, (20_000, 0));
    machine.run_disk();
    assert!(receipts(&line).iter().chain(&receipts(&by_id)).all(|r| r.duplicate && r.code == 0));
    assert_eq!(counts(&line), (1, 0));
}

#[test]
fn expiry_is_known_after_a_kill_and_counted_for_the_group() {
    let machine = Machine::start();
    let publisher = machine.session();
    publisher.publish_timed(1, (0, 10_000));
    publisher.publish_timed(2, (0, 0));
    publisher.publish_timed(3, (5_000, 1_000));
    machine.run_disk();
    drop(publisher);
    let machine = machine.restart();
    machine.advance(20_000);
    let line = reader(&machine);
    // It begins when its group is kept, and what it reads is on the disk.
    assert_eq!(delivered(&line), [""; 0]);
    machine.run_disk();
    assert_eq!(delivered(&line), ["2"], "1 has expired, and so has 3, whose time began when it was due");
    assert_eq!(counts(&line), (0, 2));
}

#[tokio::test]
async fn what_may_not_wait_is_refused_by_the_name_of_its_option() {
    let mut config = memory();
    config.delayed = (2, 1 << 20);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    let day = 86_400_000;
    let soon = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap() + day;
    let (busy, large) = (ErrorKind::Busy.number(), ErrorKind::TooLarge.number());
    let cases = [(soon, 0, ""), (soon, 0, ""), (soon, busy, "delayed_events"), (soon + 400 * day, large, "max_delay")];
    for (first_sequence, (deliver_at_ms, code, text)) in (1..).zip(cases) {
        let events = run_of(&[event(&first_sequence.to_string())]);
        let topic = "t".into();
        let run = PublishRun { alias: 1, topic, first_sequence, deliver_at_ms, events, ..PublishRun::default() };
        peer.send(ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 })).await;
        let receipts = peer.find(|f| if let ServerFrame::Receipts(r) = f { Some(r.receipts) } else { None }).await;
        assert!(receipts[0].code == code && receipts[0].message.contains(text), "{:?}", receipts[0]);
        assert_eq!(receipts[0].retry_after_ms > 0, code == busy);
    }
}

#[tokio::test]
async fn on_the_real_clock_it_comes_within_fifty_milliseconds_and_never_before() {
    let rig = Rig::start().await;
    let (mut peer, mut reader) = (rig.session().await, rig.session().await);
    reader.subscribe(earliest(1, "t", "")).await;
    let now = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let start = now();
    let mut late = Vec::new();
    for n in 1..=9 {
        let deliver_at_ms = start + 100 * n;
        let (topic, events) = ("t".into(), run_of(&[event(&n.to_string())]));
        let run =
            PublishRun { alias: 1, topic, first_sequence: n as u64, deliver_at_ms, events, ..PublishRun::default() };
        peer.send(ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 })).await;
    }
    for n in 1..=9 {
        let runs = reader.deliveries(1).await;
        assert_eq!(runs[0].events.count(), 1);
        late.push(now() - (start + 100 * n));
    }
    assert!(late.iter().all(|ms| *ms >= 0), "{late:?}");
    // On a machine with much to do some come late.
    late.sort_unstable();
    assert!(late[4] <= 50, "{late:?}");
}

/// Publishes runs of one event each, every other one of events that expire; gives the refused receipts.
fn alternate(machine: &Machine, line: &Line, runs: std::ops::Range<u64>) -> Vec<Receipt> {
    let run = |sequence: u64| PublishRun {
        alias: 1,
        topic: "t".into(),
        first_sequence: sequence,
        expires_in_ms: (sequence % 2) * 86_400_000,
        events: run_of(&[event(&sequence.to_string())]),
        ..PublishRun::default()
    };
    let mut refused = Vec::new();
    let runs: Vec<u64> = runs.collect();
    for some in runs.chunks(1024) {
        let runs = some.iter().map(|n| run(*n)).collect();
        line.send(&ClientFrame::Publish(Publish { runs, answered_through: 0 }));
        machine.run_disk();
        refused.extend(receipts(line).into_iter().filter(|r| r.code != 0));
    }
    refused
}

#[test]
fn events_that_expire_are_taken_between_others_for_as_long_as_retention_goes_on() {
    let machine = Machine::start();
    let line = machine.session();
    line.create_as("t", Durability::Memory);
    // Its ring holds a few thousand of them.
    assert_eq!(alternate(&machine, &line, 1..140_000), []);
}
