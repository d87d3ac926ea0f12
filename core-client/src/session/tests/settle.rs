use meshwire_proto::frame::SettleRange;

use super::*;

/// A subscription to which deliveries 1 to 20 were made.
fn scene() -> (Scene, SubscriptionId, u32) {
    let mut scene = Scene::up();
    let (id, number) = scene.subscribe(spec(Some("g"), None));
    scene.deliver(vec![run(number, 1, 1, &["e"; 20])]);
    scene.outputs();
    (scene, id, number)
}

fn range(number: u32, first: u64, count: u32, kind: SettleKind) -> SettleRange {
    let subscription = number;
    SettleRange { subscription, first_delivery: first, count, kind, ..Default::default() }
}

fn ack(scene: &mut Scene, id: SubscriptionId, deliveries: impl IntoIterator<Item = u64>) {
    for first in deliveries {
        scene.session.settle(settle_input(id, first, SettleKind::Ack));
    }
}

fn ack_confirmed(scene: &mut Scene, id: SubscriptionId, first: u64, token: u64) {
    let input = SettleInput { confirm: Some(token), ..settle_input(id, first, SettleKind::Ack) };
    scene.session.settle(input);
}

fn settled(through: u64, results: Vec<SettleResult>) -> ServerFrame {
    ServerFrame::Settled(Settled { through, results })
}

fn result(sequence: u64, subscription: u32, first: u64, count: u32, code: u32) -> SettleResult {
    SettleResult { sequence, subscription, first_delivery: first, count, code, next_delivery: 21 }
}

/// `(token, settled)` of each confirmed settle.
fn confirmed(scene: &mut Scene) -> Vec<(u64, Result<u64, ErrorKind>)> {
    let settled = |o| match o {
        Output::Settled { token, result, boundary } => Some((token, result.map(|()| boundary).map_err(|f| f.kind))),
        _ => None,
    };
    scene.outputs().into_iter().filter_map(settled).collect()
}

#[test]
fn many_acks_travel_as_one_range_in_one_frame() {
    let (mut scene, id, number) = scene();
    ack(&mut scene, id, 1..=20);
    let expected = Settle { sequence: 1, ranges: vec![range(number, 1, 20, SettleKind::Ack)], confirm: false };
    assert_eq!(scene.settles(), [expected]);
}

#[test]
fn acks_in_any_order_become_the_fewest_ranges() {
    let (mut scene, id, number) = scene();
    ack(&mut scene, id, [3, 1, 2, 9, 7, 8, 20]);
    let ranges = [(1, 3), (7, 3), (20, 1)].map(|(first, count)| range(number, first, count, SettleKind::Ack));
    assert_eq!(scene.settles()[0].ranges, ranges);
}

#[test]
fn an_ack_never_moves_past_a_nack() {
    let (mut scene, id, number) = scene();
    ack(&mut scene, id, [5]);
    scene.session.settle(settle_input(id, 4, SettleKind::Nack));
    ack(&mut scene, id, [3]);
    let kinds = [(5, SettleKind::Ack), (4, SettleKind::Nack), (3, SettleKind::Ack)];
    assert_eq!(scene.settles()[0].ranges, kinds.map(|(first, kind)| range(number, first, 1, kind)));
}

#[test]
fn nothing_moves_past_a_nack_that_is_confirmed_and_a_nack_past_nothing() {
    let (mut scene, id, number) = scene();
    let nack = |first, confirm| SettleInput { confirm, ..settle_input(id, first, SettleKind::Nack) };
    ack(&mut scene, id, [1]);
    scene.session.settle(nack(2, Some(72)));
    ack(&mut scene, id, [3]);
    ack_confirmed(&mut scene, id, 4, 74);
    scene.session.settle(nack(5, None));
    ack(&mut scene, id, [6]);
    assert_eq!(scene.session.unfinished(), 6);
    let frame = |sequence, confirm, ranges: &[(u64, SettleKind)]| Settle {
        sequence,
        ranges: ranges.iter().map(|(first, kind)| range(number, *first, 1, *kind)).collect(),
        confirm,
    };
    let expected = [
        frame(1, false, &[(1, SettleKind::Ack)]),
        frame(2, true, &[(2, SettleKind::Nack)]),
        frame(3, false, &[(3, SettleKind::Ack)]),
        frame(4, true, &[(4, SettleKind::Ack)]),
        frame(5, false, &[(5, SettleKind::Nack), (6, SettleKind::Ack)]),
    ];
    assert_eq!(scene.settles(), expected);
}

#[test]
fn acks_that_are_confirmed_and_acks_that_are_not_take_two_frames_however_they_alternate() {
    let (mut scene, id, number) = scene();
    for n in 1..=4 {
        ack(&mut scene, id, [2 * n]);
        ack_confirmed(&mut scene, id, 2 * n - 1, 70 + n);
    }
    let ranges = |first: u64| (0..4).map(|n| range(number, first + 2 * n, 1, SettleKind::Ack)).collect();
    let frame = |sequence, confirm, first| Settle { sequence, ranges: ranges(first), confirm };
    assert_eq!(scene.settles(), [frame(1, false, 2), frame(2, true, 1)]);
}

