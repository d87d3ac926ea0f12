//! Forged histories: what the checks that stand here must refuse, and what reaches
//! those of the library. The library forges its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod fleeting;
mod holding;

use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::{Event, Moment, Timing, UnixMillis};

use crate::brief::{Brief, NEVER};
use crate::history::{Delivered, Disaster, Ended, Given, History, Published, Settled, Topic};
use crate::limits::Limited;
use crate::moved::Sought;
use crate::requests::Question;
use crate::script::{FIRST_MEMBER, MOVED, REMADE};
use crate::stops::Stopping;
use crate::verdict::judge;

fn ms(at: u64) -> Moment {
    Moment(0) + Duration::from_millis(at)
}

fn bytes(id: u32) -> Bytes {
    Event::new("sim").id(id.to_string()).source("/client-0").key("key-1").encode().unwrap()
}

/// Events 1 and 2 of one topic and one key, acknowledged after 10 ms, in the log.
fn two(topic: Topic) -> History {
    let mut history = History::default();
    for id in [1, 2] {
        let event = Published {
            id,
            topic,
            publisher: (0, 0),
            key: Some(1),
            bytes: bytes(id),
            timing: Timing::default(),
            delay_ms: 0,
            at: ms(0),
            acked: Some(ms(10)),
            refused: false,
        };
        history.published.insert(id, event);
        history.log.entry(topic).or_default().push((u64::from(id), bytes(id)));
    }
    history
}

/// Delivered to member 1 of group 0, in the life that so many restarts made.
fn came(history: &mut History, at: u64, id: u32, attempt: u32) {
    let life = 1 + history.disasters.iter().filter(|d| d.at <= ms(at)).count() as u32;
    let topic = history.published.get(&id).map_or(Topic::Orders, |p| p.topic);
    history.delivered.push(Delivered {
        at: ms(at),
        life,
        client: 1,
        generation: (0, life),
        group: Some(0),
        topic,
        position: u64::from(id),
        id,
        attempt,
        bytes: bytes(id),
    });
}

fn acked(at: u64, delivered: u64, attempt: u32) -> Given {
    let (at, delivered) = (ms(at), ms(delivered));
    Given { at, nth: at.0, client: 1, connected: true, delivered, attempt, kind: SettleKind::Ack, confirmed: None }
}

fn nacked(at: u64, delivered: u64, attempt: u32) -> Given {
    Given { kind: SettleKind::Nack, ..acked(at, delivered, attempt) }
}

fn ended(history: &mut History, at: u64, how: Disaster) {
    let life = history.disasters.len() as u32 + 1;
    history.disasters.push(Ended { at: ms(at), life, how });
}

/// These histories stop in the middle: some events are open, which is not looked at.
fn broken(history: &History) -> Vec<String> {
    let all = judge(history).into_iter();
    all.filter(|sentence| !sentence.starts_with("left open")).collect()
}

fn settled(history: &mut History, id: u32) -> &mut Settled {
    history.settled.entry((0, id)).or_default()
}

#[track_caller]
fn refused(history: &History, part: &str) {
    let broken = broken(history);
    assert!(broken.len() == 1 && broken.iter().all(|b| b.contains(part)), "{broken:?}");
}

