//! Why a gRPC call has failed: its status, and the code of the catalogue in its details.

use std::io;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::rpc::Status;
use prost::Message as _;

use super::refusal::{Refusal, of_code};

/// The status of who is not known.
const UNAUTHENTICATED: &str = "16";

/// Longest text of a gateway, or of what stands for one, that is shown.
const SHOWN: usize = 512;

/// Of headers that hold bytes: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What `grpc-status-details-bin` says.
fn details(headers: &HeaderMap) -> Option<Status> {
    let bytes = BASE64.decode(headers.get("grpc-status-details-bin")?).ok()?;
    Status::decode(&*bytes).ok()
}

/// Why a call has failed, if it has.
pub(super) fn refusal(headers: &HeaderMap) -> Option<io::Error> {
    let status = headers.get("grpc-status")?.to_str().unwrap_or("unknown");
    if status == "0" {
        return None;
    }
    let text = headers.get("grpc-message").map(|text| plain(text.as_bytes())).unwrap_or_default();
    let ours = details(headers).and_then(|said| of_code(&said.reason()?, &text, said.retry_after()));
    Some(ours.unwrap_or_else(|| match status {
        UNAUTHENTICATED => Refusal::error(ErrorKind::Unauthenticated, &text),
        // Whoever says so is no gateway, or has lost its words: another carrier may get another answer.
        _ => io::Error::other(format!("ended the gRPC call with status {status}: {text}")),
    }))
}

/// The text of `grpc-message`, which is percent-encoded.
fn plain(text: &[u8]) -> String {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = behind.split_first_chunk::<2>().filter(|_| byte == b'%');
        let value = escaped.and_then(|(digits, behind)| {
            Some((u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, behind))
        });
        let (byte, behind) = value.unwrap_or((byte, behind));
        found.push(byte);
        rest = behind;
    }
    found.truncate(SHOWN);
    String::from_utf8_lossy(&found).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::transport::Cause;

    fn headers(status: &'static str, message: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static(status));
        headers.insert("grpc-message", HeaderValue::from_static(message));
        headers
    }

    #[test]
    fn a_status_is_told_with_its_text_as_it_was_meant() {
        assert!(refusal(&HeaderMap::new()).is_none());
        assert!(refusal(&headers("0", "")).is_none());
        for (message, shown) in
            [("no%20way: 5%25", "no way: 5%"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A4", "\u{e4}")]
        {
            let text = refusal(&headers("7", message)).map(|error| error.to_string());
            assert_eq!(text, Some(format!("ended the gRPC call with status 7: {shown}")));
        }
    }

    /// Details as a gateway says them.
    fn said(kind: ErrorKind, wait: Duration) -> String {
        BASE64.encode(Status::of(7, "", kind, wait).encode_to_vec())
    }

    /// Details that name another domain, or code, of the same length.
    fn said_otherwise(from: &str, to: &str) -> String {
        let said = Status::of(7, "", ErrorKind::Denied, Duration::ZERO).encode_to_vec();
        let at = said.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        BASE64.encode([&said[..at], to.as_bytes(), &said[at + from.len()..]].concat())
    }

    fn cause(status: &'static str, details: &str) -> Option<Cause> {
        let mut headers = headers(status, "why");
        headers.insert("grpc-status-details-bin", HeaderValue::from_str(details).ok()?);
        refusal(&headers).map(Cause::from)
    }

    #[test]
    fn the_code_in_the_details_counts_and_the_time_to_wait() {
        let found = cause("7", &said(ErrorKind::Denied, Duration::ZERO));
        assert!(
            matches!(found, Some(Cause::Refused(r)) if r.kind == ErrorKind::Denied && r.is_final() && r.told == "why")
        );
        for padded in [true, false] {
            let details = said(ErrorKind::Busy, Duration::from_millis(1500));
            let found = cause("8", if padded { &details } else { details.trim_end_matches('=') });
            let Some(Cause::Refused(refusal)) = found else { panic!("{found:?}") };
            assert!(!refusal.is_final());
            assert_eq!((refusal.kind, refusal.retry_after), (ErrorKind::Busy, Some(Duration::from_millis(1500))));
        }
        assert!(matches!(cause("9", &said(ErrorKind::TlsRequired, Duration::ZERO)), Some(Cause::TlsRequired)));
        let found = cause("7", &said(ErrorKind::OriginRefused, Duration::ZERO));
        assert!(matches!(found, Some(Cause::Io(e)) if e.to_string() == "ORIGIN_REFUSED: why"));
    }

    #[test]
    fn details_that_are_not_a_gateways_leave_the_status_to_count() {
        let (domain, code) = (said_otherwise("meshwire", "somebody"), said_otherwise("DENIED", "NO_ONE"));
        for details in [domain, code, "?".into(), "AAAA".into(), "".into()] {
            let found = cause("7", &details);
            assert!(matches!(&found, Some(Cause::Io(e)) if e.to_string().ends_with("status 7: why")), "{found:?}");
            assert!(matches!(cause("16", &details), Some(Cause::Refused(r)) if r.kind == ErrorKind::Unauthenticated));
        }
    }
}
