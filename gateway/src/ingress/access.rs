//! The access record: one line for each call that a client makes, under a target of its own.

use meshwire_proto::wire::admin;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::{ErrorKind, Moment};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tracing::Level;

use crate::mesh::{Caller, Mesh};

/// The target of the records; their level is debug.
const TARGET: &str = "meshwire::access";

/// A call that is being answered. While nobody asks for records it is a look at a flag.
#[derive(Clone, Copy)]
pub(super) struct Call {
    began: Option<Moment>,
}

/// What a record names. What a call has not is empty.
#[derive(Clone, Copy, Default)]
pub(super) struct Record<'a> {
    pub(super) operation: &'static str,
    pub(super) topic: &'a str,
    pub(super) group: &'a str,
    /// That it is about.
    pub(super) events: u64,
    /// Why it was refused.
    pub(super) refused: Option<ErrorKind>,
}

impl Call {
    pub(super) fn begin(mesh: &Mesh) -> Self {
        let on = tracing::enabled!(target: TARGET, Level::DEBUG);
        Self { began: on.then(|| mesh.now().mono) }
    }

    /// Whether there is to be a record.
    pub(super) const fn is_recorded(self) -> bool {
        self.began.is_some()
    }

    /// The call is answered later: its record is kept until then.
    pub(super) fn keep(self, mesh: &Mesh, caller: &Caller, record: Record<'_>) -> Kept {
        self.keep_until(None, mesh, caller, record)
    }

    fn keep_until(self, ends: Option<Instant>, mesh: &Mesh, caller: &Caller, record: Record<'_>) -> Kept {
        if !self.is_recorded() {
            return Kept(None);
        }
        let Record { operation, topic, events, .. } = record;
        let (mesh, caller, topic) = (mesh.clone(), caller.clone(), topic.to_owned());
        Kept(Some(Box::new(Owned { mesh, caller, call: self, ends, operation, topic, events, answered: None })))
    }

    /// The call is answered, but for what its answer waits for.
    pub(super) fn end(self, mesh: &Mesh, caller: &Caller, record: Record<'_>) {
        let Some(began) = self.began else { return };
        let Record { operation, topic, group, events, refused } = record;
        let (protocol, principal, code) =
            (caller.protocol, &*caller.principal, refused.map_or("OK", |kind| kind.code()));
        let micros = mesh.now().mono.0.saturating_sub(began.0);
        let peer = caller.peer.map(tracing::field::display);
        tracing::debug!(target: TARGET, operation, protocol, principal, peer, topic, group, events, code, micros, "call");
    }
}

tokio::task_local! {
    /// When the call that is carried out ends whatever comes.
    static ENDS: Instant;
}

/// Carries a call out within its time: one that is not answered by then leaves a record with `TIMEOUT`.
///
/// # Errors
/// Its time is over.
pub(super) async fn within<T>(ends: Instant, call: impl Future<Output = T>) -> Result<T, Elapsed> {
    ENDS.scope(ends, timeout_at(ends, call)).await
}

/// What a record says of a call that was dropped before it was answered.
fn dropped(ends: Option<Instant>) -> ErrorKind {
    if ends.is_some_and(|ends| ends <= Instant::now()) { ErrorKind::Timeout } else { ErrorKind::Cancelled }
}

/// A call that waits for something. One that is dropped leaves a record with `TIMEOUT`, when its time is over, or with `CANCELLED`, when
/// nobody waits for it any more.
pub(super) struct Waiting<'a> {
    mesh: &'a Mesh,
    caller: &'a Caller,
    call: Call,
    ends: Option<Instant>,
    record: Record<'a>,
}

impl<'a> Waiting<'a> {
    pub(super) fn begin(mesh: &'a Mesh, caller: &'a Caller, record: Record<'a>) -> Self {
        let call = Call::begin(mesh);
        let ends = if call.is_recorded() { ENDS.try_with(|ends| *ends).ok() } else { None };
        Self { mesh, caller, call, ends, record }
    }

    /// It is answered later, when what it waits in is gone.
    pub(super) fn keep(mut self) -> Kept {
        self.take().keep_until(self.ends, self.mesh, self.caller, self.record)
    }

    /// It is answered.
    pub(super) fn end(mut self, refused: Option<ErrorKind>) {
        self.record.refused = refused;
        self.write();
    }

    /// The same, of a call that knows only now how many events it is about.
    pub(super) fn end_with(mut self, events: u64, refused: Option<ErrorKind>) {
        self.record.events = events;
        self.end(refused);
    }

    const fn take(&mut self) -> Call {
        std::mem::replace(&mut self.call, Call { began: None })
    }

    fn write(&mut self) {
        self.take().end(self.mesh, self.caller, self.record);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.call.is_recorded() {
            self.record.refused = Some(dropped(self.ends));
            self.write();
        }
    }
}

/// The record of a call without a group whose answer is waited for elsewhere. It is written when it is dropped; while nobody asks for
/// records it is empty.
#[derive(Default)]
pub(super) struct Kept(Option<Box<Owned>>);

struct Owned {
    mesh: Mesh,
    caller: Caller,
    call: Call,
    ends: Option<Instant>,
    operation: &'static str,
    topic: String,
    events: u64,
    /// Well, or why not.
    answered: Option<Result<(), ErrorKind>>,
}

impl Kept {
    /// Whether there is to be none.
    pub(in crate::ingress) const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// It has its answer.
    pub(super) fn answered(&mut self, how: Result<(), ErrorKind>) {
        if let Some(owned) = &mut self.0 {
            owned.answered = Some(how);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(owned) = &self.0 else { return };
        let Owned { operation, topic, events, .. } = &**owned;
        let refused = owned.answered.unwrap_or_else(|| Err(dropped(owned.ends))).err();
        let record = Record { operation, topic, events: *events, refused, ..Record::default() };
        owned.call.end(&owned.mesh, &owned.caller, record);
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kept").field(&self.0.as_ref().map(|owned| owned.answered)).finish()
    }
}

/// What a command is called in a record, its topic and its group.
pub(super) fn command(command: &admin::Command) -> Record<'_> {
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
