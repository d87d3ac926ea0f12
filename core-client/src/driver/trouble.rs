//! What keeps a client from its gateway, told without a flood of lines.

use meshwire_proto::{ErrorKind, Moment};

use super::Driver;
use crate::Error;
use crate::session::State;

/// The cause of the last failure since the client was connected.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    cause: Option<String>,
}

impl Trouble {
    /// Takes note; whether it is another cause than the last.
    pub(super) fn is_news(&mut self, cause: &str) -> bool {
        let news = self.cause.as_deref() != Some(cause);
        if news {
            self.cause = Some(cause.to_owned());
        }
        news
    }

    /// The client is connected.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

impl Driver {
    /// An attempt to reach the gateway failed. Who waits for the first connection is
    /// told at the end of the wait; else each cause is told once.
    pub(super) fn hindered(&mut self, cause: String) {
        let news = self.trouble.is_news(&cause);
        match &self.startup {
            // Who started the programs in this order knows why it takes so long.
            Some(startup) if startup.keep_trying && news => {
                tracing::info!(cause, "no gateway can be reached yet; waiting for one");
            }
            None if news => tracing::warn!(cause, "no gateway can be reached; trying again"),
            _ => tracing::debug!(cause, "no gateway can be reached"),
        }
        self.outbox.lock().last_attempt = Some(cause);
    }

    /// The connection ended, by the other end or as the session wants it.
    pub(super) fn ended_by(&mut self, cause: &str, what: &str) {
        self.drop_link();
        if self.session.state() == State::Closed {
            // What comes next says why.
            return;
        }
        if self.startup.is_some() {
            let address = self.dialer.address();
            return self.hindered(format!("{address} was connected to, and did not answer the login: {cause}"));
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
        let address = self.dialer.address();
        let http = if self.read.starts_with(HTTP) { "; it answered HTTP" } else { "" };
        let cause = format!("{address} is not a Meshwire gateway{http}");
        self.drop_link();
        if let Some(startup) = self.startup.take() {
            let error = Error::new(ErrorKind::Unavailable, "connect", cause);
            let _ = startup.reply.send(Err(error));
            self.over = Some(Error::closed("connect"));
            return;
        }
        self.hindered(cause);
        self.session.disconnected(now);
    }
}

/// How an answer of HTTP/1 begins.
pub(super) const HTTP: &[u8] = b"HTTP/";