#[track_caller]
fn passes(history: &History) {
    let broken = broken(history);
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn a_durable_member_sees_log_order_but_for_what_it_has_seen() {
    let mut history = two(Topic::Orders);
    came(&mut history, 100, 2, 1);
    came(&mut history, 110, 1, 1);
    let plain = |id: u32| Event::new("sim").id(id.to_string()).source("/client-0").encode().unwrap();
    history.published.values_mut().for_each(|event| (event.key, event.bytes) = (None, plain(event.id)));
    history.delivered.iter_mut().for_each(|d| d.bytes = plain(d.id));
    history.log.insert(Topic::Orders, vec![(1, plain(1)), (2, plain(2))]);
    passes(&history);
    history.delivered.iter_mut().for_each(|d| d.group = Some(FIRST_MEMBER));
    refused(&history, "orders: durable member 10 got 1 at");
    history.consumers.insert(1, FIRST_MEMBER);
    history.left.entry(1).or_default().push(ms(105));
    history.delivered[1].attempt = 2;
    passes(&history);
}

/// Both events came to a group and were acked; then it was moved, or made anew, and what `came` came.
fn moved_in(group: u8, to: u64, kept: bool, came_then: &[(u64, u32, u32)]) -> History {
    let mut history = two(Topic::Orders);
    for id in [1, 2] {
        came(&mut history, 100, id, 1);
        history.settled.entry((group, id)).or_default().acks.push(acked(110, 100, 1));
    }
    let kept = kept.then(|| ms(505));
    history.sought.push(Sought { at: ms(500), life: 1, group, topic: Topic::Orders, to, kept });
    for (at, id, attempt) in came_then {
        came(&mut history, *at, *id, *attempt);
        history.settled.entry((group, *id)).or_default().acks.push(acked(*at + 10, *at, *attempt));
    }
    history.delivered.iter_mut().for_each(|d| d.group = Some(group));
    history.consumers.insert(1, group);
    history
}

fn moved(to: u64, kept: bool, came_then: &[(u64, u32, u32)]) -> History {
    moved_in(MOVED, to, kept, came_then)
}

#[test]
fn a_group_that_is_made_anew_owes_nothing_and_begins_where_it_is_to() {
    passes(&moved_in(REMADE, 1, true, &[(700, 1, 1), (700, 2, 1)]));
    refused(
        &moved_in(REMADE, 1, true, &[(700, 1, 1)]),
        "the group was made anew, moved to 1 at Moment(500000), and 2 never",
    );
    let history = moved_in(REMADE, 1, true, &[(700, 1, 2), (700, 2, 1)]);
    refused(&history, "and 1 came at Moment(700000), first as attempt 2");
    refused(&moved_in(REMADE, 2, true, &[(700, 1, 1), (700, 2, 1)]), "and 1 came at Moment(700000), before that");
}

#[test]
fn what_follows_the_place_where_a_group_was_moved_comes_as_if_for_the_first_time() {
    passes(&moved(1, true, &[(700, 1, 1), (700, 2, 1)]));
    refused(
        &moved(1, true, &[(700, 1, 1)]),
        "orders: the group was moved to 1 at Moment(500000), and 2 never came since",
    );
    refused(&moved(1, true, &[(700, 1, 2), (700, 2, 1)]), "and 1 came at Moment(700000), first as attempt 2");
    // Whatever of it may be of before says nothing.
    passes(&moved(1, true, &[(510, 1, 2), (700, 2, 1)]));
    let mut history = moved(1, true, &[(700, 1, 1), (700, 2, 1)]);
    history.settled.get_mut(&(MOVED, 2)).unwrap().acks.pop();
    refused(&history, "and 2 was not acked since");
}

#[test]
fn an_event_that_went_with_the_power_may_have_come_before_a_move_and_behind_it() {
    let mut history = two(Topic::Audit);
    came(&mut history, 501, 2, 1);
    came(&mut history, 502, 2, 1);
    history.delivered.iter_mut().for_each(|d| d.group = Some(MOVED));
    history.log.entry(Topic::Audit).or_default().pop();
    ended(&mut history, 1000, Disaster::PowerLoss);
    assert!(broken(&history).iter().any(|b| b.starts_with("leased twice: audit: event 2 came twice as attempt 1")));
    let kept = Some(ms(505));
    history.sought.push(Sought { at: ms(500), life: 1, group: MOVED, topic: Topic::Audit, to: 1, kept });
    passes(&history);
}

#[test]
fn nothing_before_the_place_where_a_group_was_moved_comes_unless_the_move_was_lost() {
    passes(&moved(2, true, &[(700, 2, 1)]));
    refused(&moved(2, true, &[(700, 1, 1), (700, 2, 1)]), "and 1 came at Moment(700000), before that");
    for (kept, before_that) in [(true, true), (false, false)] {
        let mut history = moved(2, kept, &[(700, 2, 1)]);
        ended(&mut history, 800, Disaster::Kill);
        came(&mut history, 1000, 1, 1);
        history.delivered.iter_mut().for_each(|d| d.group = Some(MOVED));
        assert_eq!(broken(&history).iter().any(|b| b.ends_with("before that")), before_that, "kept: {kept}");
    }
}

#[test]
fn an_event_has_not_failed_because_its_member_left() {
    let mut history = two(Topic::Orders);
    history.consumers.insert(1, 0);
    came(&mut history, 100, 1, 1);
    history.left.entry(1).or_default().push(ms(200));
    ended(&mut history, 500, Disaster::Kill);
    came(&mut history, 700, 1, 2);
    settled(&mut history, 1).acks.push(acked(710, 700, 2));
    refused(
        &history,
        "group 0: event 1 came at Moment(700000) first in life 2, as attempt 2, and may have failed 0 times",
    );
    let with = |change: fn(&mut History)| {
        let mut history = two(Topic::Orders);
        history.consumers.insert(1, 0);
        came(&mut history, 100, 1, 1);
        change(&mut history);
        ended(&mut history, 500, Disaster::Kill);
        came(&mut history, 700, 1, 2);
        settled(&mut history, 1).acks.push(acked(710, 700, 2));
        history
    };
    passes(&with(|history| history.lost.entry(1).or_default().push(ms(200))));
    passes(&with(|history| settled(history, 1).nacks.push(nacked(110, 100, 1))));
    // A delivery before it in the same life may not have come.
    passes(&with(|history| history.left.entry(1).or_default().push(ms(600))));
}

#[test]
fn a_delivery_that_was_still_on_its_way_when_its_gateway_ended_was_an_attempt() {
    for (end, excused) in [(750, true), (850, false)] {
        let mut history = two(Topic::Orders);
        history.consumers.insert(1, 0);
        came(&mut history, 700, 1, 2);
        settled(&mut history, 1).acks.push(acked(710, 700, 2));
        ended(&mut history, end, Disaster::Kill);
        let failed = broken(&history).iter().any(|b| b.contains("may have failed 0 times"));
        assert_eq!(failed, !excused, "ended at {end}");
    }
}

#[test]
fn a_gateway_that_stops_delivers_nothing_and_forgets_no_ack() {
    let mut history = two(Topic::Orders);
    history.stopping.push(Stopping { at: ms(200), life: 1 });
    came(&mut history, 190, 1, 1);
    came(&mut history, 210, 2, 1);
    settled(&mut history, 1).acks.push(acked(390, 190, 1));
    settled(&mut history, 2).acks.push(acked(390, 210, 1));
    ended(&mut history, 400, Disaster::Stop);
    passes(&history);
    came(&mut history, 700, 1, 1);
    refused(&history, "group 0: event 1 came again at Moment(700000): it was acked at Moment(390000), before");
    // Who is killed may forget the last moments.
    history.disasters[0].how = Disaster::Kill;
    passes(&history);
    history.disasters[0].how = Disaster::Stop;
    history.delivered.pop();
    history.delivered[1].at = ms(350);
    refused(&history, "orders: 2 came to client 1 at Moment(350000), and its gateway was told to stop at");
}

#[test]
fn a_rate_of_the_whole_gateway_holds_from_when_it_is_set_until_the_gateway_ends() {
    let with = |deliver, publish, every: u64| {
        let mut history = two(Topic::Orders);
        history.limited.push(Limited { at: ms(1000), publish, deliver });
        let times = (0..300).map(|n| ms(1500 + n * every));
        (history.handed, history.receipts) = (times.clone().collect(), times.collect());
        history.ended = ms(10_000);
        history
    };
    passes(&with(100, 100, 10));
    refused(&with(100, 0, 4), "were delivered from Moment(1500000) to");
    refused(&with(0, 100, 4), "were published from Moment(1500000) to");
    let mut history = with(100, 100, 4);
    history.limited.push(Limited { at: ms(1400), publish: 0, deliver: 0 });
    passes(&history);
    let mut history = with(100, 100, 4);
    ended(&mut history, 1400, Disaster::Kill);
    passes(&history);
}

#[test]
fn a_written_event_may_be_lost_with_the_power_and_not_with_a_disk_operation() {
    let mut history = two(Topic::Audit);
    history.log.entry(Topic::Audit).or_default().pop();
    ended(&mut history, 1000, Disaster::PowerLoss);
    passes(&history);
    for disaster in [Disaster::DiskFailure, Disaster::Kill] {
        history.disasters.clear();
        ended(&mut history, 1000, disaster);
        refused(&history, "lost: audit: event 2 was acknowledged at 10ms and is not in the log");
    }
}

#[test]
fn a_plain_ack_of_an_event_with_a_key_stands_unless_an_earlier_one_failed() {
    let mut history = two(Topic::Orders);
    came(&mut history, 100, 1, 1);
    came(&mut history, 100, 2, 1);
    settled(&mut history, 1).acks.push(acked(110, 100, 1));
    settled(&mut history, 2).acks.push(acked(120, 100, 1));
    passes(&history);
    ended(&mut history, 1000, Disaster::Kill);
    came(&mut history, 2000, 2, 1);
    refused(
        &history,
        "ack lost: orders: event 2 came again to client-1 of group g0 at 2s in life 2: it was acked at 120ms in life 1",
    );

    let mut history = two(Topic::Orders);
    came(&mut history, 100, 1, 1);
    came(&mut history, 100, 2, 1);
    settled(&mut history, 1).nacks.push(nacked(110, 100, 1));
    settled(&mut history, 2).acks.push(acked(120, 100, 1));
    came(&mut history, 400, 1, 2);
    came(&mut history, 400, 2, 2);
    passes(&history);
}

#[test]
fn an_event_with_a_key_is_not_leased_twice_without_a_reason() {
    let mut history = two(Topic::Orders);
    came(&mut history, 100, 1, 1);
    came(&mut history, 100, 2, 1);
    came(&mut history, 300, 2, 2);
    refused(
        &history,
        "leased twice: orders: event 2 came to client-1 of group g0 at 300ms, and client-1 had it since 100ms",
    );
}

#[test]
fn failures_survive_a_restart_and_attempts_begin_with_one() {
    let mut history = two(Topic::Orders);
    came(&mut history, 100, 1, 1);
    settled(&mut history, 1).nacks.push(nacked(110, 100, 1));
    ended(&mut history, 1000, Disaster::PowerLoss);
    came(&mut history, 2000, 1, 2);
    passes(&history);
    history.delivered.last_mut().unwrap().attempt = 1;
    refused(&history, "as attempt 1, and it is at least number 2");
    // What was not yet logged may be missing.
    history.disasters.clear();
    ended(&mut history, 200, Disaster::PowerLoss);
    passes(&history);

    let mut history = two(Topic::Orders);
    came(&mut history, 100, 1, 0);
    refused(&history, "as attempt 0, and it is at least number 1");
}

#[test]
fn what_follows_a_nacked_event_in_its_key_comes_again() {
    let mut history = two(Topic::Orders);
    came(&mut history, 100, 1, 1);
    came(&mut history, 101, 2, 1);
    settled(&mut history, 1).nacks.push(nacked(110, 100, 1));
    settled(&mut history, 2).acks.push(acked(120, 101, 1));
    came(&mut history, 130, 1, 2);
    refused(&history, "event 1 was nacked at Moment(110000), and 2 at 2 of its key was not taken back");
    came(&mut history, 131, 2, 2);
    passes(&history);
}

#[test]
fn a_panic_is_a_broken_promise() {
    let outcome = crate::panics_found(|| panic!("position {} of none", 7));
    assert_eq!(outcome.broken, ["it panicked: position 7 of none"]);
}

/// Events 1 and 2 are due 500 and 600 ms after they were published.
fn two_delayed() -> History {
    let mut history = two(Topic::Orders);
    for (id, delay_ms) in [(1, 500), (2, 600)] {
        let event = history.published.get_mut(&id).unwrap();
        (event.delay_ms, event.timing.deliver_at) = (delay_ms, UnixMillis(delay_ms));
    }
    history
}

#[test]
fn a_delayed_event_comes_at_its_time_unless_the_clock_was_set() {
    let mut history = two_delayed();
    came(&mut history, 500, 1, 1);
    came(&mut history, 600, 2, 1);
    passes(&history);
    history.delivered[0].at = ms(490);
    refused(&history, "event 1 came at Moment(490000), and it was due at Moment(500000)");
    history.clock_set.push((ms(300), 10));
    passes(&history);
    history.clock_set[0].1 = -10;
    refused(&history, "event 1 came at");
}

#[test]
fn delayed_events_stand_in_the_order_in_which_they_are_due_if_both_waited() {
    let mut history = two_delayed();
    history.published.get_mut(&2).unwrap().timing.deliver_at = UnixMillis(400);
    refused(&history, "event 2 due at 400 stands at 2, behind 1 due at 500");
    history.published.get_mut(&2).unwrap().acked = Some(ms(600));
    passes(&history);
}

#[test]
fn an_event_comes_until_it_expires_and_one_that_does_not_comes() {
    let mut history = History::default();
    let second = Duration::from_secs(1);
    history.brief.insert(1, Brief { expires_in: second, acked: Some(ms(10)), delivered: vec![ms(1010)] });
    passes(&history);
    history.brief.insert(1, Brief { expires_in: second, acked: Some(ms(10)), delivered: vec![ms(1010), ms(1200)] });
    refused(&history, "event 1 came at Moment(1200000), and it had expired by Moment(1010000)");
    history.clock_set.push((ms(500), -200));
    passes(&history);
    history.brief.insert(1, Brief { expires_in: NEVER, acked: Some(ms(10)), delivered: vec![] });
    refused(&history, "event 1 was kept at Moment(10000)");
}

/// A question of client 0 that was answered after 40 ms, in three parts.
fn asked() -> (History, Question) {
    let question = Question {
        by: (0, 0),
        asked: ms(0),
        deadline: ms(1000),
        parts: 3,
        retry: false,
        handled: 1,
        got: vec![0, 1, 2],
        ended: vec![(ms(40), None)],
        abandoned: false,
    };
    (History { ended: ms(5000), ..History::default() }, question)
}

#[test]
fn a_request_ends_once_in_time_and_whole() {
    use meshwire_proto::ErrorKind;
    type Change = fn(&mut Question);
    let wrong: [(Change, &str); 9] = [
        (|q| q.handled = 2, "was handled 2 times"),
        (|q| q.got = vec![0, 2, 1], "got the parts [0, 2, 1]"),
        (|q| q.got = vec![0, 1], "ended well with [0, 1]"),
        (|q| q.ended = vec![], "did not end"),
        (|q| q.ended = vec![(ms(1001), None)], "and was due by"),
        (|q| q.ended = vec![(ms(40), None); 2], "ended 2 times"),
        (|q| q.ended = vec![(ms(40), Some(ErrorKind::Invalid))], "ended with INVALID"),
        (|q| q.ended = vec![(ms(40), Some(ErrorKind::Busy))], "was refused with BUSY and handled"),
        (|q| q.ended = vec![(ms(40), Some(ErrorKind::Unavailable))], "nothing was wrong with its connection"),
    ];
    for (change, part) in wrong {
        let (mut history, mut question) = asked();
        change(&mut question);
        history.questions.insert(1, question);
        refused(&history, part);
    }
    let right: [Change; 5] = [
        |_| {},
        |q| (q.retry, q.handled) = (true, 2),
        |q| (q.got, q.ended) = (vec![0], vec![(ms(1000), Some(ErrorKind::Timeout))]),
        |q| (q.ended, q.abandoned) = (vec![], true),
        |q| (q.ended, q.deadline) = (vec![], ms(5000)),
    ];
    for change in right {
        let (mut history, mut question) = asked();
        change(&mut question);
        history.questions.insert(1, question);
        passes(&history);
    }
}

#[test]
fn a_request_is_lost_only_with_its_connection() {
    for (client, at, excused) in [(0, 20, true), (0, 41, false), (1, 20, false)] {
        let (mut history, mut question) = asked();
        question.ended = vec![(ms(40), Some(meshwire_proto::ErrorKind::Unavailable))];
        history.questions.insert(1, question);
        history.cut_off.insert(client, vec![ms(at)]);
        if excused { passes(&history) } else { refused(&history, "nothing was wrong with its connection") }
    }
}

#[test]
fn a_request_that_crosses_a_stop_is_handled_by_nobody() {
    for (stops, handled, excused) in [(20, 0, true), (41, 0, false), (20, 1, false)] {
        let (mut history, mut question) = asked();
        (question.ended, question.handled) = (vec![(ms(40), Some(meshwire_proto::ErrorKind::Unavailable))], handled);
        history.questions.insert(1, question);
        history.stopping.push(crate::stops::Stopping { at: ms(stops), life: 1 });
        if excused { passes(&history) } else { refused(&history, "nothing was wrong with its connection") }
    }
}
