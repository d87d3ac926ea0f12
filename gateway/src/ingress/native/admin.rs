//! Admin frames: one command in, one answer out, now or when the disk has given what it needs.

use std::task::Waker;

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::admin::Command;
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use super::protocol::Protocol;
use super::session::Session;
use super::sessions::lock;
use super::subscribe::Join;
use crate::ingress::access::{self, Call, Record};
use crate::mesh::{Answered, Caller, Credit, Mesh, Refusal, SoFar};

/// Most commands of a connection that wait for the disk.
const MOST_LATER: usize = 16;

/// What waits for the disk: commands for blocks, subscriptions for the place of a time.
#[derive(Default)]
pub(super) struct Later {
    commands: Vec<(u64, Command, Call, SoFar)>,
    /// As many as the session may have subscriptions.
    joins: Vec<Join>,
    /// Fetches that had ended when they were tried last.
    seen: u64,
}

impl Later {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.joins.is_empty()
    }

    /// `false`: something may be ready already.
    pub(super) fn wake_when_ready(&self, mesh: &Mesh, waker: &Waker) -> bool {
        self.is_empty() || mesh.wake_when_fetched(self.seen, waker)
    }

    /// So many subscriptions wait.
    pub(super) fn joins(&self) -> usize {
        self.joins.len()
    }

    pub(super) fn waits_to_join(&self, number: u32) -> bool {
        self.joins.iter().any(|join| join.number == number)
    }

    /// A subscription waits; so many fetches had ended when it was tried.
    pub(super) fn join(&mut self, join: Join, seen: u64) {
        self.wait_from(seen);
        self.joins.push(join);
    }

    /// What waits already must not miss a fetch.
    fn wait_from(&mut self, seen: u64) {
        self.seen = if self.is_empty() { seen } else { self.seen.min(seen) };
    }

    /// `false`: no such subscription waits.
    pub(super) fn set_credit(&mut self, number: u32, credit: Credit) -> bool {
        let join = self.joins.iter_mut().find(|join| join.number == number);
        join.map(|join| join.request.credit = credit).is_some()
    }

    /// Lets go of a subscription; `false`: no such one waits.
    pub(super) fn leave(&mut self, number: u32) -> bool {
        self.joins.extract_if(.., |join| join.number == number).count() > 0
    }
}

impl Protocol {
    pub(super) fn admin(&mut self, session: &Session, admin: wire::Admin) {
        let call = Call::begin(&self.native.mesh);
        match meshwire_proto::wire::admin::Command::decode(admin.command) {
            Ok(command) => self.carry_out(session, (admin.number, command, call, SoFar::default())),
            Err(e) => {
                let refusal = Refusal::new(ErrorKind::Invalid, format!("the command is malformed: {e}"));
                self.answer_admin(
                    &session.caller,
                    admin.number,
                    Err(refusal),
                    (call, Record { operation: "unknown_command", ..Record::default() }),
                );
            }
        }
    }

    fn carry_out(&mut self, session: &Session, (number, command, call, mut so_far): (u64, Command, Call, SoFar)) {
        let seen = self.native.mesh.fetches();
        match self.native.mesh.admin(&session.caller, &command, &mut so_far) {
            Some(answered) => self.answer_admin(&session.caller, number, answered, (call, access::command(&command))),
            None if self.later.commands.len() < MOST_LATER => {
                self.later.wait_from(seen);
                self.later.commands.push((number, command, call, so_far));
            }
            None => {
                let text = format!("{MOST_LATER} commands of this connection wait for the disk; ask again");
                let refused = Err(Refusal::new(ErrorKind::Busy, text));
                self.answer_admin(&session.caller, number, refused, (call, access::command(&command)));
            }
        }
    }

    /// What waited for the disk is tried again.
    pub(super) fn try_again(&mut self) {
        if self.later.is_empty() || self.native.mesh.fetches() == self.later.seen {
            return;
        }
        let (commands, joins) = (std::mem::take(&mut self.later.commands), std::mem::take(&mut self.later.joins));
        let Some(session) = self.session() else {
            return;
        };
        let mut session = lock(&session);
        for command in commands {
            self.carry_out(&session, command);
        }
        // Another connection that has the session by now asks again.
        if session.owner == self.number {
            for join in joins {
                self.join(&mut session, join);
            }
        }
    }

    fn answer_admin(&mut self, caller: &Caller, number: u64, answered: Answered, (call, record): (Call, Record<'_>)) {
        let refused = answered.as_ref().err().map(|refusal| refusal.kind);
        call.end(&self.native.mesh, caller, Record { refused, ..record });
        match answered {
            Ok((answer, ticket)) => {
                let answer = answer.encode_to_vec().into();
                let frame = wire::AdminAnswer { number, answer, ..wire::AdminAnswer::default() };
                self.pending.frame(ticket, ServerFrame::Admin(frame));
            }
            Err(refusal) => self.send(ServerFrame::Admin(wire::AdminAnswer {
                number,
                code: refusal.kind.number(),
                message: refusal.message,
                retry_after_ms: refusal.retry_after_ms,
                ..wire::AdminAnswer::default()
            })),
        }
    }
}
