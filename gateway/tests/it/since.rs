//! Beginning at a time, over the wire.

use std::sync::atomic::Ordering;

use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::admin::{Answer, Command, CreateGroup, SeekGroup, answer, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::machine::{Line, Machine};
use crate::rig::{Rig, earliest, event, run_of};

fn from_time(number: u32, topic: &str, group: &str, time: i64) -> wire::Subscribe {
    let start = Some(wire::Start { at: Some(wire::start::At::TimeUnixMs(time)) });
    wire::Subscribe { start, ..earliest(number, topic, group) }
}

/// The next position of subscriptions that were answered, and numbers of those that were refused or ended.
fn answers(line: &Line) -> Vec<(u32, u64)> {
    let answer = |frame| match frame {
        ServerFrame::Subscribed(s) => Some((s.subscription, s.next_position)),
        ServerFrame::Error(e) => Some((e.subscription, 0)),
        ServerFrame::Unsubscribed(u) => Some((u.subscription, 0)),
        _ => None,
    };
    line.frames().into_iter().filter_map(answer).collect()
}

/// An event each second, the first of them in a segment that is full; a new life, so that no index is in memory.
fn machine() -> (Machine, i64) {
    let machine = Machine::start();
    let line = machine.session();
    line.create("t");
    machine.run_disk();
    let began = machine.clock.0.load(Ordering::Relaxed);
    for second in 1..=8 {
        machine.clock.0.store(began + second * 1000, Ordering::Relaxed);
        line.publish_large(second as u64, "t", 900_000);
        machine.run_disk();
    }
    line.frames();
    (machine.restart(), began)
}

#[test]
fn a_subscription_from_a_time_is_answered_when_its_index_is_there_and_others_do_not_wait() {
    let (machine, began) = machine();
    let line = machine.session();
    line.send(&ClientFrame::Subscribe(from_time(1, "t", "", began + 2000)));
    line.send(&ClientFrame::Subscribe(from_time(2, "t", "", began + 1500)));
    line.send(&ClientFrame::Subscribe(from_time(3, "t", "", began + 3000)));
    // What waits has its number, may be given other credit, and may be taken back.
    line.send(&ClientFrame::Subscribe(from_time(2, "t", "", began)));
    line.send(&ClientFrame::Credit(wire::Credit { subscription: 2, max_events: 1, max_bytes: 1 << 20 }));
    line.send(&ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 3 }));
    line.send(&ClientFrame::Subscribe(from_time(4, "t", "", began + 60_000)));
    line.send(&ClientFrame::Subscribe(from_time(5, "t", "g", began + 8000)));
    assert_eq!(answers(&line), [(2, 0), (3, 0), (4, 9)], "the number in use, the one that is taken back, the future");
    machine.run_disk();
    let mut answered = answers(&line);
    answered.sort_unstable();
    assert_eq!(answered, [(1, 2), (2, 2), (5, 8)]);
    machine.run_disk();
    let mut delivered = [0; 6];
    // Events of this size leave no room for others until they are taken.
    for frame in (0..8).flat_map(|_| line.frames()) {
        if let ServerFrame::Deliver(deliver) = frame {
            deliver.runs.iter().for_each(|run| delivered[run.subscription as usize] += run.events.count());
        }
    }
    assert_eq!(delivered[2..], [1, 0, 0, 1], "as much as the credit that it was given while it waited");
}

#[test]
fn a_session_that_is_lost_while_a_subscription_waits_asks_again() {
    let (machine, began) = machine();
    let line = machine.session();
    line.send(&ClientFrame::Subscribe(from_time(1, "t", "", began + 2000)));
    line.cut();
    machine.run_disk();
    assert!(answers(&line).is_empty());
    let line = machine.session();
    line.send(&ClientFrame::Subscribe(from_time(1, "t", "", began + 2000)));
    machine.run_disk();
    assert_eq!(answers(&line), [(1, 2)]);
}

#[test]
fn a_group_is_made_at_a_time_and_moved_to_another() {
    let (machine, began) = machine();
    let line = machine.session();
    let ask = |number, command| {
        let command = Command { command: Some(command) }.encode_to_vec().into();
        line.send(&ClientFrame::Admin(wire::Admin { number, command }));
    };
    let settled = || {
        machine.run_disk();
        let answer = |frame| match frame {
            ServerFrame::Admin(a) if a.code == 0 => Answer::decode(a.answer).unwrap().answer,
            _ => None,
        };
        let group = |a| if let answer::Answer::Group(g) = a { Some(g.settled_through) } else { None };
        // What needed an index is committed when that is there.
        line.frames()
            .into_iter()
            .chain({
                machine.run_disk();
                line.frames()
            })
            .filter_map(answer)
            .filter_map(group)
            .collect::<Vec<_>>()
    };
    let create = |group: &str, time| {
        let create =
            CreateGroup { topic: "t".into(), group: group.into(), start_time_unix_ms: time, ..CreateGroup::default() };
        command::Command::CreateGroup(create)
    };
    let seek = |time| {
        command::Command::SeekGroup(SeekGroup {
            topic: "t".into(),
            group: "g".into(),
            time_unix_ms: time,
            ..SeekGroup::default()
        })
    };
    ask(1, create("g", began + 2001));
    assert_eq!(settled(), [2]);
    ask(2, create("late", began + 99_000));
    assert_eq!(settled(), [8]);
    ask(3, create("early", -5));
    assert_eq!(settled(), [0]);
    for (time, through) in [(began + 7000, 6), (began + 1, 0), (began + 99_000, 8), (began + 3500, 3)] {
        ask(4, seek(time));
        assert_eq!(settled(), [through], "{time}");
    }
}

#[tokio::test]
async fn in_memory_a_subscription_begins_at_a_time_too() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    let all = peer.subscribe(from_time(1, "t", "", 1)).await;
    assert_eq!(all.next_position, 1);
    let stored = peer.deliveries(2).await[0].stored_unix_ms;
    assert_eq!(peer.subscribe(from_time(2, "t", "", stored)).await.next_position, 1);
    assert_eq!(peer.subscribe(from_time(3, "t", "", stored + 3_600_000)).await.next_position, 3);
}
