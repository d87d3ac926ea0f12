//! Requests and replies in virtual time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use super::*;

const ASKER: Peer = 1;

struct Scene {
    requests: Requests,
    /// What requesters' connections would take, and whether one of them waits for more.
    room: u64,
    waits: bool,
    now: Moment,
}

fn credit(events: u32) -> Credit {
    Credit { events, bytes: 1000 }
}

fn asked(stream: Option<u32>, retry: bool) -> Asked {
    let event = Bytes::from_static(b"question");
    Asked { topic: "quote".into(), timeout: Duration::from_secs(5), stream, retry, event }
}

fn code(reply: &wire::Reply) -> Option<ErrorKind> {
    (reply.code != 0).then(|| ErrorKind::from_number(reply.code))
}

impl Scene {
    fn new() -> Self {
        let requests = Requests::new("gw", Most { requests: 1000, bytes: 20 });
        Self { requests, room: u64::MAX, waits: false, now: Moment(1_000_000) }
    }

    /// With members of these peers, one each.
    fn with(members: &[Peer]) -> Self {
        let mut scene = Self::new();
        for peer in members {
            scene.requests.serve((*peer, 1), "quote", credit(10));
        }
        scene
    }

    fn ask(&mut self, number: u64, asked: Asked) -> Result<(), ErrorKind> {
        assert!(self.requests.number(ASKER, number));
        self.requests.request(self.now, (ASKER, number), asked).map_err(|trouble| trouble.kind)
    }

    fn told(&mut self) -> Vec<(Peer, ServerFrame)> {
        while let Some(peer) = self.requests.next_to_look_at() {
            self.waits |= self.requests.pass_on(peer, self.room);
        }
        std::iter::from_fn(|| self.requests.poll()).map(|told| (told.to, told.frame)).collect()
    }

