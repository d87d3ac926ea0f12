//! Limits of the whole gateway: they hold, in time that stands still until it is told to go on, and are changed while it runs.

use std::sync::atomic::Ordering;

use meshwire_gateway::mesh::Rates;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, DeliverRun, Receipt, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::admin::{GetLimits, Limits, LimitsInForce, SetLimits, answer, command};
use meshwire_proto::wire::session as wire;

use crate::machine::{Line, Machine};
use crate::memory::receipts;
use crate::rig::earliest;

fn set(machine: &Machine, limits: Limits) -> LimitsInForce {
    match machine.admin(command::Command::SetLimits(SetLimits { limits: Some(limits) })).unwrap() {
        answer::Answer::Limits(limits) => limits,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn delivered(line: &Line) -> u32 {
    let count = |f| if let ServerFrame::Deliver(d) = f { d.runs.iter().map(|r| r.events.count()).sum() } else { 0 };
    line.frames().into_iter().map(count).sum()
}

pub(crate) fn kept(line: &Line) -> u32 {
    let receipts = receipts(line);
    assert!(receipts.iter().all(|r| r.code == 0), "{receipts:?}");
    receipts.iter().map(|r| r.count).sum()
}

/// What is kept within so many milliseconds.
pub(crate) fn kept_within(machine: &Machine, line: &Line, millis: i64) -> u32 {
    let step = |_| {
        machine.pass(1);
        let now = kept(line);
        machine.run_disk();
        now
    };
    // A look at the disk takes a millisecond as well.
    (0..millis / 2).map(step).sum::<u32>() + kept(line)
}

#[test]
fn a_publisher_that_is_too_fast_is_slowed_down_and_refused_nothing() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (100, 0), ..Rates::default() });
    let publisher = machine.session();
    for sequence in 1..=400 {
        publisher.publish(sequence, "t");
    }
    assert!(publisher.is_held());
    // At most a burst of a tenth of a second, then one each 10 ms.
    let first = kept_within(&machine, &publisher, 1000);
    assert!((100..=112).contains(&first), "{first}");
    let second = kept_within(&machine, &publisher, 1000);
    assert!((99..=101).contains(&second), "{second}");
    set(&machine, Limits { publish_rate: Some(0), ..Limits::default() });
    let rest = kept_within(&machine, &publisher, 20);
    assert_eq!((first + second + rest, publisher.is_held()), (400, false), "from now on there is no limit");
}

#[test]
fn who_publishes_too_fast_is_heard_when_it_acks_on_the_same_connection() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (100, 0), ..Rates::default() });
    let line = machine.session();
    line.send(&ClientFrame::Subscribe(wire::Subscribe { max_events: 5, ..earliest(1, "t", "g") }));
    machine.run_disk();
    for sequence in 1..=400 {
        line.publish(sequence, "t");
    }
    // All is heard while publishes wait: each ack brings what its credit allows.
    let (mut got, mut positions, mut settles) = (0, Vec::new(), 0);
    for _ in 0..1000 {
        machine.pass(1);
        machine.run_disk();
        let (runs, receipts): (Vec<_>, Vec<_>) =
            line.frames().into_iter().partition(|f| matches!(f, ServerFrame::Deliver(_)));
        let runs = runs.into_iter().flat_map(|f| if let ServerFrame::Deliver(d) = f { d.runs } else { Vec::new() });
        for run in runs {
            settles += 1;
            got += run.events.count();
            line.send(&ClientFrame::Settle(Settle { sequence: settles, ranges: vec![ack(&run)], confirm: true }));
        }
        let receipts =
            receipts.into_iter().flat_map(|f| if let ServerFrame::Receipts(r) = f { r.receipts } else { vec![] });
        positions.extend(receipts.map(|r| (r.code, r.first_sequence, r.first_position)));
        assert!(line.is_held(), "400 take 4 s");
    }
    assert!((190..=220).contains(&got), "{got} were delivered in 2 s, 5 in flight");
    assert!(
        positions.iter().all(|(code, sequence, position)| (*code, sequence) == (0, position)),
        "in order: {positions:?}"
    );
}

