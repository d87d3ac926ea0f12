use super::*;

fn at(frame: &wire::Subscribe) -> wire::start::At {
    frame.start.and_then(|s| s.at).expect("a start")
}

#[test]
fn a_subscription_says_where_it_begins_by_whether_it_has_a_group() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("billing"), None));
    scene.session.subscribe(spec(None, None));
    scene.session.subscribe(spec(None, Some(Start::Position(Position::from_number(9)))));
    let asked = scene.asked();
    assert_eq!((asked[0].group.as_str(), asked[0].mode()), ("billing", wire::GroupMode::Cluster));
    assert_eq!(at(&asked[0]), wire::start::At::Earliest(true));
    assert_eq!((asked[1].group.as_str(), asked[1].mode()), ("", wire::GroupMode::Broadcast));
    assert_eq!(at(&asked[1]), wire::start::At::Latest(true));
    assert_eq!(at(&asked[2]), wire::start::At::Position(9));
    assert_eq!((asked[0].max_events, asked[0].max_bytes), (256, 8 << 20));
    assert_eq!(asked.iter().map(|a| a.subscription).collect::<Vec<_>>(), [1, 2, 3]);
}

fn broadcast(member: Option<&str>) -> SubscribeSpec {
    let settings = GroupSettings { mode: Some(GroupMode::Broadcast.into()), ..GroupSettings::default() };
    let member = member.map(|name| MemberName::parse(name).unwrap());
    SubscribeSpec { member, settings, ..spec(Some("all"), None) }
}

#[test]
fn a_broadcast_member_begins_by_whether_it_has_a_name() {
    let mut scene = Scene::up();
    scene.session.subscribe(broadcast(None));
    scene.session.subscribe(broadcast(Some("m1")));
    let asked = scene.asked();
    let named = |n: usize| (asked[n].group.as_str(), asked[n].member.as_str(), asked[n].mode());
    assert_eq!(named(0), ("all", "", wire::GroupMode::Broadcast));
    assert_eq!(named(1), ("all", "m1", wire::GroupMode::Broadcast));
    assert_eq!(at(&asked[0]), wire::start::At::Latest(true));
    assert_eq!(at(&asked[1]), wire::start::At::Earliest(true));
}

#[test]
fn after_a_lost_session_an_unnamed_member_goes_on_behind_what_it_got_and_a_durable_one_where_it_settled() {
    for (member, start) in [(None, wire::start::At::Position(12)), (Some("m1"), wire::start::At::Earliest(true))] {
        let mut scene = Scene::up();
        let from = SubscribeSpec { start: Some(Start::Earliest), ..broadcast(member) };
        let (_, number) = scene.subscribe(from);
        scene.deliver(vec![run(number, 1, 10, &["a", "b"])]);
        scene.outputs();
        scene.reconnect(welcome());
        assert_eq!(at(&scene.asked()[0]), start);
        let again = scene
            .outputs()
            .into_iter()
            .find_map(|o| if let Output::Reset { again, .. } = o { Some(again) } else { None });
        assert_eq!(again, Some(member.is_some()), "whether what it held comes again");
    }
}

#[test]
fn one_asked_for_while_disconnected_is_asked_for_at_login() {
    let mut scene = Scene::new();
    scene.session.subscribe(spec(Some("g"), None));
    assert!(scene.sent().is_empty());
    scene.connect(welcome());
    assert_eq!(scene.asked().len(), 1);
}

#[test]
fn deliveries_come_out_as_runs_with_rising_numbers() {
    let mut scene = Scene::up();
    let (id, number) = scene.subscribe(spec(Some("g"), None));
    scene.outputs();
    let (first, second) = (run(number, 1, 10, &["a", "b"]), run(number, 3, 50, &["c"]));
    scene.deliver(vec![first.clone(), second.clone()]);
    let deliver = |run| Output::Deliver { subscription: id, generation: 0, run };
    assert_eq!(scene.outputs(), [deliver(first), deliver(second)]);
}

