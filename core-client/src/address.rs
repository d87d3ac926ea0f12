//! Where the gateway is: URLs.

use meshwire_proto::{ErrorKind, options};

use crate::{Error, Result};

/// What a session travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// TCP.
    Tcp,
    /// The messages of one gRPC call.
    #[cfg(feature = "grpc")]
    Grpc,
    /// Binary messages of WebSocket.
    #[cfg(feature = "websocket")]
    WebSocket,
}

/// Where a gateway is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) carrier: Carrier,
    /// Inside TLS.
    pub(crate) secure: bool,
    /// `host:port`.
    pub(crate) address: String,
}

/// Where a URL points; an empty one means `MESHWIRE_URL`, else the default.
pub(crate) fn resolve(url: &str) -> Result<Endpoint> {
    let from_environment =
        if url.is_empty() { std::env::var("MESHWIRE_URL").unwrap_or_default() } else { String::new() };
    let url = [url, &from_environment, options::URL.default].into_iter().find(|u| !u.is_empty()).unwrap_or_default();
    endpoint(url)
}

fn refuse(kind: ErrorKind, url: &str, problem: &str) -> Error {
    Error::new(kind, "connect", format!("{problem}; write it as mesh://HOST:PORT")).with("url", without_secrets(url))
}

/// The URL as it may stand in a log: what is in front of an `@` and behind a `?` can be
/// a password.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or((String::new(), url), |(s, rest)| (format!("{s}://"), rest));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("***@", host));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    format!("{scheme}{user}{rest}{query}")
}

fn endpoint(url: &str) -> Result<Endpoint> {
    let unsupported = |text| Err(refuse(ErrorKind::Unsupported, url, text));
    let (scheme, rest) = url.split_once("://").unwrap_or(("mesh", url));
    let (carrier, secure) = match scheme {
        "mesh" | "tcp" => (Carrier::Tcp, false),
        "meshs" | "tcps" => (Carrier::Tcp, true),
        #[cfg(feature = "websocket")]
        "ws" | "wss" => (Carrier::WebSocket, scheme == "wss"),
        #[cfg(not(feature = "websocket"))]
        "ws" | "wss" => return unsupported("this program was built without the feature `websocket` of crate meshwire"),
        #[cfg(feature = "grpc")]
        "grpc" | "grpcs" => (Carrier::Grpc, scheme == "grpcs"),
        #[cfg(not(feature = "grpc"))]
        "grpc" | "grpcs" => return unsupported("this program was built without the feature `grpc` of crate meshwire"),
        "http" | "https" => {
            return unsupported("this transport comes with a later version of meshwire");
        }
        _ => return Err(refuse(ErrorKind::Invalid, url, "the URL's scheme is not known")),
    };
    if secure && !cfg!(feature = "tls") {
        return unsupported("this program was built without the feature `tls` of crate meshwire");
    }
    let address = host_and_port(url, rest)?;
    Ok(Endpoint { carrier, secure, address })
}

fn host_and_port(url: &str, rest: &str) -> Result<String> {
    let invalid = |problem| refuse(ErrorKind::Invalid, url, problem);
    let later = |problem| refuse(ErrorKind::Unsupported, url, problem);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(',') {
        return Err(later("several addresses come with a later version of meshwire"));
    }
    if rest.is_empty() || rest.contains(['/', '@', '?', '#', ' ']) {
        return Err(invalid("the URL is not a host and a port"));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.starts_with('[')) => {
            (host, Some(port))
        }
        _ => (rest, None),
    };
    let bracketed = host.starts_with('[') == host.ends_with(']');
    if host.is_empty() || !bracketed || (host.contains(':') && !host.starts_with('[')) {
        return Err(invalid("the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"));
    }
    match port {
        None => Ok(format!("{host}:{}", DEFAULT_PORT)),
        Some(port) if port.parse::<u16>().is_ok_and(|p| p > 0) => Ok(format!("{host}:{port}")),
        Some(_) => Err(invalid("the URL's port is not a number from 1 to 65535")),
    }
}

/// As in the default of the option `url`.
const DEFAULT_PORT: u16 = 7400;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn the_forms_of_a_url_come_to_host_and_port() {
        for (url, expected) in [
            ("mesh://127.0.0.1:7401", "127.0.0.1:7401"),
            ("tcp://gateway:1/", "gateway:1"),
            ("gateway", "gateway:7400"),
            ("gateway:80", "gateway:80"),
            ("mesh://[::1]:9", "[::1]:9"),
            ("mesh://[::1]", "[::1]:7400"),
            (options::URL.default, "127.0.0.1:7400"),
        ] {
            let expected = Endpoint { carrier: Carrier::Tcp, secure: false, address: expected.to_owned() };
            assert_eq!(endpoint(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_says_why_and_what_would_be() {
        for (url, kind) in [
            ("http://gateway:1", ErrorKind::Unsupported),
            ("mesh://a:1,b:2", ErrorKind::Unsupported),
            ("ftp://gateway", ErrorKind::Invalid),
            ("mesh://", ErrorKind::Invalid),
            ("mesh://gateway:0", ErrorKind::Invalid),
            ("mesh://gateway:70000", ErrorKind::Invalid),
            ("mesh://user@gateway:1", ErrorKind::Invalid),
            ("mesh://gateway:1/path", ErrorKind::Invalid),
            ("mesh://::1:7400", ErrorKind::Invalid),
        ] {
            let error = endpoint(url).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("mesh://HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_url_that_is_refused_is_shown_without_its_password() {
        for (url, shown) in [
            ("mesh://u:p@ss@gateway:1", "mesh://***@gateway:1"),
            ("u:p@gateway", "***@gateway"),
            ("https://u:p/@gateway:1/x?token=p", "https://***@gateway:1/x?***"),
            ("ws://gateway:1?p", "ws://gateway:1?***"),
        ] {
            let error = endpoint(url).unwrap_err();
            assert_eq!(error.context(), [("url", shown.to_owned())]);
            assert!(!format!("{error:?}").contains("p@"), "{error:?}");
        }
    }
}
