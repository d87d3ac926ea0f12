//! Publishing over the wire: receipts by range, each bad item by its index, replays exact.

use std::sync::Arc;

use bytes::Bytes;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, ServerFrame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event, EventRun};

use crate::rig::{Rig, earliest, event, hello, memory, run_of};

#[tokio::test]
async fn good_events_of_a_batch_are_kept_and_each_bad_one_has_its_index_and_reason() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let good = |id: &str| event(id).encode().unwrap();
    let doubled = Bytes::from([&good("x")[..], &[0x0a, 1, b'y']].concat());
    let events: EventRun = [
        good("1"),
        Bytes::from_static(b"\x0a\x012"),
        good("3"),
        good("4"),
        doubled,
        Bytes::from_static(&[0xff, 0xff]),
        event("7").attribute("a", "x".repeat(70_000).as_str()).encode().unwrap(),
        good("8"),
    ]
    .into_iter()
    .collect();
    let receipts = peer.publish("orders", events).await;
    let mut by_index: Vec<(u64, u32, u32, String)> =
        receipts.into_iter().map(|r| (r.first_sequence - 1, r.count, r.code, r.message)).collect();
    by_index.sort();
    let codes: Vec<(u64, u32, u32)> = by_index.iter().map(|(i, n, c, _)| (*i, *n, *c)).collect();
    let (invalid, large) = (ErrorKind::Invalid.number(), ErrorKind::TooLarge.number());
    assert_eq!(
        codes,
        [(0, 1, 0), (1, 1, invalid), (2, 2, 0), (4, 1, invalid), (5, 1, invalid), (6, 1, large), (7, 1, 0)]
    );
    assert!(by_index[1].3.contains("specversion") || by_index[1].3.contains("has no"), "{}", by_index[1].3);
    assert!(by_index[3].3.contains("more than once"), "{}", by_index[3].3);
    assert!(by_index[5].3.contains("max_attribute_bytes"), "{}", by_index[5].3);
    peer.subscribe(earliest(1, "orders", "")).await;
    let runs = peer.deliveries(4).await;
    assert_eq!(runs.iter().map(|r| r.events.count()).sum::<u32>(), 4);
}

#[tokio::test]
async fn an_event_arrives_with_the_bytes_it_was_sent_with() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let events: Vec<Event> = vec![
        Event::new("empty").id("1").source("/s"),
        Event::bytes("bytes", vec![0, 255, 0]).id("2").source("/s"),
        event("3").attribute("n", 7).attribute("flag", true).subject("é€"),
        Event::bytes("large", vec![7; 1 << 20]).id("4").source("/s"),
    ];
    let run = run_of(&events);
    peer.publish("t", run.clone()).await;
    peer.subscribe(wire::Subscribe { max_bytes: 1 << 30, ..earliest(1, "t", "") }).await;
    let got: Vec<u8> = peer.deliveries(4).await.iter().flat_map(|r| r.events.as_bytes().to_vec()).collect();
    assert!(got == run.as_bytes()[..], "the stored block is what was sent");
}

#[tokio::test]
async fn the_same_source_and_id_is_stored_once_and_answered_as_a_duplicate() {
    let rig = Rig::start().await;
    let (mut one, mut two) = (rig.session().await, rig.session().await);
    let first = one.publish("t", run_of(&[event("1"), event("2")])).await;
    let again = two.publish("t", run_of(&[event("2"), event("3")])).await;
    assert_eq!((first[0].first_position, first[0].count, first[0].duplicate), (1, 2, false));
    let mut again: Vec<_> = again.iter().map(|r| (r.first_sequence, r.first_position, r.duplicate)).collect();
    again.sort();
    assert_eq!(again, [(1, 2, true), (2, 3, false)]);
}

#[tokio::test]
async fn a_topic_that_is_alone_may_have_all_ids_of_the_gateway() {
    let mut config = memory();
    config.dedup_ids = 1000;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let (mut one, mut two) = (rig.session().await, rig.session().await);
    let events: Vec<Event> = (0..1000).map(|n| event(&n.to_string())).collect();
    one.publish("t", run_of(&events)).await;
    let again = two.publish("t", run_of(&events)).await;
    assert_eq!(again.iter().filter(|r| r.duplicate).map(|r| r.count).sum::<u32>(), 1000);
    one.publish("t", run_of(&[event("one more")])).await;
    let again = two.publish("t", run_of(&events[..2])).await;
    assert_eq!(again.iter().map(|r| r.duplicate).collect::<Vec<_>>(), [false, true], "the oldest went: {again:?}");
}

