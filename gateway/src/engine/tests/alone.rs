//! What members were lost with, and is delivered alone.

use super::dead_letters::{block_of, reject};
use super::*;

const TWO: Credit = Credit { events: 2, bytes: 1 << 30 };

fn lose(rig: &mut Rig, member: u64) {
    rig.engine.leave(rig.now, TOPIC, sub(member), Leaving::Lost);
    rig.commit();
}

#[test]
fn an_event_that_was_lost_with_its_member_twice_is_delivered_alone() {
    let mut rig = Rig::new();
    rig.publish(256, None);
    for n in 1..=2 {
        rig.join(n, MANY);
        assert_eq!(rig.take(n).len(), 256);
        rig.engine.leave(rig.now, TOPIC, sub(n), Leaving::Lost);
    }
    let (mut member, mut good) = (3, 0);
    rig.join(member, MANY);
    while let Some(got) = rig.got.remove(&sub(member)) {
        let [(number, position, _)] = got[..] else { panic!("{} at once", got.len()) };
        if position != 100 {
            assert_eq!(rig.settle(member, number, 1, Ack), [true]);
            good += 1;
            continue;
        }
        // It kills whoever has it.
        rig.engine.leave(rig.now, TOPIC, sub(member), Leaving::Lost);
        rig.commit();
        member += 1;
        rig.join(member, MANY);
    }
    assert_eq!((good, member), (255, 6), "three members more");
    assert_eq!(rig.graves.len(), 1, "and it is a dead letter after five failures");
}

#[test]
fn a_member_is_kept_free_for_what_is_delivered_alone_and_others_go_on() {
    let mut rig = Rig::new();
    rig.publish(1, None);
    for n in 1..=2 {
        rig.join(n, MANY);
        rig.take(n);
        rig.engine.leave(rig.now, TOPIC, sub(n), Leaving::Lost);
    }
    rig.publish(4, None);
    rig.join(3, Credit { events: 2, bytes: 1 << 30 });
    assert_eq!(positions(&rig.take(3)), [1], "alone, though there is room");
    rig.join(4, ONE);
    assert_eq!(positions(&rig.take(4)), [2]);
    rig.settle(3, 1, 1, Ack);
    assert_eq!(positions(&rig.take(3)), [3, 4], "and then it goes on");
}

#[test]
fn thousands_that_are_delivered_alone_cost_nothing_while_one_of_them_is_out() {
    let mut rig = Rig::new();
    rig.publish(3000, None);
    for n in 1..=2 {
        rig.join(n, Credit { events: 3000, ..MANY });
        assert_eq!(rig.take(n).len(), 3000);
        lose(&mut rig, n);
    }
    let looks = |rig: &Rig| rig.engine.topics[&TOPIC].groups[&GroupId(1)].looks();
    rig.join(3, MANY);
    assert_eq!(positions(&rig.take(3)), [1]);
    let (before, readers) = (looks(&rig), rig.engine.topics[&TOPIC].readers.looks);
    for _ in 0..100 {
        rig.publish(1, None);
    }
    assert_eq!((looks(&rig), rig.engine.topics[&TOPIC].readers.looks), (before, readers), "nobody is free for more");
    rig.settle(3, 1, 1, Ack);
    assert_eq!((positions(&rig.take(3)), looks(&rig) - before), (vec![2], 1));
}

#[test]
fn nobody_is_kept_free_for_an_event_that_has_to_wait_for_an_earlier_one_of_its_key() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, Some("k"));
    rig.take(1);
    rig.settle_as(1, 1, 1, reject("no"));
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.engine.redrive(TOPIC, 1, &block_of(&rig, 1)).unwrap();
    // Two members are lost with the letter; the second one has a later event, whose place is before it.
    rig.join(2, ONE);
    lose(&mut rig, 2);
    rig.join(3, TWO);
    rig.publish(1, Some("k"));
    assert_eq!(positions(&rig.take(3)), [1, 2]);
    lose(&mut rig, 3);
    rig.join(4, TWO);
    assert_eq!(positions(&rig.take(4)), [2], "the letter is next, alone");
    rig.settle(4, 1, 1, Nack);
    assert_eq!(positions(&rig.take(4)), [2], "and waits for this one again");
    rig.settle(4, 2, 1, Ack);
    assert_eq!(positions(&rig.take(4)), [1]);
}

