//! Requests and replies: a state machine of its own, beside the groups, since
//! nothing of it is ever stored.
//!
//! - [`Requests::request`]: to the serve member with the fewest requests;
//! - [`Requests::reply`], [`Requests::cancel`]: while both ends are there;
//! - [`Requests::grant`], [`Requests::pass_on`]: how many replies may come (`credit.rs`);
//! - what [`Requests::tick`] does is end those whose deadline has come;
//! - [`Requests::leave`], [`Requests::hang_up`]: what becomes of the others when an end
//!   is gone (`ends.rs`).
//!
//! An end is a [`Peer`]: one connection. A request that nobody waits for any more keeps
//! its place in the credit of its member until the member has ended it, so that a member
//! which takes nothing gets nothing.

mod credit;
mod ends;
mod replies;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment};

use super::Credit;

/// One connection, by its number.
pub type Peer = u64;

/// One serve subscription: of whom, and its number there.
pub type Member = (Peer, u32);

/// A request by its requester and the number there: with the gateway's id it is the reply address.
pub type Address = (Peer, u64);

/// Most requests that a peer may have without having ended them, over all of its
/// subscriptions and those that it left. As many as one subscription may have.
const MOST_TASKS: u32 = 65_536;

/// Most members that are looked at for one request: those before the first with room are
/// few unless somebody makes them so.
const MOST_LOOKS: usize = 1024;

/// When a requester should try again that found all members full. A guess: a few
/// handlers' time.
const RETRY_FULL_MS: u32 = 50;

/// What a request asks for, checked.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Which serve members it is for.
    pub topic: Arc<str>,
    /// Until the last reply.
    pub timeout: Duration,
    /// Whether there are many replies, and how many may come at first.
    pub stream: Option<u32>,
    /// Another member may get it when the first is lost.
    pub retry: bool,
    /// The event, in memory of its own.
    pub event: Bytes,
}

impl NewRequest {
    fn may_be_given_again(&self) -> bool {
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::RequestGivenTwice) {
            return true;
        }
        #[cfg(feature = "testing")]
        if super::planted::is(super::planted::Defect::RetryForgotten) {
            return false;
        }
        self.retry
    }
}

/// The requester's number of a request that is replied to.
fn to_number(address: Address) -> u64 {
    #[cfg(feature = "testing")]
    if super::planted::is(super::planted::Defect::ReplyMisdirected) && address.1.is_multiple_of(4) {
        return address.1 - 1;
    }
    address.1
}

/// Why a request was not taken, or how it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// As the catalogue names it.
    pub kind: ErrorKind,
    /// What, where, what to do.
    pub message: String,
    /// When to try again; 0: not said.
    pub retry_after_ms: u32,
}

impl Trouble {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: 0 }
    }
}

/// What is to be told to whom. A request or reply that its peer has no room for goes
/// back with [`Requests::refused`].
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// To whom.
    pub to: Peer,
    /// The request that it is about.
    pub about: Address,
    /// What.
    pub frame: ServerFrame,
}

/// What one requester may have open.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Requests without their last reply.
    pub requests: u32,
    /// Bytes of those that are kept, since another member may get them.
    pub bytes: u64,
}

/// Counts since the gateway began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that got to a member.
    pub requests: u64,
    /// Replies that were passed on.
    pub replies: u64,
    /// Replies that came when nobody waited any more, and were dropped.
    pub late: u64,
    /// Requests whose deadline passed.
    pub timeouts: u64,
}

/// Requests to one topic: a line of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Members now.
    pub members: usize,
    /// Requests that wait for their last reply.
    pub open: u64,
    /// Requests that got to a member, since the first member of now came.
    pub requests: u64,
    /// Replies since then that nobody waited for any more.
    pub late: u64,
}

#[derive(Debug)]
struct Request {
    asked: NewRequest,
    deadline: Moment,
    member: Member,
    /// Its number at the member's peer.
    task: u64,
    /// Replies that may come; without a stream one.
    credit: u32,
    /// Replies that were asked for beside these, and that the responder was not told of.
    held: u32,
    /// Bytes of the largest reply.
    largest: u64,
    answered: bool,
}

#[derive(Debug)]
struct Serving {
    topic: Arc<str>,
    credit: Credit,
    /// Requests that it has not ended, and their bytes.
    open: (u32, u64),
    /// Rises with every request to any member: of equally loaded ones the one that
    /// waited longest is next.
    turn: u64,
}

/// Who serves a topic. It is there as long as somebody does, or a request is open.
#[derive(Debug, Default)]
struct Topic {
    served: Served,
    /// Bytes of the largest reply.
    largest: u64,
    /// Those with fewer requests than their credit, the least loaded first.
    ready: BTreeSet<(u32, u64, Member)>,
}

