//! What the gateway holds in memory for its peers is bounded, and nobody waits for one that takes nothing.

use meshwire_proto::frame::{ClientFrame, Receipt, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::admin::{CreateGroup, Durability, GroupSettings, UpdateGroup, command};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event};

use crate::machine::{Line, Machine};
use crate::rates::take_and_ack;
use crate::rig::{earliest, event, run_of};

const EVENT: usize = 8 << 10;
const EVENTS: u64 = 400;

fn subscribe(line: &Line, subscription: u32, group: &str) {
    let credit = wire::Subscribe { max_events: 65_536, max_bytes: 64 << 20, ..earliest(subscription, "t", group) };
    line.send(&ClientFrame::Subscribe(credit));
}

/// Positions of the deliveries that are on the way to a peer, and how many events are gone before them.
fn delivered(line: &Line) -> (Vec<u64>, u64) {
    let runs =
        line.frames().into_iter().flat_map(|f| if let ServerFrame::Deliver(d) = f { d.runs } else { Vec::new() });
    runs.fold((Vec::new(), 0), |(mut positions, gone), run| {
        positions.extend(run.first_position..run.first_position + u64::from(run.events.count()));
        (positions, gone + run.gap)
    })
}

fn one_that_takes_nothing(durability: Durability, group: &str) {
    let machine = Machine::start();
    let (publisher, stuck, healthy) = (machine.session(), machine.session(), machine.session());
    publisher.create_as("t", durability);
    machine.run_disk();
    subscribe(&stuck, 1, group);
    subscribe(&healthy, 1, "");
    machine.run_disk();
    stuck.frames();
    healthy.frames();
    for sequence in 1..=EVENTS {
        publisher.publish_large(sequence, "t", EVENT);
        machine.run_disk();
        assert_eq!(delivered(&healthy), (vec![sequence], 0), "the one that reads gets each event at once");
        // One event passes over what a connection may let wait, and heads of frames come on top.
        assert!(machine.waiting() <= (1 << 20) + 2 * EVENT as u64, "{} bytes wait", machine.waiting());
    }
    assert!(machine.waiting() > 1 << 19, "something waits for the one that takes nothing");
    let (mut late, mut lost) = (Vec::new(), 0);
    for _ in 0..EVENTS {
        machine.run_disk();
        let (positions, gone) = delivered(&stuck);
        late.extend(positions);
        lost += gone;
    }
    // It goes on where it was; what a ring does not have any more is told.
    assert_eq!((late.first(), late.last(), late.len() as u64 + lost), (Some(&1), Some(&EVENTS), EVENTS));
    assert!(late.is_sorted() && (lost == 0 || durability == Durability::Memory), "{lost} lost");
    // What was taken counts until the next look says that it is written.
    assert_eq!((delivered(&stuck), delivered(&healthy)), ((Vec::new(), 0), (Vec::new(), 0)));
    // Answers of the last look count until the next one.
    assert!(machine.waiting() < 1024, "{} bytes wait", machine.waiting());
}

#[test]
fn a_peer_that_takes_nothing_holds_a_bounded_part_of_memory_and_up_nobody() {
    one_that_takes_nothing(Durability::Synced, "");
    one_that_takes_nothing(Durability::Memory, "");
}

#[test]
fn the_same_is_so_for_a_member_of_a_group() {
    one_that_takes_nothing(Durability::Synced, "g");
    one_that_takes_nothing(Durability::Memory, "g");
}

/// Replies that each stream asks for.
const REPLIES: u32 = 300;

/// A requester that asked for many replies and takes none of them, and a responder that sends what it may.
struct Stream {
    requester: Line,
    responder: Line,
    reply: wire::Reply,
    credit: u32,
    sent: u32,
}

impl Stream {
    fn stuck(machine: &Machine) -> Self {
        let (requester, responder) = (machine.session(), machine.session());
        let serve = wire::Subscribe { serve: true, start: None, ..earliest(1, "quote", "") };
        responder.send(&ClientFrame::Subscribe(serve));
        responder.frames();
        let event = run_of(&[event("quote")]).iter().next().unwrap();
        let request =
            wire::Request { number: 1, topic: "quote".into(), timeout_ms: 20_000, event, ..wire::Request::default() };
        requester.send(&ClientFrame::Request(wire::Request { stream: true, credit: REPLIES, ..request }));
        let asked = |f| if let ServerFrame::Request(r) = f { Some(r) } else { None };
        let asked = responder.frames().into_iter().find_map(asked).unwrap();
        let event = Event::bytes("t", vec![7; 16 << 10]).id("1").source("/rig").encode().unwrap();
        let reply = wire::Reply { number: asked.number, reply_to: asked.reply_to, event, ..wire::Reply::default() };
        let mut stream = Self { requester, responder, reply, credit: asked.credit, sent: 0 };
        while stream.reply() > 0 {}
        stream
    }

