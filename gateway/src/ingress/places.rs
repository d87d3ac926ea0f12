//! Places of connections: so many at once. When all are taken, one that ends makes room, or else whoever has waited longest without a
//! login.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use meshwire_proto::{ErrorKind, options};
use tokio::sync::Notify;

use crate::mesh::{Counts, Lost, Refusal};

/// When who found no place should try again.
const RETRY_MS: u32 = 1000;

/// The places of a gateway.
#[derive(Debug)]
pub struct Places {
    most: usize,
    state: Mutex<State>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Most at once since somebody asked.
    peak: usize,
    next: u64,
    /// Those that make room, in this order.
    waiting: BTreeMap<Turn, Arc<Shed>>,
}

/// When a connection makes room, and its number: the oldest first.
type Turn = (Stage, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It is over, but for its last words.
    Leaving,
    /// It has not logged in.
    Coming,
}

/// Whether a connection must make room.
#[derive(Debug, Default)]
struct Shed {
    told: AtomicBool,
    news: Notify,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Places>,
    number: u64,
    /// Another that had not logged in made room for it.
    of_another: bool,
    /// That of the connection which it is within, if it is not one's own.
    within: Option<Arc<Self>>,
    logged_in: AtomicBool,
    shed: Arc<Shed>,
}

impl Places {
    /// So many.
    #[must_use]
    pub fn new(most: usize, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default(), counts })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Most that were taken at once since this was asked before.
    #[must_use]
    pub fn peak(&self) -> usize {
        let mut state = self.state();
        let taken = state.taken;
        std::mem::replace(&mut state.peak, taken)
    }

    /// A place, if need be of one that ends or has not logged in.
    ///
    /// # Errors
    /// `BUSY`: all are logged in.
    pub fn take(self: &Arc<Self>) -> Result<Arc<Place>, Refusal> {
        self.take_for(None)
    }

    /// The same for one of several sessions within a connection, which is logged in as soon as one of them is.
    ///
    /// # Errors
    /// `BUSY`: all are logged in.
    pub(super) fn take_within(self: &Arc<Self>, connection: &Arc<Place>) -> Result<Arc<Place>, Refusal> {
        self.take_for(Some(Arc::clone(connection)))
    }

    fn take_for(self: &Arc<Self>, within: Option<Arc<Place>>) -> Result<Arc<Place>, Refusal> {
        let mut state = self.state();
        let mut makes_room = None;
        if state.taken >= self.most {
            makes_room = state.waiting.pop_first();
            if makes_room.is_none() {
                drop(state);
                self.counts.lost(Lost::Refused);
                let name = options::MAX_CONNECTIONS.name;
                let text = format!("{} connections are open, which is all there may be (option {name})", self.most);
                return Err(Refusal::new(ErrorKind::Busy, text).after(RETRY_MS));
            }
        } else {
            state.taken += 1;
            state.peak = state.peak.max(state.taken);
        }
        let number = state.next;
        state.next += 1;
        let shed = Arc::new(Shed::default());
        state.waiting.insert((Stage::Coming, number), Arc::clone(&shed));
        if let Some((_, oldest)) = &makes_room {
            // While nobody else looks: its place is not its own to give back.
            oldest.told.store(true, Ordering::Relaxed);
        }
        drop(state);
        let of_another = matches!(&makes_room, Some(((Stage::Coming, _), _)));
        if of_another {
            self.counts.lost(Lost::Shed);
        }
        if let Some((_, oldest)) = makes_room {
            oldest.news.notify_waiters();
        }
        let (of, logged_in) = (Arc::clone(self), AtomicBool::new(false));
        Ok(Arc::new(Place { of, number, of_another, within, logged_in, shed }))
    }
}

impl Place {
    /// Whether another that had not logged in made room for it.
    pub(super) const fn is_of_another(&self) -> bool {
        self.of_another
    }

    /// Nobody takes this place away any more.
    pub fn logged_in(&self) {
        if !self.logged_in.swap(true, Ordering::Relaxed) {
            self.of.state().waiting.remove(&(Stage::Coming, self.number));
            if let Some(connection) = &self.within {
                connection.logged_in();
            }
        }
    }

    /// The connection is over, but for its last words: it makes room before all others, and is not counted as lost then.
    pub(super) fn leaves(&self) {
        let mut state = self.of.state();
        state.waiting.remove(&(Stage::Coming, self.number));
        self.logged_in.store(false, Ordering::Relaxed);
        // Unless another has it by now.
        if !self.shed.told.load(Ordering::Relaxed) {
            state.waiting.insert((Stage::Leaving, self.number), Arc::clone(&self.shed));
        }
    }

    /// Ends when the connection must make room for another; never while it is logged in. One that [leaves](Place::leaves) later looks again by
    /// itself, as nothing wakes it for that.
    pub async fn shed(&self) {
        let mut news = pin!(self.shed.news.notified());
        // From here on nothing is missed.
        news.as_mut().enable();
        poll_fn(|cx| {
            if self.shed.told.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            // Not even a look, where an event may come with each turn.
            if self.logged_in.load(Ordering::Relaxed) { Poll::Pending } else { news.as_mut().poll(cx) }
        })
        .await;
    }

