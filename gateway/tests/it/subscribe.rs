//! Subscribing and settling over the wire.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::session as wire;

use crate::rig::{Rig, earliest, event, run_of};

const LOST: u32 = 8;

#[tokio::test]
async fn a_nacked_event_comes_again_and_an_acked_one_does_not() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    let mut other = rig.session().await;
    let _ = peer.deliveries(0).await;
    assert_eq!(peer.settle(1, 1, 1, SettleKind::Ack).await, [(1, 1, 0)]);
    peer.send(ClientFrame::Settle(meshwire_proto::frame::Settle {
        sequence: 2,
        ranges: vec![meshwire_proto::frame::SettleRange {
            subscription: 1,
            first_delivery: 2,
            count: 1,
            kind: SettleKind::Nack,
            ..Default::default()
        }],
        confirm: false,
    }))
    .await;
    let again = peer.find(|f| match f {
        ServerFrame::Deliver(d) => d.runs.into_iter().find(|r| r.attempt == 2),
        _ => None,
    });
    let again = again.await;
    assert_eq!((again.first_delivery, again.first_position), (3, 2));
    other.subscribe(earliest(1, "t", "g")).await;
}

#[tokio::test]
async fn settling_what_was_never_leased_or_twice_in_two_ways_answers_lease_lost() {
    assert_eq!(LOST, ErrorKind::LeaseLost.number());
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    assert_eq!(peer.settle(1, 1, 5, SettleKind::Ack).await, [(1, 2, 0), (3, 3, LOST)]);
    assert_eq!(peer.settle(1, 1, 2, SettleKind::Ack).await, [(1, 2, 0)], "the same again is ok");
    assert_eq!(peer.settle(1, 2, 1, SettleKind::Nack).await, [(2, 1, LOST)]);
    assert_eq!(peer.settle(7, 1, 1, SettleKind::Ack).await, [(1, 1, LOST)], "no such subscription");
    assert_eq!(peer.settle(1, 1, u32::MAX, SettleKind::Ack).await.len(), 2, "a huge count costs nothing");
    for kind in [SettleKind::Reject, SettleKind::Extend] {
        assert_eq!(peer.settle(1, 1, 1, kind).await, [(1, 1, LOST)], "it was acked");
    }
}

#[tokio::test]
async fn a_settle_from_another_caller_is_lost_and_changes_nothing() {
    let rig = Rig::start().await;
    let (mut holder, mut other) = (rig.session().await, rig.session().await);
    holder.subscribe(earliest(1, "t", "g")).await;
    holder.publish("t", run_of(&[event("1"), event("2")])).await;
    holder.deliveries(2).await;
    // Neither without a subscription of that number, nor as a member of the same group.
    for kind in [SettleKind::Ack, SettleKind::Nack, SettleKind::Reject, SettleKind::Extend] {
        assert_eq!(other.settle(1, 1, 2, kind).await, [(1, 2, LOST)], "{kind:?}");
    }
    other.subscribe(earliest(1, "t", "g")).await;
    for kind in [SettleKind::Ack, SettleKind::Nack, SettleKind::Reject, SettleKind::Extend] {
        assert_eq!(other.settle(1, 1, 2, kind).await, [(1, 2, LOST)], "{kind:?} of a member");
    }
    assert_eq!(holder.settle(1, 1, 2, SettleKind::Ack).await, [(1, 2, 0)], "it has them still");
}

