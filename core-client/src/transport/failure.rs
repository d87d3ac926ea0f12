//! Why there is no connection.

use std::fmt;
use std::io;
use std::time::Duration;

use meshwire_proto::ErrorKind;

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
    /// Somebody else than a gateway answered; in HTTP, or not.
    Stranger { http: bool },
    /// It speaks inside TLS only.
    TlsRequired,
    /// The token cannot be read.
    Token(io::Error),
    /// The gateway refused this client before a session began.
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    Refused(Refusal),
    /// A proxy refused: this endpoint, or with `everywhere` whatever it is asked for.
    Proxy { told: String, everywhere: bool },
    /// A certificate, the gateway's or ours, is not taken.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS has certificates"))]
    Certificate(io::Error),
}

impl Cause {
    /// Whether trying the same at once is of no use. Silence may end, and who hung up may be about to start anew.
    fn is_plain(&self) -> bool {
        match self {
            Self::Io(cause) => cause.kind() != io::ErrorKind::TimedOut,
            Self::Silent | Self::Ended(_) => false,
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Self::Refused(refusal) => refusal.is_final(),
            Self::Stranger { .. } | Self::TlsRequired | Self::Proxy { .. } | Self::Token(_) | Self::Certificate(_) => {
                true
            }
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

    /// Whether a gateway said that it is busy, as it would on every way.
    pub(super) const fn is_busy(&self) -> bool {
        self.retry_after().is_some()
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
        matches!(self, Self::Stranger { .. } | Self::Proxy { .. }) || self.is_final()
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

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.cause {
            Cause::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "{address} refused the connection")?;
            }
            Cause::Io(cause) if cause.kind() == io::ErrorKind::TimedOut => write!(f, "{address} did not answer")?,
            Cause::Io(cause) | Cause::Token(cause) | Cause::Certificate(cause) => write!(f, "{address}: {cause}")?,
            #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
            Cause::Refused(refusal) => write!(f, "{address}: {refusal}")?,
            Cause::Proxy { told, .. } => write!(f, "{address}: {told}")?,
            Cause::TlsRequired => write!(f, "{address} {TlsNeeded}")?,
            Cause::Silent => write!(f, "{address} was connected to, and did not answer the login")?,
            Cause::Ended(cause) => write!(f, "{address} was connected to, and did not answer the login: {cause}")?,
            Cause::Stranger { http } => {
                write!(f, "{address} is not a Meshwire gateway{}", if *http { "; it answered HTTP" } else { "" })?;
            }
        }
        self.carrier.map_or(Ok(()), |carrier| write!(f, " ({carrier})"))
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

    /// What it is called where it is not that nobody was there.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        let found = self.attempts.iter().find_map(|failed| match failed.cause {
            Cause::Token(_) => Some(ErrorKind::Invalid),
            Cause::TlsRequired => Some(ErrorKind::TlsRequired),
            Cause::Certificate(_) => Some(ErrorKind::Unavailable),
            _ => None,
        });
        // An endpoint that is only not there may be there later, whatever a proxy says of others.
        let refused = self.attempts.iter().any(|failed| matches!(failed.cause, Cause::Proxy { .. }));
        found.or_else(|| (refused && self.is_hopeless()).then_some(ErrorKind::ProxyRefused))
    }

    /// Whether nothing will change by itself: what answers is no gateway, or not the one that is meant, or a proxy that
    /// does not let this client through.
    pub(crate) fn is_hopeless(&self) -> bool {
        let mut causes = self.attempts.iter().map(|failed| &failed.cause);
        causes.clone().any(Cause::is_final) || causes.all(Cause::is_lasting)
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failed) in self.attempts.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            failed.fmt(f)?;
        }
        Ok(())
    }
}
