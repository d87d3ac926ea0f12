//! Requests of others, and the replies to them.

use std::collections::BTreeMap;

use bytes::Bytes;
use meshwire_proto::frame::ClientFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, GroupName, TopicName};

use super::{Ask, Failure, Output, Session};

/// Names what serves to this session's owner; survives reconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServeId(pub u32);

/// Names a request of others to this session's owner, for as long as its connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

/// What to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSpec {
    /// Requests to this topic.
    pub topic: TopicName,
    /// For listings; all who serve a topic share its requests, with it or without.
    pub group: Option<GroupName>,
    /// Most requests that are not ended.
    pub max_events: u32,
    /// Most bytes of them; one request may pass over it.
    pub max_bytes: u64,
}

/// What is said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReply {
    /// An encoded event.
    pub event: Option<Bytes>,
    /// The last word: all was said, or why it failed.
    pub end: Option<Result<(), Failure>>,
}

#[derive(Debug)]
struct Serve {
    spec: ServeSpec,
    /// 0: not asked for on this connection.
    wire: u32,
}

#[derive(Debug)]
struct Task {
    number: u64,
    reply_to: Bytes,
}

/// Invariant: `by_number` has the tasks of `tasks`, all of this connection.
#[derive(Debug, Default)]
pub(super) struct Serves {
    all: BTreeMap<ServeId, Serve>,
    by_wire: BTreeMap<u32, ServeId>,
    tasks: BTreeMap<TaskId, Task>,
    by_number: BTreeMap<u64, TaskId>,
    last_id: u32,
    last_task: u64,
}

impl Serves {
    /// What was asked for by this number, answered or not.
    pub(super) fn asked(&self, wire: u32) -> Option<ServeId> {
        self.by_wire.get(&wire).copied()
    }

    /// It is asked for again later, by another number.
    pub(super) fn not_yet(&mut self, wire: u32) {
        if let Some(serve) = self.by_wire.remove(&wire).and_then(|id| self.all.get_mut(&id)) {
            serve.wire = 0;
        }
    }

    pub(super) fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

impl Session {
    /// Begins to serve a topic's requests, until [`Session::serve_no_more`] or [`Output::ServeEnded`].
    pub fn serve(&mut self, spec: ServeSpec) -> ServeId {
        self.serves.last_id += 1;
        let id = ServeId(self.serves.last_id);
        self.serves.all.insert(id, Serve { spec, wire: 0 });
        if self.is_up() {
            self.ask_to_serve(id);
        }
        id
    }

    /// Takes no more requests. What was asked is still to be answered.
    pub fn serve_no_more(&mut self, id: ServeId) {
        self.busy.forget(Ask::Serve(id));
        let Some(serve) = self.serves.all.remove(&id) else { return };
        self.serves.by_wire.remove(&serve.wire);
        if serve.wire > 0 && self.is_up() {
            self.send(&ClientFrame::Unsubscribe(wire::Unsubscribe { subscription: serve.wire }));
        }
    }

    /// Says something to a request. To one of an earlier connection nothing is said, and
    /// that is counted.
    pub fn reply(&mut self, task: TaskId, reply: TaskReply) {
        let Some(open) = self.serves.tasks.get(&task) else {
            self.stats.replies_dropped += 1;
            return;
        };
        let (number, reply_to) = (open.number, open.reply_to.clone());
        let mut frame = wire::Reply { number, reply_to, ..wire::Reply::default() };
        frame.event = reply.event.unwrap_or_default();
        if let Some(end) = reply.end {
            frame.end = true;
            if let Err(failure) = end {
                frame.event = Bytes::new();
                frame.code = failure.kind.number();
                frame.message = failure.message;
            }
            self.serves.tasks.remove(&task);
            self.serves.by_number.remove(&number);
        }
        self.send(&ClientFrame::Reply(frame));
    }

