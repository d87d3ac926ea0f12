//! TLS: whom this client trusts, and who it says it is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use meshwire_proto::ErrorKind;
use meshwire_tls::FileError;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Cause, Stream, distrust};
use crate::address::{Carrier, host_of};
use crate::{Error, Result};

/// What a program says of TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    /// Roots in place of the system's.
    pub(crate) roots: Option<PathBuf>,
    /// Certificate and private key to show.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// The name to look for in the gateway's certificate, in place of the host.
    pub(crate) server_name: Option<String>,
}

impl TlsOptions {
    /// Which of them is said, by its method.
    pub(crate) fn said(&self) -> Option<&'static str> {
        let said = [
            ("tls_roots", self.roots.is_some()),
            ("tls_certificate", self.certificate.is_some()),
            ("tls_server_name", self.server_name.is_some()),
        ];
        said.into_iter().find_map(|(name, is_said)| is_said.then_some(name))
    }
}

/// Everything for handshakes with gateways.
pub(crate) struct Tls {
    config: ClientConfig,
    /// The name that their certificates must have, in place of their hosts.
    name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Of a file, with the method of [`Connect`](crate::Connect) that names it.
fn bad(option: &'static str) -> impl Fn(FileError) -> Error {
    move |error| Error::new(ErrorKind::Invalid, "connect", error.to_string()).with("option", option)
}

fn roots(options: &TlsOptions) -> Result<RootCertStore> {
    if let Some(file) = &options.roots {
        return meshwire_tls::roots(file).map_err(bad("tls_roots"));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let text = "this system has no root certificates, and none were given; name a PEM file of them with --tls-roots \
            (Connect::tls_roots)";
        return Err(Error::new(ErrorKind::Invalid, "connect", text));
    }
    Ok(roots)
}

/// A handshake that came to nothing, in words.
fn reworded(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), "it hung up during the TLS handshake");
    }
    match meshwire_tls::ended(&error) {
        Some(text) => io::Error::new(error.kind(), text),
        None => error,
    }
}

impl Tls {
    pub(crate) fn new(options: &TlsOptions) -> Result<Self> {
        let invalid = |text: String| Error::new(ErrorKind::Invalid, "connect", text);
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| invalid(e.to_string()))?.with_root_certificates(roots(options)?);
        let config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, key) =
                    meshwire_tls::pair(certificate, key).map_err(|e| bad("tls_certificate")(e.into()))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| invalid(e.to_string()))?
            }
        };
        let name = options.server_name.clone().map(|name| {
            let told =
                format!("--tls-server-name (Connect::tls_server_name) is {name:?}, which is no name of a server");
            ServerName::try_from(name).map_err(|_| invalid(told))
        });
        Ok(Self { config, name: name.transpose()? })
    }

    /// A handshake with the gateway at `host:port`.
    pub(super) async fn connect(
        &self,
        address: &str,
        carrier: Carrier,
        stream: Box<dyn Stream>,
    ) -> std::result::Result<Box<dyn Stream>, Cause> {
        let host = || ServerName::try_from(host_of(address).to_owned());
        let name = self.name.clone().map_or_else(host, Ok).map_err(|e| Cause::Io(io::Error::other(e)))?;
        let mut config = self.config.clone();
        config.alpn_protocols = vec![carrier.alpn().to_vec()];
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if distrust::is_no_tls(&error) => Err(Cause::Plain),
            Err(error) => Err(distrust::of(&error).map_or_else(|| reworded(error).into(), Cause::Certificate)),
        }
    }
}
