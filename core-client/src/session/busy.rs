//! What the gateway answers `BUSY` is asked again when it says so, and what it refuses because it stops, over the next connection:
//! subscriptions, what serves, and commands. Publishes and requests are not: when they are tried again is the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire_proto::frame::ClientFrame;
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment};

use super::{Failure, ServeId, Session, SubscriptionId};

/// So long after the first such answer it is told as an error; a subscription that has run before is asked for as long as
/// it lasts. As long as a lease by default: who waits longer has lost what it held anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// The wait where the gateway names none. A guess.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    Subscription(SubscriptionId),
    Serve(ServeId),
    Admin(u64),
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    /// When it is asked again; `None`: it was.
    at: Option<Moment>,
    /// When no more.
    until: Moment,
}

/// Everything that is asked again and has no other answer yet.
#[derive(Debug, Default)]
pub(super) struct Busy(BTreeMap<Ask, Wait>);

impl Busy {
    pub(super) fn forget(&mut self, ask: Ask) {
        self.0.remove(&ask);
    }

    /// The next login asks for everything, with a patience that begins then: who is away tells nobody that it is busy.
    pub(super) fn disconnected(&mut self) {
        self.0.clear();
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.values().filter_map(|wait| wait.at).min()
    }

    fn due(&mut self, now: Moment) -> Vec<Ask> {
        let is_due = |wait: &mut Wait| wait.at.take_if(|at| *at <= now).is_some();
        self.0.iter_mut().filter_map(|(ask, wait)| is_due(wait).then_some(*ask)).collect()
    }
}

impl Session {
    /// Takes note of a failure; `false`: it is to be told.
    pub(super) fn is_asked_again(&mut self, now: Moment, ask: Ask, failure: &Failure) -> bool {
        if failure.kind != ErrorKind::Busy {
            self.busy.forget(ask);
            // What is put off the next login asks for, with a patience that begins then.
            return self.is_put_off(failure.kind);
        }
        let wait = self.backoff.beyond(failure.retry_after.unwrap_or(PAUSE));
        let until = self.busy.0.get(&ask).map_or(now + PATIENCE, |wait| wait.until);
        let lasts = matches!(ask, Ask::Subscription(id) if self.subscriptions.has_run(id));
        if now + wait > until && !lasts {
            self.busy.forget(ask);
            return false;
        }
        self.busy.0.insert(ask, Wait { at: Some(now + wait), until });
        true
    }

    /// Asks again for what is due.
    pub(super) fn ask_again(&mut self, now: Moment) {
        for ask in self.busy.due(now) {
            match ask {
                Ask::Subscription(_) if self.draining => {}
                Ask::Subscription(id) => {
                    if let Some(frame) = self.subscriptions.ask(id) {
                        self.send(&ClientFrame::Subscribe(frame));
                    }
                }
                Ask::Serve(_) if self.draining => {}
                Ask::Serve(id) => self.ask_to_serve(id),
                Ask::Admin(number) => {
                    if let Some(command) = self.admins.get(&number).cloned() {
                        self.send(&ClientFrame::Admin(wire::Admin { number, command }));
                    }
                }
            }
        }
    }
}
