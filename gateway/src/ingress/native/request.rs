//! Request, Reply, ReplyCredit and Cancel frames, and serve subscriptions. All of them
//! belong to the connection and not to the session: a peer that lost its connection
//! cannot know what was on its way.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;

use super::protocol::Protocol;
use super::session::Session;
use crate::ingress::access::{Call, Record};
use crate::mesh::{Credit, Refusal};

impl Protocol {
    pub(super) fn serve(&mut self, session: &Session, frame: &wire::Subscribe, credit: Credit) -> Result<(), Refusal> {
        let member = (self.number, frame.subscription);
        self.native.mesh.serve(&session.caller, member, &frame.topic, credit, self.outbox.clone())?;
        self.requesting = true;
        self.serving.insert(frame.subscription, credit.bytes);
        let subscription = frame.subscription;
        self.send(ServerFrame::Subscribed(wire::Subscribed { subscription, ..wire::Subscribed::default() }));
        Ok(())
    }

    /// Whether the credit was that of a serve subscription.
    pub(super) fn serve_credit(&mut self, subscription: u32, credit: Credit) -> bool {
        let Some(bytes) = self.serving.get_mut(&subscription) else {
            return false;
        };
        *bytes = credit.bytes;
        self.native.mesh.serve_credit(self.number, subscription, credit)
    }

    /// Whether it was a serve subscription that ends.
    pub(super) fn serve_no_more(&mut self, subscription: u32) -> bool {
        if self.serving.remove(&subscription).is_none() {
            return false;
        }
        let ended = self.native.mesh.serve_no_more(self.number, subscription);
        self.send(ServerFrame::Unsubscribed(wire::Unsubscribed { subscription, ..wire::Unsubscribed::default() }));
        ended
    }

    pub(super) fn request(&mut self, session: &Session, request: &wire::Request) {
        let call = Call::begin(&self.native.mesh);
        let record = Record { operation: "request", topic: &request.topic, events: 1, ..Record::default() };
        self.requesting = true;
        if !self.native.mesh.request_number(self.number, request.number) {
            let text = format!("request {} came behind one of the same or a higher number", request.number);
            let refused = Some(ErrorKind::Invalid);
            call.end(&self.native.mesh, &session.caller, Record { refused, ..record });
            return self.fail(ErrorKind::Invalid, &text);
        }
        let taken = self.native.mesh.request(&session.caller, self.number, request, self.outbox.clone());
        let mesh = &self.native.mesh;
        if let Err(refusal) = taken {
            call.end(mesh, &session.caller, Record { refused: Some(refusal.kind), ..record });
            self.send(ServerFrame::Reply(wire::Reply {
                number: request.number,
                end: true,
                code: refusal.kind.number(),
                message: refusal.message,
                retry_after_ms: refusal.retry_after_ms,
                ..wire::Reply::default()
            }));
        } else if call.is_recorded() {
            self.asked.add(mesh.now().mono, request, call.keep(mesh, &session.caller, record));
        }
    }

    pub(super) fn reply(&mut self, reply: wire::Reply) {
        if let Err(refusal) = self.native.mesh.reply(self.number, reply) {
            self.refuse(refusal.kind, &refusal.message, "reply");
        }
    }

    pub(super) fn reply_credit(&self, credit: wire::ReplyCredit) {
        self.native.mesh.reply_credit(self.number, credit.number, credit.events);
    }

    pub(super) fn cancel_request(&mut self, cancel: wire::Cancel) {
        self.asked.cancelled(|| self.native.mesh.now().mono, cancel.number);
        self.native.mesh.cancel_request(self.number, cancel.number);
    }

    /// Nothing of this connection can be asked or answered any more.
    pub(super) fn hang_up(&mut self) {
        if self.requesting {
            self.requesting = false;
            self.serving.clear();
            self.asked.clear();
            self.native.mesh.hang_up(self.number);
        }
    }
}
