//! What responders say.

use bytes::Bytes;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;

use super::{Member, Peer, Requests, Told, Trouble, to_number};

impl Requests {
    /// A responder's reply.
    ///
    /// # Errors
    /// `INVALID`: to what it was not asked, or has ended, or more than the credit, or neither an event nor an end. What is
    /// only late is dropped and counted.
    pub fn reply(&mut self, peer: Peer, reply: wire::Reply) -> Result<(), Trouble> {
        let invalid = |text: String| Trouble::new(ErrorKind::Invalid, text);
        let number = reply.number;
        let state = self.peers.entry(peer).or_default();
        let task = state.tasks.get(&number).filter(|task| task.reply_to == reply.reply_to);
        let Some(task) = task else {
            let text = format!("a reply to request {number}, which this connection was not given or has ended");
            return Err(invalid(text));
        };
        let (end, asked) = (reply.end || reply.code != 0 || !task.stream, task.request);
        if reply.event.is_empty() && reply.code == 0 && !reply.end {
            return Err(self.said_nothing((peer, number), asked, end));
        }
        let Some(address) = asked else {
            let member = (peer, task.member);
            // A last word without an event is only the end of what was called off.
            if !reply.event.is_empty() {
                self.count_late(member);
            }
            if end {
                self.release(peer, number);
            }
            return Ok(());
        };
        let Some(request) = self.requests.get_mut(&address) else { return Ok(()) };
        let has_event = !reply.event.is_empty();
        if has_event && request.credit == 0 {
            let text = format!("request {number} has got more replies than it has credit for");
            let why = "the responder sent more than was asked for";
            self.abandon(address, &Trouble::new(ErrorKind::ResponderFailed, why));
            return Err(invalid(text));
        }
        request.answered = true;
        self.promise(address, |request| request.credit -= u32::from(has_event));
        self.counts.replies += 1;
        self.note_size(address, reply.event.len() as u64);
        if end {
            self.release(peer, number);
            self.close(address);
        }
        let number = to_number(address);
        let frame = wire::Reply { number, reply_to: Bytes::new(), end, ..reply };
        #[cfg(feature = "testing")]
        let frame = crate::engine::planted::passed_on(frame);
        self.out.push_back(Told { to: address.0, about: address, frame: ServerFrame::Reply(frame) });
        Ok(())
    }

    fn count_late(&mut self, member: Member) {
        #[cfg(feature = "testing")]
        if crate::engine::planted::is(crate::engine::planted::Defect::LateUncounted) {
            return;
        }
        self.counts.late += 1;
        let topic = self.members.get(&member).map(|serving| &serving.topic);
        if let Some(topic) = topic.and_then(|topic| self.topics.get_mut(topic)) {
            topic.served.late += 1;
        }
    }
}