#[test]
fn what_is_delivered_alone_goes_to_whoever_is_done_first() {
    let mut rig = Rig::new();
    rig.publish(1, None);
    rig.join(1, ONE);
    rig.join(3, ONE);
    rig.join(4, TWO);
    rig.publish(3, None);
    let held = |rig: &mut Rig, n| positions(&rig.take(n)).len();
    assert_eq!([held(&mut rig, 1), held(&mut rig, 3), held(&mut rig, 4)], [1, 1, 2]);
    lose(&mut rig, 1);
    rig.join(2, ONE);
    assert_eq!(positions(&rig.take(2)), [1]);
    lose(&mut rig, 2);
    // The one that is chosen has less, and takes long for it.
    rig.engine.credit(TOPIC, sub(3), TWO);
    rig.engine.credit(TOPIC, sub(4), Credit { events: 4, ..TWO });
    rig.commit();
    assert_eq!((positions(&rig.take(3)), positions(&rig.take(4))), (vec![], vec![]), "both have something");
    rig.settle(4, 1, 2, Ack);
    assert_eq!(positions(&rig.take(4)), [1]);
    rig.publish(1, None);
    assert_eq!(positions(&rig.take(3)), [5], "and the other one is kept free no more");
}

#[test]
fn however_many_are_delivered_alone_new_events_come_to_other_members() {
    let mut rig = Rig::new();
    rig.publish(2000, None);
    for n in 1..=2 {
        rig.join(n, Credit { events: 2000, ..MANY });
        rig.take(n);
        lose(&mut rig, n);
    }
    rig.join(3, MANY);
    rig.join(4, MANY);
    assert_eq!(positions(&rig.take(3)), [1]);
    rig.publish(10, None);
    assert_eq!(rig.take(4).len(), 10);
}

const NOTHING: Credit = Credit { events: 0, bytes: 0 };

/// A member without a session.
fn join_plain(rig: &mut Rig, n: u64, credit: Credit) {
    rig.join(n, NOTHING);
    rig.engine.set_plain(TOPIC, sub(n));
    rig.engine.credit(TOPIC, sub(n), credit);
    rig.commit();
}

#[test]
fn what_a_plain_member_held_when_its_leases_ended_twice_is_delivered_alone() {
    let mut rig = Rig::new();
    rig.publish(10, None);
    let (mut member, mut done) = (0, Vec::new());
    while done.len() < 9 {
        member += 1;
        assert!(member < 20, "{done:?}");
        join_plain(&mut rig, member, MANY);
        // As a fetch: what is there, and no more.
        rig.engine.credit(TOPIC, sub(member), NOTHING);
        for (number, position, _) in rig.take(member) {
            if position == 3 {
                break;
            }
            assert_eq!(rig.settle(member, number, 1, Ack), [true]);
            done.push(position);
        }
        // It fell, or is done: the next one is another member.
        rig.advance(WAIT);
    }
    assert_eq!(done, [1, 2, 4, 5, 6, 7, 8, 9, 10], "each once");
    assert_eq!(rig.graves.len(), 1, "and 3 is a dead letter");
}

#[test]
fn of_a_key_the_first_one_alone_has_failed_with_a_plain_member() {
    let mut rig = Rig::new();
    rig.publish(3, Some("k"));
    for n in 1..=2 {
        join_plain(&mut rig, n, MANY);
        assert_eq!(positions(&rig.take(n)), [1, 2, 3]);
        rig.engine.credit(TOPIC, sub(n), NOTHING);
        rig.advance(WAIT);
    }
    join_plain(&mut rig, 3, MANY);
    assert_eq!(positions(&rig.take(3)), [1], "alone");
    assert_eq!(rig.settle(3, 1, 1, Ack), [true]);
    assert_eq!(positions(&rig.take(3)), [2, 3], "they were not lost with anybody");
}

