//! Requests and replies between handles and session.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::session as wire;
use tokio::sync::oneshot;

use super::Driver;
use crate::inbox::End;
use crate::outbox::Command;
use crate::replies::ReplyBox;
use crate::serve::{FlowSender, ServeInbox, Task, cancel, grant};
use crate::session::{Failure, Output, ServeId, TaskId};
use crate::{Error, Result};

struct Serving {
    inbox: Arc<ServeInbox>,
    reply: Option<oneshot::Sender<Result<()>>>,
}

/// Who waits for what.
#[derive(Default)]
pub(super) struct Exchange {
    requests: BTreeMap<u64, Arc<ReplyBox>>,
    serves: BTreeMap<ServeId, Serving>,
    tasks: BTreeMap<TaskId, (Arc<ServeInbox>, FlowSender)>,
}

impl Exchange {
    /// The program drains: no more requests are taken.
    pub(super) fn stop(&self) {
        for serving in self.serves.values() {
            serving.inbox.end(End::Quiet);
        }
    }

    /// Nobody drives any more.
    pub(super) fn end(&mut self, error: &Error, failure: &Failure) {
        for replies in std::mem::take(&mut self.requests).into_values() {
            replies.bring(None, Some(Err(failure.unknown_outcome_of("the request"))));
        }
        for (_, flow) in std::mem::take(&mut self.tasks).into_values() {
            cancel(&flow);
        }
        for serving in std::mem::take(&mut self.serves).into_values() {
            serving.inbox.end(End::Error(error.clone()));
            if let Some(reply) = serving.reply {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

/// Answers a command that nobody will carry out.
pub(super) fn refuse(command: Command, error: &Error, failure: &Failure) {
    match command {
        Command::Request { replies, .. } => replies.bring(None, Some(Err(failure.clone()))),
        Command::Serve { reply, .. } => drop(reply.send(Err(error.clone()))),
        _ => {}
    }
}

impl Driver {
    pub(super) fn request_command(&mut self, command: Command) {
        match command {
            Command::Request { spec, replies } => {
                let number = self.session.request(self.now(), spec);
                // A fresh one has no number yet.
                let _ = replies.number.set(number);
                self.exchange.requests.insert(number, replies);
            }
            Command::CancelRequest(replies) => {
                if let Some(number) = replies.number.get().copied() {
                    self.exchange.requests.remove(&number);
                    self.session.cancel_request(number);
                }
            }
            Command::Grant(replies, events) => {
                if let Some(number) = replies.number.get().copied() {
                    self.session.grant(number, events);
                }
            }
            Command::Serve { spec, inbox, reply } => {
                let id = self.session.serve(spec);
                let _ = inbox.id.set(id);
                self.exchange.serves.insert(id, Serving { inbox, reply: Some(reply) });
            }
            Command::ServeNoMore(inbox) => {
                if let Some(id) = inbox.id.get().copied() {
                    self.exchange.serves.remove(&id);
                    self.session.serve_no_more(id);
                }
            }
            Command::Reply(task, reply) => {
                if reply.end.is_some() {
                    self.exchange.tasks.remove(&task);
                }
                self.session.reply(task, reply);
            }
            _ => {}
        }
    }

    /// Passes on what requests and replies come to.
    pub(super) fn tell_exchange(&mut self, output: Output) {
        match output {
            Output::Replied { request, event, end } => {
                let over = end.is_some();
                if let Some(replies) = self.exchange.requests.get(&request) {
                    replies.bring(event, end);
                }
                if over {
                    self.exchange.requests.remove(&request);
                }
            }
            Output::Serving { serve } => {
                let reply = self.exchange.serves.get_mut(&serve).and_then(|s| s.reply.take());
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
            }
            Output::Asked { serve, task, request } => self.asked(serve, task, request),
            Output::TaskCancelled { task } => {
                let Some((inbox, flow)) = self.exchange.tasks.get(&task) else { return };
                cancel(flow);
                if let Some(task) = inbox.take_back(task) {
                    task.fail(ErrorKind::Cancelled, "the requester waits no more");
                }
            }
            Output::TaskGranted { task, events } => {
                if let Some((_, flow)) = self.exchange.tasks.get(&task) {
                    grant(flow, events);
                }
            }
            Output::ReplyRefused(failure) => {
                let error = Error::from_failure("reply", &failure);
                tracing::warn!(%error, "the gateway refused a reply; the requester is told");
            }
            Output::ServeEnded { serve, failure } => {
                let Some(serving) = self.exchange.serves.remove(&serve) else { return };
                let error = Error::from_failure("serve", &failure);
                if let Some(reply) = serving.reply {
                    let _ = reply.send(Err(error.clone()));
                }
                serving.inbox.end(if self.draining.is_some() { End::Quiet } else { End::Error(error) });
            }
            _ => {}
        }
    }

    fn asked(&mut self, serve: ServeId, id: TaskId, request: wire::Request) {
        // Dropped when nobody serves any more, the task ends itself.
        let (task, flow) = Task::new(Arc::clone(&self.outbox), id, request);
        if let Some(serving) = self.exchange.serves.get(&serve) {
            self.exchange.tasks.insert(id, (Arc::clone(&serving.inbox), flow));
            serving.inbox.bring(task);
        }
    }
}
