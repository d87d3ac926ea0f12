//! Limits of the whole gateway: they hold, in time that stands still until it is told to go on, and are changed while it runs.

use std::time::Duration;

use meshwire_gateway::mesh::Rates;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::admin::{GetLimits, Limits, LimitsInForce, SetLimits, answer, command};

use crate::machine::{Line, Machine};
use crate::memory::receipts;
use crate::rig::earliest;

fn set(machine: &Machine, limits: Limits) -> LimitsInForce {
    match machine.admin(command::Command::SetLimits(SetLimits { limits: Some(limits) })).unwrap() {
        answer::Answer::Limits(limits) => limits,
        other => panic!("{other:?}"),
    }
}

fn delivered(line: &Line) -> u32 {
    let count = |f| if let ServerFrame::Deliver(d) = f { d.runs.iter().map(|r| r.events.count()).sum() } else { 0 };
    line.frames().into_iter().map(count).sum()
}

fn kept(line: &Line) -> u32 {
    let receipts = receipts(line);
    assert!(receipts.iter().all(|r| r.code == 0), "{receipts:?}");
    receipts.iter().map(|r| r.count).sum()
}

/// What is kept within so many milliseconds.
fn kept_within(machine: &Machine, line: &Line, millis: i64) -> u32 {
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
fn who_would_wait_too_long_is_told_for_how_long() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (0, 1000), ..Rates::default() });
    let (first, second) = (machine.session(), machine.session());
    first.publish_large(1, "t", 20_000);
    second.publish(1, "t");
    let refused = receipts(&second).remove(0);
    assert_eq!(refused.code, ErrorKind::Busy.number());
    assert!((20_000..21_000).contains(&refused.retry_after_ms), "{refused:?}");
    assert!(refused.message.contains("max_publish_bytes_rate 1000"), "{refused:?}");
    machine.pass(refused.retry_after_ms.into());
    second.publish(2, "t");
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

#[test]
fn a_peer_that_is_held_is_told_that_the_gateway_lives_and_is_not_taken_for_dead() {
    let machine = Machine::with(|c| c.heartbeat = Duration::from_millis(100));
    let publisher = machine.session();
    set(&machine, Limits { publish_bytes_rate: Some(50), ..Limits::default() });
    publisher.publish(1, "t");
    publisher.publish(2, "t");
    assert!(publisher.is_held());
    let mut pings = 0;
    for _ in 0..20 {
        machine.pass(50);
        publisher.tick();
        pings += publisher.frames().iter().filter(|f| matches!(f, ServerFrame::Ping(_))).count();
    }
    assert!(publisher.is_held() && (10..=21).contains(&pings), "{pings} pings");
    machine.pass(5000);
    publisher.frames();
    machine.run_disk();
    assert_eq!(kept(&publisher), 2);
}
