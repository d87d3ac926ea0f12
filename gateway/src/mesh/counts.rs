//! What a gateway has done since it started. Each count is one relaxed addition a batch, never one an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::SettleKind;

use super::publish::Answer;
use crate::engine::SettleAnswer;

/// Numbers of errors are below this.
const CODES: usize = 64;

/// How a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// Native sessions over TCP.
    Native,
    /// HTTP of any version, with what travels inside.
    Http,
    /// Sessions inside HTTP requests.
    HttpSession,
    /// Connections of HTTP by which gRPC came.
    Grpc,
    /// Sessions inside WebSocket, which are HTTP connections too, as the next two.
    WebSocket,
    /// Calls as JSON in WebSocket.
    WebSocketJson,
    /// CloudEvents in WebSocket.
    WebSocketCloudEvents,
}

impl Spoken {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Native,
        Self::Http,
        Self::HttpSession,
        Self::Grpc,
        Self::WebSocket,
        Self::WebSocketJson,
        Self::WebSocketCloudEvents,
    ];

    /// A short stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Http => "http",
            Self::HttpSession => "http_session",
            Self::Grpc => "grpc",
            Self::WebSocket => "websocket",
            Self::WebSocketJson => "websocket_json",
            Self::WebSocketCloudEvents => "websocket_cloudevents",
        }
    }
}

/// Why a connection ended before it was of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There was no place for it.
    Refused,
    /// It had not logged in, and another needed its place.
    Shed,
    /// It had not logged in in time.
    LoginTimeout,
    /// Its TLS handshake failed.
    Handshake,
}

impl Lost {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Shed, Self::LoginTimeout, Self::Handshake];

    /// A short stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Shed => "shed",
            Self::LoginTimeout => "login_timeout",
            Self::Handshake => "tls_handshake",
        }
    }
}

/// Connections of one protocol: how many there were, and how many there are.
#[derive(Debug, Default)]
struct Connections {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Counts of a gateway.
#[derive(Debug)]
pub struct Counts {
    connections: [Connections; Spoken::ALL.len()],
    lost: [AtomicU64; Lost::ALL.len()],
    /// New, duplicate, refused.
    published: [AtomicU64; 3],
    published_bytes: AtomicU64,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
    /// By kind, and those that were refused: the lease was lost.
    settled: [AtomicU64; 6],
    errors: [AtomicU64; CODES],
    tls_failures: AtomicU64,
}

/// A connection that is open until this is dropped.
#[derive(Debug)]
pub struct Connected {
    counts: Arc<Counts>,
    spoken: Spoken,
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(connections) = self.counts.of(self.spoken) {
            connections.ended.fetch_add(1, Relaxed);
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            connections: Default::default(),
            lost: Default::default(),
            published: Default::default(),
            published_bytes: AtomicU64::default(),
            delivered: AtomicU64::default(),
            delivered_bytes: AtomicU64::default(),
            settled: Default::default(),
            errors: [const { AtomicU64::new(0) }; CODES],
            tls_failures: AtomicU64::default(),
        }
    }
}

impl Counts {
    fn of(&self, spoken: Spoken) -> Option<&Connections> {
        self.connections.get(spoken as usize)
    }

    /// A connection begins.
    #[must_use]
    pub fn connected(self: &Arc<Self>, spoken: Spoken) -> Connected {
        if let Some(connections) = self.of(spoken) {
            connections.begun.fetch_add(1, Relaxed);
        }
        Connected { counts: Arc::clone(self), spoken }
    }

    /// Connections that are open, and all there were.
    #[must_use]
    pub fn connections(&self, spoken: Spoken) -> (u64, u64) {
        let Some(Connections { begun, ended }) = self.of(spoken) else { return (0, 0) };
        let ended = ended.load(Relaxed);
        let begun = begun.load(Relaxed);
        (begun.saturating_sub(ended), begun)
    }

    pub(super) fn published(&self, answers: &[(u32, Answer)], bytes: u64) {
        self.published_bytes.fetch_add(bytes, Relaxed);
        for (count, answer) in answers {
            let [new, duplicate, refused] = &self.published;
            let sum = match answer {
                Answer::New(_) => new,
                Answer::Duplicate(_) => duplicate,
                Answer::Refused(_) => refused,
            };
            sum.fetch_add(u64::from(*count), Relaxed);
        }
    }

