//! Further listeners: what each serves, and whether inside TLS.

use std::net::SocketAddr;

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Every protocol.
    All,
    /// Native sessions.
    Native,
    /// HTTP, with gRPC, WebSocket and administration, which travel in it.
    Http,
}

/// A scheme of option `listen_also`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// What is served.
    pub serves: Serves,
    /// Inside TLS only; else in plain only.
    pub secure: bool,
}

/// All there are, with their names.
const SCHEMES: [(&str, Scheme); 6] = [
    ("mesh", Scheme { serves: Serves::All, secure: false }),
    ("meshs", Scheme { serves: Serves::All, secure: true }),
    ("tcp", Scheme { serves: Serves::Native, secure: false }),
    ("tcps", Scheme { serves: Serves::Native, secure: true }),
    ("http", Scheme { serves: Serves::Http, secure: false }),
    ("https", Scheme { serves: Serves::Http, secure: true }),
];

impl Scheme {
    /// The scheme of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        SCHEMES.iter().find(|(known, _)| *known == name).map(|(_, scheme)| *scheme)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        SCHEMES.iter().find(|(_, known)| *known == self).map_or("mesh", |(name, _)| name)
    }
}

/// A listener beside that of option `listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Also {
    /// What it serves.
    pub scheme: Scheme,
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_a_name_and_nothing_else_is_one() {
        for (name, scheme) in SCHEMES {
            assert_eq!((Scheme::parse(name), scheme.name()), (Some(scheme), name));
        }
        for other in ["", "MESH", "grpc", "ws", "https:"] {
            assert_eq!(Scheme::parse(other), None);
        }
    }
}
