//! Many seeds: cuts at any moment, and any bytes at all.

use std::collections::BTreeMap;

use super::*;

/// Numbers from a seed.
struct Dice(Backoff);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Backoff::new(Duration::from_secs(3600), Duration::from_secs(3600), seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        u64::try_from(self.0.next().as_micros()).unwrap() % bound
    }
}

/// A gateway that keeps each sequence once, and answers when it likes.
#[derive(Default)]
struct Keeper {
    kept: BTreeMap<u64, Bytes>,
    waiting: Vec<Receipt>,
    answered_through: u64,
}

impl Keeper {
    fn take(&mut self, publish: &Publish) {
        self.answered_through = self.answered_through.max(publish.answered_through);
        for (_, _, first, events) in runs(publish) {
            assert!(first > self.answered_through, "an answered publish is sent again");
            self.waiting.push(kept(first, events.len() as u32, first));
            for (sequence, event) in (first..).zip(events) {
                let before = self.kept.insert(sequence, event.clone());
                assert!(before.is_none_or(|b| b == event), "sequence {sequence} came with other bytes");
            }
        }
    }

    fn kept_through(&self, first_unanswered: u64) -> u64 {
        let mut next = first_unanswered.max(1);
        while self.kept.contains_key(&next) {
            next += 1;
        }
        next - 1
    }
}

fn one_story(seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let mut scene = Scene::new();
    let mut keeper = Keeper::default();
    let mut answered = BTreeMap::new();
    let mut published = 0;
    scene.connect(wire::Welcome { publish_window_events: 1 + dice.below(40) as u32, ..welcome() });
    while answered.len() < 200 {
        match dice.below(10) {
            0..=3 if published < 200 => {
                for _ in 0..=dice.below(8) {
                    published += u64::from(published < 200);
                    if scene.session.unanswered().0 + (answered.len() as u64) < published {
                        let name = if dice.below(3) == 0 { "a" } else { "b" };
                        scene.session.publish(&topic(name), format!("event {published}").as_bytes());
                    }
                }
            }
            // Some of what is sent gets lost with its connection.
            4..=6 => {
                let sent = scene.published();
                let arrived = dice.below(sent.len() as u64 + 1) as usize;
                sent[..arrived].iter().for_each(|p| keeper.take(p));
                if arrived < sent.len() {
                    reconnect(&mut scene, &mut keeper, &mut dice);
                }
            }
            7 | 8 if !keeper.waiting.is_empty() => {
                let receipt = keeper.waiting.remove(dice.below(keeper.waiting.len() as u64) as usize);
                scene.receipts(vec![receipt]);
            }
            9 => reconnect(&mut scene, &mut keeper, &mut dice),
            _ => {}
        }
        for (sequences, is_kept) in scene.answers() {
            assert!(is_kept);
            for sequence in sequences {
                assert!(keeper.kept.contains_key(&sequence), "{sequence} is acknowledged and not kept");
                assert!(answered.insert(sequence, ()).is_none(), "{sequence} is answered twice");
            }
        }
    }
    assert_eq!(scene.session.unanswered(), (0, 0));
    let events: Vec<String> = keeper.kept.values().map(|e| String::from_utf8(e.to_vec()).unwrap()).collect();
    assert_eq!(events, (1..=200).map(|n| format!("event {n}")).collect::<Vec<_>>());
    scene.session.stats().replays
}

fn reconnect(scene: &mut Scene, keeper: &mut Keeper, dice: &mut Dice) {
    scene.cut();
    keeper.waiting.clear();
    let hello = scene.hello();
    let kept_through = keeper.kept_through(hello.first_unanswered);
    let publish_window_events = 1 + dice.below(40) as u32;
    let resumed = dice.below(2) == 0;
    scene.receive(&ServerFrame::Welcome(wire::Welcome { resumed, kept_through, publish_window_events, ..welcome() }));
}

