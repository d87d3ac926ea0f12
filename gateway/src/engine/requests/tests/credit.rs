//! How many replies of a stream may come.

use super::*;

#[test]
fn a_stream_sends_within_its_credit_and_ends() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(Some(2), false)).unwrap();
    let (_, request) = scene.given();
    assert_eq!((request.stream, request.credit), (true, 2));
    scene.reply(2, &request, b"1", false).unwrap();
    scene.reply(2, &request, b"2", false).unwrap();
    scene.requests.grant((ASKER, 1), 1);
    let (replies, others) = scene.replies();
    assert_eq!(replies.iter().map(|r| r.end).collect::<Vec<_>>(), [false, false]);
    assert_eq!(others, [(2, ServerFrame::ReplyCredit(wire::ReplyCredit { number: 1, events: 1 }))]);
    scene.reply(2, &request, b"3", false).unwrap();
    scene.reply(2, &request, b"", true).unwrap();
    assert_eq!(scene.replies().0.last().map(|r| (r.end, r.code)), Some((true, 0)));
}

#[test]
fn more_replies_than_credit_end_the_request_for_both() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(Some(1), false)).unwrap();
    let (_, request) = scene.given();
    scene.reply(2, &request, b"1", false).unwrap();
    assert_eq!(scene.reply(2, &request, b"2", false), Err(ErrorKind::Invalid));
    let (replies, others) = scene.replies();
    assert_eq!(code(&replies[1]), Some(ErrorKind::ResponderFailed));
    assert_eq!(others, [(2, cancel(1))]);
}

#[test]
fn a_stream_whose_requester_never_gives_credit_ends_at_its_deadline() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(Some(0), false)).unwrap();
    scene.given();
    scene.pass(Duration::from_secs(5));
    assert_eq!(code(&scene.replies().0[0]), Some(ErrorKind::Timeout));
}

/// Credit that the member is told of now, by its number of the request.
fn passed_on(scene: &mut Scene) -> Vec<(u64, u32)> {
    let credit = |(_, frame)| if let ServerFrame::ReplyCredit(c) = frame { Some((c.number, c.events)) } else { None };
    scene.told().into_iter().filter_map(credit).collect()
}

#[test]
fn a_stream_is_asked_for_no_more_than_its_requester_has_room_for() {
    let mut scene = Scene::with(&[2]);
    scene.room = 0;
    scene.ask(1, asked(Some(1000), false)).unwrap();
    let (_, request) = scene.given();
    assert_eq!(request.credit, 8, "how large its replies are is not known");
    for _ in 0..8 {
        assert!(!scene.waits);
        scene.reply(2, &request, &[7; 10_000], false).unwrap();
        assert!(passed_on(&mut scene).is_empty());
    }
    assert!(scene.waits);
    // Any room is enough for one, and more for as many as fit.
    (scene.room, scene.waits) = (1, false);
    scene.requests.has_room_again(ASKER);
    assert_eq!((passed_on(&mut scene), scene.waits), (vec![(1, 1)], false));
    scene.reply(2, &request, &[7; 10_000], false).unwrap();
    scene.room = 55_000;
    assert_eq!(passed_on(&mut scene), [(1, 5)]);
    // What it was promised is not promised twice.
    scene.requests.has_room_again(ASKER);
    assert!(passed_on(&mut scene).is_empty());
    scene.room = u64::MAX;
    scene.requests.has_room_again(ASKER);
    assert_eq!(passed_on(&mut scene), [(1, 1000 - 8 - 1 - 5)]);
    assert!(!scene.waits);
    // The next stream of the topic begins with what is known of its replies.
    scene.ask(2, asked(Some(1000), false)).unwrap();
    let (replies, others) = scene.replies();
    assert!(replies.is_empty());
    assert!(matches!(&others[0], (2, ServerFrame::Request(request)) if request.credit == 6), "{others:?}");
}

#[test]
fn while_nothing_is_known_of_its_replies_a_stream_gets_little_whatever_room_there_is() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(Some(1000), false)).unwrap();
    let (_, request) = scene.given();
    assert_eq!(request.credit, 8);
    scene.reply(2, &request, b"small", false).unwrap();
    assert_eq!(passed_on(&mut scene), [(1, 992)]);
    scene.ask(2, asked(Some(0), false)).unwrap();
    scene.told();
    scene.requests.grant((ASKER, 2), 1000);
    assert_eq!(passed_on(&mut scene), [(2, 8)]);
}

#[test]
fn streams_of_one_requester_share_its_room_in_turn_and_none_waits_for_a_slow_one() {
    let mut scene = Scene::with(&[2]);
    scene.room = 0;
    let given: Vec<_> = (1..=4)
        .map(|number| {
            scene.ask(number, asked(Some(1000), false)).unwrap();
            scene.given().1
        })
        .collect();
    // The first one's responder is slow: what it is promised it does not send.
    for request in &given[1..] {
        for _ in 0..8 {
            scene.reply(2, request, &[7; 10_000], false).unwrap();
        }
    }
    assert!(passed_on(&mut scene).is_empty() && scene.waits);
    scene.room = 30_000;
    scene.requests.has_room_again(ASKER);
    assert_eq!(passed_on(&mut scene), [(2, 1), (3, 1), (4, 1)]);
    scene.room = 120_000 + 3 * 10_000 + 8 * LEAST;
    scene.requests.has_room_again(ASKER);
    assert_eq!(passed_on(&mut scene), [(2, 3), (3, 3), (4, 3)]);
}

#[test]
fn streams_that_were_given_all_they_asked_for_count_for_those_that_come_later() {
    let mut scene = Scene::with(&[2]);
    scene.room = 1 << 20;
    let mut sent = 0;
    for number in 1..=10 {
        scene.ask(number, asked(Some(64), false)).unwrap();
        let (_, request) = scene.given();
        scene.reply(2, &request, &[7; 16 << 10], false).unwrap();
        let more: u32 = passed_on(&mut scene).iter().map(|(_, events)| events).sum();
        sent += request.credit - 1 + more;
    }
    // Each began with a few, when none of the first one's were on their way yet.
    assert!(u64::from(sent) * (16 << 10) < (1 << 20) + 10 * (64 << 10), "{sent} replies of 16 KiB");
    // What one was promised is there for others when it ends.
    scene.requests.cancel((ASKER, 1));
    assert!(!passed_on(&mut scene).is_empty());
}

/// What a reply counts as whose size is not known.
const LEAST: u64 = 4096;

#[test]
fn one_that_is_over_waits_for_no_room_and_its_responder_is_called_off() {
    let mut scene = Scene::with(&[2]);
    scene.room = 0;
    scene.ask(1, asked(Some(1000), false)).unwrap();
    let (_, request) = scene.given();
    for _ in 0..8 {
        scene.reply(2, &request, b"part", false).unwrap();
    }
    scene.told();
    scene.pass(Duration::from_secs(5));
    let (replies, others) = scene.replies();
    assert_eq!((code(&replies[0]), others), (Some(ErrorKind::Timeout), vec![(2, cancel(1))]));
    (scene.room, scene.waits) = (u64::MAX, false);
    scene.requests.has_room_again(ASKER);
    assert!(scene.told().is_empty() && !scene.waits);
    scene.requests.grant((ASKER, 1), 5);
    assert!(scene.told().is_empty(), "nor for credit");
}
