//! Hosts with ports, as `Host`, `:authority` and `Origin` write them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest name of a host.
const MAX_HOST: usize = 253;

/// A host, in lower case and without a final dot, and the port if one is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads one; `None` if it is not of the form `host`, `host:port` or `[address]:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, rest) = if text.starts_with('[') {
            let (host, rest) = text.split_at(text.find(']')? + 1);
            host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            (host, rest)
        } else {
            text.split_at(text.find(':').unwrap_or(text.len()))
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.len() > MAX_HOST || !(host.starts_with('[') || host.bytes().all(named)) {
            return None;
        }
        Some(Self { host: host.to_ascii_lowercase(), port })
    }

    /// Whether no name service has a say in where it is: an address, or a name of this machine.
    pub(super) fn is_fixed(&self) -> bool {
        let host = self.host.as_str();
        host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() || host == "localhost" || host.ends_with(".localhost")
    }

    /// Whether this is the host, and the port, if `other` says one.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.host == other.host && (other.port.is_none() || self.port == other.port)
    }

    fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Where a web page is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    authority: Authority,
}

impl Origin {
    /// Reads `http://host:port` or `https://host:port`; `None` for anything else, `null` and `*` among it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (secure, rest) = match text.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return None,
        };
        Some(Self { secure, authority: Authority::parse(rest)? })
    }

    const fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    /// Whether the page is from this host and port. A proxy may have taken TLS away: the scheme does not count.
    pub(super) fn is_at(&self, host: &Authority) -> bool {
        let port = self.default_port();
        self.authority.host == host.host && self.authority.port_or(port) == host.port_or(port)
    }

    /// Whether it is the same, a port that its scheme implies said or not.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.secure == other.secure && self.is_at(&other.authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn hosts_are_read_and_what_is_none_is_not() {
        for (text, shown) in [
            ("localhost", "localhost"),
            ("LocalHost.:7400", "localhost:7400"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:7400", "[::1]:7400"),
            ("[::1]", "[::1]"),
            ("a_b.example:", "a_b.example"),
        ] {
            assert_eq!(Authority::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "", ":80", ".", "a b", "u@h", "::1", "[::1", "[x]", "[::1]80", "h:99999", "h:+1", "h/p", "h,h", "h:1:2",
            "é",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_that_a_name_service_may_point_here_are_not_fixed() {
        for (text, fixed) in [
            ("localhost:1", true),
            ("a.localhost", true),
            ("10.0.0.7", true),
            ("[fe80::1]:7400", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("0x7f.1", false),
        ] {
            assert_eq!(Authority::parse(text).unwrap().is_fixed(), fixed, "{text}");
        }
    }

    #[test]
    fn an_origin_is_compared_with_the_port_that_its_scheme_implies() {
        let origin = |text: &str| Origin::parse(text).unwrap();
        let host = |text: &str| Authority::parse(text).unwrap();
        assert!(origin("http://localhost:7400").is_at(&host("LOCALHOST:7400")));
        assert!(origin("https://mesh.example").is_at(&host("mesh.example:443")));
        assert!(origin("https://mesh.example").is_at(&host("mesh.example")));
        assert!(!origin("http://localhost:3000").is_at(&host("localhost:7400")));
        assert!(origin("https://app.example:443").is(&origin("HTTPS://App.Example")));
        assert!(!origin("http://app.example").is(&origin("https://app.example")));
        for text in ["null", "*", "", "file://", "http://", "http://a/b", "ftp://a", "http://u:p@a", "a.example"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
