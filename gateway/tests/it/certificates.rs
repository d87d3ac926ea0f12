//! Certificates of a made-up authority, as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::rig::{PATIENCE, Rig};

/// An authority whose files are in a folder.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificate and key.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The parts of a certificate that matter to somebody.
#[derive(Default)]
pub(crate) struct Named<'a> {
    pub(crate) uri: &'a str,
    pub(crate) dns: &'a str,
    pub(crate) common: &'a str,
    pub(crate) expired: bool,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A certificate in the files `NAME.pem` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str, named: &Named<'_>) -> Files {
        let mut params = CertificateParams::default();
        if !named.uri.is_empty() {
            params.subject_alt_names.push(SanType::URI(named.uri.try_into().unwrap()));
        }
        if !named.dns.is_empty() {
            params.subject_alt_names.push(SanType::DnsName(named.dns.try_into().unwrap()));
        }
        if !named.common.is_empty() {
            params.distinguished_name.push(DnType::CommonName, named.common);
        }
        if named.expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |ending| self.folder.path().join(format!("{name}.{ending}"));
        let files = Files { certificate: path("pem"), key: path("key") };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// The certificate of a gateway at `localhost`.
    pub(crate) fn gateway(&self) -> Files {
        self.issue("gateway", &Named { dns: "localhost", ..Named::default() })
    }
}

/// A handshake with a gateway at `localhost`.
pub(crate) async fn handshake(
    rig: &Rig,
    root: &Path,
    client: Option<&Files>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = connector.connect(name, rig.socket().await);
    tokio::time::timeout(PATIENCE, connecting).await.expect("a handshake or its end")
}
