//! What the head of a request says of a call of gRPC. Some programs and proxies send its timeout to whatever they call.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::grpc;

use super::status;
use crate::mesh::Refusal;

/// Whether a request means gRPC.
pub(in crate::ingress) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let rest = value.and_then(|value| value.get(..grpc::CONTENT_TYPE.len()).zip(value.get(grpc::CONTENT_TYPE.len()..)));
    // Not `application/grpc-web`, which is something else.
    rest.is_some_and(|(kind, rest)| {
        kind.eq_ignore_ascii_case(grpc::CONTENT_TYPE) && (rest.is_empty() || rest.starts_with(['+', ';']))
    })
}

/// The answer to a call of a service or a method that is not here.
pub(in crate::ingress) fn unknown(path: &str) -> Response {
    let text = format!("there is no method {path} here; reflection lists what there is");
    status::refuse(ErrorKind::Unsupported, text)
}

/// The time that a call has.
///
/// # Errors
/// What is wrong with the header.
pub(in crate::ingress) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let count: u64 = if plain { digits.parse().ok()? } else { return None };
        match unit {
            "H" => Some(Duration::from_secs(count * 3600)),
            "M" => Some(Duration::from_secs(count * 60)),
            "S" => Some(Duration::from_secs(count)),
            "m" => Some(Duration::from_millis(count)),
            "u" => Some(Duration::from_micros(count)),
            "n" => Some(Duration::from_nanos(count)),
            _ => None,
        }
    });
    let invalid = || {
        let text = "grpc-timeout is not one to eight digits and a unit of H, M, S, m, u, n";
        Refusal::new(ErrorKind::Invalid, text)
    };
    parsed.map(Some).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(axum::http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn the_time_of_a_call_is_digits_and_a_unit() {
        assert_eq!(timeout(&HeaderMap::new()).unwrap(), None);
        for (text, millis) in
            [("1H", 3_600_000), ("2M", 120_000), ("99999999S", 99_999_999_000), ("5m", 5), ("7000u", 7)]
        {
            assert_eq!(timeout(&headers("grpc-timeout", text)).unwrap(), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(timeout(&headers("grpc-timeout", "9n")).unwrap(), Some(Duration::from_nanos(9)));
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S", " 1S"] {
            assert_eq!(timeout(&headers("grpc-timeout", text)).unwrap_err().kind, ErrorKind::Invalid, "{text:?}");
        }
    }

    #[test]
    fn only_the_content_types_of_grpc_are_grpc() {
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(&headers("content-type", text)), expected, "{text}");
        }
    }
}
