//! What a handler knows of the way that a request came by.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::ingress::calls::Calls;
use crate::ingress::native::Native;
use crate::ingress::receiving::Share;
use crate::ingress::{Place, Shutdown};
use crate::mesh::{Caller, Refusal};

/// The connection of a request, and when it began.
#[derive(Clone)]
pub(in crate::ingress) struct Door {
    connection: Arc<Connection>,
    /// From when on a login counts that this request begins: of the first one, since the connection was accepted.
    since: Instant,
}

/// What is known of a connection.
pub(in crate::ingress) struct Connection {
    pub(in crate::ingress) native: Arc<Native>,
    pub(in crate::ingress) calls: Arc<Calls>,
    /// Who asks by it, in the words of HTTP.
    pub(in crate::ingress) caller: Caller,
    /// Whom its certificate names, if it has shown one.
    pub(in crate::ingress) principal: Option<Arc<str>>,
    pub(in crate::ingress) shutdown: watch::Receiver<Shutdown>,
    /// The connection ends when the last of these is dropped: what goes on after an upgrade holds one.
    pub(in crate::ingress) open: mpsc::Sender<()>,
    /// What bodies of its requests may hold in memory.
    pub(in crate::ingress) share: Arc<Share>,
    pub(in crate::ingress) place: Arc<Place>,
    /// Whether a session in a stream of its own has that place.
    seated: AtomicBool,
    accepted: Instant,
}

impl Connection {
    /// What is known of one that begins. The one place where HTTP makes a caller.
    pub(in crate::ingress) fn of(
        (native, calls): (Arc<Native>, Arc<Calls>),
        (peer, principal, place, waited): (SocketAddr, Option<Arc<str>>, Arc<Place>, Duration),
        shutdown: watch::Receiver<Shutdown>,
        open: mpsc::Sender<()>,
    ) -> Arc<Self> {
        let caller = Caller::known("http", Some(peer), principal.clone());
        let share = Share::new(Arc::clone(&native.receiving));
        let seated = AtomicBool::new(false);
        let now = Instant::now();
        let accepted = now.checked_sub(waited).unwrap_or(now);
        Arc::new(Self { native, calls, caller, principal, shutdown, open, share, place, seated, accepted })
    }
}

impl Deref for Door {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Door {
    /// That of a request: the time before the first one counts for the login that this begins.
    pub(in crate::ingress) fn at_request(connection: &Arc<Connection>, is_first: bool) -> Self {
        let since = if is_first { connection.accepted } else { Instant::now() };
        Self { connection: Arc::clone(connection), since }
    }

    /// Who asks, in the words of `protocol`.
    pub(in crate::ingress) fn caller(&self, protocol: &'static str) -> Caller {
        Caller { protocol, ..self.caller.clone() }
    }

    /// What a session needs that goes on without the request that began it; its connection ends when the last of these does.
    pub(in crate::ingress) fn leave(self) -> (Arc<Native>, watch::Receiver<Shutdown>, mpsc::Sender<()>) {
        (Arc::clone(&self.native), self.shutdown.clone(), self.open.clone())
    }

    /// How much of the time for a login has gone by.
    pub(in crate::ingress) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// The place of a session that has a stream of the connection: the first has that of the connection.
    ///
    /// # Errors
    /// `BUSY`: all places are taken, and logged in.
    pub(in crate::ingress) fn seat(&self) -> Result<Arc<Place>, Refusal> {
        if self.seated.swap(true, Ordering::Relaxed) {
            return self.native.places.take_within(&self.place);
        }
        Ok(Arc::clone(&self.place))
    }
}