#[test]
fn of_a_publisher_that_does_not_stop_a_bounded_amount_waits_and_the_rest_is_refused_after_5_s() {
    const EVENT: usize = 16 << 10;
    let machine = Machine::limited(|c| c.rates = Rates { publish: (1, 0), ..Rates::default() });
    let line = machine.session();
    // 3.2 MB; about one may wait.
    for sequence in 1..=200 {
        line.publish_large(sequence, "t", EVENT);
    }
    line.send(&ClientFrame::Ping(wire::Ping { nonce: 7, answer: false }));
    let pong = |frames: &[ServerFrame]| frames.iter().any(|f| matches!(f, ServerFrame::Ping(p) if p.nonce == 7));
    assert!(machine.waiting() < (1 << 20) + 2 * EVENT as u64, "{} wait", machine.waiting());
    let (mut heard, mut refused, mut kept) = (None, Vec::new(), Vec::new());
    for millis in 0..8000 {
        machine.pass(1);
        machine.run_disk();
        let frames = line.frames();
        heard = heard.or_else(|| pong(&frames).then_some(2 * millis));
        let receipts =
            frames.into_iter().flat_map(|f| if let ServerFrame::Receipts(r) = f { r.receipts } else { vec![] });
        for receipt in receipts {
            if receipt.code == 0 { kept.push(receipt) } else { refused.push(receipt) }
        }
    }
    assert!(heard.is_some_and(|at| (4900..=5100).contains(&at)), "{heard:?}");
    let busy = |r: &Receipt| r.code == ErrorKind::Busy.number() && r.retry_after_ms > 50_000;
    let many = refused.iter().map(|r| r.count).sum::<u32>();
    assert!((100..=150).contains(&many) && refused.iter().all(busy), "{many} of {refused:?}");
    assert!(kept.iter().map(|r| r.count).sum::<u32>() >= 15 && kept.is_sorted_by_key(|r| r.first_position));
}

#[test]
fn who_publishes_too_much_on_the_connection_that_consumes_loses_no_lease_by_it() {
    const EVENT: usize = 16 << 10;
    for (ack_wait_ms, stalled) in [(2000, 600..=700), (60_000, 4900..=5100)] {
        let machine = Machine::limited(|c| c.rates = Rates { publish: (1, 0), ..Rates::default() });
        let line = machine.session();
        line.send(&ClientFrame::Subscribe(wire::Subscribe { ack_wait_ms, max_events: 1, ..earliest(1, "t", "g") }));
        machine.run_disk();
        for sequence in 1..=200 {
            line.publish_large(sequence, "t", EVENT);
        }
        machine.run_disk();
        assert_eq!(delivered(&line), 1);
        let ack = SettleRange { subscription: 1, first_delivery: 1, count: 1, ..SettleRange::default() };
        line.send(&ClientFrame::Settle(Settle { sequence: 1, ranges: vec![ack], confirm: true }));
        let mut settled = None;
        for millis in 0..3000 {
            machine.pass(1);
            machine.run_disk();
            let settles =
                line.frames().into_iter().filter_map(|f| if let ServerFrame::Settled(s) = f { Some(s) } else { None });
            let mut results = settles.flat_map(|s| s.results);
            settled = settled.or_else(|| results.next().map(|result| (2 * millis, result.code)));
        }
        let (heard, code) = settled.unwrap();
        assert!(code == 0 && stalled.contains(&heard), "code {code} after {heard} ms");
    }
}

#[test]
fn a_goodbye_waits_for_what_was_published_before_it() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (100, 0), ..Rates::default() });
    let line = machine.session();
    for sequence in 1..=50 {
        line.publish(sequence, "t");
    }
    line.send(&ClientFrame::Goodbye(wire::Goodbye::default()));
    assert!(line.is_held());
    assert_eq!(kept_within(&machine, &line, 1000), 50);
    assert!(!line.is_held());
}