#[test]
fn settle_frames_count_from_one_and_unprocessed_ones_are_repeated_after_a_resume() {
    let (mut scene, id, _) = scene();
    let mut frames = Vec::new();
    for n in 1..=4 {
        ack(&mut scene, id, [n * 2]);
        frames.extend(scene.settles());
    }
    assert_eq!(frames.iter().map(|f| f.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    scene.receive(&settled(1, vec![]));
    scene.reconnect(wire::Welcome { settled_through: 2, ..resumed() });
    assert_eq!(scene.settles(), frames[2..]);
    scene.reconnect(wire::Welcome { settled_through: 4, ..resumed() });
    assert!(scene.settles().is_empty());
    ack(&mut scene, id, [10]);
    assert_eq!(scene.settles()[0].sequence, 5);
    scene.receive(&settled(5, vec![]));
    assert_eq!(scene.session.unfinished(), 0);
}

#[test]
fn settles_made_while_disconnected_are_sent_after_a_resume_behind_the_repeated_ones() {
    let (mut scene, id, number) = scene();
    ack(&mut scene, id, [1]);
    scene.settles();
    scene.cut();
    ack(&mut scene, id, [2, 3]);
    scene.connect(resumed());
    let settles = scene.settles();
    assert_eq!(settles.iter().map(|s| s.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(settles[1].ranges, [range(number, 2, 2, SettleKind::Ack)]);
}

#[test]
fn after_a_lost_session_plain_settles_are_dropped_and_counted() {
    let (mut scene, id, _) = scene();
    ack(&mut scene, id, [1, 2, 3]);
    scene.settles();
    ack(&mut scene, id, [4]);
    scene.reconnect(welcome());
    assert!(scene.settles().is_empty());
    assert_eq!(scene.session.stats().settles_dropped, 4);
    ack(&mut scene, id, [5]);
    assert!(scene.settles().is_empty(), "a delivery of the lost session");
    assert_eq!(scene.session.stats().settles_dropped, 5);
}

#[test]
fn after_a_lost_session_confirmed_settles_answer_lease_lost() {
    let (mut scene, id, _) = scene();
    ack_confirmed(&mut scene, id, 1, 71);
    scene.settles();
    ack_confirmed(&mut scene, id, 2, 72);
    scene.reconnect(welcome());
    ack_confirmed(&mut scene, id, 3, 73);
    let lost = Err(ErrorKind::LeaseLost);
    assert_eq!(confirmed(&mut scene), [(72, lost), (71, lost), (73, lost)]);
    assert!(scene.settles().is_empty());
}

#[test]
fn a_new_session_counts_settle_frames_from_one_again() {
    let (mut scene, id, _) = scene();
    ack(&mut scene, id, [1]);
    scene.settles();
    scene.reconnect(welcome());
    let number = scene.asked()[0].subscription;
    scene.confirm_subscribe(number);
    scene.deliver(vec![run(number, 1, 1, &["e"; 3])]);
    let input = SettleInput { generation: 1, ..settle_input(id, 1, SettleKind::Ack) };
    scene.session.settle(input);
    let expected = Settle { sequence: 1, ranges: vec![range(number, 1, 1, SettleKind::Ack)], confirm: false };
    assert_eq!(scene.settles(), [expected]);
}

#[test]
fn confirmed_settles_share_a_frame_and_get_an_answer_each() {
    let (mut scene, id, number) = scene();
    for n in 1..=5 {
        ack_confirmed(&mut scene, id, n, 100 + n);
    }
    let frames = scene.settles();
    let expected = Settle { sequence: 1, ranges: vec![range(number, 1, 5, SettleKind::Ack)], confirm: true };
    assert_eq!(frames, [expected]);
    let lost = ErrorKind::LeaseLost.number();
    scene.receive(&settled(1, vec![]));
    assert!(confirmed(&mut scene).is_empty());
    scene.receive(&settled(
        1,
        vec![result(1, number, 1, 2, 0), result(1, number, 3, 1, lost), result(1, number, 4, 2, 0)],
    ));
    let answers = confirmed(&mut scene);
    let refused = Err(ErrorKind::LeaseLost);
    assert_eq!(answers, [(101, Ok(21)), (102, Ok(21)), (103, refused), (104, Ok(21)), (105, Ok(21))]);
    assert_eq!(scene.session.unfinished(), 0);
}

#[test]
fn an_answer_lost_with_its_connection_is_asked_for_anew_under_the_next_number() {
    let (mut scene, id, number) = scene();
    ack_confirmed(&mut scene, id, 1, 71);
    scene.settles();
    scene.reconnect(wire::Welcome { settled_through: 1, ..resumed() });
    let expected = Settle { sequence: 2, ranges: vec![range(number, 1, 1, SettleKind::Ack)], confirm: true };
    assert_eq!(scene.settles(), [expected]);
    scene.receive(&settled(2, vec![result(2, number, 1, 1, 0)]));
    assert_eq!(confirmed(&mut scene), [(71, Ok(21))]);
}

#[test]
fn a_confirmation_of_a_frame_that_was_never_sent_drops_the_connection() {
    let (mut scene, _, _) = scene();
    scene.receive(&settled(1, vec![]));
    assert!(scene.disconnect_reason().contains("settle frame 1"));
}

#[test]
fn settles_that_say_different_things_are_different_ranges_and_keep_their_order() {
    let (mut scene, id, number) = scene();
    let nack = |first, delay_ms| SettleInput { delay_ms, ..settle_input(id, first, SettleKind::Nack) };
    let reject =
        |first, why: &str| SettleInput { reason: Some(why.into()), ..settle_input(id, first, SettleKind::Reject) };
    let inputs = [nack(1, Some(5)), nack(2, Some(5)), nack(3, None), nack(4, Some(0)), reject(5, "a"), reject(6, "b")];
    inputs.into_iter().for_each(|input| scene.session.settle(input));
    let told = scene.settles().remove(0).ranges;
    let nacked = |first, count, delay_ms| SettleRange { delay_ms, ..range(number, first, count, SettleKind::Nack) };
    let rejected = |first, why: &str| SettleRange { reason: why.into(), ..range(number, first, 1, SettleKind::Reject) };
    assert_eq!(
        told,
        [nacked(1, 2, Some(5)), nacked(3, 1, None), nacked(4, 1, Some(0)), rejected(5, "a"), rejected(6, "b")]
    );
}

#[test]
fn an_unsubscribe_follows_the_settles_given_before_it_which_are_unfinished_until_they_are_kept() {
    let (mut scene, id, number) = scene();
    ack(&mut scene, id, [1, 2]);
    scene.session.unsubscribe(id);
    let sent = scene.sent();
    let [ClientFrame::Settle(plain), ClientFrame::Settle(confirm), ClientFrame::Unsubscribe(_)] = sent.as_slice()
    else {
        panic!("{sent:?}");
    };
    assert_eq!((plain.confirm, &plain.ranges[..]), (false, &[range(number, 1, 2, SettleKind::Ack)][..]));
    assert_eq!((confirm.confirm, &confirm.ranges[..]), (true, &[range(number, 2, 1, SettleKind::Ack)][..]));
    scene.receive(&settled(2, vec![]));
    assert_eq!(scene.session.unfinished(), 1, "processed, not kept");
    scene.receive(&settled(2, vec![result(2, number, 2, 1, 0)]));
    assert_eq!(scene.session.unfinished(), 0);
    assert!(confirmed(&mut scene).is_empty(), "nobody asked");
}

#[test]
fn who_asks_whether_all_settles_are_kept_waits_for_the_last_of_each_subscription() {
    let (mut scene, id, number) = scene();
    let (other, other_number) = scene.subscribe(spec(Some("h"), None));
    scene.deliver(vec![run(other_number, 1, 1, &["e"; 3])]);
    ack(&mut scene, id, [1, 2]);
    ack(&mut scene, other, [3]);
    scene.settles();
    scene.receive(&settled(1, vec![]));
    assert_eq!(scene.session.unfinished(), 0);
    scene.session.confirm_settles();
    let last = [range(number, 2, 1, SettleKind::Ack), range(other_number, 3, 1, SettleKind::Ack)];
    assert_eq!(scene.settles()[0].ranges, last);
    scene.receive(&settled(2, vec![result(2, number, 2, 1, 0)]));
    assert_eq!(scene.session.unfinished(), 1);
    scene.receive(&settled(2, vec![result(2, other_number, 3, 1, 0)]));
    scene.session.confirm_settles();
    assert_eq!(scene.session.unfinished(), 0, "asked once");
    scene.cut();
    ack(&mut scene, id, [4]);
    scene.session.confirm_settles();
    assert_eq!(scene.session.unfinished(), 1, "without a connection only the settle itself");
}

#[test]
fn goodbye_follows_the_settles_given_before_it() {
    let (mut scene, id, _) = scene();
    ack(&mut scene, id, [1, 2]);
    scene.session.close();
    let sent = scene.sent();
    assert!(matches!(sent.as_slice(), [ClientFrame::Settle(_), ClientFrame::Goodbye(_)]), "{sent:?}");
}

#[test]
fn long_reasons_are_spread_over_frames_that_every_gateway_takes() {
    let size = |settle: &Settle| {
        let mut bytes = BytesMut::new();
        ClientFrame::Settle(settle.clone()).encode(&mut bytes);
        bytes.len()
    };
    let (mut scene, id, _) = scene();
    for first in 1..=200 {
        let reason = Some(format!("{first}{}", "x".repeat(1000)).into());
        let confirm = (first > 100).then_some(first);
        scene.session.settle(SettleInput { reason, confirm, ..settle_input(id, first, SettleKind::Reject) });
    }
    let sizes: Vec<(usize, usize)> = scene.settles().iter().map(|s| (s.ranges.len(), size(s))).collect();
    assert_eq!(sizes.iter().map(|(ranges, _)| ranges).sum::<usize>(), 200);
    assert!(sizes.len() == 4 && sizes.iter().all(|(_, bytes)| *bytes <= 66_000), "{sizes:?}");
}