#[tokio::test]
async fn a_subscription_that_cannot_be_is_refused_by_name() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.subscribe(wire::Subscribe { ack_wait_ms: 5000, ..earliest(1, "t", "g") }).await;
    for (frame, kind, text) in [
        (earliest(1, "t", ""), ErrorKind::Invalid, "in use"),
        (earliest(0, "t", ""), ErrorKind::Invalid, "0 or in use"),
        (earliest(2, "a*", ""), ErrorKind::Invalid, "topic name"),
        (earliest(2, "t", "a b"), ErrorKind::Invalid, "group name"),
        (wire::Subscribe { ack_wait_ms: 5, ..earliest(2, "t", "h") }, ErrorKind::Invalid, "ack_wait is 5"),
        (wire::Subscribe { ack_wait_ms: 6000, ..earliest(2, "t", "g") }, ErrorKind::GroupConflict, "ack_wait 5s"),
        (wire::Subscribe { pattern: "a".into(), ..earliest(2, "t", "") }, ErrorKind::Unsupported, "pattern"),
        (wire::Subscribe { serve: true, ..earliest(2, "t", "a b") }, ErrorKind::Invalid, "group name"),
        (wire::Subscribe { serve: true, ..earliest(2, "t", "") }, ErrorKind::Invalid, "no start"),
        (wire::Subscribe { serve: true, start: None, ..earliest(2, "a*", "") }, ErrorKind::Invalid, "topic name"),
    ] {
        let number = frame.subscription;
        peer.send(ClientFrame::Subscribe(frame)).await;
        let error = peer.error().await;
        assert_eq!((error.code, error.subscription, error.fatal), (kind.number(), number, false));
        assert!(error.message.contains(text), "{text}: {}", error.message);
    }
}

#[tokio::test]
async fn a_start_behind_the_last_event_begins_with_the_next_one_and_the_answer_says_where_that_is() {
    let rig = Rig::start().await;
    let mut publisher = rig.session().await;
    publisher.publish("t", run_of(&[event("1"), event("2"), event("3")])).await;
    let far = Some(wire::Start { at: Some(wire::start::At::Position(50)) });
    for group in ["", "g"] {
        let mut peer = rig.session().await;
        let frame = wire::Subscribe { start: far, ..earliest(1, "t", group) };
        let answer = peer.subscribe(frame).await;
        assert_eq!(answer.next_position, answer.topic_next, "{group}");
        publisher.publish("t", run_of(&[event(&format!("next for {group}"))])).await;
        let runs = peer.deliveries(1).await;
        assert_eq!((runs[0].first_position, runs[0].events.count()), (answer.topic_next, 1), "{group}");
    }
    let mut peer = rig.session().await;
    let answer = peer.subscribe(wire::Subscribe { start: far, ..earliest(1, "new", "") }).await;
    assert_eq!((answer.next_position, answer.topic_next), (1, 1), "a topic that never had an event");
    let answer = peer.subscribe(earliest(2, "t", "late")).await;
    assert_eq!((answer.next_position, answer.topic_next, answer.new_group), (1, 6, true));
    let answer = peer.subscribe(wire::Subscribe { start: far, ..earliest(3, "t", "late") }).await;
    assert!(!answer.new_group, "a group that exists");
}

#[tokio::test]
async fn leaving_gives_back_at_once_and_three_readers_at_three_speeds_each_get_all() {
    let rig = Rig::start().await;
    let mut publisher = rig.session().await;
    let events: Vec<_> = (0..100).map(|n| event(&n.to_string())).collect();
    publisher.publish("t", run_of(&events)).await;
    let mut first = rig.session().await;
    first.subscribe(earliest(1, "t", "g")).await;
    first.deliveries(100).await;
    first.send(ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 1 })).await;
    let mut second = rig.session().await;
    second.subscribe(earliest(1, "t", "g")).await;
    assert_eq!(second.deliveries(100).await.iter().map(|r| r.events.count()).sum::<u32>(), 100);
    for credit in [1, 7, 256] {
        let mut reader = rig.session().await;
        reader.subscribe(wire::Subscribe { max_events: credit, ..earliest(1, "t", "") }).await;
        let mut next = 1;
        while next <= 100 {
            let runs = reader.deliveries(1).await;
            let count: u32 = runs.iter().map(|r| r.events.count()).sum();
            assert_eq!(runs[0].first_position, next);
            assert!(count <= credit);
            reader.settle(1, next, count, SettleKind::Ack).await;
            next += u64::from(count);
        }
    }
}
