//! Requests and replies in virtual time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod credit;

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

fn asked(stream: Option<u32>, retry: bool) -> NewRequest {
    let event = Bytes::from_static(b"question");
    NewRequest { topic: "quote".into(), timeout: Duration::from_secs(5), stream, retry, event }
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

    fn ask(&mut self, number: u64, asked: NewRequest) -> Result<(), ErrorKind> {
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
