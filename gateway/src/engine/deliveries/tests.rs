//! Numbers, credit, and what a settle comes down to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use super::*;

const CREDIT: Credit = Credit { events: 4, bytes: 100 };

fn with(count: u64) -> Deliveries {
    let mut d = Deliveries::new(CREDIT);
    for n in 0..count {
        d.hold(10 + n, 30);
    }
    d
}

#[test]
fn the_first_settle_wins_and_the_same_again_is_ok() {
    let mut d = with(2);
    assert_eq!(d.settle(2, SettleKind::Ack), Settled::Now(11));
    assert_eq!(d.settle(2, SettleKind::Ack), Settled::Before);
    assert_eq!(d.settle(2, SettleKind::Nack), Settled::Lost);
    assert_eq!(d.settle(1, SettleKind::Ack), Settled::Now(10));
    assert_eq!(d.settle(2, SettleKind::Ack), Settled::Before, "also after it left the table");
    assert_eq!(d.settle(2, SettleKind::Nack), Settled::Lost);
    assert_eq!(d.settle(3, SettleKind::Ack), Settled::Lost, "never delivered");
}

#[test]
fn a_taken_back_delivery_answers_lost_and_returns_its_credit() {
    let mut d = with(4);
    assert!(!d.has_room());
    d.take_back(3);
    assert!(d.has_room());
    assert_eq!(d.settle(3, SettleKind::Ack), Settled::Lost);
}

/// Numbers that are looked at, and answers that are given.
fn steps(parts: &[Part]) -> u64 {
    let each = |p: &Part| if let Part::Each(numbers) = p { numbers.end - numbers.start } else { 0 };
    parts.len() as u64 + parts.iter().map(each).sum::<u64>()
}

#[test]
fn the_work_of_a_settle_is_bounded_by_what_is_there_not_by_the_numbers_it_names() {
    let mut d = Deliveries::new(Credit { events: 1000, bytes: 1 << 30 });
    assert_eq!(d.parts(1..u64::MAX / 2, SettleKind::Ack), [Part::All(1..u64::MAX / 2, false)]);
    for n in 1..=500 {
        d.hold(n, 1);
        d.settle(n, if n % 2 == 0 { SettleKind::Ack } else { SettleKind::Nack });
    }
    for n in 0..10 {
        d.hold(501 + n, 1);
    }
    for kind in [SettleKind::Ack, SettleKind::Nack] {
        let parts = d.parts(0..u64::MAX / 2, kind);
        assert!(steps(&parts) <= HISTORY as u64 + 10 + 3, "{}", steps(&parts));
        assert!(parts.contains(&Part::Each(501..511)) && parts.contains(&Part::All(500..501, kind == SettleKind::Ack)));
    }
    assert!(steps(&d.parts(1..u64::MAX / 2, SettleKind::Ack)) < 100 && steps(&d.parts(3..9, SettleKind::Ack)) == 1);
}

#[test]
fn parts_say_what_a_settle_of_each_number_says() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut d = Deliveries::new(Credit { events: 1000, bytes: 1 << 30 });
    let kinds = [SettleKind::Ack, SettleKind::Nack];
    for round in 0..3000u64 {
        let number = d.hold(round, 1);
        let near = number.saturating_sub(random(40));
        match random(4) {
            0 => d.take_back(near),
            1 if d.position(near).is_some() => {
                d.take_back(near);
                d.end(near, round);
            }
            _ => {
                d.settle(near, kinds[random(2) as usize]);
            }
        }
        let (kind, from) = (kinds[random(2) as usize], number.saturating_sub(random(90)));
        let mut at = from;
        for part in d.parts(from..number + 5, kind) {
            let (numbers, known) = match part {
                Part::All(numbers, settled) => (numbers, Some(settled)),
                Part::Each(numbers) => (numbers, None),
            };
            assert_eq!(numbers.start, at, "in order, without a hole");
            at = numbers.end;
            for number in numbers.filter(|_| known.is_some()) {
                assert!(!d.ended.contains_key(&number));
                assert_eq!(known, Some(d.settled_before(number, kind) == Settled::Before), "{number}");
            }
        }
        assert_eq!(at, number + 5);
    }
}

#[test]
fn byte_credit_lets_one_event_pass_over_it() {
    let mut d = Deliveries::new(Credit { events: 10, bytes: 50 });
    d.hold(1, 49);
    assert!(d.has_room());
    d.hold(2, 4000);
    assert!(!d.has_room());
}

