//! Where what was on its way at a nack ends.

use super::*;

const LOST: u32 = ErrorKind::LeaseLost.number();

/// A subscription with deliveries 1 to 3, of which the first was nacked and its answer asked for.
fn nacked() -> (Scene, u32) {
    let mut scene = Scene::up();
    let (id, number) = scene.subscribe(spec(Some("g"), None));
    scene.deliver(vec![run(number, 1, 1, &["e"; 3])]);
    scene.session.settle(SettleInput { confirm: Some(7), ..settle_input(id, 1, SettleKind::Nack) });
    assert_eq!(scene.settles().len(), 1);
    scene.outputs();
    (scene, number)
}

fn answer(scene: &mut Scene, subscription: u32, code: u32, next_delivery: u64) {
    let result = SettleResult { sequence: 1, subscription, first_delivery: 1, count: 1, code, next_delivery };
    scene.receive(&ServerFrame::Settled(Settled { through: 1, results: vec![result] }));
}

/// Boundaries that were told, and whether the nack holds.
fn told(scene: &mut Scene) -> Vec<(u64, bool)> {
    let told = |o| match o {
        Output::Settled { result, boundary, .. } => Some((boundary, result.is_ok())),
        _ => None,
    };
    scene.outputs().into_iter().filter_map(told).collect()
}

#[test]
fn a_nack_that_came_too_late_says_too_what_was_taken_back_with_it() {
    let (mut scene, number) = nacked();
    answer(&mut scene, number, LOST, 3);
    assert_eq!(told(&mut scene), [(3, false)]);
}

#[test]
fn a_settlement_that_the_disk_has_no_room_for_holds_and_its_answer_says_so() {
    let (mut scene, number) = nacked();
    answer(&mut scene, number, ErrorKind::DiskFull.number(), 4);
    let outputs = scene.outputs();
    let [Output::Settled { result: Err(failure), boundary: 4, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(failure.kind == ErrorKind::DiskFull && failure.message.contains("this settlement holds"), "{failure:?}");
    assert_eq!(scene.session.stats().leases_lost, 0);
}

#[test]
fn the_answer_to_a_nack_follows_what_was_on_its_way() {
    let (mut scene, number) = nacked();
    answer(&mut scene, number, 0, 6);
    scene.deliver(vec![run(number, 4, 4, &["e"])]);
    assert_eq!(told(&mut scene), [], "5 is to come");
    scene.deliver(vec![run(number, 5, 5, &["e"; 2])]);
    assert_eq!(told(&mut scene), [(6, true)]);
}

#[test]
fn what_will_not_come_under_its_number_is_not_waited_for_and_its_number_counts_as_new() {
    let (mut scene, number) = nacked();
    answer(&mut scene, number, 0, 6);
    assert_eq!(told(&mut scene), []);
    scene.reconnect(resumed());
    assert_eq!(told(&mut scene), [(4, true)], "4 and 5 never arrived: they are made anew");
    for end in [Scene::cut, |scene: &mut Scene| scene.session.close()] {
        let (mut scene, number) = nacked();
        answer(&mut scene, number, 0, 6);
        end(&mut scene);
        assert_eq!(told(&mut scene), [(4, true)]);
    }
}

#[test]
fn a_nack_whose_session_is_lost_says_that_all_of_it_was_taken_back() {
    let (mut scene, _) = nacked();
    scene.reconnect(welcome());
    assert_eq!(told(&mut scene), [(u64::MAX, false)]);
}

#[test]
fn where_the_gateway_does_not_say_what_was_on_its_way_it_is_what_has_come() {
    let (mut scene, number) = nacked();
    answer(&mut scene, number, LOST, 0);
    assert_eq!(told(&mut scene), [(4, false)]);
}

#[test]
fn an_answer_outlives_its_subscription() {
    for end in [true, false] {
        let (mut scene, number) = nacked();
        answer(&mut scene, number, 0, 6);
        if end {
            let frame = wire::Unsubscribed { subscription: number, ..wire::Unsubscribed::default() };
            scene.receive(&ServerFrame::Unsubscribed(frame));
        } else {
            scene.session.unsubscribe(SubscriptionId(1));
        }
        assert_eq!(told(&mut scene).len(), 1);
    }
}