#[test]
fn a_lease_that_ends_is_no_lost_member_where_there_is_a_session() {
    let mut rig = Rig::new();
    rig.publish(2, None);
    rig.join(1, MANY);
    for _ in 0..4 {
        assert_eq!(positions(&rig.take(1)), [1, 2], "together, however often");
        rig.advance(WAIT);
    }
}

#[test]
fn a_plain_member_whose_lease_has_ended_holds_one_until_it_says_something() {
    for word in [Ack, SettleKind::Extend] {
        let mut rig = Rig::new();
        rig.publish(10, None);
        join_plain(&mut rig, 1, MANY);
        assert_eq!(rig.take(1).len(), 10);
        rig.advance(WAIT);
        assert_eq!(rig.take(1), [(11, 1, 2)], "one at a time");
        assert_eq!(rig.settle(1, 11, 1, word), [true]);
        assert_eq!(rig.take(1).len(), 9, "it is there");
    }
}

#[test]
fn who_may_hang_gets_nothing_that_has_failed_while_another_member_does_not() {
    let mut rig = Rig::new();
    rig.publish(4, None);
    join_plain(&mut rig, 1, MANY);
    assert_eq!(positions(&rig.take(1)), [1, 2, 3, 4]);
    join_plain(&mut rig, 2, TWO);
    rig.advance(WAIT);
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![1, 2]));
    rig.publish(2, None);
    assert_eq!((positions(&rig.take(1)), rig.take(2)), (vec![5], vec![]), "a new one, as the other is full");
    for (first, count, next) in [(1, 2, vec![3, 4]), (3, 2, vec![6]), (5, 1, vec![])] {
        assert_eq!(rig.settle(2, first, count, Ack), vec![true; count as usize]);
        assert_eq!(positions(&rig.take(2)), next);
    }
    rig.advance(WAIT);
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![5]));
}

#[test]
fn what_has_failed_comes_to_another_member_as_soon_as_that_has_room() {
    let mut rig = Rig::new();
    rig.publish(4, None);
    join_plain(&mut rig, 1, MANY);
    assert_eq!(rig.take(1).len(), 4);
    join_plain(&mut rig, 2, TWO);
    rig.advance(WAIT);
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![1, 2]));
    assert_eq!(rig.settle(2, 1, 2, Ack), [true; 2]);
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![3, 4]), "it was nobody's turn");
    assert_eq!(rig.settle(2, 3, 2, Ack), [true; 2]);
    rig.publish(1, None);
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![5]), "nor is it for new ones");
}

#[test]
fn who_may_hang_is_asked_again_when_the_others_are_away() {
    let mut rig = Rig::new();
    rig.publish(3, None);
    join_plain(&mut rig, 1, MANY);
    assert_eq!(rig.take(1).len(), 3);
    rig.join(2, ONE);
    rig.advance(WAIT);
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![1]));
    rig.engine.suspend(TOPIC, sub(2));
    rig.commit();
    assert_eq!(positions(&rig.take(1)), [2]);
}

#[test]
fn who_fetches_is_no_less_there_while_it_handles_what_it_fetched() {
    let mut rig = Rig::new();
    rig.publish(3, None);
    join_plain(&mut rig, 1, MANY);
    assert_eq!(rig.take(1).len(), 3);
    join_plain(&mut rig, 2, ONE);
    rig.advance(WAIT);
    rig.engine.credit(TOPIC, sub(2), NOTHING);
    rig.commit();
    assert_eq!((rig.take(1), positions(&rig.take(2))), (vec![], vec![1]));
    assert_eq!(rig.settle(2, 1, 1, Ack), [true]);
    assert_eq!(positions(&rig.take(1)), [2], "nobody else is there");
}