#[test]
fn who_would_wait_too_long_is_told_for_how_long() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (0, 1000), ..Rates::default() });
    let (first, second) = (machine.session(), machine.session());
    first.publish_large(1, "t", 20_000);
    second.publish(1, "t");
    let refused = receipts(&second).remove(0);
    assert_eq!(refused.code, ErrorKind::Busy.number());
    assert!((20_000..21_000).contains(&refused.retry_after_ms), "{refused:?}");
    assert!(refused.message.contains("max_publish_bytes_rate 1000"), "{refused:?}");
    assert!(refused.message.contains("; publish again in 20."), "{refused:?}");
    machine.pass(refused.retry_after_ms.into());
    // The topic was named by the event that was refused, and is bound all the same.
    second.publish(2, "");
    machine.run_disk();
    assert_eq!(kept(&second), 1);
}

#[test]
fn deliveries_keep_to_their_rate_everybody_has_its_part_and_publishers_notice_nothing() {
    let machine = Machine::limited(|c| c.rates = Rates { deliver: (100, 0), ..Rates::default() });
    let (publisher, readers) = (machine.session(), [machine.session(), machine.session()]);
    for (reader, group) in readers.iter().zip(["", "g"]) {
        reader.send(&ClientFrame::Subscribe(earliest(1, "t", group)));
    }
    machine.run_disk();
    readers.iter().for_each(|reader| assert_eq!(delivered(reader), 0));
    for sequence in 1..=200 {
        publisher.publish(sequence, "t");
    }
    machine.run_disk();
    assert_eq!(kept(&publisher), 200, "nothing is held up for a publisher");
    let counts = |millis: i64| {
        (0..millis).for_each(|_| machine.pass(1));
        readers.each_ref().map(delivered)
    };
    let [a, b] = counts(1000);
    assert!((100..=130).contains(&(a + b)) && a.abs_diff(b) <= 20, "{a} and {b}");
    let [c, d] = counts(1000);
    assert!((90..=110).contains(&(c + d)) && c.abs_diff(d) <= 20, "{c} and {d}");
    set(&machine, Limits { deliver_rate: Some(0), ..Limits::default() });
    let [e, f] = readers.each_ref().map(delivered);
    assert_eq!((a + c + e, b + d + f), (200, 200), "without a limit the rest comes at once");
}

fn ack(run: &DeliverRun) -> SettleRange {
    SettleRange {
        subscription: run.subscription,
        first_delivery: run.first_delivery,
        count: run.events.count(),
        kind: SettleKind::Ack,
        ..SettleRange::default()
    }
}

/// Acks all that is new on a line; gives how much that was.
pub(crate) fn take_and_ack(line: &Line, settles: &mut u64) -> u32 {
    let runs =
        line.frames().into_iter().flat_map(|f| if let ServerFrame::Deliver(d) = f { d.runs } else { Vec::new() });
    let ranges: Vec<SettleRange> = runs.map(|run| ack(&run)).collect();
    let count = ranges.iter().map(|r| r.count).sum();
    // One by one, so that each wakes who has acked.
    for range in ranges {
        *settles += 1;
        line.send(&ClientFrame::Settle(Settle { sequence: *settles, ranges: vec![range], confirm: false }));
    }
    count
}

#[test]
fn readers_that_ack_at_once_leave_their_part_of_the_rate_to_others_of_their_topic_and_of_other_topics() {
    let machine = Machine::limited(|c| c.rates = Rates { deliver: (100, 0), ..Rates::default() });
    let (publisher, readers) = (machine.session(), [(); 6].map(|()| machine.session()));
    // Topics that follow each other are on different shards.
    let places = [("t", ""), ("t", "g"), ("t", "h"), ("u", ""), ("u", "g"), ("v", "g")];
    for (reader, (topic, group)) in readers.iter().zip(places) {
        let few = wire::Subscribe { max_events: 20, ..earliest(1, topic, group) };
        reader.send(&ClientFrame::Subscribe(few));
    }
    machine.run_disk();
    for sequence in 0..300 {
        for (alias, topic) in (1..).zip(["t", "u", "v"]) {
            publisher.publish_as(3 * sequence + u64::from(alias), topic, alias);
        }
    }
    machine.run_disk();
    let (mut counts, mut settles) = ([0; 6], [0; 6]);
    for _ in 0..6000 {
        machine.pass(1);
        for (n, reader) in readers.iter().enumerate() {
            counts[n] += take_and_ack(reader, &mut settles[n]);
        }
    }
    // Shards have equal parts, in them topics, and in these readers: "u" has a shard of its own.
    let parts = counts.iter().zip([50, 50, 50, 150, 150, 150]);
    assert!(parts.clone().all(|(got, part)| got.abs_diff(part) <= 15), "{counts:?}");
}

