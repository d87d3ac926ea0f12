//! Whether a certificate is one of this time.

use std::time::Duration;

use meshwire_proto::UnixMillis;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::Flaw;
use super::flaw::time;

/// That it has expired at `now`, or is not valid yet; `None` if it is neither, or no certificate at all.
#[must_use]
pub fn out_of_date(certificate: &CertificateDer<'_>, now: UnixMillis) -> Option<Flaw> {
    let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or(0)));
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    // Its dates are looked at first, and nobody is trusted here: whatever else is wrong with it is not asked.
    let usage = KeyUsage::server_auth();
    match parsed.verify_for_usage(&[], &[], &[], now, usage, None, None).err()? {
        Error::CertExpired { not_after, .. } => Some(Flaw::Expired(Some(time(not_after)))),
        Error::CertNotValidYet { time: now, not_before } => Some(Flaw::NotYet(Some((time(not_before), time(now))))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use meshwire_certificates::{Authority, Named, SelfSigned};

    use super::*;
    use crate::certificates;

    #[test]
    fn a_certificate_is_out_of_date_before_its_time_and_behind_it_whoever_has_signed_it() {
        let authority = Authority::new();
        let issued = authority.issue("old", &Named { dns: "localhost", expired: true, ..Named::default() });
        let old = certificates(&issued.certificate).unwrap().remove(0);
        let told = |at: &str| out_of_date(&old, at.parse().unwrap()).map(|flaw| flaw.to_string());
        assert_eq!(told("2020-02-02T00:00:00Z").unwrap(), "has expired at 2020-02-01T00:00:00Z");
        assert_eq!(
            told("2019-12-31T00:00:00Z").unwrap(),
            "is not valid before 2020-01-01T00:00:00Z, and it is 2019-12-31T00:00:00Z here"
        );
        assert_eq!(told("2020-01-15T00:00:00Z"), None);
        let own = certificates(&SelfSigned::of("localhost").certificate).unwrap().remove(0);
        assert_eq!(out_of_date(&own, "2026-11-29T00:00:00Z".parse().unwrap()), None);
    }
}
