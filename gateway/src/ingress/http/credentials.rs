//! Credentials, which nothing here can verify yet: who shows some is told so, and is not served as anybody.

use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use meshwire_proto::ErrorKind;

use super::Problem;

/// How a browser says its token, which cannot set a header: as a subprotocol that begins so.
const BEARER: &str = "bearer.";

/// The answer to a request with credentials.
pub(super) fn refused(headers: &HeaderMap) -> Option<Response> {
    if !headers.contains_key(AUTHORIZATION) && !has_bearer(headers) {
        return None;
    }
    let text = "this gateway cannot verify credentials: leave out authorization; a client certificate names the caller (option tls_client_roots)";
    Some(Problem::new(ErrorKind::Unauthenticated, text).answer(headers))
}

fn has_bearer(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    offers.flat_map(|offer| offer.split(',')).any(|offer| offer.trim().starts_with(BEARER))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_header_or_a_subprotocol_with_credentials_is_refused_and_nothing_else_is() {
        for (name, value, expected) in [
            ("authorization", "Bearer x", true),
            ("sec-websocket-protocol", "meshwire.v1, bearer.eA", true),
            ("sec-websocket-protocol", "meshwire.v1", false),
            ("cookie", "bearer.eA", false),
        ] {
            let headers: HeaderMap = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert_eq!(refused(&headers).is_some(), expected, "{name}: {value}");
        }
    }
}
