//! The good history bent within what the rules allow: nothing is said of it.

use meshwire_history::{Absence, Answer, Delivery, History, Level, Settle, SettleKind, judge};

use crate::good::{KILLED, again, came, delivery, good, ms, published, settle, settled, stored};

#[track_caller]
fn passes(bend: impl FnOnce(&mut History)) -> History {
    let mut seen = good();
    bend(&mut seen);
    let broken = judge(&seen).broken;
    assert!(broken.is_empty(), "{broken:?}");
    seen
}

#[test]
fn what_was_never_answered_may_be_in_the_log_or_not() {
    passes(|h| h.published.push(published(7, Answer::Open)));
    passes(|h| {
        h.groups.clear();
        h.published.push(published(7, Answer::Open));
        h.log.push(stored(7, 7));
        h.letters.clear();
    });
}

#[test]
fn a_written_event_may_be_lost_with_the_power_and_one_in_memory_with_the_process() {
    for (level, power_lost) in [(Level::Written, true), (Level::Memory, false)] {
        passes(|h| {
            h.level = level;
            h.deaths[0].power_lost = power_lost;
            h.published.push(published(7, Answer::Acknowledged(ms(20))));
        });
    }
}

#[test]
fn an_ack_just_before_a_death_or_behind_it_may_be_forgotten() {
    let seen = passes(|h| {
        let ack = h.settles.iter_mut().find(|s| &*s.group == "audit" && s.event == 5).unwrap();
        ack.at = ms(KILLED);
    });
    let forgiven = judge(&seen).forgiven;
    assert_eq!((forgiven.just_before_a_death, forgiven.for_a_dead_life), (1, 1));
}

#[test]
fn an_ack_that_is_excused_may_be_forgotten_at_any_time() {
    passes(|h| {
        settled(h, "work", 4).excused = true;
        again(h, 400, "bob", 4).excused = true;
        h.settles.push(settle(410, "work", 4, SettleKind::Ack));
    });
}

#[test]
fn an_event_comes_again_when_its_member_was_gone_or_its_lease_is_over() {
    let not_acked = |h: &mut History| {
        h.settles.retain(|s| &*s.group != "work" || s.event != 4);
        h.settles.push(settle(12_000, "work", 4, SettleKind::Ack));
    };
    passes(|h| {
        not_acked(h);
        h.absences.push(Absence { at: ms(300), member: "bob".into() });
        again(h, 301, "alice", 4);
    });
    passes(|h| {
        not_acked(h);
        again(h, 204 + 9_950, "alice", 4);
    });
}

#[test]
fn an_event_of_a_key_comes_again_when_the_lease_of_an_earlier_one_is_over() {
    passes(|h| {
        h.settles.retain(|s| &*s.group != "work" || (s.event != 2 && s.event != 4));
        for (id, at) in [(2, 10_202), (4, 10_203)] {
            again(h, at, "alice", id);
            h.settles.push(settle(10_300, "work", id, SettleKind::Ack));
        }
    });
}

#[test]
fn a_delivery_that_a_later_one_overtook_has_not_come_again() {
    passes(|h| {
        // It was made for Alice first, and was on its way until Bob had acked the next.
        delivery(h, Some("work"), 4, 0).attempt = 2;
        h.deliveries.push(Delivery { excused: true, ..came(400, Some("work"), "alice", 4) });
    });
}

#[test]
fn a_key_goes_on_behind_what_was_given_up() {
    passes(|h| {
        let failed = Settle { kind: SettleKind::Reject, ..settle(202, "work", 1, SettleKind::Ack) };
        h.settles.retain(|s| &*s.group != "work" || s.event != 1);
        h.settles.push(failed);
        h.letters.push(crate::good::letter("work", 1));
        delivery(h, Some("work"), 1, 0).member = "bob".into();
    });
}

#[test]
fn a_second_subscription_of_a_reader_begins_where_it_likes() {
    passes(|h| h.deliveries.push(Delivery { subscription: 1, ..came(120, None, "reader", 3) }));
}

#[test]
fn a_group_that_was_not_waited_for_may_have_events_left() {
    passes(|h| {
        h.groups[0].finished = false;
        h.settles.retain(|s| &*s.group != "work" || s.event != 4);
    });
}
