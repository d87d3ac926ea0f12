//! How many replies of a stream its responder may send: as many as its requester asked for, and no more at once than the
//! requester's connection has room for. So a requester that takes nothing costs a bounded part of memory, and its responder
//! no more than a wait in that one stream.

use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;

use super::{Address, NewRequest, Peer, Request, Requests, Told};

/// Most replies that a stream begins with, before it is known how large they are. A guess.
const FIRST: u32 = 8;

/// Their bytes, where it is known how large replies of the topic are.
const FIRST_BYTES: u64 = 64 << 10;

/// A reply counts as so many bytes at least: what it costs beside its event.
const LEAST_REPLY: u64 = 4096;

impl Requests {
    /// Of what a request asks for, what its responder may send at once.
    pub(super) fn first_credit(&self, asked: &NewRequest) -> u32 {
        let Some(credit) = asked.stream else { return 1 };
        let largest = self.topics.get(&asked.topic).map_or(0, |topic| topic.largest);
        let fits = FIRST_BYTES / largest.max(LEAST_REPLY);
        credit.min(FIRST).min(u32::try_from(fits.max(1)).unwrap_or(u32::MAX))
    }

    /// More credit for a reply stream. What is over by now has no use for it.
    pub fn grant(&mut self, address: Address, events: u32) {
        #[cfg(feature = "testing")]
        if super::super::planted::is(super::super::planted::Defect::GrantForgotten) {
            return;
        }
        let Some(request) = self.requests.get_mut(&address).filter(|r| r.asked.stream.is_some()) else { return };
        let room = u32::MAX - request.credit - request.held;
        request.held += events.min(room);
        self.hold(address);
    }

    /// A request has credit that its responder does not know of.
    pub(super) fn hold(&mut self, address: Address) {
        if self.requests.get(&address).is_some_and(|request| request.held > 0) {
            self.holding.insert(address);
            self.look.insert(address.0);
        }
    }

    /// A reply of so many bytes is on its way to its requester.
    pub(super) fn note_size(&mut self, address: Address, bytes: u64) {
        let Some(request) = self.requests.get(&address) else { return };
        if let Some(topic) = self.topics.get_mut(&request.asked.topic) {
            topic.largest = topic.largest.max(bytes);
        }
        self.promise(address, |request| request.largest = request.largest.max(bytes));
        self.hold(address);
    }

    /// Changes what may come in a request.
    pub(super) fn promise(&mut self, address: Address, change: impl FnOnce(&mut Request)) {
        let Some(request) = self.requests.get_mut(&address) else { return };
        let before = request.promised();
        change(request);
        let state = self.peers.entry(address.0).or_default();
        state.promised = state.promised.saturating_sub(before).saturating_add(request.promised());
    }

    /// There is more room on a requester's connection.
    pub fn has_room_again(&mut self, peer: Peer) {
        self.look.insert(peer);
    }

    /// A requester of whose streams one may be given more credit: [`Requests::pass_on`].
    pub fn next_to_look_at(&mut self) -> Option<Peer> {
        self.look.pop_first()
    }

    /// Passes on credit for as many replies as there is room for on a requester's connection, in turn to its streams; any
    /// room is enough for one reply of each. `true`: one waits for more room.
    pub fn pass_on(&mut self, peer: Peer, room: u64) -> bool {
        let mut holding: Vec<Address> = self.holding.range((peer, 0)..=(peer, u64::MAX)).copied().collect();
        let (last, promised) = self.peers.get(&peer).map_or((0, 0), |state| (state.last_given, state.promised));
        let behind = holding.partition_point(|address| address.1 <= last);
        holding.rotate_left(behind);
        let mut left = room.saturating_sub(promised);
        let (share, mut waits) = (left / holding.len().max(1) as u64, false);
        for address in holding {
            let Some(request) = self.requests.get(&address) else { continue };
            let fits = u32::try_from(share.min(left) / request.size()).unwrap_or(u32::MAX);
            let events = match request.credit {
                0 if room > 0 && request.largest == 0 => fits.clamp(1, FIRST),
                0 if room > 0 => fits.max(1),
                // Its first reply will say how large they are.
                _ if request.largest == 0 => 0,
                // Not for every few.
                credit if fits >= credit => fits,
                _ => 0,
            };
            let events = events.min(request.held);
            left = left.saturating_sub(request.size().saturating_mul(events.into()));
            waits |= request.credit + events == 0;
            let (to, number, rest) = (request.member.0, request.task, request.held - events);
            self.promise(address, |request| {
                (request.credit, request.held) = (request.credit + events, request.held - events)
            });
            if rest == 0 {
                self.holding.remove(&address);
            }
            if events > 0 {
                let frame = ServerFrame::ReplyCredit(wire::ReplyCredit { number, events });
                self.out.push_back(Told { to, about: address, frame });
                self.peers.entry(peer).or_default().last_given = address.1;
            }
        }
        waits
    }
}

impl Request {
    /// What a reply of it is expected to take.
    fn size(&self) -> u64 {
        self.largest.max(LEAST_REPLY)
    }

    /// Bytes of what its responder may send, of a stream.
    pub(super) fn promised(&self) -> u64 {
        if self.asked.stream.is_some() { self.size().saturating_mul(self.credit.into()) } else { 0 }
    }
}