/// What a member was given and has not ended.
#[derive(Debug)]
struct Task {
    member: u32,
    bytes: u64,
    /// `None`: nobody waits any more.
    request: Option<Address>,
    /// The first reply is not the last one.
    stream: bool,
    reply_to: Bytes,
}

#[derive(Debug, Default)]
struct PeerState {
    /// The last request that it made.
    last: u64,
    /// The last task that it was given.
    given: u64,
    /// Its request that was given more credit last.
    last_given: u64,
    /// Bytes of the replies that responders may send in its streams.
    promised: u64,
    open: u32,
    /// Bytes of its requests that are kept.
    kept: u64,
    tasks: BTreeMap<u64, Task>,
}

/// Everything about requests of one gateway.
#[derive(Debug)]
pub struct Requests {
    gateway: Arc<str>,
    most: Most,
    peers: BTreeMap<Peer, PeerState>,
    requests: BTreeMap<Address, Request>,
    deadlines: BTreeSet<(Moment, Address)>,
    members: BTreeMap<Member, Serving>,
    topics: BTreeMap<Arc<str>, Topic>,
    /// Requests with credit that is held back, and requesters of whose it may be passed on.
    holding: BTreeSet<Address>,
    look: BTreeSet<Peer>,
    turn: u64,
    counts: Counts,
    out: VecDeque<Told>,
}

impl Requests {
    /// None yet, at the gateway of this id.
    #[must_use]
    pub fn new(gateway: &str, most: Most) -> Self {
        Self {
            gateway: gateway.into(),
            most,
            peers: BTreeMap::new(),
            requests: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            members: BTreeMap::new(),
            topics: BTreeMap::new(),
            holding: BTreeSet::new(),
            look: BTreeSet::new(),
            turn: 0,
            counts: Counts::default(),
            out: VecDeque::new(),
        }
    }

    /// What is to be told next.
    pub fn poll(&mut self) -> Option<Told> {
        self.out.pop_front()
    }

    /// Counts since the gateway began.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Requests that wait for their last reply.
    #[must_use]
    pub fn open(&self) -> usize {
        self.requests.len()
    }

    /// What there is of a topic that is served.
    #[must_use]
    pub fn served(&self, topic: &str) -> Option<Served> {
        self.topics.get(topic).map(|topic| topic.served)
    }

