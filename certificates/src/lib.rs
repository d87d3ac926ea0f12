//! Certificates for tests, made up on the spot, as files below a folder that goes with them.
//!
//! - [`SelfSigned`]: one certificate that is trusted by itself;
//! - [`Authority`]: one that signs others;
//! - [`connector`], [`acceptor`]: handshakes with them.
//!
//! Whatever fails here fails the test: it panics.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
    generate_simple_self_signed,
};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Certificate and key, in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    fn of(folder: &TempDir, name: &str) -> Self {
        let path = |ending| folder.path().join(format!("{name}.{ending}"));
        Self { certificate: path("pem"), key: path("key") }
    }

    fn write(&self, certificate: &str, key: &KeyPair) {
        std::fs::write(&self.key, key.serialize_pem()).unwrap();
        std::fs::write(&self.certificate, certificate).unwrap();
    }
}

/// A certificate that nobody else has signed. Its files go with it.
#[derive(Debug)]
pub struct SelfSigned {
    name: String,
    files: Files,
    _folder: TempDir,
}

impl SelfSigned {
    /// Of a host: a name or an address.
    #[must_use]
    pub fn of(host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { name: host.to_owned(), files: Files::of(&folder, "gateway"), _folder: folder };
        made.renew();
        made
    }

    /// Another certificate in the same files.
    pub fn renew(&self) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([self.name.clone()]).unwrap();
        self.files.write(&cert.pem(), &signing_key);
    }
}

impl std::ops::Deref for SelfSigned {
    type Target = Files;

    fn deref(&self) -> &Files {
        &self.files
    }
}

/// An authority. What it has issued goes with it.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The parts of a certificate that matter to somebody; empty ones are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// An alternative name.
    pub uri: &'a str,
    /// An alternative name.
    pub dns: &'a str,
    /// The common name.
    pub common: &'a str,
    /// It ended years ago.
    pub expired: bool,
    /// It begins in centuries.
    pub early: bool,
}

impl Authority {
    /// Another one each time.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two of them are never equal")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
        std::fs::write(folder.path().join("root.key"), key.serialize_pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// The file of its own certificate.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The file of its key.
    #[must_use]
    pub fn root_key(&self) -> PathBuf {
        self.folder.path().join("root.key")
    }

    /// A certificate in the files `NAME.pem` and `NAME.key`.
    pub fn issue(&self, name: &str, named: &Named<'_>) -> Files {
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
        if named.early {
            (params.not_before, params.not_after) = (date_time_ymd(2999, 1, 1), date_time_ymd(2999, 2, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files::of(&self.folder, name);
        files.write(&certificate.pem(), &key);
        files
    }

    /// The certificate of a gateway at `localhost`.
    pub fn gateway(&self) -> Files {
        self.issue("gateway", &Named { dns: "localhost", ..Named::default() })
    }
}

/// Handshakes of a client that trusts `root`, offers these protocols, and shows a certificate if it has one.
#[must_use]
pub fn connector(root: &Path, client: Option<&Files>, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = read(files);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

/// Handshakes of a server that has this certificate, and agrees on no protocol.
#[must_use]
pub fn acceptor(files: &Files) -> TlsAcceptor {
    let (chain, key) = read(files);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, key).unwrap()).into()
}

fn read(files: &Files) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
    (chain, PrivateKeyDer::from_pem_file(&files.key).unwrap())
}