#[test]
fn a_gap_an_overlap_and_an_empty_run_drop_the_connection_and_are_counted() {
    for (first, events, reason) in
        [(4, &["x"][..], "where 3 was due"), (2, &["x"], "where 3 was due"), (3, &[], "empty delivery")]
    {
        let mut scene = Scene::up();
        let (_, number) = scene.subscribe(spec(Some("g"), None));
        scene.deliver(vec![run(number, 1, 1, &["a", "b"])]);
        scene.outputs();
        scene.deliver(vec![run(number, first, 3, events)]);
        assert!(scene.disconnect_reason().contains(reason));
        assert_eq!(scene.session.stats().protocol_errors, 1);
    }
}

#[test]
fn a_delivery_for_nobody_drops_the_connection() {
    let mut scene = Scene::up();
    scene.deliver(vec![run(1, 1, 1, &["a"])]);
    assert!(scene.disconnect_reason().contains("does not exist"));
    let mut scene = Scene::up();
    scene.session.subscribe(spec(None, None));
    scene.sent();
    scene.deliver(vec![run(1, 1, 1, &["a"])]);
    assert!(scene.disconnect_reason().contains("before it was confirmed"));
}

#[test]
fn a_resumed_session_goes_on_with_the_next_number() {
    let mut scene = Scene::up();
    let (id, number) = scene.subscribe(spec(Some("g"), None));
    scene.deliver(vec![run(number, 1, 1, &["a", "b"])]);
    scene.outputs();
    let hello = scene.reconnect(resumed());
    assert_eq!(hello.held, [wire::HeldSubscription { subscription: number, next_delivery: 3 }]);
    assert!(scene.asked().is_empty());
    let next = run(number, 3, 3, &["c"]);
    scene.deliver(vec![next.clone()]);
    let outputs = scene.outputs();
    assert!(outputs.contains(&Output::Deliver { subscription: id, generation: 0, run: next }));
    assert!(!outputs.iter().any(|o| matches!(o, Output::Reset { .. })));
}

#[test]
fn a_lost_session_subscribes_again_in_a_new_generation() {
    let mut scene = Scene::up();
    let (group, number) = scene.subscribe(spec(Some("g"), None));
    let (own, _) = scene.subscribe(spec(None, None));
    scene.deliver(vec![run(number, 1, 1, &["a", "b"])]);
    scene.outputs();
    scene.reconnect(welcome());
    let asked = scene.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(at(&asked[0]), wire::start::At::Earliest(true), "counts only when the group is new");
    let outputs = scene.outputs();
    assert!(outputs.contains(&Output::Reset { subscription: group, generation: 1, again: true, unheard: 0 }));
    assert!(outputs.contains(&Output::Reset { subscription: own, generation: 1, again: false, unheard: 0 }));
    scene.confirm_subscribe(asked[0].subscription);
    let again = run(asked[0].subscription, 1, 1, &["a"]);
    scene.deliver(vec![again.clone()]);
    assert!(scene.outputs().contains(&Output::Deliver { subscription: group, generation: 1, run: again }));
}

#[test]
fn without_a_group_a_lost_session_goes_on_behind_the_last_delivery_or_where_it_began() {
    for (start, expected) in [
        (Start::Earliest, wire::start::At::Position(13)),
        (Start::Position(Position::from_number(5)), wire::start::At::Position(13)),
        (Start::Latest, wire::start::At::Position(13)),
    ] {
        let mut scene = Scene::up();
        let (_, number) = scene.subscribe(spec(None, Some(start)));
        scene.deliver(vec![run(number, 1, 10, &["a", "b", "c"])]);
        scene.reconnect(welcome());
        assert_eq!(at(&scene.asked()[0]), expected);
    }
    let mut scene = Scene::up();
    scene.subscribe(spec(None, None));
    scene.reconnect(welcome());
    assert_eq!(at(&scene.asked()[0]), wire::start::At::Position(1), "nothing was delivered yet");
}