#[test]
fn whatever_is_cut_every_publish_is_kept_once_in_order_and_answered_once() {
    let replays: u64 = (0..300).map(one_story).sum();
    assert!(replays > 1000, "the stories replay too little: {replays}");
}

/// Whatever a program may do with requests, right or wrong.
fn exchange(scene: &mut Scene, dice: &mut Dice) {
    let number = dice.below(6);
    match dice.below(6) {
        0 => drop(scene.session.request(scene.now, super::request::ask(Some(1).filter(|_| number > 2), number > 3))),
        1 => scene.session.grant(number, u32::MAX),
        2 => scene.session.cancel_request(number),
        3 => scene.session.reply(TaskId(number), super::request::done(b"e")),
        4 => scene.session.serve_no_more(ServeId(number as u32)),
        _ => {}
    }
}

#[test]
fn no_bytes_and_no_order_of_frames_make_the_session_panic() {
    let mut dice = Dice::new(1);
    let frames = |dice: &mut Dice, number: u32| -> Vec<ServerFrame> {
        let (a, b, c) = (dice.below(6), dice.below(1 << 40), dice.below(4) as u32);
        vec![
            ServerFrame::Welcome(wire::Welcome { kept_through: b, settled_through: a, ..welcome() }),
            ServerFrame::Receipts(Receipts { receipts: vec![kept(a, c, b), kept(u64::MAX - a, u32::MAX, b)] }),
            ServerFrame::Deliver(Deliver { runs: vec![run(number, a, u64::MAX - a, &["e"; 3])] }),
            ServerFrame::Settled(Settled {
                through: a,
                results: vec![SettleResult {
                    sequence: a,
                    subscription: number,
                    first_delivery: u64::MAX - b,
                    count: u32::MAX,
                    code: c,
                    next_delivery: b,
                }],
            }),
            ServerFrame::Subscribed(wire::Subscribed {
                subscription: number,
                next_delivery: if c == 0 { u64::MAX - a } else { a },
                ..Default::default()
            }),
            ServerFrame::Unsubscribed(wire::Unsubscribed { subscription: number, code: c, ..Default::default() }),
            ServerFrame::Error(wire::Error { code: c * 9, subscription: number, fatal: c == 3, ..Default::default() }),
            ServerFrame::Drain(wire::Drain { deadline_ms: u32::MAX, ..Default::default() }),
            ServerFrame::Request(wire::Request { number: a, subscription: number, credit: c, ..Default::default() }),
            ServerFrame::Reply(wire::Reply { number: a, end: c == 0, code: c / 2, ..Default::default() }),
            ServerFrame::Cancel(wire::Cancel { number: a }),
            ServerFrame::ReplyCredit(wire::ReplyCredit { number: a, events: u32::MAX }),
        ]
    };
    for _ in 0..2000 {
        let mut scene = Scene::new();
        scene.hello();
        let id = scene.session.subscribe(spec(Some("g"), None));
        scene.session.serve(super::request::serve());
        for _ in 0..20 {
            scene.publish(&["e"]);
            exchange(&mut scene, &mut dice);
            let confirm = Some(dice.below(9)).filter(|n| *n > 4);
            scene.session.settle(SettleInput { confirm, ..settle_input(id, dice.below(4), SettleKind::Ack) });
            scene.sent();
            let number = dice.below(3) as u32;
            let mut candidates = frames(&mut dice, number);
            let frame = candidates.swap_remove(dice.below(candidates.len() as u64) as usize);
            let mut bytes = BytesMut::new();
            frame.encode(&mut bytes);
            if dice.below(4) == 0 && !bytes.is_empty() {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
            scene.session.received(scene.now, bytes.freeze());
            if scene.session.state() == State::Closed {
                break;
            }
            if matches!(scene.session.state(), State::Reconnecting | State::Connecting) && dice.below(2) == 0 {
                scene.outputs();
                scene.pass(Duration::from_secs(10));
                scene.session.connected(scene.now);
            }
        }
    }
}
