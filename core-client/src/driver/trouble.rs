//! What keeps a client from its gateway, told without a flood of lines.

use std::time::Duration;

use meshwire_proto::{ErrorKind, Moment};
use tokio::time::Instant;

use super::Driver;
use crate::Error;
use crate::session::State;
use crate::transport::{Account, Cause, DialError, stranger};

/// How often a failure that lasts is told again. A guess: soon enough for a person who
/// waits, far from filling a log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The cause of the last failure since the client was connected.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    cause: Option<String>,
    /// When it is to be told again.
    tell_at: Option<Instant>,
}

impl Trouble {
    /// Takes note; whether it is another cause than the last.
    pub(super) fn is_news(&mut self, cause: &str) -> bool {
        let news = self.cause.as_deref() != Some(cause);
        if news {
            self.cause = Some(cause.to_owned());
        }
        self.tell_at.get_or_insert_with(|| Instant::now() + TELL_EVERY);
        news
    }

    /// Whether an attempt has failed since the client was connected.
    pub(super) const fn is_known(&self) -> bool {
        self.cause.is_some()
    }

    /// When [`Driver::tell_trouble`] has something to do.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.tell_at
    }

    /// The client is connected.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

impl Driver {
    /// An attempt to reach the gateway failed. Who waits for the first connection is
    /// told at the end of the wait; else each cause is told once.
    pub(super) fn hindered(&mut self, attempts: Account) {
        let cause = attempts.to_string();
        let news = self.trouble.is_news(&cause);
        match &self.startup {
            // Who started the programs in this order knows why it takes so long.
            Some(startup) if startup.keep_trying && news => {
                tracing::info!(cause, "no gateway can be reached yet; waiting for one");
            }
            None if news => tracing::warn!(cause, "no gateway can be reached; trying again"),
            _ => tracing::debug!(cause, "no gateway can be reached"),
        }
        let mut outbox = self.outbox.lock();
        (outbox.last_attempt, outbox.refused) = (Some(attempts), None);
    }

    /// Says every ten seconds that the client still tries, and what waits for it.
    pub(super) fn tell_trouble(&mut self) {
        let now = Instant::now();
        if self.trouble.tell_at.is_none_or(|at| at > now) {
            return;
        }
        if self.session.is_up() {
            return self.trouble.end();
        }
        self.trouble.tell_at = Some(now + TELL_EVERY);
        let (address, waiting) = (self.dialer.address(), self.outbox.unanswered().events);
        let cause = self.trouble.cause.as_deref().unwrap_or_default();
        // A cause that names the address says it for both.
        let address = if cause.contains(address) { String::new() } else { format!(" {address}") };
        tracing::warn!("still trying{address}: {cause}; {waiting} publishes wait");
    }

    /// The connection ended, by the other end or as the session wants it.
    pub(super) fn ended_by(&mut self, cause: &str, what: &str) {
        self.drop_link();
        if self.session.state() == State::Closed {
            // What comes next says why.
            return;
        }
        if self.startup.is_some() {
            let failed = self.peer.failed(Cause::Ended(cause.to_owned()));
            return self.hindered(failed.told().into());
        }
        if self.trouble.is_news(cause) {
            tracing::info!(cause, "{what}");
        } else {
            tracing::debug!(cause, "{what}");
        }
    }

    /// What answers speaks another protocol. The first time that is a wrong address;
    /// later somebody else took the place of the gateway, which may come back.
    pub(super) fn not_a_gateway(&mut self, now: Moment) {
        let error = DialError::from(self.peer.failed(stranger(&self.read)));
        let account = error.account();
        self.drop_link();
        if let Some(startup) = self.startup.take() {
            let (kind, retry) = error.verdict().unwrap_or((ErrorKind::Unavailable, ErrorKind::Unavailable.retry()));
            let text = format!("{account}{}", account.advice());
            let _ = startup.reply.send(Err(Error::new(kind, "connect", text).with_retry(retry, None)));
            self.over = Some(Error::closed("connect"));
            return;
        }
        self.hindered(account);
        self.session.disconnected(now);
    }
}
