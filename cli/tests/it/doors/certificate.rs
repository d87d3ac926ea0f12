//! A certificate of its own for a gateway at `localhost`, as files.

use std::path::PathBuf;

use rcgen::{CertifiedKey, generate_simple_self_signed};

pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let files = Self { certificate: path("gateway.pem"), key: path("gateway.key"), _folder: folder };
        files.renew();
        files
    }

    /// Another certificate in the same files.
    pub(crate) fn renew(&self) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&self.key, signing_key.serialize_pem()).unwrap();
        std::fs::write(&self.certificate, cert.pem()).unwrap();
    }
}
