//! The one listener: accept, sniff, hand over; limits before login.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_proto::ErrorKind;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::io::Prefixed;
use super::keepalive;
use super::refused::FloodCount;
use super::tls::{self, Tls};
use super::turns::Turns;
use super::{Accepted, BoxIo, Ingress, Login, PLAIN_REFUSED, Place, Places, REFUSAL, Shutdown, Sniff, say};
use crate::mesh::{Counts, Lost, Refusal};

/// How the answer begins to what nobody here speaks, by which clients know it.
const NOTHING_HERE: &str = "meshwire: these bytes begin no protocol that is served here";

/// More than any protocol needs to be told apart.
const MAX_PREFIX: usize = 1024;

/// How long connections have to end once the gateway closes. More than the last words of any protocol take.
const CLOSING: Duration = Duration::from_secs(5);

/// Connections that the system keeps until they are accepted: as many as Linux allows by default. When clients come back all at once, those
/// for which there is no place try again after seconds.
const BACKLOG: u32 = 4096;

/// Wait after a failed accept, as when file descriptors have run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How many are told at once that there is no place for them.
const REFUSING: usize = 64;

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerConfig {
    /// How long a connection may take until it has logged in.
    pub login_timeout: Duration,
    /// A peer that TCP hears nothing of, or that takes nothing, for six of these is gone.
    pub heartbeat: Duration,
    /// Connections that are accepted in a second.
    pub accept_rate: u32,
}

/// What is served on a listener.
pub struct Doors {
    /// Protocols, in the order in which they are asked whose a connection is.
    pub ingresses: Vec<Arc<dyn Ingress>>,
    /// TLS, if it is served.
    pub tls: Option<Arc<Tls>>,
    /// Whether plain connections are served too.
    pub plain: bool,
    /// Where connections are counted.
    pub counts: Arc<Counts>,
    /// Their places.
    pub places: Arc<Places>,
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    config: ListenerConfig,
}

impl Listener {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says, as that the port is in use.
    pub async fn bind(address: SocketAddr, config: ListenerConfig) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As a listener does that is bound in one step: the port may be taken again right after a stop.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket: socket.listen(BACKLOG)?, config })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, from a time on.
    async fn accept(&self, from: Option<Instant>) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(from) = from {
            tokio::time::sleep_until(from).await;
        }
        self.socket.accept().await
    }

    /// Accepts until the gateway closes, then waits for every connection to end. While it drains they may come as well: settlements do.
    pub async fn serve(self, doors: Doors, mut shutdown: watch::Receiver<Shutdown>) {
        let doors = Arc::new(doors);
        let refusing = Arc::new(Semaphore::new(REFUSING));
        let mut connections = JoinSet::new();
        let (mut floods, arrivals, mut turn) = (Floods::default(), Turns::new(self.config.accept_rate), None);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|s| *s >= Shutdown::Closing) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.accept(turn) => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    floods.not_accepted(&error);
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            turn = arrivals.take();
            let place = match doors.places.take() {
                Ok(place) => place,
                Err(refusal) => {
                    floods.refused(peer, &refusal);
                    // Beyond so many at once nothing is said.
                    if let Ok(permit) = refusing.clone().try_acquire_owned() {
                        let doors = doors.clone();
                        connections.spawn(async move {
                            let _ = tokio::time::timeout(REFUSAL, refuse((stream, peer), &doors, refusal)).await;
                            drop(permit);
                        });
                    }
                    continue;
                }
            };
            floods.placed(&place);
            if let Err(error) = keepalive::watch(&stream, self.config.heartbeat) {
                tracing::debug!(%peer, %error, "no keepalive");
            }
            let (doors, shutdown) = (doors.clone(), shutdown.clone());
            let login = Login::begin(self.config.login_timeout, place);
            connections.spawn(async move { serve_one((stream, peer), login, &doors, shutdown).await });
        }
        drop(self.socket);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSING, all).await.is_ok() {
            return;
        }
        tracing::warn!(connections = connections.len(), "cut off: their peers did not take the end");
        connections.shutdown().await;
    }
}

/// What is said once a minute of connections that are not served, with their count.
#[derive(Default)]
struct Floods {
    not_accepted: FloodCount,
    refused: FloodCount,
    shed: FloodCount,
}

impl Floods {
    fn not_accepted(&mut self, error: &io::Error) {
        if let Some(count) = self.not_accepted.count(Instant::now()) {
            tracing::warn!(%error, count, "connections are not accepted; with too many open files, raise the limit (ulimit -n)");
        }
    }

    fn refused(&mut self, peer: SocketAddr, refusal: &Refusal) {
        if let Some(count) = self.refused.count(Instant::now()) {
            tracing::warn!(%peer, count, "connections refused: {}", refusal.message);
        }
    }

    /// The place may be that of another, who had to go.
    fn placed(&mut self, place: &Place) {
        if place.is_of_another()
            && let Some(count) = self.shed.count(Instant::now())
        {
            tracing::warn!(count, "connections without a login made room for others (option max_connections)");
        }
    }
}

