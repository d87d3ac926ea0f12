//! A certificate of the gateway, by an authority that strangers are told to trust.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Files in PEM that are there until this is dropped.
pub(crate) struct Files {
    /// Whom strangers trust.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name| folder.path().join(name);
        let (authority, certificate, key) = (path("authority.pem"), path("gateway.pem"), path("gateway.key"));
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "authority");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let (root_key, own_key) = (KeyPair::generate()?, KeyPair::generate()?);
        write(&authority, &root.self_signed(&root_key)?.pem())?;
        let mut own = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        own.distinguished_name.push(DnType::CommonName, "gateway");
        own.use_authority_key_identifier_extension = true;
        write(&certificate, &own.signed_by(&own_key, &Issuer::new(root, root_key))?.pem())?;
        write(&key, &own_key.serialize_pem())?;
        Ok(Self { authority, certificate, key, _folder: folder })
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
