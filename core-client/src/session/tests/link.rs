use super::*;

#[test]
fn the_first_hello_names_the_producer_and_claims_nothing() {
    let mut scene = Scene::with(Config { producer_id: [9; 16], producer_epoch: 3, ..Config::default() });
    let hello = scene.hello();
    assert_eq!((&hello.producer_id[..], hello.producer_epoch), (&[9; 16][..], 3));
    assert_eq!((hello.min_version, hello.max_version, hello.first_unanswered), (1, 1, 0));
    assert!(hello.resume_session.is_empty() && hello.resume_secret.is_empty() && hello.held.is_empty());
}

#[test]
fn states_follow_the_connection() {
    let mut scene = Scene::new();
    assert_eq!(scene.session.state(), State::Disconnected);
    let hello = scene.hello();
    assert!(hello.resume_session.is_empty());
    assert_eq!(scene.session.state(), State::Connecting);
    scene.receive(&ServerFrame::Welcome(welcome()));
    assert_eq!(scene.session.state(), State::Connected);
    scene.cut();
    assert_eq!(scene.session.state(), State::Reconnecting);
    scene.connect(resumed());
    assert_eq!(scene.session.state(), State::Connected);
    scene.session.close();
    assert_eq!(scene.session.state(), State::Closed);
    assert_eq!(scene.session.deadline(), None);
}

#[test]
fn a_reconnect_asks_for_the_session_and_counts_whether_it_was_resumed() {
    let mut scene = Scene::up();
    let hello = scene.reconnect(resumed());
    assert_eq!((&hello.resume_session[..], &hello.resume_secret[..]), (&b"session"[..], &b"secret"[..]));
    scene.reconnect(welcome());
    let stats = scene.session.stats();
    assert_eq!((stats.reconnects, stats.resumes), (2, 1));
}

#[test]
fn a_login_without_an_answer_is_given_up_after_five_seconds() {
    let mut scene = Scene::new();
    scene.hello();
    scene.pass(Duration::from_millis(4999));
    assert!(scene.outputs().iter().all(|o| !matches!(o, Output::Disconnect { .. })));
    scene.pass(Duration::from_millis(1));
    assert!(scene.disconnect_reason().contains("login"));
    assert!(scene.until_dial() <= Duration::from_millis(100));
}

#[test]
fn failed_dials_back_off_up_to_the_maximum_and_go_on_for_ever() {
    let mut scene = Scene::new();
    let mut longest = Duration::ZERO;
    for attempt in 0..200_u32 {
        let wait = scene.until_dial();
        let ceiling = Duration::from_millis(50 << attempt.saturating_sub(1).min(7)).min(Duration::from_secs(5));
        assert!(wait <= ceiling, "attempt {attempt} waits {wait:?}");
        longest = longest.max(wait);
        scene.cut();
    }
    assert!(longest > Duration::from_secs(4), "{longest:?}");
}

#[test]
fn a_connection_that_held_begins_the_back_off_anew_and_one_that_flaps_does_not() {
    let mut scene = Scene::new();
    for _ in 0..20 {
        scene.connect(welcome());
        scene.cut();
    }
    let flapping: Duration = (0..20)
        .map(|_| {
            let wait = scene.until_dial();
            scene.session.connected(scene.now);
            scene.receive(&ServerFrame::Welcome(welcome()));
            scene.cut();
            wait
        })
        .sum();
    assert!(flapping > Duration::from_secs(20), "{flapping:?}");
    scene.connect(welcome());
    scene.pass(Duration::from_secs(2));
    scene.cut();
    assert!(scene.until_dial() <= Duration::from_millis(50));
}

#[test]
fn silence_is_answered_with_a_ping_and_then_with_a_new_connection() {
    let mut scene = Scene::up();
    scene.outputs();
    scene.pass(Duration::from_millis(9_999));
    assert!(scene.sent().is_empty());
    scene.pass(Duration::from_millis(1));
    assert!(matches!(scene.sent().as_slice(), [ClientFrame::Ping(wire::Ping { answer: false, .. })]));
    scene.pass(Duration::from_millis(14_999));
    assert!(scene.outputs().is_empty() && scene.sent().is_empty());
    scene.pass(Duration::from_millis(1));
    assert!(scene.disconnect_reason().contains("nothing was heard"));
    assert_eq!(scene.session.stats().silences, 1);
    assert_eq!(scene.session.state(), State::Reconnecting);
}