#[test]
fn a_subscribe_without_an_answer_is_asked_anew_under_a_new_number_after_a_resume() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    assert_eq!(scene.asked()[0].subscription, 1);
    let hello = scene.reconnect(resumed());
    assert!(hello.held.is_empty());
    let sent = scene.sent();
    assert!(
        matches!(sent.as_slice(), [ClientFrame::Unsubscribe(old), ClientFrame::Subscribe(new)]
            if old.subscription == 1 && new.subscription == 2),
        "{sent:?}"
    );
}

#[test]
fn what_is_still_on_its_way_after_an_unsubscribe_is_let_go() {
    let mut scene = Scene::up();
    let (id, number) = scene.subscribe(spec(Some("g"), None));
    scene.outputs();
    scene.session.unsubscribe(id);
    assert_eq!(scene.sent(), [ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: number })]);
    scene.deliver(vec![run(number, 1, 1, &["a"])]);
    let ended = wire::Unsubscribed { subscription: number, ..wire::Unsubscribed::default() };
    scene.receive(&ServerFrame::Unsubscribed(ended));
    assert!(scene.outputs().is_empty());
    scene.deliver(vec![run(number, 2, 2, &["b"])]);
    assert!(scene.outputs().is_empty());
    scene.deliver(vec![run(number + 1, 1, 1, &["c"])]);
    assert!(scene.disconnect_reason().contains("does not exist"));
}

#[test]
fn deliveries_under_a_number_that_a_resume_gave_up_are_let_go() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let old = scene.asked()[0].subscription;
    scene.reconnect(resumed());
    scene.outputs();
    // The gateway had heard the first Subscribe and goes on with it.
    scene.deliver(vec![run(old, 1, 1, &["a"])]);
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.session.stats().protocol_errors, 0);
}

#[test]
fn an_unsubscribe_that_was_cut_off_is_repeated_after_a_resume_and_forgotten_otherwise() {
    for (answer, expected) in [(resumed(), 1), (welcome(), 0)] {
        let mut scene = Scene::up();
        let (id, _) = scene.subscribe(spec(Some("g"), None));
        scene.session.unsubscribe(id);
        scene.sent();
        scene.reconnect(answer);
        let again = scene.sent();
        assert_eq!(again.len(), expected, "{again:?}");
        assert!(again.iter().all(|f| matches!(f, ClientFrame::Unsubscribe(_))));
    }
}

#[test]
fn an_error_about_a_subscription_ends_it_and_nothing_else() {
    let mut scene = Scene::up();
    let (kept_id, kept_number) = scene.subscribe(spec(Some("a"), None));
    let refused = scene.session.subscribe(spec(Some("b"), None));
    let number = scene.asked()[0].subscription;
    scene.outputs();
    let conflict = wire::Error {
        code: ErrorKind::GroupConflict.number(),
        message: "ack_wait differs".to_owned(),
        subscription: number,
        ..wire::Error::default()
    };
    scene.receive(&ServerFrame::Error(conflict));
    let failure = Failure::new(ErrorKind::GroupConflict, "ack_wait differs");
    assert_eq!(scene.outputs(), [Output::Ended { subscription: refused, failure }]);
    let next = run(kept_number, 1, 1, &["a"]);
    scene.deliver(vec![next.clone()]);
    assert_eq!(scene.outputs(), [Output::Deliver { subscription: kept_id, generation: 0, run: next }]);
    scene.reconnect(welcome());
    assert_eq!(scene.asked().len(), 1, "the one that ended is not asked for again");
}

