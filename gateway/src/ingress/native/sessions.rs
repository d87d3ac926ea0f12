//! Sessions by id: they outlive their connections for the resume window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire_proto::Moment;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::outbox::Outbox;
use super::session::Session;
use crate::ingress::refused::FloodCount;
use crate::mesh::{Caller, Leaving, Mesh};

/// A client whose connection was cut has it again after so long: its back-off begins with much less.
const COMES_BACK: Duration = Duration::from_secs(1);

/// Sessions of one gateway.
///
/// *Lock order:* a session may be locked when the table is asked, never the
/// other way round.
#[derive(Debug)]
pub struct Sessions {
    known: Mutex<Known>,
    changed: Notify,
    /// Most that wait, and about their bytes.
    most: (usize, u64),
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<[u8; 16], Entry>,
    /// Those without a connection, by the end of their window.
    ends: BTreeSet<(Moment, [u8; 16])>,
    /// The same by size.
    sizes: BTreeSet<(u64, [u8; 16])>,
    /// Of all of them.
    bytes: u64,
    /// That some had to go.
    early: FloodCount,
}

/// A session without a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// Since when it waits.
    pub(super) since: Moment,
    /// When its window ends.
    pub(super) until: Moment,
    /// What it costs meanwhile, about.
    pub(super) bytes: u64,
}

impl Known {
    fn wait(&mut self, id: [u8; 16], wait: Wait) {
        self.ends.insert((wait.until, id));
        self.sizes.insert((wait.bytes, id));
        self.bytes += wait.bytes;
    }

    fn wait_no_more(&mut self, id: [u8; 16], wait: Wait) {
        self.ends.remove(&(wait.until, id));
        self.sizes.remove(&(wait.bytes, id));
        self.bytes -= wait.bytes;
    }

    fn remove(&mut self, id: [u8; 16]) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(wait) = entry.waits {
            self.wait_no_more(id, wait);
        }
        Some(entry)
    }

    /// The one that has to go when too many wait: the first to end; when they are
    /// too large, the largest, so that small ones do not suffer from it.
    fn surplus(&self, (sessions, bytes): (usize, u64)) -> Option<[u8; 16]> {
        if self.ends.len() > sessions {
            return self.ends.first().map(|(_, id)| *id);
        }
        self.sizes.last().filter(|_| self.bytes > bytes).map(|(_, id)| *id)
    }
}

#[derive(Debug)]
struct Entry {
    /// Compared here, so that no session is ever locked under the table.
    secret: [u8; 16],
    /// Whose it is, wherever it has come from since.
    caller: Caller,
    session: Arc<Mutex<Session>>,
    /// Of the connection that has it.
    outbox: Arc<Outbox>,
    waits: Option<Wait>,
}

pub(super) fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(super) fn new(most: (usize, u64)) -> Self {
        Self { known: Mutex::default(), changed: Notify::new(), most }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, session: Session, outbox: Arc<Outbox>) -> Arc<Mutex<Session>> {
        let (id, secret, caller) = (session.id, session.secret, session.caller.clone());
        let session = Arc::new(Mutex::new(session));
        self.known().entries.insert(id, Entry { secret, caller, session: session.clone(), outbox, waits: None });
        session
    }

    /// Gives a session to a new connection of the same caller if the secret is right. A connection
    /// that still has it loses it.
    pub(super) fn take_over(
        &self,
        id: &[u8; 16],
        (secret, caller): (&[u8], &Caller),
        outbox: Arc<Outbox>,
    ) -> Option<Arc<Mutex<Session>>> {
        let mut known = self.known();
        let entry = known.entries.get_mut(id)?;
        // A secret that was overheard is not enough: with the session goes what its caller may do.
        if !equal(&entry.secret, secret) || !entry.caller.is(caller) {
            return None;
        }
        let session = entry.session.clone();
        std::mem::replace(&mut entry.outbox, outbox).close();
        if let Some(wait) = entry.waits.take() {
            known.wait_no_more(*id, wait);
        }
        Some(session)
    }

    /// The session's connection is gone; it may be resumed until then. Nothing
    /// happens when another connection has it by now. When too many wait, one ends.
    pub(super) fn suspend(&self, mesh: &Mesh, id: [u8; 16], outbox: &Arc<Outbox>, wait: Wait) {
        let mut known = self.known();
        let Some(entry) = known.entries.get_mut(&id).filter(|e| Arc::ptr_eq(&e.outbox, outbox)) else {
            return;
        };
        entry.waits = Some(wait);
        known.wait(id, wait);
        let surplus = std::iter::from_fn(|| known.surplus(self.most).and_then(|id| known.remove(id)));
        let ended: Vec<Entry> = surplus.collect();
        let said = ended.iter().filter_map(|_| known.early.count(Instant::now())).last();
        drop(known);
        self.changed.notify_one();
        if let Some(count) = said {
            tracing::warn!(
                count,
                "sessions ended before their resume window (options max_suspended and suspended_bytes)"
            );
        }
        for entry in ended {
            leave_all(mesh, &mut lock(&entry.session), Leaving::Lost);
        }
    }

    pub(super) fn suspended(&self) -> usize {
        self.known().ends.len()
    }

    /// Those that wait for so long that their clients are not expected any more.
    pub(super) fn gone(&self, now: Moment) -> Vec<Arc<Mutex<Session>>> {
        let known = self.known();
        let entries = known.ends.iter().filter_map(|(_, id)| known.entries.get(id));
        let gone = entries.filter(|entry| entry.waits.is_some_and(|wait| now.since(wait.since) >= COMES_BACK));
        gone.map(|entry| entry.session.clone()).collect()
    }

    pub(super) fn remove(&self, id: &[u8; 16]) {
        self.known().remove(*id);
    }

    /// When the next resume window ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.known().ends.first().map(|(at, _)| *at)
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends what was not resumed in time: its subscriptions are lost members.
    pub(super) fn expire(&self, mesh: &Mesh, now: Moment) {
        loop {
            let mut known = self.known();
            let Some((_, id)) = known.ends.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            let ended = known.remove(id);
            drop(known);
            if let Some(entry) = ended {
                leave_all(mesh, &mut lock(&entry.session), Leaving::Lost);
            }
        }
    }
}

/// Ends every subscription of a session.
pub(super) fn leave_all(mesh: &Mesh, session: &mut Session, how: Leaving) {
    for (number, subscription) in std::mem::take(&mut session.subscriptions) {
        mesh.leave(subscription.topic, session.key(number), how);
    }
}

/// Takes as long for a wrong secret as for the right one.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}
