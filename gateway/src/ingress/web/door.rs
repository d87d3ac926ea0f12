//! What a handler knows of the way that a request came by.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};

use crate::ingress::calls::Calls;
use crate::ingress::native::Native;
use crate::ingress::receiving::Share;
use crate::ingress::{Login, Shutdown};
use crate::mesh::{Caller, Refusal};

/// The connection of a request, as that sees it.
#[derive(Clone)]
pub(in crate::ingress) struct Door {
    connection: Arc<HttpConnection>,
    /// The login that this request may begin, at the place of the connection: the first one's time counts from when that was accepted.
    pub(in crate::ingress) login: Login,
}

/// What is known of a connection.
pub(in crate::ingress) struct HttpConnection {
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
    login: Login,
    /// Whether a session in a stream of its own has its place.
    seated: AtomicBool,
}

impl HttpConnection {
    /// What is known of one that begins. The one place where HTTP makes a caller.
    pub(in crate::ingress) fn of(
        (native, calls): (Arc<Native>, Arc<Calls>),
        (peer, principal, login): (SocketAddr, Option<Arc<str>>, Login),
        shutdown: watch::Receiver<Shutdown>,
        open: mpsc::Sender<()>,
    ) -> Arc<Self> {
        let caller = Caller::known("http", Some(peer), principal.clone());
        let share = Share::new(Arc::clone(&native.receiving));
        let seated = AtomicBool::new(false);
        Arc::new(Self { native, calls, caller, principal, shutdown, open, share, login, seated })
    }
}

impl Deref for Door {
    type Target = HttpConnection;

    fn deref(&self) -> &HttpConnection {
        &self.connection
    }
}

impl Door {
    /// That of a request: the time before the first one counts for the login that this begins.
    pub(in crate::ingress) fn at_request(connection: &Arc<HttpConnection>, is_first: bool) -> Self {
        let login = if is_first { connection.login.clone() } else { connection.login.again() };
        Self { connection: Arc::clone(connection), login }
    }

    /// Who asks, in the words of `protocol`.
    pub(in crate::ingress) fn caller(&self, protocol: &'static str) -> Caller {
        Caller { protocol, ..self.caller.clone() }
    }

    /// What a session needs that goes on without the request that began it; its connection ends when the last of these does.
    pub(in crate::ingress) fn leave(self) -> (Arc<Native>, watch::Receiver<Shutdown>, mpsc::Sender<()>) {
        (Arc::clone(&self.native), self.shutdown.clone(), self.open.clone())
    }

    /// The login of a session that has a stream of the connection: the first has the place of the connection.
    ///
    /// # Errors
    /// `BUSY`: all places are taken, and logged in.
    pub(in crate::ingress) fn seat(&self) -> Result<Login, Refusal> {
        if self.seated.swap(true, Ordering::Relaxed) {
            return Ok(self.login.at(self.native.places.take_within(self.login.place())?));
        }
        Ok(self.login.clone())
    }
}
