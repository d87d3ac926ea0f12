//! The access record: one line for each call that a client makes, under a target of its own.

use meshwire_proto::wire::admin;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::{ErrorKind, Moment};
use tracing::Level;

use crate::mesh::{Caller, Mesh};

/// The target of the records; their level is debug.
const TARGET: &str = "meshwire::access";

/// A call that is being answered. While nobody asks for records it is a look at a flag.
#[derive(Clone, Copy)]
pub(in crate::ingress) struct Call {
    began: Option<Moment>,
}

/// What a record names. What a call has not is empty.
#[derive(Clone, Copy, Default)]
pub(in crate::ingress) struct Record<'a> {
    pub(in crate::ingress) operation: &'static str,
    pub(in crate::ingress) topic: &'a str,
    pub(in crate::ingress) group: &'a str,
    /// That it is about.
    pub(in crate::ingress) events: u64,
    /// Why it was refused.
    pub(in crate::ingress) refused: Option<ErrorKind>,
}

impl Call {
    pub(in crate::ingress) fn begin(mesh: &Mesh) -> Self {
        let on = tracing::enabled!(target: TARGET, Level::DEBUG);
        Self { began: on.then(|| mesh.now().mono) }
    }

    /// Whether there is to be a record.
    pub(in crate::ingress) const fn is_recorded(self) -> bool {
        self.began.is_some()
    }

    /// The call is answered, but for what its answer waits for.
    pub(in crate::ingress) fn end(self, mesh: &Mesh, caller: &Caller, record: Record<'_>) {
        let Some(began) = self.began else { return };
        let Record { operation, topic, group, events, refused } = record;
        let (protocol, principal, code) =
            (caller.protocol, &*caller.principal, refused.map_or("OK", |kind| kind.code()));
        let micros = mesh.now().mono.0.saturating_sub(began.0);
        let peer = caller.peer.map(tracing::field::display);
        tracing::debug!(target: TARGET, operation, protocol, principal, peer, topic, group, events, code, micros, "call");
    }
}

/// A call that waits for something. One that is dropped, since its deadline has passed or nobody waits for it any more, leaves a record
/// with `CANCELLED`.
pub(in crate::ingress) struct Waiting<'a> {
    mesh: &'a Mesh,
    caller: &'a Caller,
    call: Call,
    record: Record<'a>,
}

impl<'a> Waiting<'a> {
    pub(in crate::ingress) fn begin(mesh: &'a Mesh, caller: &'a Caller, record: Record<'a>) -> Self {
        Self { mesh, caller, call: Call::begin(mesh), record }
    }

    /// It is answered.
    pub(in crate::ingress) fn end(mut self, refused: Option<ErrorKind>) {
        self.record.refused = refused;
        self.write();
    }

    /// The same, of a call that knows only now how many events it is about.
    pub(in crate::ingress) fn end_with(mut self, events: u64, refused: Option<ErrorKind>) {
        self.record.events = events;
        self.end(refused);
    }

    fn write(&mut self) {
        let call = std::mem::replace(&mut self.call, Call { began: None });
        call.end(self.mesh, self.caller, self.record);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.record.refused = self.record.refused.or(Some(ErrorKind::Cancelled));
        self.write();
    }
}

/// What a command is called in a record, its topic and its group.
pub(in crate::ingress) fn command(command: &admin::Command) -> Record<'_> {
    let (operation, topic, group): (_, &str, &str) = match &command.command {
        Some(Command::CreateTopic(c)) => ("create_topic", &c.name, ""),
        Some(Command::ListTopics(c)) => ("list_topics", &c.topic, ""),
        Some(Command::UpdateTopic(c)) => ("update_topic", &c.name, ""),
        Some(Command::DeleteTopic(c)) => ("delete_topic", &c.name, ""),
        Some(Command::GetGroup(c)) => ("get_group", &c.topic, &c.group),
        Some(Command::CreateGroup(c)) => ("create_group", &c.topic, &c.group),
        Some(Command::UpdateGroup(c)) => ("update_group", &c.topic, &c.group),
        Some(Command::SeekGroup(c)) => ("seek_group", &c.topic, &c.group),
        Some(Command::DeleteGroup(c)) => ("delete_group", &c.topic, &c.group),
        Some(Command::ListDeadLetters(c)) => ("list_dead_letters", &c.topic, &c.group),
        Some(Command::RedriveDeadLetters(c)) => ("redrive_dead_letters", &c.topic, &c.group),
        Some(Command::PurgeDeadLetters(c)) => ("purge_dead_letters", &c.topic, &c.group),
        Some(Command::GetLimits(_)) => ("get_limits", "", ""),
        Some(Command::SetLimits(_)) => ("set_limits", "", ""),
        None => ("unknown_command", "", ""),
    };
    Record { operation, topic, group, ..Record::default() }
}
