use meshwire_proto::Retry;

use super::*;

#[test]
fn sequences_rise_from_one_across_topics_and_a_topic_is_named_once() {
    let mut scene = Scene::up();
    for (name, expected) in [("a", 1), ("b", 2), ("a", 3)] {
        assert_eq!(scene.session.publish(&topic(name), b"x"), expected);
    }
    let published = scene.published();
    let one = vec![Bytes::from_static(b"x")];
    assert_eq!(runs(&published[0]), [(1, "a", 1, one.clone()), (2, "b", 2, one.clone()), (1, "", 3, one.clone())]);
    scene.session.publish(&topic("b"), b"x");
    assert_eq!(runs(&scene.published()[0]), [(2, "", 4, one)]);
}

#[test]
fn many_small_publishes_travel_as_few_frames_of_at_most_64_kib() {
    let mut scene = Scene::up();
    let event = [b'x'; 300];
    for _ in 0..1000 {
        scene.session.publish(&topic("orders"), &event);
    }
    let published = scene.published();
    assert_eq!(published.len(), 5, "303,000 bytes in frames of 65,536");
    assert!(published.iter().all(|p| p.runs.len() == 1 && p.runs[0].events.as_bytes().len() <= 65_536));
    assert_eq!(published.iter().map(|p| p.runs[0].events.count()).sum::<u32>(), 1000);
}

#[test]
fn runs_of_many_topics_share_a_frame() {
    let mut scene = Scene::up();
    for n in 0..100 {
        scene.session.publish(&topic(if n % 2 == 0 { "a" } else { "b" }), b"x");
    }
    let published = scene.published();
    assert_eq!((published.len(), published[0].runs.len()), (1, 100));
}

#[test]
fn an_event_larger_than_a_frame_is_sent_alone_and_whole() {
    let mut scene = Scene::up();
    scene.publish(&["small"]);
    scene.session.publish(&topic("orders"), &vec![b'x'; 3 << 20]);
    scene.publish(&["small"]);
    let sizes: Vec<usize> =
        scene.published().iter().map(|p| p.runs.iter().map(|r| r.events.as_bytes().len()).sum()).collect();
    assert_eq!(sizes.len(), 3);
    assert!(sizes[1] > 3 << 20 && sizes[0] < 100 && sizes[2] < 100, "{sizes:?}");
}

#[test]
fn no_more_is_in_flight_than_the_smaller_of_both_windows() {
    for (gateway, client, expected) in [(10, 100, 10), (100, 10, 10), (0, 7, 7)] {
        let mut scene = Scene::with(Config { window_events: client, ..Config::default() });
        scene.connect(wire::Welcome { publish_window_events: gateway, ..welcome() });
        scene.publish(&["e"; 50]);
        assert_eq!(scene.sequences(), (1..=expected).collect::<Vec<_>>());
        scene.receipts(vec![kept(1, expected as u32, 1)]);
        let next = scene.sequences();
        assert!(!next.is_empty() && next.len() as u64 <= expected && next[0] == expected + 1, "{next:?}");
    }
}

#[test]
fn a_window_in_bytes_holds_publishes_back_but_lets_one_pass() {
    let mut scene = Scene::up();
    scene.reconnect(wire::Welcome { publish_window_bytes: 1000, ..resumed() });
    scene.session.publish(&topic("orders"), &[b'x'; 5000]);
    scene.session.publish(&topic("orders"), &[b'x'; 70_000]);
    assert_eq!(scene.sequences(), [1]);
    scene.receipts(vec![kept(1, 1, 1)]);
    assert_eq!(scene.sequences(), [2]);
}

#[test]
fn a_receipt_answers_a_range_and_positions_follow_the_first() {
    let mut scene = Scene::up();
    scene.publish(&["e"; 10]);
    scene.sent();
    scene.receipts(vec![kept(4, 3, 70), kept(1, 3, 40)]);
    let outputs = scene.outputs();
    let answers: Vec<&Answer> =
        outputs.iter().filter_map(|o| if let Output::Answered(a) = o { Some(a) } else { None }).collect();
    assert_eq!(answers[0].sequences, 4..7);
    assert_eq!(answers[0].result, Ok(Kept { first_position: 70, duplicate: false }));
    assert_eq!(answers[1].sequences, 1..4);
    assert_eq!(scene.session.answered_through(), 6);
    assert_eq!(scene.session.unanswered().0, 4);
}

#[test]
fn a_receipt_that_comes_twice_is_handed_out_once() {
    let mut scene = Scene::up();
    scene.publish(&["e"; 6]);
    scene.sent();
    scene.receipts(vec![kept(2, 2, 2), kept(1, 6, 1), kept(1, 6, 1)]);
    assert_eq!(scene.answers(), [(2..4, true), (1..2, true), (4..7, true)]);
}

