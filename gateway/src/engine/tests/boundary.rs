//! Where what was on its way ended when an event was taken back.

use super::*;

/// What an answer to a nack of a member's delivery says: whether it holds, and the boundary.
fn nack(rig: &mut Rig, numbers: std::ops::Range<u64>) -> Vec<(u64, bool, u64)> {
    let how = SettleAs { delay: Some(Duration::ZERO), ..Nack.into() };
    let answers = rig.engine.settle(rig.now, TOPIC, sub(1), numbers, how);
    let answers = rig.engine.with_boundaries(TOPIC, sub(1), answers);
    rig.commit();
    answers.iter().map(|a| (a.count, a.settled, a.boundary)).collect()
}

fn numbers(got: &[(u64, Position, u32)]) -> Vec<(u64, Position)> {
    got.iter().map(|g| (g.0, g.1)).collect()
}

#[test]
fn a_nack_that_is_asked_about_again_is_answered_as_it_was() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(1);
    rig.join(1, MANY);
    rig.publish(3, Some("k"));
    rig.take(1);
    assert_eq!(nack(&mut rig, 1..2), [(1, true, 4)]);
    assert_eq!(numbers(&rig.take(1)), [(4, 2), (5, 3)], "it is a dead letter, and its key goes on");
    assert_eq!(nack(&mut rig, 1..2), [(1, true, 4)], "what goes on was not on its way");
    assert_eq!(nack(&mut rig, 4..5), [(1, true, 6)]);
    assert_eq!(nack(&mut rig, 1..5), [(1, true, 4), (2, false, 4), (1, true, 6)]);
}

#[test]
fn a_nack_after_the_lease_says_what_was_taken_back_when_that_ended() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(2, Some("k"));
    rig.advance(WAIT);
    rig.advance(Duration::from_secs(2));
    assert_eq!(numbers(&rig.take(1)), [(1, 1), (2, 2), (3, 1), (4, 2)]);
    assert_eq!(nack(&mut rig, 1..2), [(1, false, 3)], "3 and 4 are held");
    assert_eq!(rig.settle(1, 3, 2, Ack), [true, true]);
}

#[test]
fn numbers_that_never_arrived_are_behind_a_nack_when_they_are_used_again() {
    let mut rig = Rig::new();
    rig.settings.max_failures = Some(1);
    rig.join(1, MANY);
    rig.publish(5, Some("k"));
    assert_eq!(nack(&mut rig, 1..2), [(1, true, 6)]);
    rig.take(1);
    rig.engine.suspend(TOPIC, sub(1));
    assert!(rig.engine.resume(TOPIC, sub(1), 3));
    rig.commit();
    assert_eq!(numbers(&rig.take(1)), [(3, 2), (4, 3), (5, 4), (6, 5)]);
    assert_eq!(nack(&mut rig, 1..2), [(1, true, 3)]);
}

#[test]
fn what_is_not_remembered_any_more_ends_where_it_ends_now() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(600, None);
    let last = rig.take(1).len() as u64;
    // Each was followed by another one: none shares its boundary with the next.
    for number in 1..=300 {
        assert!(rig.settle(1, number, 1, Nack)[0]);
        rig.publish(1, None);
    }
    let next = last + 1 + 600;
    assert_eq!(nack(&mut rig, 1..2)[0].2, next);
    assert!(nack(&mut rig, 300..301)[0].2 < next);
}

#[test]
fn what_came_behind_a_letter_that_was_given_back_stays_though_that_fails_again() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, Some("k"));
    rig.take(1);
    rig.settle_as(1, 1, 1, super::dead_letters::reject("no"));
    rig.engine.redrive(TOPIC, 1, &super::dead_letters::block_of(&rig, 1)).unwrap();
    rig.publish(2, Some("k"));
    assert_eq!(numbers(&rig.take(1)), [(2, 1), (3, 2), (4, 3)]);
    assert_eq!(nack(&mut rig, 2..3), [(1, true, 3)]);
    assert_eq!(rig.settle(1, 3, 2, Ack), [true, true]);
}
