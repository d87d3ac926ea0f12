//! Why a gRPC call has failed: its status, and the code of the catalogue in its details.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::HeaderMap;
use meshwire_proto::ErrorKind;
use prost::Message;

use super::refusal::{Refusal, of_code};

/// The status of who is not known.
const UNAUTHENTICATED: &str = "16";

/// Longest text of a gateway, or of what stands for one, that is shown.
const SHOWN: usize = 512;

/// In whose words the details say a code.
const DOMAIN: &str = "meshwire";

/// Of headers that hold bytes: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Of `google.rpc.Status` what is read here.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Of `google.rpc.ErrorInfo` what is read here.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Status {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let bytes = BASE64.decode(headers.get("grpc-status-details-bin")?).ok()?;
        Self::decode(&*bytes).ok()
    }

    fn find<T: Message + Default>(&self, name: &str) -> Option<T> {
        let detail = self.details.iter().find(|detail| detail.type_url.rsplit('/').next() == Some(name))?;
        T::decode(detail.value.clone()).ok()
    }

    /// Ours, if it is a gateway's.
    fn code(&self) -> Option<String> {
        self.find::<ErrorInfo>("google.rpc.ErrorInfo").filter(|info| info.domain == DOMAIN).map(|info| info.reason)
    }

    /// Zero if there is none, or none that could be waited for.
    fn retry_after(&self) -> Duration {
        let delay = self.find::<RetryInfo>("google.rpc.RetryInfo").and_then(|info| info.delay).unwrap_or_default();
        let parts = (u32::try_from(delay.seconds), u32::try_from(delay.nanos));
        parts.0.ok().zip(parts.1.ok()).map_or(Duration::ZERO, |(secs, nanos)| Duration::new(secs.into(), nanos))
    }
}

/// Why a call has failed, if it has.
pub(super) fn refusal(headers: &HeaderMap) -> Option<io::Error> {
    let status = headers.get("grpc-status")?.to_str().unwrap_or("unknown");
    if status == "0" {
        return None;
    }
    let text = headers.get("grpc-message").map(|text| plain(text.as_bytes())).unwrap_or_default();
    let ours = Status::of(headers).and_then(|said| of_code(&said.code()?, &text, said.retry_after()));
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
    #![allow(clippy::panic, reason = "tests fail by panicking")]
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

    /// Details as a gateway says them, by hand: `google.rpc.Status{7, [ErrorInfo{reason, "meshwire"}, RetryInfo{1.5 s}]}`.
    fn details(reason: &str, domain: &str) -> String {
        let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
        let any = |name: &str, value: &[u8]| {
            let url = format!("type.googleapis.com/google.rpc.{name}");
            field(3, &[field(1, url.as_bytes()), field(2, value)].concat())
        };
        let info = [field(1, reason.as_bytes()), field(2, domain.as_bytes())].concat();
        let retry = field(1, &[0x08, 1, 0x10, 0x80, 0xCA, 0xB5, 0xEE, 0x01]);
        BASE64.encode([vec![0x08, 7], any("ErrorInfo", &info), any("RetryInfo", &retry)].concat())
    }

    fn cause(status: &'static str, details: &str) -> Option<Cause> {
        let mut headers = headers(status, "why");
        headers.insert("grpc-status-details-bin", HeaderValue::from_str(details).ok()?);
        refusal(&headers).map(Cause::from)
    }

    #[test]
    fn the_code_in_the_details_counts_and_the_time_to_wait() {
        let found = cause("7", &details("DENIED", DOMAIN));
        assert!(
            matches!(found, Some(Cause::Refused(r)) if r.kind == ErrorKind::Denied && r.is_final() && r.told == "why")
        );
        for padded in [true, false] {
            let details = details("BUSY", DOMAIN);
            let found = cause("8", if padded { &details } else { details.trim_end_matches('=') });
            let Some(Cause::Refused(refusal)) = found else { panic!("{found:?}") };
            assert!(!refusal.is_final());
            assert_eq!((refusal.kind, refusal.retry_after), (ErrorKind::Busy, Some(Duration::from_millis(1500))));
        }
        assert!(matches!(cause("9", &details("TLS_REQUIRED", DOMAIN)), Some(Cause::TlsRequired)));
        let found = cause("7", &details("ORIGIN_REFUSED", DOMAIN));
        assert!(matches!(found, Some(Cause::Io(e)) if e.to_string() == "ORIGIN_REFUSED: why"));
    }

    #[test]
    fn details_that_are_not_a_gateways_leave_the_status_to_count() {
        for details in
            [details("DENIED", "other.example"), details("NO_SUCH", DOMAIN), "?".into(), "AAAA".into(), "".into()]
        {
            let found = cause("7", &details);
            assert!(matches!(&found, Some(Cause::Io(e)) if e.to_string().ends_with("status 7: why")), "{found:?}");
            assert!(matches!(cause("16", &details), Some(Cause::Refused(r)) if r.kind == ErrorKind::Unauthenticated));
        }
    }
}
