//! What is wrong with a certificate.

use std::fmt;

use meshwire_proto::UnixMillis;
use tokio_rustls::rustls::CertificateError;
use tokio_rustls::rustls::pki_types::UnixTime;

/// What is wrong with a certificate that was shown, or read. As text it goes on behind "the certificate".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// No root that is trusted has signed it, though one may have the name of the root that has.
    Untrusted,
    /// It is one of other names, here with commas between them, than the one that was looked for.
    Misnamed {
        /// Those that it has.
        names: String,
        /// The one that it must have.
        wanted: String,
    },
    /// It was valid until then, if that is known.
    Expired(Option<UnixMillis>),
    /// It is valid from the first of these times on, and the second is now.
    NotYet(Option<(UnixMillis, UnixMillis)>),
    /// Its authority has taken it back.
    Revoked,
    /// It is one of an authority, which signs those that are shown.
    OfAuthority,
    /// What has signed it is no authority.
    SignedByNone,
    /// It has no version 3, and so no names.
    Old,
    /// Its extended key usage is another one.
    Purpose,
    /// It is signed in a way that is not taken.
    Algorithm,
    /// Its authority allows no such name, or no chain of this length.
    Constraint,
    /// It has a critical extension that nobody here knows.
    Extension,
    /// It is no X.509 certificate, or a damaged one.
    Malformed,
    /// Something else, by its technical name.
    Other(String),
}

impl Flaw {
    /// What a verifier says.
    #[must_use]
    pub fn of(problem: &CertificateError) -> Self {
        use CertificateError as Problem;
        match problem {
            // The last one: a root of the same name, whose key is of another kind.
            Problem::UnknownIssuer
            | Problem::BadSignature
            | Problem::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Untrusted,
            Problem::NotValidForName => Self::Misnamed { names: "others".to_owned(), wanted: "this host".to_owned() },
            Problem::NotValidForNameContext { expected, presented } => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
                Self::Misnamed { names, wanted: expected.to_str().into_owned() }
            }
            Problem::Expired => Self::Expired(None),
            Problem::ExpiredContext { not_after, .. } => Self::Expired(Some(time(*not_after))),
            Problem::NotValidYet => Self::NotYet(None),
            Problem::NotValidYetContext { time: now, not_before } => {
                Self::NotYet(Some((time(*not_before), time(*now))))
            }
            Problem::Revoked => Self::Revoked,
            Problem::InvalidPurpose | Problem::InvalidPurposeContext { .. } => Self::Purpose,
            Problem::UnsupportedSignatureAlgorithmContext { .. } => Self::Algorithm,
            Problem::UnhandledCriticalExtension => Self::Extension,
            Problem::BadEncoding => Self::Malformed,
            Problem::Other(other) => other.0.downcast_ref().map_or_else(|| Self::Other(other.to_string()), of_parser),
            other => Self::Other(other.to_string()),
        }
    }
}

/// What the parser below the verifier says, where that has no word of its own for it.
fn of_parser(problem: &webpki::Error) -> Flaw {
    use webpki::Error as Problem;
    match problem {
        Problem::CaUsedAsEndEntity => Flaw::OfAuthority,
        Problem::EndEntityUsedAsCa => Flaw::SignedByNone,
        Problem::UnsupportedCertVersion => Flaw::Old,
        Problem::UnsupportedCriticalExtension => Flaw::Extension,
        Problem::NameConstraintViolation | Problem::PathLenConstraintViolated | Problem::MaximumPathDepthExceeded => {
            Flaw::Constraint
        }
        Problem::ExtensionValueInvalid
        | Problem::EmptyEkuExtension
        | Problem::InvalidSerialNumber
        | Problem::MalformedDnsIdentifier
        | Problem::MalformedExtensions
        | Problem::MalformedNameConstraint
        | Problem::SignatureAlgorithmMismatch => Flaw::Malformed,
        other => Flaw::Other(other.to_string()),
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted => f.write_str("is not trusted: none of the roots that are trusted here has signed it"),
            Self::Misnamed { names, wanted } => write!(f, "is one of {names}, not of {wanted}"),
            Self::Expired(None) => f.write_str("has expired"),
            Self::Expired(Some(at)) => write!(f, "has expired at {at}"),
            Self::NotYet(None) => f.write_str("is not valid yet"),
            Self::NotYet(Some((from, now))) => write!(f, "is not valid before {from}, and it is {now} here"),
            Self::Revoked => f.write_str("was revoked"),
            Self::OfAuthority => f.write_str("is one of an authority (CA:TRUE), and those only sign others"),
            Self::SignedByNone => f.write_str("was signed by one that is no authority (CA:FALSE)"),
            Self::Old => f.write_str(
                "is of version 1 of X.509, and only version 3 is taken; one that has a subjectAltName is of version 3",
            ),
            Self::Purpose => f.write_str("is for another purpose (its extendedKeyUsage: serverAuth, clientAuth)"),
            Self::Algorithm => f.write_str(
                "is signed in a way that is not taken; RSA with SHA-256 and longer, ECDSA with P-256 or P-384, and Ed25519 are",
            ),
            Self::Constraint => f.write_str("is one that its authority may not sign (its constraints of names or length)"),
            Self::Extension => f.write_str("has a critical extension that is not known here"),
            Self::Malformed => f.write_str("is damaged, or no certificate of X.509"),
            Self::Other(name) => write!(f, "is not taken ({name})"),
        }
    }
}

/// `name` of what a verifier shows as `DnsName("name")` or `IpAddress(name)`.
fn bare(shown: &str) -> &str {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"')
}

pub(super) fn time(at: UnixTime) -> UnixMillis {
    UnixMillis(i64::try_from(at.as_secs()).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_rustls::rustls::OtherError;
    use tokio_rustls::rustls::pki_types::ServerName;

    use super::*;

    fn parser(problem: webpki::Error) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(problem)))
    }

    #[test]
    fn each_problem_is_told_in_words_and_none_by_the_name_that_a_library_gives_it() {
        let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let presented = vec!["DnsName(\"a.example\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        let expected = ServerName::try_from("b.example").unwrap();
        let other_key = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![1],
            public_key_algorithm_id: vec![2],
        };
        for (problem, told) in [
            (CertificateError::UnknownIssuer, "is not trusted"),
            (other_key, "is not trusted"),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                "of a.example, 10.0.0.1, not of b.example",
            ),
            (
                CertificateError::ExpiredContext { time: at(20), not_after: at(10) },
                "has expired at 1970-01-01T00:00:10Z",
            ),
            (
                CertificateError::NotValidYetContext { time: at(10), not_before: at(20) },
                "is not valid before 1970-01-01T00:00:20Z, and it is 1970-01-01T00:00:10Z here",
            ),
            (CertificateError::BadEncoding, "is damaged"),
            (CertificateError::InvalidPurpose, "serverAuth"),
            (parser(webpki::Error::CaUsedAsEndEntity), "CA:TRUE"),
            (parser(webpki::Error::EndEntityUsedAsCa), "CA:FALSE"),
            (parser(webpki::Error::UnsupportedCertVersion), "version 3 is taken"),
            (parser(webpki::Error::NameConstraintViolation), "its authority may not sign"),
            (parser(webpki::Error::MalformedExtensions), "is damaged"),
            (parser(webpki::Error::CertDistrusted), "is not taken"),
        ] {
            let text = Flaw::of(&problem).to_string();
            assert!(text.contains(told), "{text}");
            assert!(!text.contains("Other") && !text.contains("Context"), "{text}");
        }
    }
}