#[test]
fn one_whose_group_was_changed_since_it_joined_joins_it_again_as_it_is() {
    let settings = GroupSettings { max_failures: Some(3), ..GroupSettings::default() };
    let asked = SubscribeSpec { settings, ..spec(Some("g"), None) };
    let mut scene = Scene::up();
    let (id, _) = scene.subscribe(asked);
    for _ in 0..2 {
        scene.reconnect(welcome());
        let again = scene.asked().remove(0);
        assert_eq!(again.settings, prost::Message::encode_to_vec(&settings), "it may have to be made anew");
        scene.outputs();
        scene.receive(&conflict(again.subscription));
        let as_it_is = scene.asked().remove(0);
        assert!(as_it_is.settings.is_empty() && as_it_is.subscription != again.subscription);
        assert_eq!(scene.outputs(), []);
        scene.confirm_subscribe(as_it_is.subscription);
        scene.outputs();
    }
    scene.reconnect(welcome());
    for _ in 0..2 {
        let again = scene.asked().remove(0);
        scene.outputs();
        scene.receive(&conflict(again.subscription));
    }
    let failure = Failure::new(ErrorKind::GroupConflict, "max_failures differs");
    assert_eq!(scene.outputs(), [Output::Ended { subscription: id, failure }], "it is of another mode, say");
}

fn conflict(subscription: u32) -> ServerFrame {
    let (code, message) = (ErrorKind::GroupConflict.number(), "max_failures differs".to_owned());
    ServerFrame::Error(wire::Error { code, message, subscription, ..wire::Error::default() })
}

#[test]
fn a_subscription_that_the_gateway_ends_says_why() {
    let mut scene = Scene::up();
    let (id, number) = scene.subscribe(spec(Some("g"), None));
    scene.outputs();
    let ended = wire::Unsubscribed {
        subscription: number,
        code: ErrorKind::NotFound.number(),
        message: "the topic was deleted".to_owned(),
    };
    scene.receive(&ServerFrame::Unsubscribed(ended));
    let failure = Failure::new(ErrorKind::NotFound, "the topic was deleted");
    assert_eq!(scene.outputs(), [Output::Ended { subscription: id, failure }]);
}

#[test]
fn a_draining_client_takes_no_more_deliveries_and_asks_for_none_elsewhere() {
    let mut scene = Scene::up();
    let (_, number) = scene.subscribe(spec(Some("g"), None));
    scene.session.drain();
    assert_eq!(scene.session.state(), State::Draining);
    let credit = wire::Credit { subscription: number, max_events: 0, max_bytes: 0 };
    assert_eq!(scene.sent(), [ClientFrame::Credit(credit)]);
    scene.reconnect(welcome());
    assert!(scene.asked().is_empty());
    assert_eq!(scene.session.state(), State::Draining);
}

#[test]
fn closing_says_goodbye_and_ends_every_subscription() {
    let mut scene = Scene::up();
    let (id, _) = scene.subscribe(spec(Some("g"), None));
    scene.outputs();
    scene.session.close();
    assert!(matches!(scene.sent().as_slice(), [ClientFrame::Goodbye(_)]));
    let outputs = scene.outputs();
    assert!(outputs.iter().any(|o| matches!(o, Output::Ended { subscription, .. } if *subscription == id)));
}

/// Answers the only Subscribe frame among what was sent: it stands at this position of that topic.
fn stand(scene: &mut Scene, subscription: u32, next_position: u64, topic: &'static [u8]) {
    let subscribed = wire::Subscribed {
        subscription,
        next_delivery: 1,
        next_position,
        topic_identity: Bytes::from_static(topic),
        ..wire::Subscribed::default()
    };
    scene.receive(&ServerFrame::Subscribed(subscribed));
}

/// One without a place, of topic `old`, that has read to before position 12 and finds `found` after its session is lost; and its
/// number there.
fn finds(found: &'static [u8]) -> (Scene, u32) {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(None, Some(Start::Latest)));
    let number = scene.asked()[0].subscription;
    stand(&mut scene, number, 10, b"old");
    scene.deliver(vec![run(number, 1, 10, &["a", "b"])]);
    scene.reconnect(welcome());
    let asked = scene.asked();
    assert_eq!(at(&asked[0]), wire::start::At::Position(12));
    scene.outputs();
    stand(&mut scene, asked[0].subscription, 12, found);
    (scene, asked[0].subscription)
}