#[test]
fn any_byte_heard_counts_as_a_heartbeat() {
    let mut scene = Scene::up();
    for _ in 0..10 {
        scene.pass(Duration::from_secs(9));
        scene.session.heard(scene.now);
    }
    assert!(scene.sent().is_empty());
}

#[test]
fn a_ping_of_the_gateway_is_answered_and_an_answer_is_not() {
    let mut scene = Scene::up();
    scene.receive(&ServerFrame::Ping(wire::Ping { nonce: 5, answer: false }));
    assert_eq!(scene.sent(), [ClientFrame::Ping(wire::Ping { nonce: 5, answer: true })]);
    scene.receive(&ServerFrame::Ping(wire::Ping { nonce: 5, answer: true }));
    assert!(scene.sent().is_empty());
}

fn error(kind: ErrorKind, fatal: bool) -> ServerFrame {
    ServerFrame::Error(wire::Error {
        code: kind.number(),
        message: "because".to_owned(),
        retry_after_ms: 3000,
        fatal,
        ..wire::Error::default()
    })
}

#[test]
fn of_gateways_that_are_asked_one_after_the_other_and_are_busy_the_least_wait_counts_in_that_round() {
    let mut scene = Scene::new();
    let busy = |retry_after_ms| {
        let code = ErrorKind::Busy.number();
        ServerFrame::Error(wire::Error { code, retry_after_ms, fatal: true, ..wire::Error::default() })
    };
    for (first, waits) in [(3000, 3000), (30_000, 20_000)] {
        scene.hello();
        scene.receive(&busy(first));
        for next in [0, 20_000] {
            assert!(scene.session.redial());
            scene.session.connected(scene.now);
            assert_eq!(scene.sent().len(), 1);
            scene.receive(&busy(next));
        }
        let waited = scene.session.deadline().unwrap().since(scene.now);
        assert_eq!(waited.as_millis(), waits, "and not what the round before was told");
    }
}

