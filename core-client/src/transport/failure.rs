//! Why there is no connection.

use std::fmt;
use std::io;
use std::time::Duration;

use meshwire_proto::{ErrorKind, Retry};

use super::account::{Account, Advice, Told};
#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
use super::refusal::Refusal;
use crate::session::Failure;

/// Why one attempt failed.
#[derive(Debug)]
pub(crate) enum Cause {
    /// What the system says.
    Io(io::Error),
    /// It was connected to and said nothing.
    Silent,
    /// It was connected to and hung up.
    Ended(String),
    /// Somebody else than a gateway answered.
    Stranger(Speaks),
    /// The same in HTTP, to a request that a gateway answers: what it said.
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    Odd(String),
    /// A gateway answered, and there serves something else.
    NotServed,
    /// It speaks inside TLS only.
    TlsRequired,
    /// It does not speak TLS.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody asks for TLS"))]
    Plain,
    /// The token cannot be read.
    Token(io::Error),
    /// The gateway refused this client before a session began.
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    Refused(Refusal),
    /// A proxy refused: this endpoint, or with `everywhere` whatever it is asked for.
    Proxy { told: String, everywhere: bool },
    /// A certificate, the gateway's or ours, is not taken.
    Certificate(Distrust),
}

/// What somebody speaks who is no gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Tls,
    /// Nothing that is known here.
    Unknown,
}

/// A certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distrust {
    /// What that is called: the gateway's own, or this client's.
    pub(crate) kind: ErrorKind,
    /// Why, and what to do.
    pub(crate) told: String,
}

impl Cause {
    /// Whether trying the same at once is of no use. Silence may end, and who hung up may be about to start anew.
    fn is_plain(&self) -> bool {
        match self {
            Self::Io(cause) => cause.kind() != io::ErrorKind::TimedOut,
            Self::Silent | Self::Ended(_) => false,
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Self::Refused(refusal) => refusal.is_final(),
            _ => true,
        }
    }

    /// Whether no other way may be tried: that would hide it.
    pub(crate) const fn is_final(&self) -> bool {
        #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
        if let Self::Refused(refusal) = self {
            return refusal.is_final();
        }
        matches!(self, Self::Certificate(_) | Self::TlsRequired | Self::Token(_))
    }

    /// Whether it would be the same in every carrier: a gateway is busy, or does not speak TLS.
    pub(super) const fn is_of_its_address(&self) -> bool {
        self.retry_after().is_some() || matches!(self, Self::Plain)
    }

    /// How long a gateway that is busy wants to be left alone.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Self::Refused(Refusal { kind: ErrorKind::Busy, retry_after, .. }) => match retry_after {
                Some(wait) => Some(*wait),
                None => Some(Duration::ZERO),
            },
            _ => None,
        }
    }

    /// Whether it will not change by itself.
    const fn is_lasting(&self) -> bool {
        matches!(self, Self::Stranger(_) | Self::NotServed | Self::Plain | Self::Proxy { .. }) || self.is_final()
    }

    /// What may help that its sentence does not say.
    fn advice(&self) -> Advice {
        match self {
            Self::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => Advice::Start,
            Self::Stranger(Speaks::Http | Speaks::Unknown) => Advice::CheckUrl,
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Self::Odd(_) => Advice::CheckUrl,
            _ => Advice::Nothing,
        }
    }
}

/// What carriers over HTTP give up with when they are told that TLS is needed.
#[derive(Debug)]
pub(crate) struct TlsNeeded;

impl TlsNeeded {
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    pub(crate) fn error() -> io::Error {
        io::Error::other(Self)
    }
}

impl fmt::Display for TlsNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("speaks TLS only: use the scheme with an s, as meshs://, tcps://, grpcs://, wss:// or https://")
    }
}

impl std::error::Error for TlsNeeded {}

/// What carriers over HTTP give up with when no gateway has answered them.
#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
#[derive(Debug)]
pub(crate) struct OddAnswer(String);

#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
impl OddAnswer {
    /// Who answers what was asked for with this status is somebody else, or has nothing behind it just now.
    pub(crate) fn error(asked: &str, status: impl Into<u16> + fmt::Display) -> io::Error {
        let text = format!("answered {asked} with {status}");
        if status.into() < 500 { io::Error::other(Self(text)) } else { io::Error::other(text) }
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn said(text: impl Into<String>) -> io::Error {
        io::Error::other(Self(text.into()))
    }
}

#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
impl fmt::Display for OddAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
impl std::error::Error for OddAnswer {}

impl From<io::Error> for Cause {
    fn from(cause: io::Error) -> Self {
        use io::ErrorKind as Kind;
        if cause.get_ref().is_some_and(|cause| cause.is::<TlsNeeded>()) {
            return Self::TlsRequired;
        }
        #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
        if let Some(refusal) = cause.get_ref().and_then(|cause| cause.downcast_ref::<Refusal>()) {
            return Self::Refused(refusal.clone());
        }
        #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
        if let Some(odd) = cause.get_ref().and_then(|cause| cause.downcast_ref::<OddAnswer>()) {
            return Self::Odd(odd.to_string());
        }
        match cause.kind() {
            Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
                Self::Ended(cause.to_string())
            }
            _ => Self::Io(cause),
        }
    }
}

