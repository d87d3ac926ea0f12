//! Members that come and go, and how a request ends without its responder.

use std::sync::Arc;

use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment};

use super::{Address, Credit, Member, Peer, Request, Requests, Serving, Told, Trouble};
#[cfg(feature = "testing")]
use crate::engine::planted::{Defect, is};

impl Requests {
    /// A new member for requests to a topic, with room for so many that it has not ended.
    pub fn serve(&mut self, member: Member, topic: &str, credit: Credit) {
        let topic = match self.topics.get_key_value(topic) {
            Some((topic, _)) => topic.clone(),
            None => Arc::from(topic),
        };
        self.topics.entry(topic.clone()).or_default().served.members += 1;
        self.members.insert(member, Serving { topic, credit, open: (0, 0), turn: 0 });
        self.load(member, |_| {});
    }

    /// Sets a member's credit anew; `false`: there is no such member.
    pub fn set_credit(&mut self, member: Member, credit: Credit) -> bool {
        self.load(member, |serving| serving.credit = credit);
        self.members.contains_key(&member)
    }

    /// A member takes no more requests. What it has it may still end.
    pub fn leave(&mut self, member: Member) -> bool {
        let Some(serving) = self.members.remove(&member) else {
            return false;
        };
        if let Some(topic) = self.topics.get_mut(&serving.topic) {
            topic.ready.remove(&(serving.open.0, serving.turn, member));
            topic.served.members -= 1;
            self.forget_idle(&serving.topic);
        }
        true
    }

    fn forget_idle(&mut self, topic: &Arc<str>) {
        if self.topics.get(topic).is_some_and(|t| t.served.members == 0 && t.served.open == 0) {
            self.topics.remove(topic);
        }
    }

    /// A peer is gone: its requests are called off, and those that it was to answer go
    /// to others where they may, or end.
    pub fn hang_up(&mut self, now: Moment, peer: Peer) {
        let members: Vec<Member> = self.members.range((peer, 0)..=(peer, u32::MAX)).map(|(m, _)| *m).collect();
        for member in members {
            self.leave(member);
        }
        let own: Vec<Address> = self.requests.range((peer, 0)..=(peer, u64::MAX)).map(|(a, _)| *a).collect();
        for address in own {
            self.cancel(address);
        }
        let Some(state) = self.peers.remove(&peer) else {
            return;
        };
        for address in state.tasks.into_values().filter_map(|task| task.request) {
            self.lost(now, address);
        }
        self.look.remove(&peer);
        // What was for the one who is gone.
        self.out.retain(|told| told.to != peer);
    }

    /// A request whose responder is gone.
    fn lost(&mut self, now: Moment, address: Address) {
        #[cfg(feature = "testing")]
        if is(Defect::LossForgotten) {
            return;
        }
        let Some(request) = self.requests.get(&address) else {
            return;
        };
        if request.asked.may_be_given_again()
            && !request.answered
            && let Ok(member) = self.choose(&request.asked)
        {
            return self.give(now, address, member);
        }
        let text = if request.answered {
            "the responder was lost in the middle of its replies; they are not complete"
        } else {
            "the responder was lost before it replied; whether it did the work is not known"
        };
        self.abandon(address, &Trouble::new(ErrorKind::ResponderLost, text));
    }

    /// A peer had no room for what it was told: the request ends.
    pub fn refused(&mut self, told: &Told) {
        let address = told.about;
        match &told.frame {
            ServerFrame::Request(request) => {
                self.release(told.to, request.number);
                let text = "the responder does not take what it was sent; try again";
                self.abandon(address, &Trouble::new(ErrorKind::Busy, text));
            }
            ServerFrame::Reply(reply) => {
                let text = "the replies that this connection does not take are too many bytes (options session_bytes, memory_budget)";
                let trouble = Trouble::new(ErrorKind::Busy, text);
                if reply.end {
                    self.end(address, &trouble);
                } else {
                    self.abandon(address, &trouble);
                }
            }
            _ => {}
        }
    }

    /// Ends a request for both ends.
    pub(super) fn abandon(&mut self, address: Address, trouble: &Trouble) {
        if let Some(request) = self.close(address) {
            self.call_off(address, &request);
            self.end(address, trouble);
        }
    }

    fn end(&mut self, address: Address, trouble: &Trouble) {
        let frame = wire::Reply {
            number: address.1,
            end: true,
            code: trouble.kind.number(),
            message: trouble.message.clone(),
            retry_after_ms: trouble.retry_after_ms,
            ..wire::Reply::default()
        };
        self.out.push_back(Told { to: address.0, about: address, frame: ServerFrame::Reply(frame) });
    }

    /// A reply with neither an event nor an end costs no credit: there could be any number of them.
    pub(super) fn said_nothing(&mut self, (peer, number): (Peer, u64), request: Option<Address>, end: bool) -> Trouble {
        if end {
            self.release(peer, number);
        }
        if let Some(address) = request {
            let text = "the responder sent a reply with neither an event nor an end";
            self.abandon(address, &Trouble::new(ErrorKind::ResponderFailed, text));
        }
        let text = format!("a reply to request {number} has neither an event nor an end; give it one of them");
        Trouble::new(ErrorKind::Invalid, text)
    }

    /// Forgets a request; its task stays until the member has ended it.
    pub(super) fn close(&mut self, address: Address) -> Option<Request> {
        let request = self.requests.remove(&address)?;
        self.deadlines.remove(&(request.deadline, address));
        self.holding.remove(&address);
        self.count_closed(&request.asked.topic);
        if let Some(state) = self.peers.get_mut(&address.0) {
            state.open = state.open.saturating_sub(1);
            // Empty unless it was kept.
            state.kept = state.kept.saturating_sub(request.asked.event.len() as u64);
            state.promised = state.promised.saturating_sub(request.promised());
            // Others may have what it was promised.
            self.look.insert(address.0);
        }
        Some(request)
    }

    fn count_closed(&mut self, topic: &Arc<str>) {
        #[cfg(feature = "testing")]
        if is(Defect::OpenMiscounted) {
            return;
        }
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.served.open = topic.served.open.saturating_sub(1);
        }
        self.forget_idle(topic);
    }

    /// Tells the member that nobody waits, unless it has ended the task.
    pub(super) fn call_off(&mut self, address: Address, request: &Request) {
        let peer = request.member.0;
        let state = self.peers.get_mut(&peer);
        let Some(task) = state.and_then(|s| s.tasks.get_mut(&request.task)) else {
            return;
        };
        task.request = None;
        #[cfg(feature = "testing")]
        if is(Defect::CancelForgotten) {
            return;
        }
        let frame = ServerFrame::Cancel(wire::Cancel { number: request.task });
        self.out.push_back(Told { to: peer, about: address, frame });
    }

    /// A task was ended: its member has room again.
    pub(super) fn release(&mut self, peer: Peer, number: u64) {
        let Some(task) = self.peers.get_mut(&peer).and_then(|state| state.tasks.remove(&number)) else {
            return;
        };
        self.load((peer, task.member), |serving| {
            serving.open = (serving.open.0.saturating_sub(1), serving.open.1.saturating_sub(task.bytes));
        });
    }
}