#[test]
fn a_receipt_for_what_was_never_sent_drops_the_connection() {
    for receipt in [kept(1, 3, 1), kept(0, 1, 1), kept(1, 0, 1), kept(u64::MAX, 2, 1)] {
        let mut scene = Scene::up();
        scene.publish(&["e"; 2]);
        scene.sent();
        scene.receipts(vec![receipt]);
        assert!(scene.disconnect_reason().contains("a receipt for"));
        assert_eq!(scene.session.stats().protocol_errors, 1);
    }
}

#[test]
fn busy_and_full_are_told_with_their_wait_and_not_tried_again() {
    let mut scene = Scene::up();
    scene.publish(&["a", "b"]);
    scene.sent();
    let busy = Receipt {
        code: ErrorKind::Busy.number(),
        message: "out of budget".to_owned(),
        retry_after_ms: 20,
        ..kept(1, 1, 0)
    };
    scene.receipts(vec![busy, kept(2, 1, 1)]);
    let outputs = scene.outputs();
    let failure = outputs.iter().find_map(|o| match o {
        Output::Answered(Answer { sequences, result: Err(failure) }) if *sequences == (1..2) => Some(failure),
        _ => None,
    });
    let failure = failure.expect("sequence 1 failed");
    assert_eq!((failure.kind, failure.retry_after), (ErrorKind::Busy, Some(Duration::from_millis(20))));
    assert_eq!(scene.sequences(), Vec::<u64>::new());
}