    /// The one request that is told now, and to whom.
    fn given(&mut self) -> (Peer, wire::Request) {
        match self.told().as_slice() {
            [(to, ServerFrame::Request(request))] => (*to, request.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// Replies to the asker, and everything else with its peer.
    fn replies(&mut self) -> (Vec<wire::Reply>, Vec<(Peer, ServerFrame)>) {
        let (mut replies, mut others) = (Vec::new(), Vec::new());
        for (to, frame) in self.told() {
            match frame {
                ServerFrame::Reply(reply) => {
                    assert_eq!(to, ASKER);
                    replies.push(reply);
                }
                other => others.push((to, other)),
            }
        }
        (replies, others)
    }

    fn reply(&mut self, peer: Peer, to: &wire::Request, event: &'static [u8], end: bool) -> Result<(), ErrorKind> {
        let event = Bytes::from_static(event);
        let reply =
            wire::Reply { number: to.number, reply_to: to.reply_to.clone(), end, event, ..wire::Reply::default() };
        self.requests.reply(peer, reply).map_err(|trouble| trouble.kind)
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.requests.tick(self.now);
    }
}

fn cancel(number: u64) -> ServerFrame {
    ServerFrame::Cancel(wire::Cancel { number })
}

#[test]
fn a_request_without_a_responder_fails_at_once_and_one_with_it_is_answered() {
    let mut scene = Scene::new();
    assert_eq!(scene.ask(1, asked(None, false)), Err(ErrorKind::NoResponders));
    scene.requests.serve((2, 7), "quote", credit(10));
    scene.ask(2, asked(None, false)).unwrap();
    let (to, request) = scene.given();
    assert_eq!((to, request.subscription, request.number, request.timeout_ms), (2, 7, 1, 5000));
    assert_eq!(request.reply_to, "gw/1/2");
    scene.reply(2, &request, b"answer", true).unwrap();
    let (replies, others) = scene.replies();
    assert_eq!((replies[0].number, replies[0].end, replies[0].event.as_ref()), (2, true, &b"answer"[..]));
    assert!(others.is_empty());
    assert_eq!(scene.requests.deadline(), None, "nothing is left of it");
}

#[test]
fn requests_go_to_the_member_with_the_fewest_and_equal_ones_take_turns() {
    let mut scene = Scene::with(&[2, 3, 4]);
    let mut given = Vec::new();
    for number in 1..=6 {
        scene.ask(number, asked(None, false)).unwrap();
        given.push(scene.given());
    }
    let peers: Vec<Peer> = given.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(peers, [2, 3, 4, 2, 3, 4]);
    for (peer, request) in given.iter().filter(|(peer, _)| *peer == 3) {
        scene.reply(*peer, request, b"a", true).unwrap();
    }
    scene.told();
    for number in 7..=8 {
        scene.ask(number, asked(None, false)).unwrap();
        assert_eq!(scene.given().0, 3, "it has none");
    }
}

#[test]
fn at_the_deadline_the_requester_is_told_and_the_responder_and_what_comes_later_is_dropped() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(None, false)).unwrap();
    let (_, request) = scene.given();
    scene.pass(Duration::from_millis(4999));
    assert!(scene.told().is_empty());
    scene.pass(Duration::from_millis(1));
    let (replies, others) = scene.replies();
    assert_eq!((code(&replies[0]), replies[0].end), (Some(ErrorKind::Timeout), true));
    assert_eq!(others, [(2, cancel(1))]);
    assert_eq!(scene.reply(2, &request, b"late", true), Ok(()));
    assert!(scene.told().is_empty());
    assert_eq!(scene.requests.counts(), Counts { requests: 1, replies: 0, late: 1, timeouts: 1 });
}

#[test]
fn a_topic_is_listed_while_it_is_served_or_waited_for_with_what_is_open_and_came_late() {
    let mut scene = Scene::with(&[2, 3]);
    let mut given = Vec::new();
    for number in 1..=3 {
        scene.ask(number, asked(Some(1), false)).unwrap();
        given.push(scene.given());
    }
    scene.requests.cancel((ASKER, 1));
    let (peer, first) = given[0].clone();
    scene.reply(peer, &first, b"late", false).unwrap();
    scene.reply(peer, &first, b"", true).unwrap();
    let served = Served { members: 2, open: 2, requests: 3, late: 1 };
    assert_eq!(scene.requests.served("quote"), Some(served), "a bare end is no reply");
    assert_eq!(scene.requests.open(), 2);
    assert_eq!(scene.requests.served_after("").map(|name| &**name).collect::<Vec<_>>(), ["quote"]);
    assert_eq!(scene.requests.served_after("quote").count(), 0);
    scene.requests.leave((2, 1));
    scene.requests.leave((3, 1));
    assert_eq!(scene.requests.served("quote"), Some(Served { members: 0, ..served }));
    assert_eq!(scene.ask(4, asked(None, false)), Err(ErrorKind::NoResponders), "nobody serves it");
    for (peer, request) in &given[1..] {
        scene.reply(*peer, request, b"answer", true).unwrap();
    }
    assert_eq!(scene.requests.served("quote"), None);
    assert_eq!(scene.requests.open(), 0);
}

#[test]
fn a_member_that_ends_nothing_gets_no_more_than_its_credit_however_many_are_cancelled() {
    let mut scene = Scene::new();
    scene.requests.serve((2, 1), "quote", credit(2));
    for number in 1..=2 {
        scene.ask(number, asked(None, false)).unwrap();
        scene.requests.cancel((ASKER, number));
    }
    let told = scene.told();
    assert_eq!(told.len(), 4);
    assert_eq!(scene.ask(3, asked(None, false)), Err(ErrorKind::Busy));
    let ServerFrame::Request(first) = &told[0].1 else { panic!("{told:?}") };
    scene.reply(2, first, b"late", false).unwrap();
    scene.ask(4, asked(None, false)).unwrap();
}

#[test]
fn a_request_that_is_larger_than_all_credit_passes_alone() {
    let mut scene = Scene::new();
    scene.requests.serve((2, 1), "quote", Credit { events: 10, bytes: 4 });
    scene.ask(1, asked(None, false)).unwrap();
    assert_eq!(scene.ask(2, asked(None, false)), Err(ErrorKind::Busy));
}

#[test]
fn one_peer_has_no_more_requests_than_the_option_says() {
    let mut scene = Scene::with(&[2]);
    scene.requests.set_credit((2, 1), Credit { events: 100_000, bytes: u64::MAX });
    for number in 1..=1000 {
        scene.ask(number, asked(None, false)).unwrap();
    }
    assert_eq!(scene.ask(1001, asked(None, false)), Err(ErrorKind::Busy));
    scene.requests.cancel((ASKER, 1));
    scene.ask(1002, asked(None, false)).unwrap();
}

#[test]
fn requests_that_are_kept_for_a_retry_have_a_bound_in_bytes() {
    let mut scene = Scene::with(&[2]);
    for number in 1..=2 {
        scene.ask(number, asked(None, true)).unwrap();
    }
    assert_eq!(scene.ask(3, asked(None, true)), Err(ErrorKind::Busy));
    scene.ask(4, asked(None, false)).unwrap();
    scene.requests.cancel((ASKER, 1));
    scene.ask(5, asked(None, true)).unwrap();
}

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

#[test]
fn replies_that_were_never_asked_for_or_come_twice_or_from_another_are_refused() {
    let mut scene = Scene::with(&[2, 3]);
    scene.ask(1, asked(None, false)).unwrap();
    let (to, request) = scene.given();
    assert_eq!(to, 2);
    assert_eq!(scene.reply(3, &request, b"x", true), Err(ErrorKind::Invalid));
    let forged = wire::Request { reply_to: Bytes::from_static(b"gw/1/9"), ..request.clone() };
    assert_eq!(scene.reply(2, &forged, b"x", true), Err(ErrorKind::Invalid));
    assert_eq!(scene.reply(2, &wire::Request { number: 9, ..request.clone() }, b"x", true), Err(ErrorKind::Invalid));
    assert!(scene.told().is_empty());
    scene.reply(2, &request, b"x", true).unwrap();
    assert_eq!(scene.reply(2, &request, b"x", true), Err(ErrorKind::Invalid));
    assert_eq!(scene.replies().0.len(), 1);
}

#[test]
fn a_responder_that_is_lost_is_told_also_in_the_middle_of_a_stream() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(None, false)).unwrap();
    scene.ask(2, asked(Some(9), true)).unwrap();
    let told = scene.told();
    let ServerFrame::Request(second) = &told[1].1 else { panic!("{told:?}") };
    scene.reply(2, second, b"part", false).unwrap();
    scene.told();
    scene.requests.hang_up(scene.now, 2);
    let (replies, others) = scene.replies();
    assert_eq!(replies.iter().map(code).collect::<Vec<_>>(), [Some(ErrorKind::ResponderLost); 2]);
    assert!(replies[0].message.contains("before it replied") && replies[1].message.contains("in the middle"));
    assert!(others.is_empty(), "nobody is there to be told");
    assert_eq!(scene.ask(3, asked(None, false)), Err(ErrorKind::NoResponders));
}