/// One attempt that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Where to.
    pub(crate) address: String,
    /// In what, where there is a choice of it.
    pub(crate) carrier: Option<&'static str>,
    pub(crate) cause: Cause,
}

impl Failed {
    pub(crate) fn told(&self) -> Told {
        let address = &self.address;
        let what = match &self.cause {
            Cause::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                format!("{address} refused the connection")
            }
            Cause::Io(cause) if cause.kind() == io::ErrorKind::TimedOut => format!("{address} did not answer"),
            Cause::Io(cause) | Cause::Token(cause) => format!("{address}: {cause}"),
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Cause::Refused(refusal) => format!("{address}: {refusal}"),
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Cause::Odd(told) => format!("{address}: {told}"),
            Cause::Certificate(Distrust { told, .. }) | Cause::Proxy { told, .. } => format!("{address}: {told}"),
            Cause::TlsRequired => format!("{address} {TlsNeeded}"),
            Cause::Plain => format!(
                "{address} does not speak TLS; use the scheme without s, as mesh://, tcp://, grpc://, ws:// or http://, or give the \
                 gateway a certificate (its options tls_certificate and tls_key)"
            ),
            Cause::Silent => format!("{address} was connected to, and did not answer the login"),
            Cause::Ended(cause) => format!("{address} was connected to, and did not answer the login: {cause}"),
            Cause::NotServed => format!(
                "{address} is a listener of a Meshwire gateway that serves something else (its options listen, listen_also); use the \
                 scheme that it serves, as tcp:// or http://, or another of its addresses"
            ),
            Cause::Stranger(Speaks::Http) => format!("{address} is not a Meshwire gateway; it answered HTTP"),
            Cause::Stranger(Speaks::Tls) => {
                format!(
                    "{address} answers as TLS does; use the scheme with s, as meshs://, tcps://, grpcs://, wss:// or https://"
                )
            }
            Cause::Stranger(Speaks::Unknown) => format!("{address} is not a Meshwire gateway"),
        };
        // These have nothing to do with it.
        let carrier = self.carrier.filter(|_| !self.cause.is_of_its_address() && !self.cause.is_final());
        Told { what, carrier, advice: self.cause.advice() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Account::from(self.told()).fmt(f)
    }
}

/// Every attempt failed.
#[derive(Debug, Default)]
pub(crate) struct DialError {
    pub(crate) attempts: Vec<Failed>,
}

impl DialError {
    /// The gateway's word that it does not let this client in, as a session hears it too.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
        return self.attempts.iter().find_map(|failed| match &failed.cause {
            Cause::Refused(refusal) if refusal.is_final() => Some(Failure::new(refusal.kind, refusal.told.clone())),
            _ => None,
        });
        #[cfg(not(any(feature = "grpc", feature = "http", feature = "websocket")))]
        None
    }

    /// How long to wait at least before the next attempt, where a gateway that is busy asked for it. Of several the
    /// one that may have room first counts.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.attempts.iter().filter_map(|failed| failed.cause.retry_after()).min()
    }

    /// Whether trying again at once is of no use: nobody listens, or there is no
    /// such host. Silence, on the other hand, may end.
    pub(crate) fn is_plain(&self) -> bool {
        self.attempts.iter().all(|failed| failed.cause.is_plain())
    }

    /// What it is called where it is not that nobody was there, and whether the same may succeed later.
    pub(crate) fn verdict(&self) -> Option<(ErrorKind, Retry)> {
        let found = self.attempts.iter().find_map(|failed| match &failed.cause {
            Cause::Token(_) => Some(ErrorKind::Invalid),
            Cause::TlsRequired => Some(ErrorKind::TlsRequired),
            Cause::Certificate(distrust) => Some(distrust.kind),
            _ => None,
        });
        if let Some(kind) = found {
            return Some((kind, Retry::Never));
        }
        // An endpoint that is only not there may be there later, whatever a proxy says of others.
        if !self.is_hopeless() {
            return None;
        }
        let mut causes = self.attempts.iter().map(|failed| &failed.cause);
        if causes.clone().any(|cause| matches!(cause, Cause::Proxy { .. })) {
            return Some((ErrorKind::ProxyRefused, ErrorKind::ProxyRefused.retry()));
        }
        causes
            .all(|cause| matches!(cause, Cause::Plain | Cause::NotServed))
            .then_some((ErrorKind::Unavailable, Retry::Never))
    }

    /// Whether nothing will change by itself: what answers is no gateway, or not the one that is meant, or a proxy that
    /// does not let this client through.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.is_final() || self.attempts.iter().all(|failed| failed.cause.is_lasting())
    }

    /// Whether one attempt says it all.
    pub(crate) fn is_final(&self) -> bool {
        self.attempts.iter().any(|failed| failed.cause.is_final())
    }

    /// What became of the attempts; if one says it all, of that one.
    pub(crate) fn account(&self) -> Account {
        let is_final = self.is_final();
        self.attempts.iter().filter(|failed| !is_final || failed.cause.is_final()).map(Failed::told).collect()
    }
}

impl From<Failed> for DialError {
    fn from(failed: Failed) -> Self {
        Self { attempts: vec![failed] }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.account().fmt(f)
    }
}
