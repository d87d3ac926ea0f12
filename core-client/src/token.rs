//! Bearer tokens: what a client logs in with, and where it may go.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use meshwire_proto::ErrorKind;

use crate::address::{Target, host_of, is_loopback};
use crate::transport::{Cause, Failed, Proxy};
use crate::{Error, Result};

/// Longest token: it has to fit into a frame before login.
const MAX_BYTES: usize = 16 * 1024;

/// Something that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Arc<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.as_bytes())
    }

    /// As HTTP and gRPC carry it.
    #[cfg(any(feature = "grpc", feature = "http", feature = "websocket"))]
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// What is wrong with it as a token.
    fn problem(&self) -> Option<String> {
        if self.0.is_empty() {
            return Some("the token is empty".to_owned());
        }
        if self.0.len() > MAX_BYTES {
            return Some(format!("the token has {} bytes, over {MAX_BYTES}", self.0.len()));
        }
        let graphic = self.0.bytes().all(|b| b.is_ascii_graphic());
        (!graphic).then(|| "the token has blanks or bytes that are not ASCII".to_owned())
    }
}

/// Where the token is.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    None,
    Text(Secret),
    File(PathBuf),
}

impl Token {
    /// Whether it may be sent there at all.
    ///
    /// # Errors
    /// `INVALID`: it is no token, or somebody on the way could read it.
    pub(crate) fn may_go(&self, target: &Target, proxies: &BTreeMap<String, Proxy>) -> Result<()> {
        let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, "connect", text));
        if let Self::Text(secret) = self
            && let Some(problem) = secret.problem()
        {
            return invalid(problem);
        }
        if matches!(self, Self::None) || target.secure {
            return Ok(());
        }
        // Through a proxy it leaves this machine, whatever the endpoint is called.
        let open = target.endpoints.iter().find(|e| !is_loopback(host_of(e)) || proxies.contains_key(*e));
        open.map_or(Ok(()), |endpoint| {
            invalid(format!(
                "a token is sent in plain to this machine only, and {endpoint} is another or behind a proxy: use TLS (meshs://, tcps://, grpcs://, wss:// or https://)"
            ))
        })
    }

    /// The token as it is now.
    pub(crate) async fn read(&self) -> std::result::Result<Option<Secret>, Failed> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Text(secret) => return Ok(Some(secret.clone())),
            Self::File(path) => path.clone(),
        };
        let address = format!("token file {}", path.display());
        let failed = |cause| Failed { address: address.clone(), carrier: None, cause: Cause::Token(cause) };
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            let limit = MAX_BYTES as u64 + 64;
            io::Read::read_to_string(&mut io::Read::take(std::fs::File::open(path)?, limit), &mut text)?;
            Ok(text)
        });
        let text = read.await.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(failed)?;
        let secret = Secret::new(text.trim_ascii());
        match secret.problem() {
            None => Ok(Some(secret)),
            Some(problem) => Err(failed(io::Error::other(problem))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn target(secure: bool, endpoint: &str) -> Target {
        Target { carriers: Vec::new(), secure, endpoints: vec![endpoint.to_owned()] }
    }

    #[test]
    fn in_plain_a_token_goes_to_this_machine_only() {
        let (token, none) = (Token::Text(Secret::new("abc")), BTreeMap::new());
        for (secure, endpoint, may) in [
            (false, "127.0.0.1:7400", true),
            (false, "[::1]:7400", true),
            (false, "localhost:7400", true),
            (false, "gateway:7400", false),
            (false, "127.0.0.1.example.com:7400", false),
            (true, "gateway:7400", true),
        ] {
            let answer = token.may_go(&target(secure, endpoint), &none);
            assert_eq!(answer.is_ok(), may, "{endpoint}");
            if let Err(error) = answer {
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert!(error.message().contains("meshs://") && !error.message().contains("abc"), "{error}");
            }
        }
        assert!(Token::None.may_go(&target(false, "gateway:7400"), &none).is_ok());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_and_shown_nowhere() {
        let here = target(false, "localhost:1");
        for bad in ["", "two words", "line\n", "é", &"x".repeat(MAX_BYTES + 1)] {
            let error = Token::Text(Secret::new(bad)).may_go(&here, &BTreeMap::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        assert_eq!(format!("{:?}", Token::Text(Secret::new("abc"))), "Text(***)");
    }
}
