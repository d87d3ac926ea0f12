//! Sessions by id: they outlive their connections for the resume window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshwire_proto::Moment;
use tokio::sync::Notify;

use super::outbox::Outbox;
use super::session::Session;
use crate::mesh::{Leaving, Mesh};

/// Sessions of one gateway.
///
/// *Lock order:* a session may be locked when the table is asked, never the
/// other way round.
#[derive(Debug, Default)]
pub struct Sessions {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<[u8; 16], Entry>,
    /// Those without a connection, by the end of their window.
    ends: BTreeSet<(Moment, [u8; 16])>,
}

#[derive(Debug)]
struct Entry {
    /// Compared here, so that no session is ever locked under the table.
    secret: [u8; 16],
    session: Arc<Mutex<Session>>,
    /// Of the connection that has it.
    outbox: Arc<Outbox>,
    until: Option<Moment>,
}

pub(super) fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, session: Session, outbox: Arc<Outbox>) -> Arc<Mutex<Session>> {
        let (id, secret) = (session.id, session.secret);
        let session = Arc::new(Mutex::new(session));
        self.known().entries.insert(id, Entry { secret, session: session.clone(), outbox, until: None });
        session
    }

    /// Gives a session to a new connection if the secret is right. A connection
    /// that still has it loses it.
    pub(super) fn take_over(&self, id: &[u8; 16], secret: &[u8], outbox: Arc<Outbox>) -> Option<Arc<Mutex<Session>>> {
        let mut known = self.known();
        let entry = known.entries.get_mut(id)?;
        if !equal(&entry.secret, secret) {
            return None;
        }
        let session = entry.session.clone();
        std::mem::replace(&mut entry.outbox, outbox).close();
        if let Some(until) = entry.until.take() {
            known.ends.remove(&(until, *id));
        }
        Some(session)
    }

    /// The session's connection is gone; it may be resumed until then. Nothing
    /// happens when another connection has it by now.
    pub(super) fn suspend(&self, id: [u8; 16], outbox: &Arc<Outbox>, until: Moment) {
        let mut known = self.known();
        let Some(entry) = known.entries.get_mut(&id).filter(|e| Arc::ptr_eq(&e.outbox, outbox)) else {
            return;
        };
        entry.until = Some(until);
        known.ends.insert((until, id));
        drop(known);
        self.changed.notify_one();
    }

    pub(super) fn remove(&self, id: &[u8; 16]) {
        self.known().entries.remove(id);
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
            let Some((at, id)) = known.ends.first().copied().filter(|(at, _)| *at <= now) else {
                return;
            };
            known.ends.remove(&(at, id));
            let ended = known.entries.remove(&id);
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
