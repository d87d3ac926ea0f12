//! HTTP proxies: which one stands before an endpoint, and the tunnel through it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::percent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Cause;
use crate::address::{host_of, is_loopback, without_secrets};
use crate::{Error, Result};

/// Longest head of an answer to CONNECT.
const MAX_HEAD: usize = 16 * 1024;

/// As most proxies and tools take it.
const DEFAULT_PORT: u16 = 8080;

/// A proxy that takes CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// `host:port`.
    pub(super) address: String,
    /// What is sent as `Proxy-Authorization`.
    authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The proxy for an endpoint: what the option says, else the environment.
///
/// # Errors
/// `INVALID` or `UNSUPPORTED` for a proxy that cannot be used and would be.
pub(crate) fn choose(
    option: &str,
    environment: impl Fn(&str) -> Option<String>,
    secure: bool,
    endpoint: &str,
) -> Result<Option<Proxy>> {
    match option {
        "" => {}
        "none" => return Ok(None),
        url => return parse("proxy", url).map(Some),
    }
    let host = host_of(endpoint);
    let either = |name: &str| {
        let lower = name.to_ascii_lowercase();
        // As a header of a CGI request, the name in capitals is the caller's to choose.
        let forged = name == "HTTP_PROXY" && environment("REQUEST_METHOD").is_some();
        let upper = if forged { None } else { environment(name) };
        environment(&lower).or(upper).filter(|value| !value.trim().is_empty())
    };
    if is_loopback(host) || either("NO_PROXY").is_some_and(|list| is_excepted(&list, endpoint)) {
        return Ok(None);
    }
    let names = [if secure { "HTTPS_PROXY" } else { "HTTP_PROXY" }, "ALL_PROXY"];
    let found = names.into_iter().find_map(|name| either(name).map(|url| (name, url)));
    found.map(|(name, url)| parse(name, url.trim())).transpose()
}

fn parse(name: &'static str, url: &str) -> Result<Proxy> {
    let refuse = |kind, problem: &str| {
        let text = format!("{name}: {problem}; write it as http://HOST:PORT");
        Err(Error::new(kind, "connect", text).with("proxy", without_secrets(url)))
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !scheme.eq_ignore_ascii_case("http") {
        return refuse(ErrorKind::Unsupported, "only proxies that take CONNECT over plain HTTP are supported");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
    let authority =
        if crate::address::port_of(host).is_some() { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") };
    let port = crate::address::port_of(&authority);
    let name_of_host = host_of(&authority);
    if name_of_host.is_empty() || host.contains(['/', '?', '#', ' ']) || port.is_none_or(|port| port == 0) {
        return refuse(ErrorKind::Invalid, "this is no proxy's URL");
    }
    let authorization = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let pair = [&*decoded(name), b":", &*decoded(password)].concat();
        format!("Basic {}", STANDARD.encode(pair))
    });
    Ok(Proxy { address: authority, authorization })
}

/// What percent-encoding stands for. Text that is none is taken as it is: a password may have a bare `%`.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    percent::decode(text.as_bytes()).unwrap_or(Cow::Borrowed(text.as_bytes()))
}

/// Whether a list such as `example.com,.lan,10.0.0.0/8,[::1]:7400` names this endpoint.
fn is_excepted(list: &str, endpoint: &str) -> bool {
    let host = host_of(endpoint).to_ascii_lowercase();
    let (port, address) = (crate::address::port_of(endpoint), host.parse::<IpAddr>().ok());
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            let network = network.trim_matches(['[', ']']).parse::<IpAddr>().ok();
            let bits = bits.parse::<u32>().ok();
            return network.zip(bits).zip(address).is_some_and(|((n, b), a)| is_within(a, n, b));
        }
        let bare = entry.trim_matches(['[', ']']);
        if let (Ok(entry), Some(address)) = (bare.parse::<IpAddr>(), address) {
            return entry == address;
        }
        let (name, only) = match crate::address::port_of(entry) {
            Some(only) => (host_of(entry), Some(only)),
            None => (entry, None),
        };
        if only.is_some() && only != port {
            return false;
        }
        let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        let under = host.strip_suffix(&name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        !name.is_empty() && under && (address.is_none() || host == name)
    })
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (a, n, length) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    bits <= length && (bits == 0 || (a ^ n) >> (length - bits) == 0)
}

