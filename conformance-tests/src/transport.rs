//! What carries the session of a cell.

use std::net::SocketAddr;

use anyhow::bail;
use serde_json::Value;

use crate::case::Step;

/// `over` of steps that are played where a session lives and dies with a connection, and where it travels in requests.
pub(crate) const CONNECTION: &str = "connection";
pub(crate) const REQUESTS: &str = "requests";

/// A way to a gateway: a scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tcps,
    Grpc,
    Grpcs,
    Ws,
    Wss,
    Http,
    Https,
}

impl Transport {
    /// Every one, in the order in which they are played.
    pub(crate) const ALL: [Self; 8] =
        [Self::Tcp, Self::Tcps, Self::Grpc, Self::Grpcs, Self::Ws, Self::Wss, Self::Http, Self::Https];

    /// The scheme.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcps => "tcps",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) fn parse(name: &str) -> anyhow::Result<Self> {
        match Self::ALL.into_iter().find(|transport| transport.name() == name) {
            Some(transport) => Ok(transport),
            None => bail!("there is no transport {name:?}, but {}", Self::ALL.map(Self::name).join(", ")),
        }
    }

    /// Whether it is inside TLS.
    pub(crate) const fn is_secure(self) -> bool {
        matches!(self, Self::Tcps | Self::Grpcs | Self::Wss | Self::Https)
    }

    /// Whether a step is one of a case over it: what a cut connection means depends on what carries the session.
    pub(crate) fn plays(self, step: &Step) -> bool {
        let requests = matches!(self, Self::Http | Self::Https);
        match step.get("over").and_then(Value::as_str) {
            Some(CONNECTION) => !requests,
            Some(REQUESTS) => requests,
            _ => true,
        }
    }

    pub(crate) fn url(self, address: SocketAddr) -> String {
        format!("{}://{address}", self.name())
    }
}
