//! How bytes travel: a transport makes connections, the driver uses them.
//!
//! - [`network`]: what is tried, in which order, and what worked;
//! - [`race`]: several ways at once, until a gateway answers on one;
//! - [`way`]: one of them: TCP, what TLS makes of it, and what a session travels in;
//! - [`failure`], [`account`]: why a way is none, and how that is said.

mod account;
#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
mod begun;
#[cfg(feature = "tls")]
mod distrust;
mod failure;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod memory;
mod network;
mod proxy;
mod race;
#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
mod refusal;
#[cfg(feature = "grpc")]
mod status;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod way;
#[cfg(feature = "websocket")]
mod websocket;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub(crate) use account::Account;
pub(crate) use failure::{Cause, DialError, Distrust, Failed};
pub use memory::{MemoryListener, MemoryTransport};
pub(crate) use network::Network;
pub(crate) use proxy::{Proxy, choose as choose_proxy};
#[cfg(feature = "tls")]
pub(crate) use tls::{Tls, TlsOptions};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::token::Secret;
pub(crate) use way::{Means, distrust_of, is_undecided, stranger};

/// A connection: bytes both ways, in order.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that was made.
pub(crate) struct Opened {
    pub(crate) stream: Box<dyn Stream>,
    /// Where it goes to, and in what where there is a choice of it: for messages.
    pub(crate) address: String,
    pub(crate) carrier: Option<&'static str>,
    /// Both prefaces were exchanged: the other end is a gateway.
    pub(crate) greeted: bool,
    /// What to log in with.
    pub(crate) token: Option<Secret>,
}

pub(crate) type Dialing = Pin<Box<dyn Future<Output = Result<Opened, DialError>> + Send>>;

/// Makes connections to one gateway.
pub(crate) trait Dial: Send + Sync {
    /// Tries every way once, until one works.
    fn dial(&self) -> Dialing;

    /// Where to, for messages.
    fn address(&self) -> &str;

    /// That there was no answer at all, for messages.
    fn unanswered(&self) -> Account {
        Account::said(format!("{} did not answer", self.address()))
    }

    /// What became of each way that was tried since the last login, for messages; `None`: the driver knows it all.
    fn tried(&self) -> Option<Account> {
        None
    }

    /// How long a connection may be silent after its Hello before [`Dial::disappointed`] is asked; `None`: as long as
    /// a login may take.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// The connection that was dialed last is logged in.
    fn welcomed(&self) {}

    /// That connection, which was logged in, is given up or gone.
    fn parted(&self) {}

    /// It opened, and the login was not answered as a gateway does; or a gateway `refused` it that is busy or stops, and
    /// would say the same on every way to its address. Whether another way is worth trying at once.
    fn disappointed(&self, _cause: Cause, _refused: bool) -> bool {
        false
    }
}
