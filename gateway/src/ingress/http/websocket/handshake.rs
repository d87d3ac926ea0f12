//! The handshake: RFC 6455, 4.2. One for all subprotocols.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use meshwire_proto::ErrorKind;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::{Limits, Socket};
use crate::ingress::http::{Door, Problem};
use crate::mesh::Spoken;

/// The only version there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A handshake that is good.
pub(in crate::ingress::http) struct Handshake {
    /// What both ends are to speak: one of those that are served.
    pub(in crate::ingress::http) subprotocol: &'static str,
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

/// The words of a header that is a list.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether WebSocket is asked for. Other protocols may be offered beside it, as the JDK's client does HTTP/2; those are passed over.
pub(in crate::ingress::http) fn is_asked(headers: &HeaderMap) -> bool {
    words(headers, UPGRADE).any(|offer| offer.eq_ignore_ascii_case("websocket"))
}

/// Whether a key is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(alphabet))
}

/// Why there is no upgrade.
#[derive(Debug)]
pub(in crate::ingress::http) struct NoUpgrade {
    problem: Problem,
    /// It asks for a version that there is not.
    by_version: bool,
}

impl IntoResponse for NoUpgrade {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        if self.by_version {
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION);
        }
        response
    }
}

impl From<Problem> for NoUpgrade {
    fn from(problem: Problem) -> Self {
        Self { problem, by_version: false }
    }
}

fn invalid(text: &str) -> NoUpgrade {
    Problem::new(ErrorKind::Invalid, text).into()
}

fn other_version() -> NoUpgrade {
    let text = "WebSocket has version 13 here: send sec-websocket-version: 13";
    let problem = Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UPGRADE_REQUIRED);
    NoUpgrade { problem, by_version: true }
}

/// The key of a request that asks for WebSocket as it must.
fn key(parts: &Parts) -> Result<&HeaderValue, NoUpgrade> {
    let headers = &parts.headers;
    if parts.version != Version::HTTP_11 {
        return Err(invalid("WebSocket begins with a request of HTTP/1.1"));
    }
    if !words(headers, CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) || !is_asked(headers) {
        return Err(invalid("this is for WebSocket: send connection: Upgrade and upgrade: websocket"));
    }
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    if versions.next() != Some(&VERSION) || versions.next().is_some() {
        return Err(other_version());
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().filter(|key| is_key(key.as_bytes()) && keys.next().is_none());
    key.ok_or_else(|| invalid("sec-websocket-key must be there once, 16 bytes in base64"))
}

/// Agrees on the first subprotocol that the peer names and that is `served`.
///
/// # Errors
/// `INVALID`; `UNSUPPORTED` of another version (426, with the header that says which there is) or without a subprotocol.
pub(in crate::ingress::http) fn agree(parts: &mut Parts, served: &[&'static str]) -> Result<Handshake, NoUpgrade> {
    let accept = derive_accept_key(key(parts)?.as_bytes());
    let accept = HeaderValue::try_from(accept).map_err(|_| invalid("sec-websocket-key has no answer"))?;
    let mut asked = words(&parts.headers, SEC_WEBSOCKET_PROTOCOL);
    let Some(subprotocol) = asked.find_map(|name| served.iter().find(|served| **served == name)) else {
        let served = served.join(" and ");
        let text = format!("no WebSocket subprotocol was asked for that is served here; there are {served}");
        return Err(Problem::new(ErrorKind::Unsupported, text).into());
    };
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| invalid("this connection cannot become one of WebSocket"))?;
    Ok(Handshake { subprotocol, accept, upgrade })
}

impl Handshake {
    /// The answer; `serve` gets the connection, which counts until it is done.
    pub(in crate::ingress::http) fn begin<F: Future<Output = ()> + Send + 'static>(
        self,
        door: Door,
        (limits, spoken): (Limits, Spoken),
        serve: impl FnOnce(Door, Socket) -> F + Send + 'static,
    ) -> Response {
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let _counted = door.native.mesh().counts().connected(spoken);
            let (open, place) = (door.open.clone(), Arc::clone(door.login.place()));
            let socket = Socket::over(TokioIo::new(upgraded), &door, limits).await;
            serve(door, socket).await;
            drop((open, place));
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.subprotocol));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offer_of_websocket_asks_for_it() {
        let asks = |upgrade: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            is_asked(&headers)
        };
        assert!(asks("websocket") && asks("h2c, WebSocket"));
        assert!(!asks("h2c") && !is_asked(&HeaderMap::new()));
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for (key, good) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAA", false),
            ("!!!!!!!!!!!!!!!!!!!!!!==", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("", false),
        ] {
            assert_eq!(is_key(key.as_bytes()), good, "{key}");
        }
    }
}
