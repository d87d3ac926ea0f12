//! What a gateway answers in HTTP when it lets no session begin.

use std::fmt;
use std::io;

use meshwire_proto::ErrorKind;

use super::failure::TlsNeeded;

/// Longest text of a gateway, or of what stands for one, that is shown.
const SHOWN: usize = 512;

/// It does not let this client in: no other way would be another answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) told: String,
}

impl Refusal {
    /// As carriers give up with it; `told` may be empty.
    pub(super) fn error(kind: ErrorKind, told: &str) -> io::Error {
        let told = if told.is_empty() { "the gateway does not take these credentials" } else { told };
        io::Error::other(Self { kind, told: shown(told) })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

impl std::error::Error for Refusal {}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[derive(serde::Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

/// What an answer with this body means, if it is a gateway's.
pub(super) fn of_problem(body: &[u8]) -> Option<io::Error> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let kind = ErrorKind::ALL.iter().copied().find(|kind| kind.code() == problem.code)?;
    Some(match kind {
        ErrorKind::TlsRequired => TlsNeeded::error(),
        ErrorKind::Unauthenticated | ErrorKind::Denied => Refusal::error(kind, &problem.detail),
        // Another carrier may get another answer.
        _ => io::Error::other(format!("{}: {}", problem.code, shown(&problem.detail))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
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
            assert!(matches!(found, Cause::Refused(r) if r.kind == kind && r.told == "whatto do"), "{kind}");
        }
        assert!(matches!(cause("TLS_REQUIRED"), Cause::TlsRequired));
        let found = cause("ORIGIN_REFUSED");
        assert!(!found.is_final());
        assert!(matches!(found, Cause::Io(e) if e.to_string() == "ORIGIN_REFUSED: whatto do"));
    }

    #[test]
    fn what_no_gateway_says_is_nothing() {
        for body in [&b""[..], b"{", b"[]", b"{\"code\":1}", b"{\"code\":\"NO_SUCH\"}", b"<html>", b"\xff"] {
            assert!(of_problem(body).is_none(), "{body:?}");
        }
    }
}
