//! Why a certificate is not taken, and what to do about it.

use std::io;

use meshwire_proto::{ErrorKind, UnixMillis};
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use super::failure::Distrust;

/// How this client's certificate is named.
const SHOW: &str = "--tls-certificate and --tls-key (Connect::tls_certificate)";

/// What this error says of certificates, the gateway's or ours.
pub(super) fn of(error: &io::Error) -> Option<Distrust> {
    let told = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => theirs(problem),
        rustls::Error::NoCertificatesPresented => "it shows no certificate; the gateway needs one".to_owned(),
        rustls::Error::AlertReceived(alert) => {
            return ours(*alert).map(|told| Distrust { kind: ErrorKind::Unauthenticated, told });
        }
        _ => return None,
    };
    Some(Distrust { kind: ErrorKind::Unavailable, told })
}

/// Whether the other end answers in something else than TLS.
pub(super) fn is_no_tls(error: &io::Error) -> bool {
    use rustls::InvalidMessage::{InvalidContentType, UnknownProtocolVersion};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidMessage(InvalidContentType | UnknownProtocolVersion)))
}

/// Of the gateway's certificate.
fn theirs(problem: &CertificateError) -> String {
    use CertificateError as Problem;
    match problem {
        Problem::UnknownIssuer | Problem::BadSignature => {
            "its certificate is not trusted: none of the roots that this client trusts has signed it; name a PEM file of its root with \
             --tls-roots (Connect::tls_roots)"
                .to_owned()
        }
        Problem::NotValidForName => misnamed("others", "this host"),
        Problem::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            misnamed(&names, &expected.to_str())
        }
        Problem::Expired => outdated(None),
        Problem::ExpiredContext { not_after, .. } => outdated(Some(time(*not_after))),
        Problem::NotValidYet => "its certificate is not valid yet; compare the clocks of both machines".to_owned(),
        Problem::NotValidYetContext { time: now, not_before } => format!(
            "its certificate is not valid before {}, and it is {} here; compare the clocks of both machines",
            time(*not_before),
            time(*now)
        ),
        Problem::Revoked => "its certificate was revoked; the gateway needs a new one".to_owned(),
        Problem::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority (CA:TRUE), and no server may show that; make the gateway one with CA:FALSE, \
             signed by this one or by itself"
                .to_owned()
        }
        other => format!("its certificate is not taken: {other}"),
    }
}

fn misnamed(names: &str, wanted: &str) -> String {
    format!(
        "its certificate is one of {names}, not of {wanted}; connect to a name that it has, or say which one it must have with \
         --tls-server-name (Connect::tls_server_name)"
    )
}

fn outdated(at: Option<UnixMillis>) -> String {
    let at = at.map_or_else(String::new, |at| format!(" at {at}"));
    format!("its certificate has expired{at}; the gateway needs a new one")
}

/// `name` of what a verifier shows as `DnsName("name")` or `IpAddress(name)`.
fn bare(shown: &str) -> &str {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"')
}

fn time(at: UnixTime) -> UnixMillis {
    UnixMillis(i64::try_from(at.as_secs()).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

/// Of this client's certificate, as the other end says it.
fn ours(alert: AlertDescription) -> Option<String> {
    use AlertDescription as Alert;
    let problem = match alert {
        Alert::CertificateRequired => {
            return Some(format!("it asks for a certificate of this client; show one with {SHOW}"));
        }
        Alert::CertificateExpired => "it has expired",
        Alert::CertificateRevoked => "it was revoked",
        Alert::UnknownCA => "no root that it trusts has signed it (a gateway's option tls_client_roots)",
        // Also where the root that it trusts only has the name of the one that has.
        Alert::DecryptError => "no root that it trusts has signed it, or its key is another one",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown | Alert::AccessDenied => {
            "it says no more"
        }
        _ => return None,
    };
    Some(format!("it does not take the certificate of this client: {problem}; show another one with {SHOW}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn told(error: rustls::Error) -> Option<(ErrorKind, String)> {
        of(&io::Error::new(io::ErrorKind::InvalidData, error)).map(|distrust| (distrust.kind, distrust.told))
    }

    #[test]
    fn each_problem_of_a_gateways_certificate_is_told_with_what_to_do() {
        let at = |secs| UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
        let presented = vec!["DnsName(\"a.example\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        let expected = rustls::pki_types::ServerName::try_from("b.example").unwrap();
        for (problem, parts) in [
            (CertificateError::UnknownIssuer, &["not trusted", "--tls-roots", "Connect::tls_roots"][..]),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                &["one of a.example, 10.0.0.1, not of b.example", "--tls-server-name", "Connect::tls_server_name"],
            ),
            (
                CertificateError::ExpiredContext { time: at(20), not_after: at(10) },
                &["expired at 1970-01-01T00:00:10Z", "needs a new one"],
            ),
            (
                CertificateError::NotValidYetContext { time: at(10), not_before: at(20) },
                &["not valid before 1970-01-01T00:00:20Z", "it is 1970-01-01T00:00:10Z here", "clocks"],
            ),
            (CertificateError::BadEncoding, &["is not taken"]),
        ] {
            let (kind, text) = told(rustls::Error::InvalidCertificate(problem)).unwrap();
            assert_eq!(kind, ErrorKind::Unavailable);
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn what_the_gateway_says_of_our_certificate_is_about_credentials() {
        for (alert, part) in [
            (AlertDescription::CertificateRequired, "asks for a certificate"),
            (AlertDescription::CertificateExpired, "it has expired"),
            (AlertDescription::UnknownCA, "tls_client_roots"),
            (AlertDescription::DecryptError, "its key is another one"),
            (AlertDescription::BadCertificate, "does not take the certificate"),
        ] {
            let (kind, text) = told(rustls::Error::AlertReceived(alert)).unwrap();
            assert_eq!(kind, ErrorKind::Unauthenticated);
            assert!(text.contains(part) && text.contains("--tls-certificate"), "{text}");
        }
    }

    #[test]
    fn other_ends_of_a_handshake_are_not_about_certificates() {
        let alert = rustls::Error::AlertReceived(AlertDescription::InternalError);
        assert_eq!(told(alert), None);
        assert!(of(&io::ErrorKind::ConnectionReset.into()).is_none());
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(is_no_tls(&io::Error::new(io::ErrorKind::InvalidData, plain)));
        assert!(!is_no_tls(&io::ErrorKind::InvalidData.into()));
    }
}