#[test]
fn who_acks_faster_than_time_is_looked_at_does_not_come_before_other_topics() {
    let machine = Machine::limited(|c| c.rates = Rates { deliver: (1000, 0), ..Rates::default() });
    let (publisher, readers) = (machine.session(), [(); 2].map(|()| machine.session()));
    for (reader, topic) in readers.iter().zip(["t", "u"]) {
        reader.send(&ClientFrame::Subscribe(earliest(1, topic, "g")));
    }
    machine.run_disk();
    for sequence in 0..1000 {
        publisher.publish_as(2 * sequence + 1, "t", 1);
        publisher.publish_as(2 * sequence + 2, "u", 2);
    }
    machine.run_disk();
    let (mut counts, mut settles) = ([0; 2], [0; 2]);
    for _ in 0..1000 {
        // The rate may allow more at any of these moments, and the first to ask is always the same.
        machine.clock.0.fetch_add(1, Ordering::Relaxed);
        settles[0] += 1;
        let nothing = SettleRange { subscription: 1, first_delivery: 1, count: 1, ..SettleRange::default() };
        let extend = SettleRange { kind: SettleKind::Extend, ..nothing };
        readers[0].send(&ClientFrame::Settle(Settle { sequence: settles[0], ranges: vec![extend], confirm: false }));
        machine.pass(0);
        for (n, reader) in readers.iter().enumerate() {
            counts[n] += take_and_ack(reader, &mut settles[n]);
        }
    }
    assert!(counts[0].abs_diff(counts[1]) <= 200 && counts.iter().sum::<u32>() >= 1000, "{counts:?}");
}

#[test]
fn a_higher_delivery_rate_holds_at_once_for_the_topics_of_all_shards() {
    let machine = Machine::limited(|c| c.rates = Rates { deliver: (1, 0), ..Rates::default() });
    let (publisher, readers) = (machine.session(), [(); 2].map(|()| machine.session()));
    for (reader, topic) in readers.iter().zip(["t", "u"]) {
        reader.send(&ClientFrame::Subscribe(earliest(1, topic, "g")));
    }
    machine.run_disk();
    assert_eq!(readers.each_ref().map(delivered), [0, 0], "they have begun");
    for sequence in 0..50 {
        publisher.publish_as(2 * sequence + 1, "t", 1);
        publisher.publish_as(2 * sequence + 2, "u", 2);
    }
    machine.run_disk();
    (0..1500).for_each(|_| machine.pass(1));
    let before = readers.each_ref().map(delivered);
    assert!(before.iter().all(|got| *got < 5), "{before:?}: both wait for most");
    set(&machine, Limits { deliver_rate: Some(1000), ..Limits::default() });
    (0..20).for_each(|_| machine.pass_if_due(1));
    let got: u32 = readers.iter().map(delivered).sum();
    assert_eq!(got + before.iter().sum::<u32>(), 100, "within the burst, long before the next event of the old rate");
}

