//! From a connection to a login, or to another way.

use meshwire_proto::frame::PREFACE;
use meshwire_proto::{ErrorKind, Moment};
use tokio::time::Instant;

use super::carrier::{Carrier, Link};
use super::{Driver, parser};
use crate::identity;
use crate::transport::{Cause, Failed, Opened};

/// The other end of the connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    address: String,
    carrier: Option<&'static str>,
    /// Whether the login on it was answered.
    welcomed: bool,
    /// When another way is tried if the login was not answered.
    pub(super) until: Option<Instant>,
}

impl Peer {
    pub(super) const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    pub(super) fn failed(&self, cause: Cause) -> Failed {
        Failed { address: self.address.clone(), carrier: self.carrier, cause }
    }
}

impl Driver {
    /// There is a connection: the login begins.
    pub(super) fn opened(&mut self, now: Moment, opened: Opened) {
        let Opened { stream, address, carrier, greeted, token } = opened;
        self.carrier = Carrier::Link(Link::new(stream));
        self.parser = parser();
        self.prefaced = greeted;
        self.read.clear();
        self.write.clear();
        if !greeted {
            self.write.extend_from_slice(&PREFACE);
        }
        self.session.authenticate(token);
        self.session.connected(now);
        self.hello_at = identity::now();
        let until = self.dialer.patience().map(|patience| Instant::now() + patience);
        self.peer = Peer { address, carrier, welcomed: false, until };
        if self.startup.is_some() {
            let mut outbox = self.outbox.lock();
            // Who was told to come again is told so once more, until it turns out otherwise.
            if outbox.refused.is_none() {
                outbox.last_attempt = Some(self.peer.failed(Cause::Silent).told().into());
            }
        }
    }

    pub(super) fn logged_in(&mut self) {
        (self.peer.until, self.peer.welcomed) = (None, true);
        self.dialer.welcomed();
        self.outbox.lock().carrier = self.peer.carrier;
    }

    /// Gives a connection up whose login is not answered, when there is another way.
    pub(super) fn lose_patience(&mut self) {
        if self.peer.until.take_if(|until| *until <= Instant::now()).is_some() {
            self.find_another_way(|| Cause::Silent, None);
        }
    }

    /// The login came to nothing for this cause, or a gateway refused it for now. If there is another way, it is tried at
    /// once.
    pub(super) fn find_another_way(&mut self, cause: impl Fn() -> Cause, refused: Option<ErrorKind>) -> bool {
        if !matches!(self.carrier, Carrier::Link(_)) || self.peer.welcomed {
            return false;
        }
        if !self.dialer.disappointed(cause(), refused.is_some()) {
            return false;
        }
        let failed = self.peer.failed(cause());
        tracing::debug!(cause = %failed, "trying another way to the gateway");
        self.drop_link();
        if !self.session.redial() {
            return false;
        }
        let mut outbox = self.outbox.lock();
        (outbox.last_attempt, outbox.refused) = (Some(failed.told().into()), refused);
        drop(outbox);
        self.carrier = Carrier::Dialing(self.dialer.dial());
        true
    }
}
