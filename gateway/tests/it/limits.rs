//! What one client may make the gateway remember is bounded, and over a bound it is
//! told which.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, EventRun};

use crate::machine::{Line, Machine};
use crate::rig::{Peer, Rig, earliest, event, hello, memory, run_of};

async fn with(change: impl FnOnce(&mut Config)) -> Rig {
    let mut config = memory();
    change(&mut config);
    Rig::with(config, Arc::new(AllowAll)).await
}

async fn refused(peer: &mut Peer, frame: wire::Subscribe, says: &[&str]) {
    let number = frame.subscription;
    peer.send(ClientFrame::Subscribe(frame)).await;
    let error = peer.error().await;
    assert_eq!((error.code, error.subscription, error.fatal), (ErrorKind::TooLarge.number(), number, false));
    for text in says {
        assert!(error.message.contains(text), "{text}: {}", error.message);
    }
}

#[tokio::test]
async fn a_session_has_a_bounded_number_of_subscriptions() {
    let rig = with(|c| c.max_subscriptions = 2).await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "")).await;
    peer.subscribe(earliest(2, "t", "")).await;
    refused(&mut peer, earliest(3, "t", ""), &["max_subscriptions", "2 subscriptions"]).await;
    peer.send(ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: 1 })).await;
    peer.subscribe(earliest(4, "t", "")).await;
}

#[tokio::test]
async fn a_topic_and_a_gateway_have_a_bounded_number_of_groups() {
    let rig = with(|c| (c.max_topic_groups, c.max_groups) = (2, 3)).await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "a")).await;
    peer.subscribe(earliest(2, "t", "b")).await;
    refused(&mut peer, earliest(4, "t", "c"), &["max_topic_groups", "topic t has 2 groups", "group c"]).await;
    peer.subscribe(earliest(3, "u", "a")).await;
    refused(&mut peer, earliest(5, "u", "b"), &["max_groups", "there are 3 groups", "group b"]).await;
    peer.subscribe(earliest(6, "t", "b")).await;
    peer.subscribe(earliest(7, "v", "")).await;
    refused(&mut peer, earliest(8, "v", "a"), &["max_groups"]).await;
}

#[tokio::test]
async fn one_topic_too_many_is_no_passing_trouble() {
    let rig = with(|c| c.max_topics = 1).await;
    let mut peer = rig.session().await;
    peer.publish("a", run_of(&[event("1")])).await;
    let receipt = peer.publish("b", run_of(&[event("2")])).await.remove(0);
    assert_eq!((receipt.code, receipt.retry_after_ms), (ErrorKind::TooLarge.number(), 0));
    assert!(receipt.message.contains("max_topics"), "{}", receipt.message);
}

/// Events of one byte, which are none.
fn junk(count: usize) -> EventRun {
    std::iter::repeat_n(bytes::Bytes::from_static(&[0xff]), count).collect()
}

#[tokio::test]
async fn refusals_for_one_reason_are_one_receipt_and_a_frame_is_no_longer_than_the_window() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let receipts = peer.publish("t", junk(16_384)).await;
    assert_eq!(receipts.len(), 1);
    assert_eq!((receipts[0].count, receipts[0].code), (16_384, ErrorKind::Invalid.number()));
    let run = |first_sequence, events| PublishRun {
        alias: 1,
        topic: "t".into(),
        first_sequence,
        events,
        ..PublishRun::default()
    };
    let runs = vec![run(20_000, junk(16_000)), run(40_000, junk(385))];
    peer.send(ClientFrame::Publish(Publish { runs, answered_through: 0 })).await;
    let error = peer.error().await;
    assert!(error.fatal && error.code == ErrorKind::TooLarge.number());
    assert!(error.message.contains("16385 events") && error.message.contains("publish_window_events"));
}

#[tokio::test]
async fn a_settle_frame_has_a_bounded_number_of_ranges_and_deliveries() {
    let rig = Rig::start().await;
    let range = |first_delivery, count| SettleRange {
        subscription: 1,
        first_delivery,
        count,
        kind: SettleKind::Ack,
        ..SettleRange::default()
    };
    for (ranges, count, fatal) in [(16_384, 1, false), (16_385, 1, true), (16, u32::MAX, false), (17, 65_536, true)] {
        let mut peer = rig.session().await;
        peer.subscribe(earliest(1, "t", "g")).await;
        let ranges = (1..=ranges).map(|first| range(first, count)).collect();
        peer.send(ClientFrame::Settle(Settle { sequence: 1, ranges, confirm: true })).await;
        if fatal {
            let error = peer.error().await;
            assert!(error.fatal && error.message.contains("Settle frame"), "{}", error.message);
            assert_eq!(error.code, ErrorKind::TooLarge.number());
        } else {
            peer.find(|f| matches!(f, ServerFrame::Settled(_)).then_some(())).await;
        }
    }
}

fn resume(machine: &Machine, first: &(Line, wire::Welcome), hello: &wire::Hello) -> bool {
    let welcome = &first.1;
    let (resume_session, resume_secret) = (welcome.session.clone(), welcome.secret.clone());
    machine.login(wire::Hello { resume_session, resume_secret, ..hello.clone() }).1.resumed
}

#[test]
fn over_the_most_suspended_sessions_the_one_that_waits_longest_ends() {
    let machine = Machine::with(|c| c.suspended.0 = 2);
    let hellos = [hello(), hello(), hello()];
    let sessions: Vec<_> = hellos.iter().map(|h| machine.login(h.clone())).collect();
    for (n, session) in sessions.iter().enumerate() {
        machine.clock.0.store(n as i64, std::sync::atomic::Ordering::Relaxed);
        session.0.cut();
    }
    let resumed: Vec<bool> = sessions.iter().zip(&hellos).map(|(s, h)| resume(&machine, s, h)).collect();
    assert_eq!(resumed, [false, true, true]);
}

#[test]
fn over_the_bytes_of_suspended_sessions_the_largest_ends_and_its_leases_go_to_others() {
    let machine = Machine::with(|c| c.suspended.1 = 20_000);
    let hellos = [hello(), hello(), hello()];
    let sessions: Vec<_> = hellos.iter().map(|h| machine.login(h.clone())).collect();
    let large = &sessions[1].0;
    large.publish(1, "t");
    large.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    for n in 0..200 {
        large.publish_as(n + 10, &format!("topic-{}", n % 50), n as u32 + 10);
    }
    machine.run_disk();
    assert!(large.frames().iter().any(|f| matches!(f, ServerFrame::Deliver(_))));
    for session in &sessions {
        session.0.cut();
    }
    let resumed: Vec<bool> = sessions.iter().zip(&hellos).map(|(s, h)| resume(&machine, s, h)).collect();
    assert_eq!(resumed, [true, false, true]);
    let other = machine.session();
    other.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    assert!(other.frames().iter().any(|f| matches!(f, ServerFrame::Deliver(_))));
}

#[test]
fn a_suspended_session_keeps_no_deliveries_that_did_not_go_out() {
    let machine = Machine::start();
    let reader = machine.session();
    reader.send(&ClientFrame::Subscribe(earliest(1, "t", "g")));
    machine.run_disk();
    reader.frames();
    machine.session().publish(1, "t");
    machine.run_disk();
    reader.cut();
    assert!(!reader.frames().iter().any(|f| matches!(f, ServerFrame::Deliver(_))));
}