#[test]
fn what_is_not_named_stays_and_what_is_out_of_bounds_is_refused_with_its_bounds() {
    let machine = Machine::limited(|c| c.publish_budget_bytes = 1 << 20);
    let named = Limits { publish_rate: Some(10), deliver_bytes_rate: Some(20), ..Limits::default() };
    set(&machine, named);
    let limits = set(&machine, Limits { publish_budget_bytes: Some(4096), ..Limits::default() }).limits.unwrap();
    let all = Limits {
        publish_rate: Some(10),
        publish_bytes_rate: Some(0),
        publish_budget_bytes: Some(4096),
        deliver_rate: Some(0),
        deliver_bytes_rate: Some(20),
    };
    assert_eq!(limits, all);
    for (limits, says) in [
        (Limits { publish_rate: Some(u64::MAX), deliver_rate: Some(1), ..Limits::default() }, "max_publish_rate"),
        (Limits { publish_budget_bytes: Some(0), deliver_rate: Some(1), ..Limits::default() }, "from 1 to 1048576"),
        (Limits { publish_budget_bytes: Some(2 << 20), ..Limits::default() }, "publish_budget_bytes"),
    ] {
        let refused = machine.admin(command::Command::SetLimits(SetLimits { limits: Some(limits) })).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
        assert!(refused.message.contains(says), "{}", refused.message);
    }
    match machine.admin(command::Command::GetLimits(GetLimits {})).unwrap() {
        answer::Answer::Limits(limits) => assert_eq!(limits.limits.unwrap(), all, "a refused change changes nothing"),
        other => panic!("{other:?}"),
    }
}

/// Lets a minute pass second by second, with what comes between; whether the peer is taken for dead.
fn dies_in_a_minute(machine: &Machine, line: &Line, mut each: impl FnMut(u32)) -> bool {
    for second in 0..60 {
        machine.clock.0.fetch_add(1000, Ordering::Relaxed);
        line.tick();
        each(second);
    }
    line.is_dead()
}

#[test]
fn a_publisher_that_is_not_read_from_as_the_log_stands_still_is_not_taken_for_dead() {
    let machine = Machine::limited(|c| c.connection_bytes = 0);
    let (publisher, silent) = (machine.session(), machine.session());
    // Receipts of two topics in turn are not one.
    for sequence in 1..=2000 {
        let topic = sequence % 2;
        publisher.publish_as(sequence, ["t", "u"][topic as usize], 1 + topic as u32);
    }
    assert!(publisher.is_held() && !silent.is_held());
    let mut pings = 0;
    let count = |_| pings += publisher.frames().iter().filter(|f| matches!(f, ServerFrame::Ping(_))).count();
    assert!(!dies_in_a_minute(&machine, &publisher, count));
    assert!(publisher.is_held() && (6..=13).contains(&pings), "{pings} say that the gateway lives");
    assert!(dies_in_a_minute(&machine, &silent, |_| {}), "who is read from and says nothing is dead");
    for _ in 0..20 {
        machine.run_disk();
        publisher.frames();
    }
    assert!(!publisher.is_held(), "it goes on with the log");
}

#[test]
fn a_publisher_whose_publishes_wait_is_read_from_and_must_be_heard() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (1, 0), ..Rates::default() });
    let (speaks, silent) = (machine.session(), machine.session());
    for sequence in 1..=200 {
        speaks.publish(sequence, "t");
        silent.publish(sequence, "t");
    }
    let pong = || speaks.send(&ClientFrame::Ping(wire::Ping { nonce: 1, answer: true }));
    assert!(!dies_in_a_minute(&machine, &speaks, |_| pong()));
    assert!(dies_in_a_minute(&machine, &silent, |_| {}));
}

#[test]
fn who_takes_its_answers_slowly_is_heard_by_that() {
    let machine = Machine::limited(|c| c.connection_bytes = 0);
    let [slow, stuck] = [(); 2].map(|()| {
        let line = machine.session();
        let ping = ClientFrame::Ping(wire::Ping { nonce: u64::MAX, answer: false });
        (0..10_000).for_each(|_| line.send(&ping));
        // From here on its connection has all of these to write.
        line.frames();
        line
    });
    assert!(!dies_in_a_minute(&machine, &slow, |second| if second % 20 == 0 {
        slow.wrote()
    }));
    assert!(dies_in_a_minute(&machine, &stuck, |_| {}));
}
