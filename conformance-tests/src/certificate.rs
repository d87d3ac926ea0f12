//! One certificate for every gateway and peer of a run, at 127.0.0.1.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Context as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

/// Files of it.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    _folder: TempDir,
}

/// The certificate of this run.
pub(crate) fn certificate() -> anyhow::Result<&'static Certificate> {
    static MADE: OnceLock<Result<Certificate, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make().map_err(|problem| format!("{problem:#}")));
    made.as_ref().map_err(|problem| anyhow::anyhow!("no certificate: {problem}"))
}

fn make() -> anyhow::Result<Certificate> {
    let folder = tempfile::tempdir().context("there is no place for it")?;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let (certificate, key) = (folder.path().join("gateway.pem"), folder.path().join("gateway.key"));
    std::fs::write(&certificate, cert.pem())?;
    std::fs::write(&key, signing_key.serialize_pem())?;
    Ok(Certificate { certificate, key, _folder: folder })
}
