//! Who asks, for what, and whether it is allowed.

use std::net::SocketAddr;
use std::sync::Arc;

use meshwire_proto::ErrorKind;

/// Who makes a call. Made in one place per protocol, from what it presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose names it sees.
    pub tenant: Arc<str>,
    /// Who it is; `anonymous` without credentials.
    pub principal: Arc<str>,
    /// How it came, for logs.
    pub protocol: &'static str,
    /// Where from; `None` inside the process.
    pub peer: Option<SocketAddr>,
}

impl Caller {
    /// Whether both are the same, by whatever way they came.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.tenant, &self.principal) == (&other.tenant, &other.principal)
    }

    /// A caller of this name, if it has proven one.
    #[must_use]
    pub fn known(protocol: &'static str, peer: Option<SocketAddr>, principal: Option<Arc<str>>) -> Self {
        let anonymous = Self::anonymous(protocol, peer);
        Self { principal: principal.unwrap_or_else(|| anonymous.principal.clone()), ..anonymous }
    }

    /// A caller without credentials.
    #[must_use]
    pub fn anonymous(protocol: &'static str, peer: Option<SocketAddr>) -> Self {
        Self { tenant: "default".into(), principal: "anonymous".into(), protocol, peer }
    }
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Open a session.
    Connect,
    /// Publish to a topic.
    Publish,
    /// Subscribe to a topic, settle and set credit.
    Subscribe,
    /// Send a request to those who serve a topic.
    Request,
    /// Serve requests of a topic.
    Serve,
    /// Create a topic, by command or by first use.
    CreateTopic,
    /// List topics.
    ListTopics,
    /// Change a topic's retention.
    UpdateTopic,
    /// Remove a topic with its events and groups.
    DeleteTopic,
    /// Make a group of a topic before anybody joins it.
    CreateGroup,
    /// Change the settings of a topic's group.
    UpdateGroup,
    /// Move a topic's group.
    SeekGroup,
    /// Remove a topic's group.
    DeleteGroup,
    /// List a topic's dead letters, with their events.
    ReadDeadLetters,
    /// Give a topic's dead letters back to their groups.
    RedriveDeadLetters,
    /// Remove a topic's dead letters for good.
    PurgeDeadLetters,
    /// See the limits of the gateway, and how much of them is used.
    ReadLimits,
    /// Change the limits of the gateway.
    SetLimits,
}

/// Decides.
pub trait Authorize: Send + Sync + 'static {
    /// Whether `caller` may do `action` to `object` (a topic's name, or empty).
    fn allows(&self, caller: &Caller, action: Action, object: &str) -> bool;
}

/// Everybody may everything: the default on loopback.
#[derive(Debug)]
pub struct AllowAll;

impl Authorize for AllowAll {
    fn allows(&self, _: &Caller, _: Action, _: &str) -> bool {
        true
    }
}

/// A call that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// As the catalogue names it.
    pub kind: ErrorKind,
    /// What, where, what to do.
    pub message: String,
    /// When to try again, for kinds that say so.
    pub retry_after_ms: u32,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: 0 }
    }

    /// With the time after which to try again.
    #[must_use]
    pub fn after(mut self, ms: u32) -> Self {
        self.retry_after_ms = ms;
        self
    }
}