#[test]
fn a_refusal_that_cannot_change_ends_the_session_with_its_reason() {
    for kind in [ErrorKind::Unauthenticated, ErrorKind::Denied, ErrorKind::Unsupported, ErrorKind::Invalid] {
        let mut scene = Scene::new();
        scene.publish(&["e"]);
        scene.hello();
        scene.receive(&error(kind, true));
        let outputs = scene.outputs();
        assert!(matches!(outputs.last(), Some(Output::Failed(f)) if f.kind == kind && f.message == "because"));
        assert!(outputs.iter().any(|o| matches!(o, Output::Answered(Answer { result: Err(_), .. }))));
        assert_eq!((scene.session.state(), scene.session.deadline()), (State::Closed, None));
    }
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_after_the_wait_it_names() {
    let mut scene = Scene::new();
    scene.hello();
    scene.receive(&error(ErrorKind::Busy, true));
    assert_eq!(scene.disconnect_reason(), "because");
    assert!(scene.until_dial() >= Duration::from_secs(3));
}

#[test]
fn a_login_too_large_for_what_it_resumes_is_followed_by_one_that_resumes_nothing() {
    let mut scene = Scene::up();
    let (_, _) = scene.subscribe(spec(Some("g"), None));
    scene.cut();
    assert!(!scene.hello().resume_session.is_empty());
    scene.receive(&error(ErrorKind::TooLarge, true));
    assert!(!scene.outputs().iter().any(|o| matches!(o, Output::Failed(_))));
    let hello = scene.connect(welcome());
    assert!(hello.resume_session.is_empty() && hello.held.is_empty());
    assert_eq!(scene.asked().len(), 1, "it subscribes again");
    // One that is too large with nothing to resume is so for good.
    let mut scene = Scene::new();
    scene.hello();
    scene.receive(&error(ErrorKind::TooLarge, true));
    assert!(matches!(scene.outputs().last(), Some(Output::Failed(_))));
}

#[test]
fn a_gateway_of_another_protocol_version_is_refused() {
    let mut scene = Scene::new();
    scene.connect(wire::Welcome { version: 2, ..welcome() });
    let outputs = scene.outputs();
    assert!(matches!(outputs.last(), Some(Output::Failed(f)) if f.kind == ErrorKind::Unsupported), "{outputs:?}");
}

#[test]
fn a_draining_gateway_gets_no_new_publishes_and_they_go_to_the_next_connection() {
    let mut scene = Scene::up();
    scene.publish(&["before"]);
    scene.sent();
    scene.receive(&ServerFrame::Drain(wire::Drain { deadline_ms: 1000, reason: String::new() }));
    assert_eq!(scene.session.state(), State::Draining);
    scene.publish(&["after"]);
    assert!(scene.sequences().is_empty());
    scene.receipts(vec![kept(1, 1, 1)]);
    assert_eq!(scene.answers(), [(1..2, true)]);
    scene.reconnect(welcome());
    assert_eq!(scene.sequences(), [2]);
}

#[test]
fn a_gateway_that_announced_its_end_and_stays_is_left() {
    let mut scene = Scene::up();
    scene.receive(&ServerFrame::Drain(wire::Drain { deadline_ms: 1000, reason: String::new() }));
    scene.outputs();
    scene.pass(Duration::from_millis(5999));
    assert!(scene.outputs().is_empty());
    scene.pass(Duration::from_millis(1));
    assert!(scene.disconnect_reason().contains("announced its end"));
}

#[test]
fn bytes_that_are_no_frame_drop_the_connection_and_nothing_else() {
    let garbage: [&[u8]; 6] = [b"", b"\xFF", b"\x0A\xFF\x01", b"\x12\x02\x0A\x05", b"\x00\x00", b"GET / HTTP/1.1"];
    for bytes in garbage {
        let mut scene = Scene::up();
        scene.session.received(scene.now, Bytes::from_static(bytes));
        assert!(scene.disconnect_reason().contains("protocol error"), "{bytes:?}");
        assert_eq!(scene.session.state(), State::Reconnecting);
    }
}

#[test]
fn frames_out_of_turn_drop_the_connection() {
    let mut scene = Scene::new();
    scene.hello();
    scene.receipts(vec![]);
    assert!(scene.disconnect_reason().contains("neither Welcome nor Error"));
    let mut scene = Scene::up();
    scene.receive(&ServerFrame::Welcome(welcome()));
    assert!(scene.disconnect_reason().contains("second Welcome"));
}

#[test]
fn a_frame_of_a_newer_version_is_skipped_if_it_says_so() {
    let mut scene = Scene::up();
    scene.outputs();
    scene.receive(&ServerFrame::Optional(1001));
    assert!(scene.outputs().is_empty());
    scene.receive(&ServerFrame::Optional(999));
    assert!(scene.disconnect_reason().contains("999"));
}

#[test]
fn a_peer_that_breaks_the_protocol_twice_gets_a_new_session() {
    let mut scene = Scene::up();
    scene.session.received(scene.now, Bytes::from_static(b"\xFF"));
    assert!(!scene.connect(resumed()).resume_session.is_empty());
    scene.session.received(scene.now, Bytes::from_static(b"\xFF"));
    assert!(scene.connect(welcome()).resume_session.is_empty());
}

#[test]
fn what_comes_after_the_end_is_ignored() {
    let mut scene = Scene::up();
    scene.session.close();
    scene.outputs();
    scene.receipts(vec![kept(1, 1, 1)]);
    scene.cut();
    scene.pass(Duration::from_secs(100));
    assert!(scene.outputs().is_empty());
}

#[test]
fn commands_are_repeated_until_they_are_answered() {
    let mut scene = Scene::up();
    let number = scene.session.admin(Bytes::from_static(b"list"));
    let frame = ClientFrame::Admin(wire::Admin { number, command: Bytes::from_static(b"list") });
    assert_eq!(scene.sent(), std::slice::from_ref(&frame));
    scene.reconnect(welcome());
    assert_eq!(scene.sent(), [frame]);
    let answer = wire::AdminAnswer { number, answer: Bytes::from_static(b"topics"), ..wire::AdminAnswer::default() };
    scene.receive(&ServerFrame::Admin(answer.clone()));
    scene.receive(&ServerFrame::Admin(answer));
    let answered = Output::Admin { number, result: Ok(Bytes::from_static(b"topics")) };
    assert_eq!(scene.outputs().into_iter().filter(|o| *o == answered).count(), 1);
    scene.reconnect(welcome());
    assert!(scene.sent().is_empty());
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let story = || {
        let mut scene = Scene::up();
        let mut waits = Vec::new();
        for _ in 0..20 {
            scene.publish(&["a", "b"]);
            scene.cut();
            waits.push(scene.until_dial());
            scene.session.connected(scene.now);
            scene.receive(&ServerFrame::Welcome(welcome()));
        }
        (waits, scene.sent().len(), scene.outputs())
    };
    assert_eq!(story(), story());
}