    /// Events that were published: new, duplicate, refused; and the bytes of all.
    #[must_use]
    pub fn publishes(&self) -> ([u64; 3], u64) {
        (self.published.each_ref().map(|count| count.load(Relaxed)), self.published_bytes.load(Relaxed))
    }

    pub(super) fn delivered(&self, events: u64, bytes: u64) {
        self.delivered.fetch_add(events, Relaxed);
        self.delivered_bytes.fetch_add(bytes, Relaxed);
    }

    /// Deliveries, and their bytes.
    #[must_use]
    pub fn deliveries(&self) -> (u64, u64) {
        (self.delivered.load(Relaxed), self.delivered_bytes.load(Relaxed))
    }

    pub(super) fn settled(&self, kind: SettleKind, answers: &[SettleAnswer]) {
        let [ack, nack, reject, extend, release, lost] = &self.settled;
        let done = match kind {
            SettleKind::Ack => ack,
            SettleKind::Nack => nack,
            SettleKind::Reject => reject,
            SettleKind::Extend => extend,
            SettleKind::Release => release,
            _ => return,
        };
        let sum = |settled: bool| answers.iter().filter(|a| a.settled == settled).map(|a| a.count).sum();
        done.fetch_add(sum(true), Relaxed);
        lost.fetch_add(sum(false), Relaxed);
    }

    /// Settlements that were refused before they came to a delivery, as with a lease of a subscription that has gone.
    pub fn not_settled(&self, count: u64) {
        let [.., lost] = &self.settled;
        lost.fetch_add(count, Relaxed);
    }

    /// Deliveries that were settled, with what was done.
    #[must_use]
    pub fn settles(&self) -> [(&'static str, u64); 6] {
        let [ack, nack, reject, extend, release, lost] = self.settled.each_ref().map(|count| count.load(Relaxed));
        [("ack", ack), ("nack", nack), ("reject", reject), ("extend", extend), ("release", release), ("lost", lost)]
    }

    /// A client was told of an error.
    pub fn told(&self, kind: ErrorKind) {
        if let Some(count) = self.errors.get(kind.number() as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often clients were told of an error.
    #[must_use]
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors.get(kind.number() as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// A connection ended before it was of use.
    pub fn lost(&self, why: Lost) {
        if let Some(count) = self.lost.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many connections ended so.
    #[must_use]
    pub fn losses(&self, why: Lost) -> u64 {
        self.lost.get(why as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Files of TLS could not be read again.
    pub fn tls_failed(&self) {
        self.tls_failures.fetch_add(1, Relaxed);
    }

    /// How often files of TLS could not be read again.
    #[must_use]
    pub fn tls_failures(&self) -> u64 {
        self.tls_failures.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_catalogue_has_a_count() {
        let counts = Counts::default();
        for kind in ErrorKind::ALL {
            counts.told(*kind);
            assert_eq!(counts.errors(*kind), 1, "{kind}");
        }
    }

    #[test]
    fn every_protocol_and_every_loss_has_a_count_and_a_name_of_its_own() {
        let counts = Arc::new(Counts::default());
        let mut names = std::collections::BTreeSet::new();
        for spoken in Spoken::ALL {
            let _one = counts.connected(spoken);
            assert!(counts.connections(spoken) == (1, 1) && names.insert(spoken.name()));
        }
        for why in Lost::ALL {
            counts.lost(why);
            assert!(counts.losses(why) == 1 && names.insert(why.name()));
        }
    }

    #[test]
    fn connections_are_open_until_they_are_dropped() {
        let counts = Arc::new(Counts::default());
        let (first, second) = (counts.connected(Spoken::Http), counts.connected(Spoken::Http));
        drop(first);
        assert_eq!(counts.connections(Spoken::Http), (1, 2));
        drop(second);
        assert_eq!((counts.connections(Spoken::Http), counts.connections(Spoken::Native)), ((0, 2), (0, 0)));
    }
}
