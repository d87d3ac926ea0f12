//! Why a certificate is not taken, and what to do about it.

use std::io;

use meshwire_proto::ErrorKind;
use meshwire_tls::{Flaw, Objection};
use tokio_rustls::rustls::{self, CertificateError};

use super::failure::Distrust;

/// How this client's certificate is named.
const SHOW: &str = "--tls-certificate and --tls-key (Connect::tls_certificate)";

/// What this error says of certificates, the gateway's or ours.
pub(super) fn of(error: &io::Error) -> Option<Distrust> {
    let told = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => theirs(problem),
        rustls::Error::NoCertificatesPresented => "it shows no certificate; the gateway needs one".to_owned(),
        rustls::Error::AlertReceived(alert) => {
            let told = ours(Objection::of(*alert)?);
            return Some(Distrust { kind: ErrorKind::Unauthenticated, told });
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

/// Of the gateway's certificate: what is wrong, and what to do about it.
fn theirs(problem: &CertificateError) -> String {
    let flaw = Flaw::of(problem);
    let what_to_do = match &flaw {
        Flaw::Untrusted => "name a PEM file of its root with --tls-roots (Connect::tls_roots)",
        Flaw::Misnamed { .. } => {
            "connect to a name that it has, or say which one it must have with --tls-server-name (Connect::tls_server_name)"
        }
        Flaw::NotYet(_) => "compare the clocks of both machines",
        Flaw::OfAuthority => "make the gateway one with CA:FALSE, signed by this one or by itself",
        _ => "the gateway needs a new one",
    };
    format!("its certificate {flaw}; {what_to_do}")
}

/// Of this client's certificate, as the other end says it, with what to do about it.
fn ours(objection: Objection) -> String {
    if objection == Objection::Missing {
        return format!("it asks for a certificate of this client; show one with {SHOW}");
    }
    let option = if objection == Objection::Untrusted { " (a gateway's option tls_client_roots)" } else { "" };
    format!("it does not take the certificate of this client: {objection}{option}; show another one with {SHOW}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use tokio_rustls::rustls::AlertDescription;
    use tokio_rustls::rustls::pki_types::UnixTime;

    use super::*;

    fn told(error: rustls::Error) -> Option<(ErrorKind, String)> {
        of(&io::Error::new(io::ErrorKind::InvalidData, error)).map(|distrust| (distrust.kind, distrust.told))
    }

    #[test]
    fn each_problem_of_a_gateways_certificate_is_told_with_what_to_do() {
        let at = |secs| UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
        let presented = vec!["DnsName(\"a.example\")".to_owned()];
        let expected = rustls::pki_types::ServerName::try_from("b.example").unwrap();
        // A root of the same name has a key of another kind.
        let other_key = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![1],
            public_key_algorithm_id: vec![2],
        };
        for (problem, parts) in [
            (CertificateError::UnknownIssuer, &["not trusted", "--tls-roots", "Connect::tls_roots"][..]),
            (other_key, &["not trusted", "--tls-roots", "Connect::tls_roots"]),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                &["one of a.example, not of b.example", "--tls-server-name", "Connect::tls_server_name"],
            ),
            (
                CertificateError::ExpiredContext { time: at(20), not_after: at(10) },
                &["expired at 1970", "needs a new one"],
            ),
            (
                CertificateError::NotValidYetContext { time: at(10), not_before: at(20) },
                &["not valid before 1970", "clocks"],
            ),
            (CertificateError::BadEncoding, &["is damaged", "needs a new one"]),
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