    pub(super) fn ask_to_serve(&mut self, id: ServeId) {
        let Some(serve) = self.serves.all.get_mut(&id) else { return };
        serve.wire = self.subscriptions.next_wire();
        self.serves.by_wire.insert(serve.wire, id);
        let frame = wire::Subscribe {
            subscription: serve.wire,
            topic: serve.spec.topic.to_string(),
            group: serve.spec.group.as_ref().map(ToString::to_string).unwrap_or_default(),
            max_events: serve.spec.max_events,
            max_bytes: serve.spec.max_bytes,
            serve: true,
            ..wire::Subscribe::default()
        };
        self.send(&ClientFrame::Subscribe(frame));
    }

    /// A new connection knows nothing of what serves.
    pub(super) fn serve_again(&mut self) {
        for id in self.serves.all.keys().copied().collect::<Vec<_>>() {
            self.ask_to_serve(id);
        }
    }

    /// Frames that set the credit of everything that serves to nothing.
    pub(super) fn serve_credit_taken(&mut self) {
        for subscription in self.serves.by_wire.keys().copied().collect::<Vec<_>>() {
            self.send(&ClientFrame::Credit(wire::Credit { subscription, max_events: 0, max_bytes: 0 }));
        }
    }

    /// Whether the number is that of something that serves, which is confirmed by now.
    pub(super) fn serving(&mut self, wire: u32) -> bool {
        let Some(serve) = self.serves.by_wire.get(&wire).copied() else {
            return false;
        };
        self.busy.forget(Ask::Serve(serve));
        self.output.push_back(Output::Serving { serve });
        true
    }

    /// Whether the number is that of something that serves, which the gateway has ended.
    pub(super) fn serve_ended(&mut self, wire: u32, failure: &Failure) -> bool {
        let Some(serve) = self.serves.by_wire.remove(&wire) else {
            return false;
        };
        self.serves.all.remove(&serve);
        self.output.push_back(Output::ServeEnded { serve, failure: failure.clone() });
        true
    }

    /// Takes a request over.
    ///
    /// # Errors
    /// The sentence about a request that cannot be.
    pub(super) fn asked(&mut self, request: wire::Request) -> Result<(), String> {
        let (number, wire) = (request.number, request.subscription);
        if self.serves.by_number.contains_key(&number) {
            return Err(format!("request {number} came twice"));
        }
        let Some(serve) = self.serves.by_wire.get(&wire).copied() else {
            if !self.subscriptions.was_used(wire) {
                return Err(format!("a request for subscription {wire}, which does not exist"));
            }
            // It was on its way when we left.
            let frame = wire::Reply {
                number,
                reply_to: request.reply_to,
                end: true,
                code: ErrorKind::NoResponders.number(),
                message: "the responder has just left, nothing was done; try again".to_owned(),
                ..wire::Reply::default()
            };
            self.send(&ClientFrame::Reply(frame));
            return Ok(());
        };
        self.serves.last_task += 1;
        let task = TaskId(self.serves.last_task);
        self.serves.tasks.insert(task, Task { number, reply_to: request.reply_to.clone() });
        self.serves.by_number.insert(number, task);
        self.output.push_back(Output::Asked { serve, task, request });
        Ok(())
    }

    /// Nobody waits for a reply any more; it is still to be ended.
    pub(super) fn task_cancelled(&mut self, number: u64) {
        if let Some(task) = self.serves.by_number.get(&number).copied() {
            self.output.push_back(Output::TaskCancelled { task });
        }
    }

    pub(super) fn task_granted(&mut self, credit: wire::ReplyCredit) {
        if let Some(task) = self.serves.by_number.get(&credit.number).copied() {
            self.output.push_back(Output::TaskGranted { task, events: credit.events });
        }
    }

    /// The connection is gone, and whoever asked is told so by the gateway.
    pub(super) fn tasks_lost(&mut self) {
        self.serves.by_number.clear();
        self.serves.by_wire.clear();
        for serve in self.serves.all.values_mut() {
            serve.wire = 0;
        }
        for task in std::mem::take(&mut self.serves.tasks).into_keys() {
            self.output.push_back(Output::TaskCancelled { task });
        }
    }

    pub(super) fn finish_serves(&mut self, failure: &Failure) {
        self.tasks_lost();
        for serve in std::mem::take(&mut self.serves).all.into_keys() {
            self.output.push_back(Output::ServeEnded { serve, failure: failure.clone() });
        }
    }
}
