//! One way to a gateway: a socket, TLS in it, and what a session travels in.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::frame::PREFACE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[cfg(feature = "tls")]
use super::Tls;
#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
use super::begun::Begun;
#[cfg(feature = "tls")]
use super::distrust;
use super::failure::{Distrust, Speaks};
#[cfg(feature = "grpc")]
use super::grpc;
#[cfg(feature = "http")]
use super::http;
use super::proxy::Proxy;
use super::race::Progress;
#[cfg(feature = "websocket")]
use super::websocket;
use super::{Cause, Failed, Stream, tcp};
use crate::address::Carrier;
use crate::token::{Secret, Token};

/// Longest that a connection which was taken may need until a session can begin in it: as a login.
const OPENING: Duration = Duration::from_secs(5);

/// How an answer of HTTP/1 begins.
pub(super) const HTTP: &[u8] = b"HTTP/";

/// How a gateway's answer begins to what it does not serve on that listener.
const WORDS: &[u8] = b"meshwire";

/// What all ways of one client share.
#[derive(Debug)]
pub(crate) struct Means {
    /// Inside TLS.
    #[cfg_attr(
        not(any(feature = "grpc", feature = "websocket")),
        expect(dead_code, reason = "other carriers need not say it")
    )]
    pub(crate) secure: bool,
    /// What to log in with.
    pub(crate) token: Token,
    /// The proxy before an endpoint, where there is one.
    pub(crate) proxies: BTreeMap<String, Proxy>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
}

impl Means {
    /// An endpoint, and the proxy that stands before it.
    pub(super) fn reached_by(&self, address: &str) -> String {
        match self.proxies.get(address) {
            Some(proxy) => format!("{address} through proxy {}", proxy.address),
            None => address.to_owned(),
        }
    }
}

/// Where to, and in what.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Its place among all of the client's.
    pub(super) number: usize,
    pub(super) address: String,
    pub(super) carrier: Carrier,
    /// What to log in with, as it was when this attempt began.
    pub(super) token: Option<Secret>,
}

/// Why a way is none.
pub(super) enum Blocked {
    /// There is no connection to its address, in whatever carrier.
    Unreachable(Vec<Failed>),
    /// It is reached, and what is there does not do as a gateway does in this carrier.
    Here(Failed),
}

impl Way {
    pub(super) fn failed(&self, cause: Cause) -> Failed {
        Failed { address: self.address.clone(), carrier: Some(self.carrier.name()), cause }
    }

    /// The header of requests that begin a session, so that the gateway, or what stands before it, knows who asks before
    /// the login says so.
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    pub(super) fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(Secret::authorization)
    }

    /// Makes a connection in which a session can begin; with `greet`, one in which a gateway has sent its preface for
    /// ours. Tells `progress` each step that is done.
    pub(super) async fn open(
        &self,
        means: &Arc<Means>,
        greet: bool,
        progress: &Progress<'_>,
    ) -> Result<Box<dyn Stream>, Blocked> {
        let stream = self.socket(means).await.map_err(Blocked::Unreachable)?;
        progress.reached(self);
        let opening = async {
            let mut stream = self.enter(means, Box::new(stream), progress).await?;
            if greet {
                exchange(&mut *stream).await?;
            }
            Ok(stream)
        };
        let opened = timeout(OPENING, opening).await.unwrap_or(Err(Cause::Silent));
        opened.map_err(|cause| Blocked::Here(self.failed(cause)))
    }

    /// A socket to the address, through the proxy that stands before it.
    async fn socket(&self, means: &Means) -> Result<TcpStream, Vec<Failed>> {
        let Some(proxy) = means.proxies.get(&self.address) else {
            let failed = |(address, cause)| Failed { address, ..self.failed(Cause::from(cause)) };
            return tcp::connect(&self.address).await.map_err(|causes| causes.into_iter().map(failed).collect());
        };
        let failed = |address: &str, cause| Failed {
            address: format!("{} through proxy {address}", self.address),
            ..self.failed(cause)
        };
        let connected = tcp::connect(&proxy.address).await;
        let mut stream = connected.map_err(|causes| -> Vec<Failed> {
            causes.into_iter().map(|(address, cause)| failed(&address, of_proxy(cause))).collect()
        })?;
        let tunnel = timeout(OPENING, proxy.tunnel(&self.address, &mut stream)).await;
        // Nothing is known of the gateway: it is the proxy that is silent.
        let silent = || Err(Cause::Io(io::ErrorKind::TimedOut.into()));
        tunnel.unwrap_or_else(|_| silent()).map_err(|cause| vec![failed(&proxy.address, cause)])?;
        Ok(stream)
    }

    async fn enter(
        &self,
        means: &Arc<Means>,
        stream: Box<dyn Stream>,
        progress: &Progress<'_>,
    ) -> Result<Box<dyn Stream>, Cause> {
        let stream = self.secure(means, stream).await?;
        progress.step();
        if self.carrier == Carrier::Tcp {
            return Ok(stream);
        }
        #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
        {
            let begun = Begun::default();
            let carried = self.carry(means, begun.watch(stream)).await;
            let stream = carried.map_err(|cause| begun.explain(self.carrier, cause))?;
            progress.step();
            Ok(stream)
        }
        #[cfg(not(any(feature = "grpc", feature = "http", feature = "websocket")))]
        Ok(stream)
    }

    /// What a session travels in, on a connection.
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    async fn carry(&self, means: &Arc<Means>, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Cause> {
        match self.carrier {
            Carrier::Tcp => Ok(stream),
            #[cfg(feature = "grpc")]
            Carrier::Grpc => grpc::call(self, means.secure, stream).await.map_err(cause_of),
            #[cfg(feature = "websocket")]
            Carrier::WebSocket => websocket::upgrade(self, means.secure, stream).await.map_err(cause_of),
            #[cfg(feature = "http")]
            Carrier::Http => http::open(self, means, stream).await,
        }
    }

    /// What TLS makes of a socket, where there is TLS.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, clippy::unused_async, reason = "there is no TLS"))]
    async fn secure(&self, means: &Means, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Cause> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &means.tls {
            return tls.connect(&self.address, self.carrier, stream).await;
        }
        Ok(stream)
    }

    /// One more connection, for a carrier that needs several.
    #[cfg(feature = "http")]
    pub(super) async fn another(&self, means: &Means) -> Result<Box<dyn Stream>, Cause> {
        let connected = self.socket(means).await;
        let stream = connected.map_err(|mut failed| failed.pop().map_or(Cause::Silent, |failed| failed.cause))?;
        self.secure(means, Box::new(stream)).await
    }
}

