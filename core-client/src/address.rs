//! Where the gateway is: URLs.

use std::net::IpAddr;

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
    /// Requests of HTTP.
    #[cfg(feature = "http")]
    Http,
}

impl Carrier {
    /// All that this program was built with, in the order in which they are tried.
    const ALL: &[Self] = &[
        Self::Tcp,
        #[cfg(feature = "grpc")]
        Self::Grpc,
        #[cfg(feature = "websocket")]
        Self::WebSocket,
        #[cfg(feature = "http")]
        Self::Http,
    ];

    /// What it is called when TLS begins.
    #[cfg(feature = "tls")]
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Tcp => b"meshwire/1",
            #[cfg(feature = "grpc")]
            Self::Grpc => b"h2",
            #[cfg(feature = "websocket")]
            Self::WebSocket => b"http/1.1",
            #[cfg(feature = "http")]
            Self::Http => b"http/1.1",
        }
    }

    /// As messages call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            #[cfg(feature = "grpc")]
            Self::Grpc => "grpc",
            #[cfg(feature = "websocket")]
            Self::WebSocket => "websocket",
            #[cfg(feature = "http")]
            Self::Http => "http",
        }
    }
}

/// Where a gateway is, and how it may be spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// In the order in which they are tried; at least one.
    pub(crate) carriers: Vec<Carrier>,
    /// Inside TLS.
    pub(crate) secure: bool,
    /// Endpoints as `host:port`, at least one, in the order in which they are tried.
    pub(crate) endpoints: Vec<String>,
}

#[cfg(feature = "tls")]
impl Target {
    /// Whether all of it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.endpoints.iter().all(|endpoint| is_loopback(host_of(endpoint)))
    }
}

/// Most endpoints of one URL: a guess, above any cluster that is listed by hand.
const MAX_ENDPOINTS: usize = 16;

/// Where a URL points; an empty one means `MESHWIRE_URL`, else the default.
pub(crate) fn resolve(url: &str) -> Result<Target> {
    let from_environment =
        if url.is_empty() { std::env::var("MESHWIRE_URL").unwrap_or_default() } else { String::new() };
    let url = [url, &from_environment, options::URL.default].into_iter().find(|u| !u.is_empty()).unwrap_or_default();
    target(url)
}

/// Whether a host is this machine, by its name or address.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The port in `host:port`.
pub(crate) fn port_of(endpoint: &str) -> Option<u16> {
    let (host, port) = endpoint.rsplit_once(':')?;
    if host.contains(':') && !host.ends_with(']') {
        return None;
    }
    port.parse().ok()
}

/// The host in `host:port`, without brackets.
pub(crate) fn host_of(endpoint: &str) -> &str {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn refuse(kind: ErrorKind, url: &str, problem: &str) -> Error {
    Error::new(kind, "connect", format!("{problem}; write it as mesh://HOST:PORT")).with("url", without_secrets(url))
}

/// The URL as it may stand in a log: what is in front of an `@` and behind a `?` can be
/// a password.
pub(crate) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or((String::new(), url), |(s, rest)| (format!("{s}://"), rest));
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, host)| ("***@", host));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    format!("{scheme}{user}{rest}{query}")
}

/// Who reads it may have never seen Rust: what a build has is said in words of URLs, the feature stands beside them.
fn without(url: &str, feature: &str) -> Error {
    let carriers = Carrier::ALL.iter().map(|carrier| carrier.name()).collect::<Vec<_>>().join(", ");
    let tls = if cfg!(feature = "tls") { " and TLS" } else { ", without TLS" };
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let problem =
        format!("this build of Meshwire has only mesh:// over {carriers}{tls}; for {scheme}:// use the full library");
    refuse(ErrorKind::Unsupported, url, &problem).with("feature", feature)
}