impl Proxy {
    /// Asks for a tunnel to `host:port` in a connection to the proxy.
    pub(super) async fn tunnel(&self, endpoint: &str, stream: &mut TcpStream) -> std::result::Result<(), Cause> {
        let mut request = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte: what follows the head is the gateway's.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD {
                return Err(Cause::Io(io::Error::other("the proxy's answer to CONNECT has no end")));
            }
            head.push(stream.read_u8().await?);
        }
        let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse::<u16>().ok());
        let what = line.get(9..).unwrap_or(&line).trim();
        // Who this client is, is the same for every endpoint; where it may go is not.
        let refused = |told, everywhere| Err(Cause::Proxy { told, everywhere });
        match status {
            Some(200..300) => Ok(()),
            Some(407) if self.authorization.is_none() => refused(
                format!("the proxy asks for a name and a password, as in http://NAME:PASSWORD@{}", self.address),
                true,
            ),
            Some(407) => refused("the proxy does not take this name and password".to_owned(), true),
            Some(400..500) => refused(format!("the proxy answered CONNECT with {what}"), false),
            Some(_) => Err(Cause::Io(io::Error::other(format!("the proxy answered CONNECT with {what}")))),
            None => Err(Cause::Io(io::Error::other("what was to be a proxy does not answer CONNECT in HTTP/1"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn chosen(option: &str, variables: &[(&str, &str)], secure: bool, endpoint: &str) -> Result<Option<String>> {
        let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        choose(option, environment, secure, endpoint).map(|proxy| proxy.map(|p| p.address))
    }

    #[test]
    fn the_option_holds_over_the_environment_also_for_this_machine() {
        let variables = [("HTTP_PROXY", "http://env:1"), ("NO_PROXY", "*")];
        let found = |option, endpoint| chosen(option, &variables, false, endpoint).unwrap();
        assert_eq!(found("http://given:2", "127.0.0.1:7400").as_deref(), Some("given:2"));
        assert_eq!(found("given", "a:7400").as_deref(), Some("given:8080"));
        assert_eq!(found("none", "a:7400"), None);
        assert_eq!(found("", "a:7400"), None);
    }

    #[test]
    fn the_environment_is_read_by_scheme_lower_case_first_and_never_for_this_machine() {
        let all = [("HTTPS_PROXY", "s:1"), ("http_proxy", "p:2"), ("HTTP_PROXY", "P:3"), ("ALL_PROXY", "a:4")];
        let found = |variables: &[(&str, &str)], secure, endpoint| chosen("", variables, secure, endpoint).unwrap();
        assert_eq!(found(&all, true, "g:1").as_deref(), Some("s:1"));
        assert_eq!(found(&all, false, "g:1").as_deref(), Some("p:2"));
        assert_eq!(found(&all[3..], false, "g:1").as_deref(), Some("a:4"));
        for here in ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
            assert_eq!(found(&all, true, here), None, "{here}");
        }
        assert_eq!(found(&[("HTTP_PROXY", "P:3"), ("REQUEST_METHOD", "GET")], false, "g:1"), None);
    }

    #[test]
    fn no_proxy_names_hosts_domains_ports_addresses_and_networks() {
        for (list, endpoint, expected) in [
            ("example.com", "example.com:1", true),
            ("example.com", "a.Example.com:1", true),
            ("example.com", "badexample.com:1", false),
            (".example.com", "a.example.com:1", true),
            ("*.example.com", "a.example.com:1", true),
            ("a, b ,c", "b:1", true),
            ("b:2", "b:1", false),
            ("b:1", "b:1", true),
            ("*", "b:1", true),
            ("10.0.0.0/8", "10.255.0.1:1", true),
            ("10.0.0.0/8", "11.0.0.1:1", false),
            ("10.0.0.0/33", "10.0.0.1:1", false),
            ("0.0.0.0/0", "8.8.8.8:1", true),
            ("10.0.0.1", "10.0.0.1:1", true),
            ("0.0.1", "10.0.0.1:1", false),
            ("fd00::/8", "[fd12::1]:1", true),
            ("fd00::/8", "10.0.0.1:1", false),
            ("::1", "[fd12::1]:1", false),
            ("", "b:1", false),
        ] {
            assert_eq!(is_excepted(list, endpoint), expected, "{list} {endpoint}");
        }
    }

    #[test]
    fn a_password_is_decoded_for_the_proxy_and_shown_nowhere() {
        let proxy = parse("proxy", "http://us%65r:p%40ss@host:3128/").unwrap();
        assert_eq!(proxy.address, "host:3128");
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
        assert!(!format!("{proxy:?}").contains("dXNl"), "{proxy:?}");
        for (url, kind) in [
            ("socks5://u:p@host:1", ErrorKind::Unsupported),
            ("https://u:p@host:1", ErrorKind::Unsupported),
            ("http://u:p@", ErrorKind::Invalid),
            ("http://u:p@host:0", ErrorKind::Invalid),
            ("http://u:p@host/x", ErrorKind::Invalid),
        ] {
            let error = parse("HTTPS_PROXY", url).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("HTTPS_PROXY") && !error.to_string().contains("u:p"), "{error}");
        }
    }
}