/// That a proxy refuses the connection says nothing of the gateway.
fn of_proxy(cause: io::Error) -> Cause {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Io(io::Error::other("it refused the connection")),
        _ => cause.into(),
    }
}

/// Says our preface and takes the gateway's.
async fn exchange(stream: &mut dyn Stream) -> Result<(), Cause> {
    let said = async {
        stream.write_all(&PREFACE).await?;
        stream.flush().await
    };
    if let Err(error) = said.await {
        // What the other end said before it hung up is the reason, if it is about our certificate.
        let said = stream.read(&mut [0; 64]).await.err().and_then(|error| distrust_of(&error));
        return Err(said.map_or_else(|| cause_of(error), Cause::Certificate));
    }
    let (mut head, mut length) = ([0; PREFACE.len()], 0);
    while length < head.len() {
        let rest = head.get_mut(length..).unwrap_or_default();
        match stream.read(rest).await.map_err(cause_of)? {
            0 => return Err(Cause::Ended("the gateway closed it".to_owned())),
            count => length += count,
        }
        let begun = head.get(..length).unwrap_or(&head);
        if !PREFACE.starts_with(begun) && !is_undecided(begun) {
            return Err(stranger(begun));
        }
    }
    Ok(())
}

/// Whether these first bytes may yet become something that is known.
pub(crate) fn is_undecided(begun: &[u8]) -> bool {
    let known = [&PREFACE[..], HTTP, WORDS];
    known.into_iter().any(|known| known.len() > begun.len() && known.starts_with(begun))
}

/// Who answers so.
pub(crate) fn stranger(begun: &[u8]) -> Cause {
    if begun.starts_with(WORDS) {
        return Cause::NotServed;
    }
    Cause::Stranger(match begun {
        // An alert.
        [0x15, 0x03, ..] => Speaks::Tls,
        // Some servers answer what is no request of HTTP/1 without a head.
        _ if begun.starts_with(HTTP) || begun.starts_with(b"<") => Speaks::Http,
        _ => Speaks::Unknown,
    })
}

/// What a reading or writing that failed says of certificates: with TLS, the gateway's word on ours comes so.
#[cfg_attr(
    not(feature = "tls"),
    expect(unused_variables, clippy::missing_const_for_fn, reason = "only TLS has certificates")
)]
pub(crate) fn distrust_of(error: &io::Error) -> Option<Distrust> {
    #[cfg(feature = "tls")]
    return distrust::of(error);
    #[cfg(not(feature = "tls"))]
    None
}

/// A reading or writing that failed.
pub(super) fn cause_of(error: io::Error) -> Cause {
    distrust_of(&error).map_or_else(|| error.into(), Cause::Certificate)
}
