//! Why a handshake came to nothing.

use std::fmt;
use std::io;

use tokio_rustls::rustls::{AlertDescription, Error, PeerIncompatible};

use super::Flaw;

const NO_VERSION: &str = "it speaks no version of TLS that is spoken here; 1.2 and 1.3 are";
const NOTHING_IN_COMMON: &str = "it has no cipher, no curve or no kind of signature in common with this side";

/// Why a handshake, or what came behind it, ended, where it is TLS that failed: a sentence about the other side, which it calls "it".
/// `None`: something else has failed, as the connection.
#[must_use]
pub fn ended(error: &io::Error) -> Option<String> {
    let text = match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(problem) => return Some(format!("its certificate {}", Flaw::of(problem))),
        Error::AlertReceived(alert) => return Some(said(*alert)),
        Error::NoCertificatesPresented => "it shows no certificate",
        Error::InvalidMessage(_) => "what it sends is not TLS, or damaged",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            "what it sends breaks the rules of TLS"
        }
        Error::PeerIncompatible(reason) if is_of_version(reason) => NO_VERSION,
        Error::PeerIncompatible(_) => NOTHING_IN_COMMON,
        Error::DecryptError | Error::PeerSentOversizedRecord => "what it sends cannot be decrypted",
        Error::NoApplicationProtocol => "of the protocols that it offers (ALPN) none is spoken here",
        other => return Some(format!("TLS failed: {other}")),
    };
    Some(text.to_owned())
}

const fn is_of_version(reason: &PeerIncompatible) -> bool {
    use PeerIncompatible as Reason;
    matches!(
        reason,
        Reason::ServerDoesNotSupportTls12Or13
            | Reason::ServerTlsVersionIsDisabledByOurConfig
            | Reason::SupportedVersionsExtensionRequired
            | Reason::Tls12NotOffered
            | Reason::Tls12NotOfferedOrEnabled
    )
}

/// What the other side has against the certificate that it was shown. As text it goes on behind a sentence that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It was shown none.
    Missing,
    /// Its root is none that the other side trusts.
    Untrusted,
    /// Its root may only have the name of one that the other side trusts, or its key is another one.
    Forged,
    /// It has expired.
    Expired,
    /// It was revoked.
    Revoked,
    /// The other side keeps that to itself.
    Unsaid,
}

impl Objection {
    /// What this alert says of a certificate; `None`: it is about something else.
    #[must_use]
    pub const fn of(alert: AlertDescription) -> Option<Self> {
        use AlertDescription as Alert;
        Some(match alert {
            Alert::CertificateRequired => Self::Missing,
            Alert::UnknownCA => Self::Untrusted,
            Alert::DecryptError => Self::Forged,
            Alert::CertificateExpired => Self::Expired,
            Alert::CertificateRevoked => Self::Revoked,
            Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown | Alert::AccessDenied => {
                Self::Unsaid
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it was not shown",
            Self::Untrusted => "no root that it trusts has signed it",
            Self::Forged => "no root that it trusts has signed it, or its key is another one",
            Self::Expired => "it has expired",
            Self::Revoked => "it was revoked",
            Self::Unsaid => "it says no more",
        })
    }
}

/// What the other side gives as its reason.
fn said(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match Objection::of(alert) {
        Some(Objection::Missing) => return "it asks for a certificate, and was shown none".to_owned(),
        Some(objection) => return format!("it does not take the certificate that it was shown: {objection}"),
        None => {}
    }
    let text = match alert {
        Alert::ProtocolVersion => NO_VERSION,
        Alert::HandshakeFailure | Alert::InsufficientSecurity => NOTHING_IN_COMMON,
        Alert::NoApplicationProtocol => "of the protocols that it was offered (ALPN) it speaks none",
        Alert::UnrecognisedName => "it has no certificate for the name that it was asked for",
        Alert::UserCanceled | Alert::CloseNotify => "it gave up",
        Alert::InternalError => "it says that something failed inside of it",
        other => return format!("it ended the handshake, and says only {other:?} (an alert of RFC 8446)"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use tokio_rustls::rustls::{CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn what_a_library_calls_a_failed_handshake_is_said_in_words() {
        for (error, told) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "its certificate is not trusted"),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "the certificate that it was shown: no root that it trusts",
            ),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "was shown none"),
            (Error::AlertReceived(AlertDescription::ProtocolVersion), "1.2 and 1.3"),
            (Error::AlertReceived(AlertDescription::DecodeError), "RFC 8446"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "not TLS"),
            (PeerIncompatible::NoCipherSuitesInCommon.into(), "no cipher"),
            (PeerIncompatible::Tls12NotOffered.into(), "1.2 and 1.3"),
            (Error::NoApplicationProtocol, "ALPN"),
        ] {
            let text = ended(&io::Error::new(io::ErrorKind::InvalidData, error)).unwrap();
            assert!(text.contains(told), "{text}");
        }
        assert_eq!(ended(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