/// What a connection turned out to be.
enum Told<'a> {
    Tls(&'a Tls),
    Protocol(&'a Arc<dyn Ingress>),
    Nothing,
}

async fn serve_one(
    (stream, peer): (TcpStream, SocketAddr),
    login: Login,
    doors: &Doors,
    shutdown: watch::Receiver<Shutdown>,
) {
    let _ = stream.set_nodelay(true);
    match login.within(tell((Box::new(stream), peer), doors)).await {
        Ok(Ok(Some((ingress, stream, prefix, principal)))) => {
            tracing::debug!(%peer, protocol = ingress.name(), "connected");
            let _counted = ingress.spoken().map(|spoken| doors.counts.connected(spoken));
            let accepted = Accepted { stream, prefix, peer, principal, login };
            ingress.serve(accepted, shutdown).await;
            tracing::debug!(%peer, "disconnected");
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "connection ended before its protocol was known")
        }
        Err(refusal) => tracing::debug!(%peer, "it did not say what it speaks: {}", refusal.message),
    }
}

type Known<'a> = (&'a Arc<dyn Ingress>, BoxIo, BytesMut, Option<Arc<str>>);

/// Finds out what a connection is. `None`: it was told that it is nothing.
async fn tell((mut stream, peer): (BoxIo, SocketAddr), doors: &Doors) -> io::Result<Option<Known<'_>>> {
    let mut prefix = BytesMut::new();
    let mut principal = None;
    let mut told = sniff(&mut stream, &mut prefix, doors, doors.tls.as_deref()).await?;
    let is_inside = matches!(told, Told::Tls(_));
    if let Told::Tls(tls) = told {
        let accepted = tls.accept(peer, Box::new(Prefixed::new(std::mem::take(&mut prefix), stream))).await;
        let inside = accepted.inspect_err(|_| doors.counts.lost(Lost::Handshake))?;
        (stream, principal) = (inside.stream, inside.principal);
        told = sniff(&mut stream, &mut prefix, doors, None).await?;
    }
    // Who takes it no faster than that is cut off.
    match told {
        Told::Protocol(ingress) if is_inside || doors.plain => return Ok(Some((ingress, stream, prefix, principal))),
        Told::Protocol(ingress) => {
            let refusal = Refusal::new(ErrorKind::TlsRequired, PLAIN_REFUSED);
            tokio::time::timeout(REFUSAL, ingress.turn_away(stream, prefix, refusal)).await??;
        }
        Told::Tls(_) | Told::Nothing => {
            tracing::info!(first = %printable(&prefix), "first bytes of no protocol served here");
            let words = format!("{NOTHING_HERE}{}\n", of_tls(doors, is_inside, &prefix));
            tokio::time::timeout(REFUSAL, say(stream, words.into())).await??;
        }
    }
    Ok(None)
}

/// What is said of TLS to who begins with nothing that is served.
fn of_tls(doors: &Doors, is_inside: bool, prefix: &[u8]) -> &'static str {
    match &doors.tls {
        _ if is_inside => ", inside TLS",
        None if tls::begins(prefix) == Sniff::Yes => {
            ": they begin TLS, which is off here (options tls_certificate, tls_key)"
        }
        None => "; TLS is off here",
        Some(_) if doors.plain => ", in plain or inside TLS",
        Some(_) => "; TLS is on here, and required",
    }
}

/// Tells a peer in its own words that there is no place for it.
async fn refuse((stream, peer): (TcpStream, SocketAddr), doors: &Doors, refusal: Refusal) -> io::Result<()> {
    let Some((ingress, stream, prefix, _)) = tell((Box::new(stream), peer), doors).await? else { return Ok(()) };
    ingress.turn_away(stream, prefix, refusal).await
}

/// Reads until one says yes or all say no.
async fn sniff<'a>(
    stream: &mut BoxIo,
    prefix: &mut BytesMut,
    doors: &'a Doors,
    tls: Option<&'a Tls>,
) -> io::Result<Told<'a>> {
    loop {
        let mut undecided = false;
        if let Some(tls) = tls {
            match tls::begins(prefix) {
                Sniff::Yes => return Ok(Told::Tls(tls)),
                Sniff::NeedMore => undecided = true,
                Sniff::No => {}
            }
        }
        for ingress in &doors.ingresses {
            match ingress.sniff(prefix) {
                Sniff::Yes => return Ok(Told::Protocol(ingress)),
                Sniff::NeedMore => undecided = true,
                Sniff::No => {}
            }
        }
        if !undecided || prefix.len() >= MAX_PREFIX {
            return Ok(Told::Nothing);
        }
        if stream.read_buf(prefix).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn printable(prefix: &[u8]) -> String {
    Bytes::copy_from_slice(prefix.get(..16).unwrap_or(prefix)).escape_ascii().to_string()
}