#[test]
fn only_a_request_that_allows_it_goes_to_another_member_when_the_first_is_lost() {
    let mut scene = Scene::with(&[2, 3]);
    scene.ask(1, asked(None, true)).unwrap();
    let (first, _) = scene.given();
    scene.pass(Duration::from_secs(2));
    scene.requests.hang_up(scene.now, first);
    let (second, again) = scene.given();
    assert_eq!((first, second, again.timeout_ms), (2, 3, 3000));
    assert_eq!(again.event, "question");
    scene.reply(3, &again, b"answer", true).unwrap();
    assert_eq!(code(&scene.replies().0[0]), None);
}

#[test]
fn a_requester_that_hangs_up_calls_its_requests_off_and_nothing_is_kept_of_it() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(None, false)).unwrap();
    let (_, request) = scene.given();
    scene.requests.hang_up(scene.now, ASKER);
    assert_eq!(scene.told(), [(2, cancel(1))]);
    assert_eq!(scene.reply(2, &request, b"x", true), Ok(()));
    assert!(scene.told().is_empty());
    scene.requests.hang_up(scene.now, 2);
    assert!(scene.requests.peers.is_empty() && scene.requests.requests.is_empty());
    assert!(scene.requests.members.is_empty() && scene.requests.topics.is_empty());
}

#[test]
fn a_member_that_leaves_may_still_answer_what_it_was_given() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(None, false)).unwrap();
    let (_, request) = scene.given();
    assert!(scene.requests.leave((2, 1)) && !scene.requests.leave((2, 1)));
    assert_eq!(scene.ask(2, asked(None, false)), Err(ErrorKind::NoResponders));
    scene.reply(2, &request, b"x", true).unwrap();
    assert_eq!(scene.replies().0.len(), 1);
}

#[test]
fn a_peer_that_asks_itself_and_hangs_up_leaves_nothing() {
    let mut scene = Scene::with(&[ASKER]);
    scene.ask(1, asked(None, true)).unwrap();
    scene.requests.hang_up(scene.now, ASKER);
    assert!(scene.requests.peers.is_empty() && scene.requests.deadline().is_none());
}

#[test]
fn what_a_peer_has_no_room_for_ends_the_request() {
    let mut scene = Scene::with(&[2]);
    scene.ask(1, asked(None, false)).unwrap();
    let refused = scene.requests.poll().unwrap();
    scene.requests.refused(&refused);
    let (replies, _) = scene.replies();
    assert_eq!(code(&replies[0]), Some(ErrorKind::Busy));
    scene.ask(2, asked(Some(5), false)).unwrap();
    let (_, request) = scene.given();
    scene.reply(2, &request, b"large", false).unwrap();
    let refused = scene.requests.poll().unwrap();
    scene.requests.refused(&refused);
    let (replies, others) = scene.replies();
    assert_eq!(code(&replies[0]), Some(ErrorKind::Busy));
    assert_eq!(others, [(2, cancel(request.number))]);
}

#[test]
fn numbers_of_requests_rise() {
    let mut scene = Scene::new();
    assert!(!scene.requests.number(1, 0) && scene.requests.number(1, 5) && !scene.requests.number(1, 5));
    assert!(scene.requests.number(1, 6) && scene.requests.number(2, 1));
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

#[test]
fn a_reply_with_neither_an_event_nor_an_end_is_refused_and_ends_its_request() {
    for stream in [Some(1), None] {
        let mut scene = Scene::with(&[2]);
        scene.ask(1, asked(stream, false)).unwrap();
        let (_, request) = scene.given();
        for _ in 0..1000 {
            assert_eq!(scene.reply(2, &request, b"", false), Err(ErrorKind::Invalid));
        }
        let (replies, others) = scene.replies();
        assert_eq!(replies.iter().map(code).collect::<Vec<_>>(), [Some(ErrorKind::ResponderFailed)]);
        assert_eq!(others.len(), usize::from(stream.is_some()), "it is told unless its reply was the last: {others:?}");
        let ended = scene.reply(2, &request, b"", true);
        assert_eq!(ended, if stream.is_some() { Ok(()) } else { Err(ErrorKind::Invalid) });
        assert_eq!((scene.requests.counts().replies, scene.requests.open()), (0, 0));
    }
}