#[tokio::test]
async fn a_replay_by_sequence_is_a_duplicate_whatever_it_holds() {
    let rig = Rig::start().await;
    let hello = hello();
    let (mut peer, welcome) = rig.login(hello.clone()).await;
    assert_eq!((welcome.kept_through, welcome.producer_known), (0, true));
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    drop(peer);
    let (mut peer, welcome) = rig.login(wire::Hello { first_unanswered: 2, ..hello }).await;
    assert_eq!(welcome.kept_through, 2, "sequence 2 is kept");
    let run = PublishRun {
        alias: 1,
        topic: "t".into(),
        first_sequence: 2,
        events: run_of(&[event("other")]),
        ..PublishRun::default()
    };
    peer.send(ClientFrame::Publish(Publish { runs: vec![run], answered_through: 1 })).await;
    let receipt = peer.find(|f| if let ServerFrame::Receipts(r) = f { Some(r.receipts) } else { None }).await;
    assert!(receipt[0].duplicate && receipt[0].code == 0);
}

#[tokio::test]
async fn an_invalid_topic_answers_every_event_with_the_rule() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let receipts = peer.publish("a b", run_of(&[event("1"), event("2")])).await;
    assert_eq!((receipts[0].count, receipts[0].code), (2, ErrorKind::Invalid.number()));
    assert!(receipts[0].message.contains("1 to 120 bytes"), "{}", receipts[0].message);
}

#[tokio::test]
async fn what_this_version_does_not_do_is_refused_by_name() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let run = |first_sequence| PublishRun {
        alias: 1,
        topic: "t".into(),
        first_sequence,
        events: run_of(&[event("1")]),
        ..PublishRun::default()
    };
    let runs =
        [PublishRun { expected_position: Some(0), ..run(1) }, PublishRun { topic: String::new(), alias: 9, ..run(2) }];
    for (run, text) in runs.into_iter().zip(["expected_position", "alias 9"]) {
        peer.send(ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 })).await;
        let receipts = peer.find(|f| if let ServerFrame::Receipts(r) = f { Some(r.receipts) } else { None }).await;
        assert!(receipts[0].code != 0 && receipts[0].message.contains(text), "{}", receipts[0].message);
    }
}

#[tokio::test]
async fn a_producer_whose_sequences_fall_apart_is_busy_until_earlier_ones_are_answered() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let run = |sequence: u64| PublishRun {
        alias: 1,
        topic: "t".into(),
        first_sequence: sequence,
        events: run_of(&[event(&sequence.to_string())]),
        ..PublishRun::default()
    };
    let mut receipts = Vec::new();
    // Every other sequence, and never a word that the first ones are answered.
    for frame in 0..9u64 {
        let runs = (0..2048).map(|n| run(1 + 2 * (frame * 2048 + n))).collect();
        peer.send(ClientFrame::Publish(Publish { runs, answered_through: 0 })).await;
        let mut answered = 0;
        while answered < 2048 {
            let more = peer.find(|f| if let ServerFrame::Receipts(r) = f { Some(r.receipts) } else { None }).await;
            answered += more.iter().map(|r| r.count).sum::<u32>();
            receipts.extend(more);
        }
    }
    let refused: Vec<_> = receipts.iter().filter(|r| r.code != 0).collect();
    assert_eq!(refused.len(), 2048, "all over 16,384");
    assert!(refused.iter().all(|r| r.code == ErrorKind::Busy.number() && r.retry_after_ms > 0));
    assert!(refused[0].message.contains("16384 separate ranges"), "{}", refused[0].message);
    peer.send(ClientFrame::Publish(Publish { runs: vec![run(40_001)], answered_through: 40_000 })).await;
    let receipt = peer.find(|f| if let ServerFrame::Receipts(r) = f { Some(r.receipts) } else { None }).await;
    assert_eq!(receipt[0].code, 0);
}
