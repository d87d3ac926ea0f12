//! What a handler knows of the connection that a request came by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};

use crate::ingress::calls::Calls;
use crate::ingress::native::Native;
use crate::ingress::receiving::Share;
use crate::ingress::{Login, Shutdown};
use crate::mesh::{Caller, Refusal};

/// The connection, as one of its requests sees it.
#[derive(Clone)]
pub(in crate::ingress) struct Door {
    pub(in crate::ingress) native: Arc<Native>,
    pub(in crate::ingress) calls: Arc<Calls>,
    /// Who asks by this connection, whatever it speaks.
    caller: Caller,
    /// Whom its certificate names, if it has shown one.
    pub(in crate::ingress) principal: Option<Arc<str>>,
    pub(in crate::ingress) shutdown: watch::Receiver<Shutdown>,
    /// The connection ends when the last of these is dropped: what goes on after an upgrade holds one.
    pub(in crate::ingress) open: mpsc::Sender<()>,
    /// What bodies of its requests may hold in memory.
    pub(in crate::ingress) share: Arc<Share>,
    /// The login that this request may begin, at the place of the connection: the first one's time counts from when that was accepted.
    pub(in crate::ingress) login: Login,
    /// Whether a session in a stream of its own has that place.
    seated: Arc<AtomicBool>,
    /// Whether requests of sessions came by it: those go on while the gateway drains.
    pub(in crate::ingress) carries: Arc<AtomicBool>,
}

impl Door {
    /// What is known of a connection that begins. The one place where HTTP makes a caller.
    pub(in crate::ingress) fn of(
        (native, calls): (Arc<Native>, Arc<Calls>),
        (peer, principal, login): (SocketAddr, Option<Arc<str>>, Login),
        shutdown: watch::Receiver<Shutdown>,
        open: mpsc::Sender<()>,
    ) -> Self {
        let caller = Caller::known("http", Some(peer), principal.clone());
        let share = Share::new(Arc::clone(&native.receiving));
        let [carries, seated] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        Self { native, calls, caller, principal, shutdown, open, share, login, seated, carries }
    }

    /// What a request knows of it: the time before the first one counts for the login that this begins.
    pub(in crate::ingress) fn at_request(&self, is_first: bool) -> Self {
        let login = if is_first { self.login.clone() } else { self.login.again() };
        Self { login, ..self.clone() }
    }

    /// Who asks, in the words of `protocol`.
    pub(in crate::ingress) fn caller(&self, protocol: &'static str) -> Caller {
        Caller { protocol, ..self.caller.clone() }
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
