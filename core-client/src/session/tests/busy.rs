//! What the gateway is too busy for is asked again.

use super::*;

fn busy(subscription: u32, retry_after_ms: u32) -> ServerFrame {
    ServerFrame::Error(wire::Error {
        code: ErrorKind::Busy.number(),
        message: "full".into(),
        subscription,
        retry_after_ms,
        operation: "subscribe".into(),
        fatal: false,
    })
}

fn failures(outputs: &[Output]) -> Vec<ErrorKind> {
    let failure = |o: &Output| match o {
        Output::Ended { failure, .. } | Output::ServeEnded { failure, .. } => Some(failure.kind),
        Output::Admin { result: Err(failure), .. } => Some(failure.kind),
        _ => None,
    };
    outputs.iter().filter_map(failure).collect()
}

/// Lets time pass until the session wants something, heartbeats left out; gives how long that was.
fn until_due(scene: &mut Scene) -> Duration {
    let before = scene.now;
    let at = scene.session.deadline().expect("it waits for something");
    scene.now = at;
    scene.session.tick(at);
    at.since(before)
}

#[test]
fn a_subscription_that_is_answered_busy_is_asked_for_again_when_the_gateway_said() {
    let mut scene = Scene::up();
    let id = scene.session.subscribe(spec(Some("g"), None));
    let mut number = scene.asked()[0].subscription;
    for _ in 0..5 {
        scene.receive(&busy(number, 200));
        assert!(failures(&scene.outputs()).is_empty() && scene.asked().is_empty());
        scene.pass(Duration::from_millis(199));
        assert!(scene.asked().is_empty(), "not before");
        let waited = until_due(&mut scene) + Duration::from_millis(199);
        assert!((200..=300).contains(&waited.as_millis()), "{waited:?}");
        let asked = scene.asked();
        assert_eq!((asked.len(), asked[0].group.as_str()), (1, "g"));
        assert!(asked[0].subscription > number, "by a number of its own");
        number = asked[0].subscription;
    }
    scene.confirm_subscribe(number);
    assert!(matches!(scene.outputs()[..], [Output::Subscribed { subscription, .. }] if subscription == id));
    // It runs by its last number, and is not asked for any more.
    scene.deliver(vec![run(number, 1, 1, &["a"])]);
    assert!(matches!(scene.outputs()[..], [Output::Deliver { .. }]));
    scene.pass(Duration::from_secs(5));
    assert!(scene.asked().is_empty());
}

#[test]
fn two_that_were_sent_away_together_do_not_come_back_together() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    scene.session.subscribe(spec(Some("h"), None));
    for asked in scene.asked() {
        scene.receive(&busy(asked.subscription, 1000));
    }
    until_due(&mut scene);
    assert_eq!(scene.asked().len(), 1);
    until_due(&mut scene);
    assert_eq!(scene.asked().len(), 1);
}

#[test]
fn after_half_a_minute_busy_is_told_and_what_has_other_causes_at_once() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let mut number = scene.asked()[0].subscription;
    let (mut told, began) = (Vec::new(), scene.now);
    while told.is_empty() {
        scene.receive(&busy(number, 3000));
        told = failures(&scene.outputs());
        if told.is_empty() {
            until_due(&mut scene);
            number = scene.asked()[0].subscription;
        }
        assert!(scene.now.since(began) <= Duration::from_secs(30));
    }
    assert_eq!(told, [ErrorKind::Busy]);
    assert!(scene.now.since(began) > Duration::from_secs(25));
    // Longer than that is not waited for at all.
    scene.session.subscribe(spec(Some("g"), None));
    let number = scene.asked()[0].subscription;
    scene.receive(&busy(number, 31_000));
    assert_eq!(failures(&scene.outputs()), [ErrorKind::Busy]);
}

#[test]
fn time_without_a_gateway_is_no_time_that_it_was_busy() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let number = scene.asked()[0].subscription;
    scene.receive(&busy(number, 200));
    scene.cut();
    scene.now = scene.now + Duration::from_secs(60);
    scene.connect(welcome());
    let number = scene.asked()[0].subscription;
    scene.receive(&busy(number, 200));
    assert!(failures(&scene.outputs()).is_empty());
    until_due(&mut scene);
    assert_eq!(scene.asked().len(), 1);
}