    /// Sends as many replies as there is credit for; gives how many.
    fn reply(&mut self) -> u32 {
        for frame in self.responder.frames() {
            match frame {
                ServerFrame::ReplyCredit(credit) => self.credit += credit.events,
                ServerFrame::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let now = std::mem::take(&mut self.credit);
        for _ in 0..now {
            self.responder.send(&ClientFrame::Reply(self.reply.clone()));
        }
        self.sent += now;
        now
    }
}

#[test]
fn requesters_that_take_no_replies_hold_a_bounded_part_of_memory_and_leave_a_subscriber_its_room() {
    let machine = Machine::start();
    let (publisher, healthy) = (machine.session(), machine.session());
    publisher.create("t");
    machine.run_disk();
    subscribe(&healthy, 1, "");
    machine.run_disk();
    healthy.frames();
    let mut stuck: Vec<Stream> = (0..24).map(|_| Stream::stuck(&machine)).collect();
    // The part of replies, and what each connection may have however little is free.
    let waiting = machine.waiting();
    assert!((1 << 20..(2 << 20) + (24 << 16)).contains(&waiting), "{waiting} bytes wait");
    for sequence in 1..=50 {
        publisher.publish_large(sequence, "t", EVENT);
    }
    machine.run_disk();
    assert_eq!(delivered(&healthy).0.len(), 50, "all at once");
    healthy.frames();
    // Whoever takes its replies gets all that it asked for: nothing was refused.
    for stream in &mut stuck {
        let mut replies = 0;
        while replies < REPLIES {
            let is_reply = |f: &ServerFrame| matches!(f, ServerFrame::Reply(r) if r.code == 0);
            let news = stream.requester.frames().iter().filter(|f| is_reply(f)).count() as u32;
            replies += news;
            assert!(stream.reply() + news > 0 || replies == REPLIES, "{replies} came");
        }
        stream.requester.frames();
        assert_eq!(stream.sent, REPLIES);
    }
    assert!(machine.waiting() < 4096, "{} bytes wait", machine.waiting());
}

#[test]
fn a_connection_that_is_gone_holds_nothing() {
    let machine = Machine::start();
    let (publisher, stuck) = (machine.session(), machine.session());
    subscribe(&stuck, 1, "g");
    machine.run_disk();
    stuck.frames();
    publisher.publish_large(1, "t", EVENT);
    machine.run_disk();
    assert!(machine.waiting() >= EVENT as u64);
    stuck.cut();
    // Answers of the last look count until the next one.
    assert!(machine.waiting() < 1024, "{} bytes wait", machine.waiting());
}

#[test]
fn a_subscription_with_much_to_deliver_holds_up_no_other_of_its_connection() {
    let machine = Machine::start();
    let (publisher, reader) = (machine.session(), machine.session());
    for sequence in 1..=EVENTS {
        publisher.publish_large(sequence, "t", EVENT);
        machine.run_disk();
    }
    subscribe(&reader, 1, "");
    machine.run_disk();
    reader.frames();
    let small = earliest(2, "u", "");
    reader.send(&ClientFrame::Subscribe(small));
    publisher.publish_as(EVENTS + 1, "u", 2);
    let mut turns = 0;
    let of_two = |frame: &ServerFrame| matches!(frame, ServerFrame::Deliver(d) if d.runs[0].subscription == 2);
    while !reader.frames().iter().any(of_two) {
        machine.run_disk();
        turns += 1;
        assert!(turns < 10, "the other one waits for its neighbour");
    }
}

pub(crate) fn receipts(line: &Line) -> Vec<Receipt> {
    let receipts = |f| if let ServerFrame::Receipts(r) = f { r.receipts } else { Vec::new() };
    line.frames().into_iter().flat_map(receipts).collect()
}

#[test]
fn publishers_wait_while_much_is_to_be_kept_and_are_refused_when_the_disk_is_stuck() {
    let machine = Machine::limited(|c| c.publish_budget_bytes = 8 * EVENT as u64);
    let (publisher, other) = (machine.session(), machine.session());
    let mut sequence = 0;
    while !publisher.is_held() {
        sequence += 1;
        publisher.publish_large(sequence, "t", EVENT);
        assert!(sequence < 6, "half of the budget is used up");
    }
    // The disk goes on: so does the publisher, and nothing was refused.
    machine.run_disk();
    let kept: u32 = receipts(&publisher).iter().filter(|r| r.code == 0).map(|r| r.count).sum();
    assert_eq!((u64::from(kept), publisher.is_held()), (sequence - 1, false));
    machine.run_disk();
    assert_eq!(receipts(&publisher).len(), 1);

    // The disk is stuck: a frame is held for a second, then it is taken or refused.
    let mut refused = None;
    for _ in 0..12 {
        sequence += 1;
        publisher.publish_large(sequence, "t", EVENT);
        machine.pass(1000);
        refused = refused.or_else(|| receipts(&publisher).into_iter().find(|r| r.code != 0));
        other.send(&ClientFrame::Ping(wire::Ping { nonce: 7, answer: false }));
        assert!(other.frames().iter().any(|f| matches!(f, ServerFrame::Ping(p) if p.nonce == 7)), "nobody else waits");
    }
    let refused = refused.unwrap();
    assert!(refused.code == ErrorKind::Busy.number() && refused.retry_after_ms > 0, "{refused:?}");
    assert!(refused.message.contains("publish_budget_bytes"), "{refused:?}");
    machine.run_disk();
    assert!(!receipts(&publisher).is_empty() && !publisher.is_held());
}

#[test]
fn answers_that_wait_are_bounded_and_none_is_lost() {
    const RANGES: u64 = 16_000;
    const FRAMES: u64 = 20;
    let machine = Machine::start();
    let line = machine.session();
    for sequence in 1..=FRAMES {
        let range = |first_delivery| SettleRange {
            subscription: 9,
            first_delivery,
            count: 1,
            kind: SettleKind::Ack,
            ..SettleRange::default()
        };
        // Every other number, so that no two answers are one.
        let ranges = (0..RANGES).map(|n| range(1 + 2 * n)).collect();
        line.send(&ClientFrame::Settle(Settle { sequence, ranges, confirm: true }));
    }
    assert!(line.is_held(), "the frames behind wait");
    let (mut answered, mut looks) = (0, 0);
    while answered < RANGES * FRAMES {
        let results = |f| if let ServerFrame::Settled(s) = f { s.results.len() as u64 } else { 0 };
        let news: u64 = line.frames().into_iter().map(results).sum();
        assert!(news <= 2 * RANGES, "{news} answers waited at once");
        answered += news;
        looks += 1;
        assert!(looks < 100, "{answered} answers came");
    }
    assert_eq!(answered, RANGES * FRAMES);
}

/// Many members of a group that take nothing, on so many connections, beside a subscription that takes everything.
fn a_group_that_takes_nothing(connections: usize, keys: bool) {
    const MEMBERS: u32 = 48;
    const ALL: u64 = 2 * EVENTS;
    let machine = Machine::start();
    let (publisher, healthy) = (machine.session(), machine.session());
    publisher.create("t");
    machine.run_disk();
    // What there is comes to all members at once, when the group is let go.
    let settings = |rate| Some(GroupSettings { max_rate: Some(rate), ..GroupSettings::default() });
    let topic = || "t".to_owned();
    let held = CreateGroup { topic: topic(), group: "g".into(), settings: settings(1), ..CreateGroup::default() };
    machine.admin(command::Command::CreateGroup(held)).unwrap();
    machine.run_disk();
    let stuck: Vec<Line> = (0..connections).map(|_| machine.session()).collect();
    for (member, line) in (1..=MEMBERS).zip(stuck.iter().cycle()) {
        subscribe(line, member, "g");
    }
    machine.run_disk();
    stuck.iter().for_each(|line| drop(line.frames()));
    for sequence in 1..=ALL {
        let event = Event::bytes("t", vec![7; EVENT]).id(sequence.to_string()).source("/rig");
        let event = if keys { event.key((sequence % 97).to_string()) } else { event };
        publisher.publish_event(sequence, ("t", 1), &event);
        if sequence % 20 == 0 {
            machine.run_disk();
        }
    }
    publisher.frames();
    publisher.frames();
    let free = UpdateGroup { topic: topic(), group: "g".into(), settings: settings(0) };
    machine.admin(command::Command::UpdateGroup(free)).unwrap();
    machine.run_disk();
    let waiting = machine.waiting();
    // One event of each passes, however little is free.
    let most = (4 << 20) + (connections * EVENT) as u64;
    assert!((1 << 19..most).contains(&waiting), "{waiting} bytes wait on {connections} connections");
    let one = (1 << 20) + 4 * EVENT as u64;
    assert!(connections > 1 || waiting < one, "{waiting} bytes wait on one connection");
    subscribe(&healthy, 1, "");
    let (mut got, mut looks) = (0, 0);
    while got < ALL {
        machine.run_disk();
        got += delivered(&healthy).0.len() as u64;
        looks += 1;
        assert!(looks < 2 * ALL, "{got} came");
    }
    // Whoever takes again what it is sent gets all the rest.
    let (mut rest, mut settles) = (0, vec![0; connections]);
    for _ in 0..ALL {
        machine.run_disk();
        rest += stuck.iter().zip(&mut settles).map(|(line, n)| u64::from(take_and_ack(line, n))).sum::<u64>();
        if rest >= ALL {
            break;
        }
    }
    assert_eq!(rest, ALL, "all came to the group on {connections} connections, {keys}; {} wait", machine.waiting());
}

#[test]
fn a_group_with_many_members_that_take_nothing_keeps_to_the_memory_that_all_have_together() {
    for keys in [false, true] {
        a_group_that_takes_nothing(48, keys);
        a_group_that_takes_nothing(6, keys);
        a_group_that_takes_nothing(1, keys);
    }
}