#[test]
fn one_delivery_that_is_never_settled_costs_little_and_holds_up_nothing() {
    let mut d = Deliveries::new(Credit { events: 10, bytes: 1000 });
    d.hold(1, 1);
    for _ in 0..200_000 {
        assert!(d.has_room());
        let number = d.hold(d.next(), 1);
        assert_eq!(d.settle(number, SettleKind::Ack), Settled::Now(number));
    }
    assert!(d.entries.places() < 5000, "{}", d.entries.places());
    let all = 0..u64::MAX / 2;
    assert!(steps(&d.parts(all.clone(), SettleKind::Nack)) < 5000, "nor does a settle of all of them cost more");
    assert_eq!((d.held_within(all), d.settle(9, SettleKind::Ack)), (vec![1], Settled::Before));
    assert_eq!((d.settle(1, SettleKind::Nack), d.entries.places()), (Settled::Now(1), 0));
    assert_eq!(
        (d.settle(1, SettleKind::Nack), d.history.len()),
        (Settled::Before, 2),
        "each is remembered in its place"
    );
}

#[test]
fn as_many_as_there_is_credit_can_be_held_at_once() {
    let mut d = Deliveries::new(Credit { events: 65_536, bytes: 1 << 30 });
    while d.has_room() {
        let number = d.hold(1, 1);
        if number.is_multiple_of(5) {
            d.settle(number, SettleKind::Ack);
        }
    }
    assert_eq!(d.held(), 65_536);
}

#[test]
fn a_rewind_reaches_what_was_left_behind() {
    let mut d = Deliveries::new(Credit { events: 10, bytes: 1000 });
    for number in 1..=20_000 {
        d.hold(number, 1);
        if ![5, 9].contains(&number) {
            d.settle(number, SettleKind::Ack);
        }
    }
    assert_eq!(d.rewind(8), Some(vec![(9, 9)]));
    assert_eq!((d.next(), d.held(), d.position(5)), (8, 1, Some(5)));
    assert_eq!((d.settle(7, SettleKind::Ack), d.settle(8, SettleKind::Ack)), (Settled::Before, Settled::Lost));
    assert_eq!((d.hold(9, 1), d.settle(8, SettleKind::Ack)), (8, Settled::Now(9)));
}

#[test]
fn a_rewind_uses_unseen_numbers_again() {
    let mut d = with(4);
    d.settle(1, SettleKind::Ack);
    assert_eq!(d.rewind(3), Some(vec![(3, 12), (4, 13)]));
    assert_eq!(d.next(), 3);
    assert_eq!(d.held(), 1);
    assert_eq!(d.rewind(9), None);
    d.take_back(2);
    assert_eq!((d.rewind(2), d.next()), (Some(vec![]), 2), "taken back before it was seen");
}

#[test]
fn the_first_ones_are_settled_at_once_as_they_are_one_by_one_up_to_the_first_that_is_not_held() {
    for (settled, from, to, next) in
        [(0, 1, 4, 4), (0, 1, 20, 11), (0, 2, 4, 2), (3, 1, 9, 3), (1, 2, 9, 9), (1, 1, 9, 1)]
    {
        let mut both = [(); 2].map(|()| Deliveries::new(Credit { events: 100, bytes: 1000 }));
        for deliveries in &mut both {
            (1..=10).for_each(|position| assert_eq!(deliveries.hold(position, 7), position));
            deliveries.settle(settled, SettleKind::Ack);
        }
        let [at_once, one_by_one] = &mut both;
        assert_eq!(at_once.settle_first(from..to, SettleKind::Ack), next, "{settled} {from} {to}");
        (from..next).for_each(|number| assert_eq!(one_by_one.settle(number, SettleKind::Ack), Settled::Now(number)));
        let said = |deliveries: &mut Deliveries| {
            let known: Vec<_> = (0..12).map(|number| deliveries.settle(number, SettleKind::Reject)).collect();
            (deliveries.held(), deliveries.held_bytes(), deliveries.next(), known)
        };
        assert_eq!(said(at_once), said(one_by_one), "{settled} {from} {to}");
    }
    let mut deliveries = Deliveries::new(Credit { events: 100, bytes: 1000 });
    deliveries.hold(1, 7);
    assert_eq!(deliveries.settle_first(1..2, SettleKind::Nack), 1, "what is taken back is remembered");
}