fn is_subscribed(scene: &mut Scene) -> bool {
    scene.outputs().iter().any(|o| matches!(o, Output::Subscribed { .. }))
}

#[test]
fn one_without_a_place_goes_on_where_it_was_in_the_same_topic_and_where_none_is_told() {
    for found in [&b"old"[..], b""] {
        let (mut scene, number) = finds(found);
        assert!(scene.sent().is_empty());
        assert!(is_subscribed(&mut scene));
        scene.deliver(vec![run(number, 1, 12, &["c"])]);
        assert!(matches!(scene.outputs()[..], [Output::Deliver { generation: 1, .. }]));
    }
}

#[test]
fn one_without_a_place_begins_with_the_first_event_of_a_topic_that_was_made_anew() {
    let (mut scene, there) = finds(b"new");
    assert!(!is_subscribed(&mut scene), "not there");
    assert_eq!(scene.sent(), [ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: there })]);
    // What is on its way from there comes again.
    scene.deliver(vec![run(there, 1, 12, &["l"])]);
    assert_eq!(scene.outputs(), []);
    scene.receive(&ServerFrame::Unsubscribed(wire::Unsubscribed { subscription: there, ..Default::default() }));
    let asked = scene.asked();
    assert_eq!((asked.len(), at(&asked[0])), (1, wire::start::At::Position(1)));
    stand(&mut scene, asked[0].subscription, 1, b"new");
    assert!(is_subscribed(&mut scene));
    scene.deliver(vec![run(asked[0].subscription, 1, 1, &["a"])]);
    assert!(matches!(scene.outputs()[..], [Output::Deliver { .. }]));
}

#[test]
fn it_does_so_too_when_the_connection_is_lost_before_it_has_ended_there() {
    for next in [resumed(), welcome()] {
        let is_resumed = next.resumed;
        let (mut scene, there) = finds(b"new");
        scene.sent();
        scene.reconnect(next);
        let sent = scene.sent();
        let left = ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: there });
        assert_eq!(sent.contains(&left), is_resumed, "{sent:?}");
        let asked = sent.into_iter().find_map(|f| if let ClientFrame::Subscribe(s) = f { Some(s) } else { None });
        let asked = asked.expect("it is asked for");
        assert_eq!(at(&asked), wire::start::At::Position(1));
        scene.receive(&ServerFrame::Unsubscribed(wire::Unsubscribed { subscription: there, ..Default::default() }));
        stand(&mut scene, asked.subscription, 1, b"new");
        assert!(is_subscribed(&mut scene));
        assert!(scene.sent().is_empty());
    }
}

#[test]
fn a_program_that_leaves_while_its_topic_was_made_anew_is_not_subscribed_again() {
    let (mut scene, there) = finds(b"new");
    let id = scene.session.subscribe(spec(Some("other"), None));
    scene.sent();
    scene.session.unsubscribe(SubscriptionId(id.0 - 1));
    scene.receive(&ServerFrame::Unsubscribed(wire::Unsubscribed { subscription: there, ..Default::default() }));
    assert!(scene.asked().is_empty());
}

#[test]
fn a_group_goes_on_in_a_topic_that_was_made_anew_where_the_gateway_says() {
    let mut scene = Scene::up();
    scene.session.subscribe(spec(Some("g"), None));
    let number = scene.asked()[0].subscription;
    stand(&mut scene, number, 10, b"old");
    scene.reconnect(welcome());
    let asked = scene.asked();
    scene.outputs();
    stand(&mut scene, asked[0].subscription, 1, b"new");
    assert!(is_subscribed(&mut scene));
    assert!(scene.sent().is_empty());
}