#[test]
fn a_subscription_that_ran_before_is_asked_for_as_long_as_it_lasts() {
    let mut scene = Scene::up();
    let (id, _) = scene.subscribe(spec(Some("g"), None));
    scene.reconnect(welcome());
    let mut number = scene.asked()[0].subscription;
    scene.outputs();
    for _ in 0..100 {
        scene.receive(&busy(number, 2000));
        assert!(failures(&scene.outputs()).is_empty());
        scene.session.heard(scene.now);
        until_due(&mut scene);
        number = scene.asked()[0].subscription;
    }
    scene.confirm_subscribe(number);
    assert!(matches!(scene.outputs()[..], [Output::Subscribed { subscription, .. }] if subscription == id));
}

#[test]
fn one_that_waits_is_asked_for_at_the_next_login_and_one_that_is_given_up_never() {
    for resume in [resumed(), welcome()] {
        let mut scene = Scene::up();
        scene.session.subscribe(spec(Some("g"), None));
        let given_up = scene.session.subscribe(spec(Some("h"), None));
        for asked in scene.asked() {
            scene.receive(&busy(asked.subscription, 20_000));
        }
        scene.session.unsubscribe(given_up);
        assert!(scene.sent().is_empty(), "the gateway knows nothing of it");
        scene.reconnect(resume);
        let asked = scene.asked();
        assert_eq!(asked.iter().map(|a| a.group.as_str()).collect::<Vec<_>>(), ["g"]);
        scene.confirm_subscribe(asked[0].subscription);
        for _ in 0..4 {
            scene.session.heard(scene.now);
            scene.pass(Duration::from_secs(8));
            assert!(scene.asked().is_empty());
        }
        assert!(failures(&scene.outputs()).is_empty());
    }
}

#[test]
fn what_serves_and_commands_are_asked_again_too() {
    let mut scene = Scene::up();
    let serve = ServeSpec { topic: topic("work"), group: None, max_events: 1, max_bytes: 1024 };
    let serve = scene.session.serve(serve);
    let number = scene.asked()[0].subscription;
    scene.receive(&busy(number, 100));
    let command = scene.session.admin(Bytes::from_static(b"list"));
    scene.sent();
    let answer = |code, retry_after_ms| {
        ServerFrame::Admin(wire::AdminAnswer { number: command, code, retry_after_ms, ..wire::AdminAnswer::default() })
    };
    scene.receive(&answer(ErrorKind::Busy.number(), 0));
    assert!(scene.outputs().iter().all(|o| matches!(o, Output::State(_))));
    scene.pass(Duration::from_millis(150));
    let sent = scene.sent();
    let commands = sent.iter().filter(|f| matches!(f, ClientFrame::Admin(a) if a.number == command)).count();
    let serves = sent.iter().filter(|f| matches!(f, ClientFrame::Subscribe(s) if s.serve)).count();
    assert_eq!((commands, serves), (1, 1), "{sent:?}");
    scene.receive(&answer(0, 0));
    scene.confirm_subscribe(number + 1);
    assert!(
        matches!(scene.outputs()[..], [Output::Admin { result: Ok(_), .. }, Output::Serving { serve: s }] if s == serve)
    );
    // What is wrong is told at once.
    scene.session.admin(Bytes::from_static(b"other"));
    let number = command + 1;
    let answer = wire::AdminAnswer { number, code: ErrorKind::Invalid.number(), ..wire::AdminAnswer::default() };
    scene.receive(&ServerFrame::Admin(answer));
    assert_eq!(failures(&scene.outputs()), [ErrorKind::Invalid]);
}

#[test]
fn the_end_answers_what_waits() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let number = scene.asked()[0].subscription;
    scene.receive(&busy(number, 100));
    scene.session.close();
    assert_eq!(failures(&scene.outputs()), [ErrorKind::Closed]);
    scene.pass(Duration::from_secs(1));
    assert!(scene.sent().iter().all(|f| matches!(f, ClientFrame::Goodbye(_))));
}