fn target(url: &str) -> Result<Target> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("mesh", url));
    let scheme = scheme.to_ascii_lowercase();
    let (carriers, secure) = match scheme.as_str() {
        "mesh" | "meshs" => (Carrier::ALL.to_vec(), scheme == "meshs"),
        "tcp" | "tcps" => (vec![Carrier::Tcp], scheme == "tcps"),
        #[cfg(feature = "websocket")]
        "ws" | "wss" => (vec![Carrier::WebSocket], scheme == "wss"),
        #[cfg(not(feature = "websocket"))]
        "ws" | "wss" => return Err(without(url, "websocket")),
        #[cfg(feature = "http")]
        "http" | "https" => (vec![Carrier::Http], scheme == "https"),
        #[cfg(not(feature = "http"))]
        "http" | "https" => return Err(without(url, "http")),
        #[cfg(feature = "grpc")]
        "grpc" | "grpcs" => (vec![Carrier::Grpc], scheme == "grpcs"),
        #[cfg(not(feature = "grpc"))]
        "grpc" | "grpcs" => return Err(without(url, "grpc")),
        _ => return Err(refuse(ErrorKind::Invalid, url, "the URL's scheme is not known")),
    };
    if secure && !cfg!(feature = "tls") {
        return Err(without(url, "tls"));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let mut endpoints = Vec::new();
    for endpoint in rest.split(',') {
        let endpoint = host_and_port(url, endpoint.trim_ascii())?;
        if !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    if endpoints.len() > MAX_ENDPOINTS {
        let text = format!("the URL has {} endpoints, over {MAX_ENDPOINTS}", endpoints.len());
        return Err(refuse(ErrorKind::Invalid, url, &text));
    }
    Ok(Target { carriers, secure, endpoints })
}

fn host_and_port(url: &str, rest: &str) -> Result<String> {
    let invalid = |problem| refuse(ErrorKind::Invalid, url, problem);
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
    let is_strange = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-._[]:%".contains(c);
    if host.is_empty() || host.contains(is_strange) || !bracketed || (host.contains(':') && !host.starts_with('[')) {
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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
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
            let target = target(url).unwrap();
            assert_eq!((target.endpoints, target.secure), (vec![expected.to_owned()], false), "{url}");
            assert_eq!(target.carriers[0], Carrier::Tcp, "{url}");
        }
    }

    #[test]
    fn several_endpoints_stand_in_their_order_each_with_its_port_and_once() {
        let target = target("meshs://a, b:1,[::1],a:7400/").unwrap();
        assert_eq!(target.endpoints, ["a:7400", "b:1", "[::1]:7400"]);
        assert!(target.secure);
        assert_eq!(target.carriers, Carrier::ALL);
    }

    #[test]
    fn a_scheme_of_one_carrier_pins_it() {
        assert_eq!(target("TCPS://a").unwrap().carriers, [Carrier::Tcp]);
        #[cfg(feature = "websocket")]
        assert_eq!(target("ws://a,b").unwrap().carriers, [Carrier::WebSocket]);
    }

    #[test]
    fn a_url_that_cannot_be_used_says_why_and_what_would_be() {
        for (url, kind) in [
            ("mesh://a:1,,b:2", ErrorKind::Invalid),
            ("mesh://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", ErrorKind::Invalid),
            ("ftp://gateway", ErrorKind::Invalid),
            ("mesh://", ErrorKind::Invalid),
            ("mesh://gateway:0", ErrorKind::Invalid),
            ("mesh://gateway:70000", ErrorKind::Invalid),
            ("mesh://user@gateway:1", ErrorKind::Invalid),
            ("mesh://gateway:1/path", ErrorKind::Invalid),
            ("mesh://::1:7400", ErrorKind::Invalid),
            ("name=billing", ErrorKind::Invalid),
        ] {
            let error = target(url).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("mesh://HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_build_without_a_transport_says_what_it_has_and_where_the_rest_is() {
        let error = without("grpc://user:secret@gateway", "grpc");
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            text.contains("has only mesh:// over tcp") && text.contains("for grpc:// use the full library"),
            "{text}"
        );
        assert!(text.contains("feature grpc") && !text.contains("secret"), "{text}");
        #[cfg(not(feature = "grpc"))]
        assert_eq!(target("grpc://gateway").unwrap_err().to_string(), without("grpc://gateway", "grpc").to_string());
    }

    #[test]
    fn a_url_that_is_refused_is_shown_without_its_password() {
        for (url, shown) in [
            ("mesh://u:p@ss@gateway:1", "mesh://***@gateway:1"),
            ("u:p@gateway", "***@gateway"),
            ("https://u:p/@gateway:1/x?token=p", "https://***@gateway:1/x?***"),
            ("ws://gateway:1?p", "ws://gateway:1?***"),
        ] {
            let error = target(url).unwrap_err();
            assert_eq!(error.context(), [("url", shown.to_owned())]);
            assert!(!format!("{error:?}").contains("p@"), "{error:?}");
        }
    }
}
