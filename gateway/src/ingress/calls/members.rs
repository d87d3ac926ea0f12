//! Members of groups that live from fetch to fetch.
//!
//! Between fetches a member has no credit. One without a name is there as long as it holds leases; one with a name comes back to
//! its leases, and with them to their keys. What holds nothing any more, since its leases have ended, leaves after a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire_proto::{ErrorKind, GroupName, MemberName, Moment, TopicName};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore};

use super::{Calls, Consumer};
use crate::mesh::Refusal;

/// How long a member that holds nothing stays.
pub(super) const STAYS: Duration = Duration::from_secs(30);

/// How often it is looked whether there are such.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// When somebody should try again for whom there was no place.
const RETRY_FULL_MS: u32 = 1000;

/// A member, and its place among all that may be.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) consumer: Consumer,
    pub(super) _place: OwnedSemaphorePermit,
    /// Since when it holds nothing.
    pub(super) empty: Option<Moment>,
}

/// A member with a name: who fetches holds the lock.
pub(super) type Slot = Arc<AsyncMutex<Option<Member>>>;

/// Who it is: a caller's member of a topic's group.
pub(super) type Name = (TopicName, GroupName, Arc<str>, MemberName);

pub(super) struct Members {
    places: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// By the number of their consumers.
    unnamed: BTreeMap<u64, Member>,
    named: BTreeMap<Name, Slot>,
    closed: bool,
}

impl Members {
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), most, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new member.
    ///
    /// # Errors
    /// `BUSY`: there is none.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let text = format!(
                "{} members fetch or hold leases from fetches already (option max_fetch_members); settle, or fetch with a member's name",
                self.most
            );
            Refusal::new(ErrorKind::Busy, text).after(RETRY_FULL_MS)
        })
    }

    /// The slot of a member with a name.
    pub(super) fn slot(&self, name: Name) -> Slot {
        let slot = self.state().named.entry(name).or_default().clone();
        self.changed.notify_one();
        slot
    }

    /// A fetch by the member of this name is over: where none has come of it, nothing stays.
    pub(super) fn release(&self, name: &Name) {
        let mut state = self.state();
        let Some(slot) = state.named.get(name) else { return };
        // Who else has the slot says so in its turn.
        let is_free = Arc::strong_count(slot) == 1 && slot.try_lock().is_ok_and(|member| member.is_none());
        if is_free {
            state.named.remove(name);
        }
    }

    /// How many there are with a name, and without.
    pub(super) fn count(&self) -> (usize, usize) {
        let state = self.state();
        (state.named.len(), state.unnamed.len())
    }

    /// Keeps a member without a name that holds leases.
    pub(super) fn keep(&self, member: Member) {
        let mut state = self.state();
        if !state.closed {
            state.unnamed.insert(member.consumer.session(), member);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Something of a consumer was settled: a member without a name that holds nothing leaves.
    pub(super) fn settled(&self, session: u64) {
        let mut state = self.state();
        let empty = state.unnamed.get(&session).is_some_and(|member| member.consumer.holds().0 == 0);
        let left = if empty { state.unnamed.remove(&session) } else { None };
        drop(state);
        drop(left);
    }

    /// Lets all leave, for good.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.closed = true;
        let (unnamed, named) = (std::mem::take(&mut state.unnamed), std::mem::take(&mut state.named));
        drop(state);
        drop(unnamed);
        for slot in named.into_values() {
            // One that fetches is in its fetcher's hands, who has been told as well.
            if let Ok(mut member) = slot.try_lock() {
                drop(member.take());
            }
        }
    }

    /// Lets those leave that have held nothing for a while.
    pub(super) fn sweep(&self, now: Moment) {
        let mut left = Vec::new();
        let mut state = self.state();
        left.extend(state.unnamed.extract_if(.., |_, member| member.is_over(now)).map(|(_, member)| member));
        state.named.retain(|_, slot| {
            // Who has the slot, or waits for it, is about to fetch.
            if Arc::strong_count(slot) > 1 {
                return true;
            }
            let Ok(mut slot) = slot.try_lock() else { return true };
            if slot.as_mut().is_none_or(|member| member.is_over(now)) {
                left.extend(slot.take());
                return false;
            }
            true
        });
        drop(state);
        drop(left);
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.unnamed.is_empty() && state.named.is_empty()
    }
}

impl Member {
    fn is_over(&mut self, now: Moment) -> bool {
        if self.consumer.holds().0 > 0 {
            self.empty = None;
            return false;
        }
        now.since(*self.empty.get_or_insert(now)) >= STAYS
    }
}

impl Calls {
    /// Lets members leave that hold nothing any more, when it is time, for ever.
    pub async fn keep_time(&self) {
        loop {
            if self.members.is_empty() {
                self.members.changed.notified().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            self.members.sweep(self.mesh.now().mono);
        }
    }
}