    /// Counts it as lost, since it has not logged in within `limit`; gives what it is told.
    pub(super) fn overdue(&self, limit: Duration) -> Refusal {
        self.of.counts.lost(Lost::LoginTimeout);
        let text = format!("no login within {limit:?} (option {})", options::LOGIN_TIMEOUT.name);
        Refusal::new(ErrorKind::Timeout, text)
    }

    /// What it is told when it was shed.
    pub(super) fn refusal(&self) -> Refusal {
        let text = format!(
            "{} connections are open (option {}), and others came after this one, which has not logged in",
            self.of.most,
            options::MAX_CONNECTIONS.name
        );
        Refusal::new(ErrorKind::Busy, text).after(RETRY_MS)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.of.state();
        for stage in [Stage::Leaving, Stage::Coming] {
            state.waiting.remove(&(stage, self.number));
        }
        // Another has the place of one that was shed.
        if !self.shed.told.load(Ordering::Relaxed) {
            state.taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_without_a_login_makes_room_and_when_all_are_logged_in_the_new_one_is_refused() {
        let counts = Arc::new(Counts::default());
        let places = Places::new(3, counts.clone());
        let [a, b, c] = [(); 3].map(|()| places.take().unwrap());
        b.logged_in();
        let shed = |place: &Place| place.shed().now_or_never().is_some();
        assert!(!shed(&a) && !shed(&b) && !shed(&c));
        let d = places.take().unwrap();
        assert!(shed(&a) && !shed(&b) && !shed(&c) && !shed(&d));
        drop(a);
        let e = places.take().unwrap();
        assert!(!shed(&b) && shed(&c) && !shed(&d));
        drop(c);
        d.logged_in();
        e.logged_in();
        let refused = places.take().unwrap_err();
        assert_eq!((refused.kind, refused.retry_after_ms), (ErrorKind::Busy, RETRY_MS));
        assert_eq!((counts.losses(Lost::Shed), counts.losses(Lost::Refused)), (2, 1));
        drop(b);
        assert!(places.take().is_ok(), "a place was given back");
        assert_eq!(counts.losses(Lost::Shed), 2);
    }

    #[test]
    fn one_that_ends_has_its_place_until_it_is_gone_or_a_newcomer_needs_it_and_goes_before_all_others() {
        let counts = Arc::new(Counts::default());
        let places = Places::new(3, counts.clone());
        let [coming, told, lost] = [(); 3].map(|()| places.take().unwrap());
        lost.logged_in();
        lost.leaves();
        told.leaves();
        let shed = |place: &Place| place.shed().now_or_never().is_some();
        assert!(!shed(&coming) && !shed(&told) && !shed(&lost), "nobody needs a place");
        let first = places.take().unwrap();
        assert!(!shed(&coming) && shed(&told) && !shed(&lost));
        told.leaves();
        let second = places.take().unwrap();
        assert!(!shed(&coming) && shed(&lost) && !first.is_of_another() && !second.is_of_another());
        assert_eq!(counts.losses(Lost::Shed), 0, "they were over");
        drop((told, lost));
        assert!(places.take().is_ok_and(|third| third.is_of_another()) && shed(&coming));
        drop((coming, first, second));
        assert_eq!(places.state().taken, 0);
    }

    #[test]
    fn a_connection_is_logged_in_with_the_first_session_within_it_and_those_beside_it_are_not() {
        let places = Places::new(3, Arc::default());
        let connection = places.take().unwrap();
        let [one, other] = [(); 2].map(|()| places.take_within(&connection).unwrap());
        one.logged_in();
        let _new = places.take().unwrap();
        let shed = |place: &Place| place.shed().now_or_never().is_some();
        assert!(!shed(&connection) && !shed(&one) && shed(&other));
    }

    #[test]
    fn the_peak_is_the_most_at_once_since_it_was_asked_before_and_who_makes_room_is_counted_once() {
        let places = Places::new(3, Arc::default());
        assert_eq!(places.peak(), 0);
        let came: Vec<_> = (0..5).map(|_| places.take().unwrap()).collect();
        drop(came);
        assert_eq!((places.peak(), places.peak()), (3, 0));
        let one = places.take().unwrap();
        assert_eq!((places.peak(), places.peak()), (1, 1));
        drop(one);
    }

    #[test]
    fn a_place_is_given_back_once_whether_its_connection_was_shed_or_not() {
        let places = Places::new(1, Arc::default());
        let mut last = places.take().unwrap();
        for _ in 0..10 {
            let next = places.take().unwrap();
            drop(std::mem::replace(&mut last, next));
        }
        last.logged_in();
        assert!(places.take().is_err());
        drop(last);
        assert!(places.take().is_ok() && places.state().taken == 0);
    }
}