    /// Names of topics that are served, behind this one, in their order.
    pub fn served_after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.topics.range::<str, _>((Bound::Excluded(name), Bound::Unbounded)).map(|(name, _)| name)
    }

    /// When [`Requests::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whether this may be a peer's next request: its numbers rise.
    pub fn number(&mut self, peer: Peer, number: u64) -> bool {
        let state = self.peers.entry(peer).or_default();
        let rises = number > state.last;
        state.last = state.last.max(number);
        rises
    }

    /// Hands a request to a member.
    ///
    /// # Errors
    /// `BUSY` when the peer has too many, or all members have; `NO_RESPONDERS`.
    pub fn request(&mut self, now: Moment, address: Address, asked: NewRequest) -> Result<(), Trouble> {
        let kept = if asked.retry { asked.event.len() as u64 } else { 0 };
        self.check_room(address.0, kept)?;
        let member = self.choose(&asked)?;
        let deadline = now + asked.timeout;
        let credit = self.first_credit(&asked);
        let held = asked.stream.unwrap_or(1) - credit;
        if let Some(topic) = self.topics.get_mut(&asked.topic) {
            (topic.served.requests, topic.served.open) = (topic.served.requests + 1, topic.served.open + 1);
        }
        let request = Request { asked, deadline, member, task: 0, credit: 0, held, largest: 0, answered: false };
        self.requests.insert(address, request);
        self.promise(address, |request| request.credit = credit);
        self.deadlines.insert((deadline, address));
        let state = self.peers.entry(address.0).or_default();
        state.open += 1;
        state.kept += kept;
        self.counts.requests += 1;
        self.give(now, address, member);
        self.hold(address);
        Ok(())
    }

    /// Whether a requester may have one more, of which so many bytes are kept.
    fn check_room(&self, peer: Peer, kept: u64) -> Result<(), Trouble> {
        let Some(state) = self.peers.get(&peer) else { return Ok(()) };
        let Most { requests, bytes } = self.most;
        let text = if state.open >= requests {
            format!("{requests} requests of this connection wait for their last reply (option max_requests)")
        } else if kept > 0 && state.kept > 0 && state.kept.saturating_add(kept) > bytes {
            format!("requests of this connection that allow a retry are more than {bytes} bytes (option session_bytes)")
        } else {
            return Ok(());
        };
        Err(Trouble { retry_after_ms: RETRY_FULL_MS, ..Trouble::new(ErrorKind::Busy, text) })
    }

    /// The member with room that has the fewest requests.
    fn choose(&self, asked: &NewRequest) -> Result<Member, Trouble> {
        let topic = &asked.topic;
        let Some(served) = self.topics.get(topic).filter(|topic| topic.served.members > 0) else {
            let kind = ErrorKind::NoResponders;
            #[cfg(feature = "testing")]
            let kind = if super::planted::is(super::planted::Defect::NobodyIsBusy) { ErrorKind::Busy } else { kind };
            return Err(Trouble::new(kind, format!("nobody serves requests of topic {topic}")));
        };
        let bytes = asked.event.len() as u64;
        let has_room = |(_, _, member): &&(u32, u64, Member)| self.has_room(*member, bytes);
        let found = served.ready.iter().take(MOST_LOOKS).find(has_room);
        found.map(|(_, _, member)| *member).ok_or_else(|| {
            let text =
                format!("the {} responders of topic {topic} have as many requests as they take", served.served.members);
            Trouble { retry_after_ms: RETRY_FULL_MS, ..Trouble::new(ErrorKind::Busy, text) }
        })
    }

    /// A request larger than all of the bytes passes alone, as an event does.
    fn has_room(&self, member: Member, bytes: u64) -> bool {
        let tasks = self.peers.get(&member.0).map_or(0, |p| p.tasks.len());
        self.members.get(&member).is_some_and(|serving| {
            let (open, open_bytes) = serving.open;
            let fits = open == 0 || open_bytes.saturating_add(bytes) <= serving.credit.bytes;
            open < serving.credit.events && fits && tasks < MOST_TASKS as usize
        })
    }

    fn give(&mut self, now: Moment, address: Address, member: Member) {
        let Some(request) = self.requests.get_mut(&address) else { return };
        let (peer, subscription) = member;
        let state = self.peers.entry(peer).or_default();
        state.given += 1;
        let reply_to = Bytes::from(format!("{}/{}/{}", self.gateway, address.0, address.1));
        request.member = member;
        request.task = state.given;
        let left = request.deadline.since(now).as_millis().max(1);
        let frame = wire::Request {
            number: state.given,
            topic: request.asked.topic.to_string(),
            timeout_ms: u32::try_from(left).unwrap_or(u32::MAX),
            stream: request.asked.stream.is_some(),
            credit: request.credit,
            reply_to: reply_to.clone(),
            subscription,
            retry: request.asked.retry,
            event: request.asked.event.clone(),
        };
        let bytes = request.asked.event.len() as u64;
        if !request.asked.may_be_given_again() {
            request.asked.event = Bytes::new();
        }
        let stream = request.asked.stream.is_some();
        let task = Task { member: subscription, bytes, request: Some(address), stream, reply_to };
        state.tasks.insert(state.given, task);
        self.turn += 1;
        let turn = self.turn;
        self.load(member, |serving| {
            serving.open = (serving.open.0 + 1, serving.open.1 + bytes);
            serving.turn = turn;
        });
        self.out.push_back(Told { to: peer, about: address, frame: ServerFrame::Request(frame) });
    }

    /// Changes a member and its place among those of its topic.
    fn load(&mut self, member: Member, change: impl FnOnce(&mut Serving)) {
        let Some(serving) = self.members.get_mut(&member) else { return };
        let Some(topic) = self.topics.get_mut(&serving.topic) else { return };
        topic.ready.remove(&(serving.open.0, serving.turn, member));
        change(serving);
        if serving.open.0 < serving.credit.events {
            topic.ready.insert((serving.open.0, serving.turn, member));
        }
    }

    /// The requester waits no more.
    pub fn cancel(&mut self, address: Address) {
        if let Some(request) = self.close(address) {
            self.call_off(address, &request);
        }
    }

    /// Ends what is over its deadline.
    pub fn tick(&mut self, now: Moment) {
        while let Some((_, address)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.counts.timeouts += 1;
            let Some(request) = self.requests.get(&address) else {
                self.deadlines.pop_first();
                continue;
            };
            let text = if request.asked.stream.is_some() {
                format!("the last reply did not come within {:?}; the responder is told", request.asked.timeout)
            } else {
                format!("no reply came within {:?}; the responder is told", request.asked.timeout)
            };
            self.abandon(address, &Trouble::new(ErrorKind::Timeout, text));
        }
    }
}
