//! The native session protocol over TCP.
//!
//! - [`Protocol`]: one connection as a state machine: frames in, calls to the
//!   mesh, frames out; no socket and no clock of its own;
//! - [`Sessions`]: sessions outlive their connections for the resume window;
//! - [`connection`]: the task that moves bytes and time; [`parting`]: how it ends.

mod admin;
mod asked;
mod connection;
mod ending;
mod frames;
mod gathering;
mod login;
mod outbox;
mod pace;
mod parting;
mod pending;
mod pieces;
mod protocol;
mod publish;
mod request;
mod seen;
mod session;
mod sessions;
mod subscribe;
mod told;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use meshwire_proto::frame::PREFACE;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session::Error;
use tokio::sync::watch;

use super::receiving::Receiving;
use super::turns::Turns;
use super::{Accepted, BoxIo, Ingress, Places, Shutdown, Sniff, Turned, accept_rate, say};
use crate::mesh::{Mesh, Refusal, Spoken};
use crate::random::Random;

pub(super) use connection::{Coming, serve_stream, serve_telling};
pub use frames::WriteQueue;
pub(super) use parting::Ended;
pub use protocol::Protocol;
use seen::Seen;
pub use sessions::Sessions;
use sessions::lock;

/// Limits and times of native sessions.
#[derive(Clone, Debug)]
pub struct NativeConfig {
    /// Names this process to clients.
    pub gateway_id: String,
    /// Most bytes before login.
    pub login_frame_bytes: u32,
    /// How long a login may take.
    pub login_timeout: Duration,
    /// Largest frame after login.
    pub max_frame_bytes: u32,
    /// Silence after which a ping is sent.
    pub heartbeat: Duration,
    /// How long a session outlives its connection.
    pub resume_window: Duration,
    /// How long a gateway that stops waits for what members hold.
    pub stop_timeout: Duration,
    /// Most unsettled bytes of one session.
    pub session_bytes: u64,
    /// Most subscriptions of one session.
    pub max_subscriptions: usize,
    /// Most sessions that wait to be resumed, and about their bytes.
    pub suspended: (usize, u64),
    /// Bytes of large frames and bodies of requests that are not whole yet, over all connections; one always passes.
    pub receiving_bytes: u64,
    /// Most connections of any kind.
    pub max_connections: usize,
    /// Connections with a session that end in a second, when more are lost at once. 0: as many as are accepted, by the number of processors.
    pub leave_rate: u32,
    /// Most publishes of one session without a receipt.
    pub publish_window: (u32, u64),
}

/// The native protocol.
pub struct Native {
    pub(super) mesh: Mesh,
    pub(super) config: NativeConfig,
    pub(super) sessions: Sessions,
    pub(super) receiving: Arc<Receiving>,
    pub(super) places: Arc<Places>,
    pub(super) leaving: Turns,
    pub(super) random: Arc<dyn Random>,
}

impl Native {
    /// The protocol over this mesh.
    #[must_use]
    pub fn new(mesh: Mesh, config: NativeConfig, random: Arc<dyn Random>) -> Arc<Self> {
        let (sessions, receiving) = (Sessions::new(config.suspended), Receiving::new(config.receiving_bytes));
        let places = Places::new(config.max_connections, mesh.counts().clone());
        let leaving = Turns::new(accept_rate(config.leave_rate));
        Arc::new(Self { mesh, sessions, receiving, places, leaving, config, random })
    }

    /// Ends sessions whose resume window is over. Call it when
    /// [`Sessions::deadline`] says so.
    pub fn tick(&self) {
        self.sessions.expire(&self.mesh, self.mesh.now().mono);
    }

    /// How many sessions wait without a connection.
    #[must_use]
    pub fn suspended(&self) -> usize {
        self.sessions.suspended()
    }

    /// Deliveries that sessions hold whose connection is gone for longer than clients need to come back.
    #[must_use]
    pub fn held_by_gone(&self) -> u64 {
        let gone = self.sessions.gone(self.mesh.now().mono);
        gone.iter().map(|session| lock(session).holds(&self.mesh)).sum()
    }

    /// What sessions call.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Places of connections, whatever they speak.
    #[must_use]
    pub const fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Largest frame after login.
    pub(super) fn max_frame_bytes(&self) -> u64 {
        self.config.max_frame_bytes.into()
    }

    /// Sessions of this gateway.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Calls [`Native::tick`] when it is time, for ever.
    pub async fn keep_time(&self) {
        loop {
            let now = self.mesh.now().mono;
            let changed = self.sessions.changed();
            match self.sessions.deadline() {
                None => changed.await,
                Some(at) => tokio::select! {
                    biased;
                    () = tokio::time::sleep(at.since(now)) => self.tick(),
                    () = changed => {}
                },
            }
        }
    }
}

/// The ingress: [`Native`] behind the listener.
pub struct NativeIngress(pub Arc<Native>);

impl Ingress for NativeIngress {
    fn name(&self) -> &'static str {
        "native"
    }

    fn spoken(&self) -> Option<Spoken> {
        Some(Spoken::Native)
    }

    fn sniff(&self, prefix: &[u8]) -> Sniff {
        let seen = prefix.len().min(PREFACE.len());
        match (prefix.get(..seen) == PREFACE.get(..seen), seen == PREFACE.len()) {
            (true, true) => Sniff::Yes,
            (true, false) => Sniff::NeedMore,
            _ => Sniff::No,
        }
    }

    fn turn_away(&self, stream: BoxIo, _: BytesMut, refusal: Refusal) -> Turned {
        let Refusal { kind, message, retry_after_ms } = refusal;
        let mut queue = WriteQueue::default();
        queue.preface();
        self.0.mesh.counts().told(kind);
        let error = Error { code: kind.number(), message, retry_after_ms, fatal: true, ..Error::default() };
        queue.frame(&ServerFrame::Error(error), Seen::nobody());
        Box::pin(say(stream, queue.pop().unwrap_or_default()))
    }

    fn serve(
        &self,
        accepted: Accepted,
        shutdown: watch::Receiver<Shutdown>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let native = self.0.clone();
        Box::pin(connection::serve(native, accepted, shutdown))
    }
}
