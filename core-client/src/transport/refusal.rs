//! What a gateway answers in HTTP when it lets no session begin.

use std::fmt;
use std::io;
use std::time::Duration;

use meshwire_proto::{ErrorKind, excerpt};

use super::failure::TlsNeeded;

/// Longest text of a gateway, or of what stands for one, that is shown.
const SHOWN: usize = 512;

/// It does not let this client in: never, or, when it is busy, not now. On no other way would it say something else.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) told: String,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// As carriers give up with it; `told` may be empty.
    pub(super) fn error(kind: ErrorKind, told: &str) -> io::Error {
        let told = if told.is_empty() { "the gateway does not take these credentials" } else { told };
        io::Error::other(Self { kind, told: shown(told), retry_after: None })
    }

    /// The same of one that is busy; the wait is zero if it names none.
    pub(super) fn busy(told: &str, retry_after: Duration) -> io::Error {
        let told = if told.is_empty() { "the gateway is busy" } else { told };
        let retry_after = Some(retry_after).filter(|wait| !wait.is_zero());
        io::Error::other(Self { kind: ErrorKind::Busy, told: shown(told), retry_after })
    }

    /// Whether trying again later is of no use either.
    pub(crate) const fn is_final(&self) -> bool {
        !matches!(self.kind, ErrorKind::Busy)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

impl std::error::Error for Refusal {}

fn shown(text: &str) -> String {
    excerpt(text, SHOWN).into_owned()
}

#[derive(serde::Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    retry_after_ms: u32,
}

/// What an answer with this body means, if it is a gateway's.
pub(super) fn of_problem(body: &[u8]) -> Option<io::Error> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    of_code(&problem.code, &problem.detail, Duration::from_millis(problem.retry_after_ms.into()))
}

/// What a gateway means by this code, its text, and the time after which to try again; `None` if there is no such code.
pub(super) fn of_code(code: &str, told: &str, retry_after: Duration) -> Option<io::Error> {
    let kind = ErrorKind::ALL.iter().copied().find(|kind| kind.code() == code)?;
    Some(match kind {
        ErrorKind::TlsRequired => TlsNeeded::error(),
        ErrorKind::Unauthenticated | ErrorKind::Denied => Refusal::error(kind, told),
        ErrorKind::Busy => Refusal::busy(told, retry_after),
        // Another carrier may get another answer.
        _ => io::Error::other(format!("{code}: {}", shown(told))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use crate::transport::Cause;

    #[test]
    fn only_what_would_be_refused_on_every_way_ends_the_attempt() {
        let cause = |code: &str| {
            let body = format!(r#"{{"type":"about:blank","code":"{code}","detail":"what\nto do","more":1}}"#);
            Cause::from(of_problem(body.as_bytes()).unwrap())
        };
        for kind in [ErrorKind::Unauthenticated, ErrorKind::Denied] {
            let found = cause(kind.code());
            assert!(found.is_final());
            assert!(matches!(found, Cause::Refused(r) if r.kind == kind && r.told == "what to do"), "{kind}");
        }
        assert!(matches!(cause("TLS_REQUIRED"), Cause::TlsRequired));
        let found = cause("BUSY");
        assert!(!found.is_final() && matches!(found, Cause::Refused(r) if r.kind == ErrorKind::Busy));
        let found = cause("ORIGIN_REFUSED");
        assert!(!found.is_final());
        assert!(matches!(found, Cause::Io(e) if e.to_string() == "ORIGIN_REFUSED: what to do"));
    }

    #[test]
    fn a_time_to_wait_is_kept_where_a_gateway_is_busy() {
        for (more, expected) in
            [("", None), (r#","retry_after_ms":0"#, None), (r#","retry_after_ms":1500"#, Some(1500))]
        {
            let body = format!(r#"{{"code":"BUSY","detail":"full"{more}}}"#);
            let found = Cause::from(of_problem(body.as_bytes()).unwrap());
            let Cause::Refused(refusal) = found else { panic!("{found:?}") };
            assert_eq!((refusal.told.as_str(), refusal.retry_after), ("full", expected.map(Duration::from_millis)));
        }
    }

    #[test]
    fn what_no_gateway_says_is_nothing() {
        for body in [&b""[..], b"{", b"[]", b"{\"code\":1}", b"{\"code\":\"NO_SUCH\"}", b"<html>", b"\xff"] {
            assert!(of_problem(body).is_none(), "{body:?}");
        }
    }
}