#[test]
fn after_a_reconnect_exactly_what_is_unanswered_is_sent_again_with_its_old_sequences() {
    let mut scene = Scene::up();
    scene.publish(&["1", "2", "3", "4", "5", "6", "7", "8"]);
    scene.sent();
    scene.receipts(vec![kept(1, 2, 1), kept(5, 2, 5)]);
    let hello = scene.reconnect(wire::Welcome { kept_through: 2, ..welcome() });
    assert_eq!(hello.first_unanswered, 3);
    let published = scene.published();
    let again: Vec<(u64, Vec<Bytes>)> =
        runs(&published[0]).into_iter().map(|(_, _, first, events)| (first, events)).collect();
    let bytes = |e: &[&'static str]| e.iter().map(|s| Bytes::from_static(s.as_bytes())).collect::<Vec<_>>();
    assert_eq!(again, [(3, bytes(&["3", "4"])), (7, bytes(&["7", "8"]))]);
    assert_eq!(published[0].runs[0].topic, "orders", "the alias is bound anew");
    assert_eq!(published[0].answered_through, 2);
    assert_eq!(scene.session.stats().replays, 4);
}

#[test]
fn what_the_gateway_kept_before_the_cut_is_answered_without_position_and_not_sent() {
    let mut scene = Scene::up();
    scene.publish(&["e"; 6]);
    scene.sent();
    scene.outputs();
    scene.reconnect(wire::Welcome { kept_through: 4, ..resumed() });
    let outputs = scene.outputs();
    let answer = Answer { sequences: 1..5, result: Ok(Kept { first_position: 0, duplicate: false }) };
    assert!(outputs.contains(&Output::Answered(answer)), "{outputs:?}");
    assert_eq!(scene.sequences(), [5, 6]);
}

#[test]
fn what_was_never_sent_is_not_answered_by_a_gateway_that_says_it_kept_it() {
    let mut scene = Scene::up();
    scene.publish(&["e"; 2]);
    scene.sent();
    scene.cut();
    scene.publish(&["e"; 2]);
    scene.connect(wire::Welcome { kept_through: 100, ..welcome() });
    assert_eq!(scene.answers(), [(1..3, true)]);
    assert_eq!(scene.sequences(), [3, 4]);
    assert_eq!(scene.session.stats().replays, 0);
}

#[test]
fn publishes_made_while_disconnected_are_sent_behind_the_replay() {
    let mut scene = Scene::up();
    scene.publish(&["e"; 3]);
    scene.sent();
    scene.cut();
    scene.publish(&["e"; 3]);
    assert!(scene.sent().is_empty());
    scene.connect(welcome());
    assert_eq!(scene.sequences(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(scene.session.stats().replays, 3);
}

#[test]
fn a_replay_to_a_gateway_that_forgot_the_producer_is_counted_apart_and_sent_all_the_same() {
    let mut scene = Scene::up();
    scene.publish(&["a", "b"]);
    let sent = scene.published();
    scene.reconnect(wire::Welcome { producer_known: false, ..welcome() });
    assert_eq!(scene.published(), sent, "the same events: they are known by source and id");
    assert_eq!((scene.session.stats().replays, scene.session.stats().replays_by_id), (2, 2));
    scene.reconnect(welcome());
    assert_eq!((scene.session.stats().replays, scene.session.stats().replays_by_id), (4, 2));
}

#[test]
fn a_replay_that_is_cut_again_is_replayed_again() {
    let mut scene = Scene::up();
    scene.publish(&["e"; 5]);
    scene.sent();
    for _ in 0..3 {
        scene.reconnect(welcome());
        assert_eq!(scene.sequences(), [1, 2, 3, 4, 5]);
    }
    scene.receipts(vec![kept(1, 5, 1)]);
    assert_eq!(scene.answers(), [(1..6, true)]);
    assert_eq!(scene.session.unanswered(), (0, 0));
}

#[test]
fn every_cut_of_a_run_by_a_small_window_keeps_order_and_bytes() {
    for window in 1..=12 {
        let mut scene = Scene::new();
        scene.connect(wire::Welcome { publish_window_events: window, ..welcome() });
        let events: Vec<String> = (1..=40).map(|n| format!("event {n}")).collect();
        for event in &events {
            scene.session.publish(&topic("orders"), event.as_bytes());
        }
        let mut seen = Vec::new();
        while scene.session.unanswered().0 > 0 {
            let published = scene.published();
            assert!(!published.is_empty(), "window {window} stalls behind {seen:?}");
            for (_, _, first, run) in published.iter().flat_map(runs) {
                assert_eq!(first, seen.len() as u64 + 1);
                let count = run.len() as u32;
                seen.extend(run.iter().map(|e| String::from_utf8(e.to_vec()).unwrap()));
                scene.receipts(vec![kept(first, count, first)]);
            }
        }
        assert_eq!(seen, events, "window {window}");
        assert_eq!(scene.session.unanswered(), (0, 0));
    }
}

#[test]
fn closing_answers_every_publish_and_says_which_may_have_been_kept() {
    let mut scene = Scene::new();
    scene.connect(wire::Welcome { publish_window_events: 2, ..welcome() });
    scene.publish(&["e"; 4]);
    scene.sent();
    scene.outputs();
    scene.session.close();
    let outputs = scene.outputs();
    let mut retries = outputs.iter().filter_map(|o| match o {
        Output::Answered(Answer { sequences, result: Err(f) }) => Some((sequences.clone(), f.kind, f.retry)),
        _ => None,
    });
    use meshwire_proto::Retry;
    assert_eq!(retries.next(), Some((1..3, ErrorKind::Closed, Retry::UnknownOutcome)));
    assert_eq!(retries.next(), Some((3..5, ErrorKind::Closed, Retry::Never)));
    assert_eq!(outputs.last(), Some(&Output::Closed));
}

#[test]
fn runs_given_whole_and_events_given_singly_share_one_order() {
    let mut scene = Scene::up();
    let alias = scene.session.alias(&topic("orders"));
    assert_eq!(scene.session.publish(&topic("orders"), b"1"), 1);
    let run: EventRun = [Bytes::from_static(b"2"), Bytes::from_static(b"3")].into_iter().collect();
    assert_eq!(scene.session.publish_run((alias, Timing::default()), run), 2);
    assert_eq!(scene.session.publish(&topic("orders"), b"4"), 4);
    let published = scene.published();
    let events: Vec<Bytes> = published.iter().flat_map(runs).flat_map(|r| r.3).collect();
    assert_eq!(events, ["1", "2", "3", "4"]);
}

#[test]
fn events_of_one_time_share_a_run_and_a_replay_says_the_same_time() {
    let mut scene = Scene::up();
    let at = |ms| Timing { deliver_at: UnixMillis(ms), expires_in_ms: 7 };
    for (event, timing) in [("1", at(5)), ("2", at(5)), ("3", at(6)), ("4", Timing::default()), ("5", at(5))] {
        scene.session.publish_timed(&topic("orders"), event.as_bytes(), timing);
    }
    let times = |published: &[Publish]| -> Vec<_> {
        let runs = published.iter().flat_map(|p| &p.runs);
        runs.map(|r| (r.first_sequence, r.events.count(), r.deliver_at_ms, r.expires_in_ms)).collect()
    };
    let expected = [(1, 2, 5, 7), (3, 1, 6, 7), (4, 1, 0, 0), (5, 1, 5, 7)];
    assert_eq!(times(&scene.published()), expected);
    scene.session.disconnected(scene.now);
    scene.now = scene.now + Duration::from_secs(60);
    scene.connect(welcome());
    assert_eq!(times(&scene.published()), expected);
}

#[test]
fn an_event_that_no_frame_of_the_next_gateway_holds_is_answered_and_the_others_are_sent_again() {
    let mut scene = Scene::up();
    scene.publish(&["small"]);
    scene.session.publish(&topic("orders"), &vec![b'x'; 300_000]);
    assert_eq!(scene.sequences(), [1, 2]);
    scene.session.disconnected(scene.now);
    scene.session.publish(&topic("orders"), &vec![b'x'; 300_000]);
    scene.reconnect(wire::Welcome { max_frame_bytes: 262_144, ..resumed() });
    let outputs = scene.outputs();
    let told: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Answered(Answer { sequences, result: Err(failure) }) => {
                Some((sequences.start, failure.kind, failure.retry))
            }
            _ => None,
        })
        .collect();
    let (sent, new) = (Retry::UnknownOutcome, Retry::Never);
    assert_eq!(told, [(2, ErrorKind::TooLarge, sent), (3, ErrorKind::TooLarge, new)]);
    assert_eq!(scene.sequences(), [1]);
}
