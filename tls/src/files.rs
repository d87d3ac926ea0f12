//! Certificates and keys in PEM files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore};

use super::Flaw;

/// Most bytes of a file: many times the roots of any system.
const MOST: u64 = 16 << 20;

const KEYS: &str = "its key is damaged, or of a kind that is not taken; RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 are";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileError {
    /// Which.
    pub file: PathBuf,
    /// What is wrong with it, and what would do: a sentence that calls it "it".
    pub problem: String,
}

/// One of the two files of a pair cannot be used; they may be the same file.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// As that of the certificate.
    #[error(transparent)]
    Certificate(FileError),
    /// As that of the key.
    #[error(transparent)]
    Key(FileError),
}

impl From<PairError> for FileError {
    fn from(error: PairError) -> Self {
        let (PairError::Certificate(error) | PairError::Key(error)) = error;
        error
    }
}

fn bad(file: &Path, problem: impl Into<String>) -> FileError {
    FileError { file: file.to_owned(), problem: problem.into() }
}

fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let all = File::open(file).and_then(|opened| opened.take(MOST + 1).read_to_end(&mut bytes));
    all.map_err(|error| bad(file, unread(&error)))?;
    if bytes.len() as u64 > MOST {
        return Err(bad(file, format!("it has more than {} MiB", MOST >> 20)));
    }
    Ok(bytes)
}

fn unread(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}

/// The certificates of a file, one at least, in their order.
///
/// # Errors
/// [`FileError`]: it cannot be read, is no PEM, or has none. None of them is looked into.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad(file, without("certificate", "CERTIFICATE", &bytes))),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(file, broken(&error))),
    }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => bad(file, without("private key", "PRIVATE KEY", &bytes)),
        error => bad(file, broken(&error)),
    })
}

/// The certificates of a file as roots to trust.
///
/// # Errors
/// As [`certificates`], and for one that is no certificate.
pub fn roots(file: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for (n, root) in certificates(file)?.into_iter().enumerate() {
        roots.add(root).map_err(|error| bad(file, flawed(&error, n)))?;
    }
    Ok(roots)
}

/// A certificate to show, with those behind it, and its key.
///
/// # Errors
/// [`PairError`] of either: as [`certificates`], the first is no certificate, the key is of a kind that is not taken, or of another
/// certificate.
pub fn pair(
    certificate: &Path,
    key_file: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PairError> {
    let chain = certificates(certificate).map_err(PairError::Certificate)?;
    let bad_key = |problem: &str| PairError::Key(bad(key_file, problem));
    let key = key(key_file).map_err(PairError::Key)?;
    let signing = ring::default_provider().key_provider.load_private_key(key.clone_key());
    let signing = signing.map_err(|_| bad_key(KEYS))?;
    match CertifiedKey::new(chain.clone(), signing).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok((chain, key)),
        Err(Error::InconsistentKeys(_)) => {
            let problem = format!("its key is that of another certificate than the one in {}", certificate.display());
            Err(bad_key(&problem))
        }
        Err(error) => Err(PairError::Certificate(bad(certificate, flawed(&error, 0)))),
    }
}

/// What is wrong with a certificate of a file.
fn flawed(error: &Error, n: usize) -> String {
    match error {
        Error::InvalidCertificate(problem) => format!("its certificate {} {}", n + 1, Flaw::of(problem)),
        other => format!("its certificate {} cannot be used: {other}", n + 1),
    }
}

/// What is wrong with the form of a file.
fn broken(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("it breaks off: the line -----END {}----- is missing", label.trim_matches(['-', '\r', '\n', ' ']))
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line of it begins with -----BEGIN and does not end with -----".to_owned()
        }
        pem::Error::Base64Decode(_) => {
            "what is between a line -----BEGIN and its -----END is not base64: it is damaged".to_owned()
        }
        pem::Error::Io(error) => unread(error),
        _ => "it is not PEM".to_owned(),
    }
}

/// What to say of a file that has none of what it is to have, and what it has in its place.
fn without(what: &str, label: &str, bytes: &[u8]) -> String {
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let why = if bytes.iter().all(u8::is_ascii_whitespace) {
        "; it is empty"
    } else if bytes.starts_with(&[0x30]) {
        "; it looks like DER, which openssl makes PEM of with -inform der"
    } else if has("ENCRYPTED") {
        "; it has a key under a password, which nobody could give here: take that off, as with openssl pkey"
    } else if has("-----BEGIN CERTIFICATE REQUEST-----") {
        "; it has a request for a certificate, which an authority makes one of"
    } else if has("-----BEGIN CERTIFICATE-----") {
        "; it has a certificate: are two files mixed up?"
    } else if has("PRIVATE KEY-----") {
        "; it has a private key: are two files mixed up?"
    } else {
        ""
    };
    format!("there is no {what} in it; PEM with a line -----BEGIN {label}----- is needed{why}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use meshwire_certificates::SelfSigned;
    use tempfile::TempDir;

    use super::*;

    fn file(folder: &TempDir, content: impl AsRef<[u8]>) -> PathBuf {
        let path = folder.path().join("file.pem");
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_file_that_has_no_certificate_is_told_by_what_it_has_and_what_is_needed() {
        let (folder, made) = (tempfile::tempdir().unwrap(), SelfSigned::of("localhost"));
        let whole = std::fs::read_to_string(&made.certificate).unwrap();
        let begun = whole.replace("-----END CERTIFICATE-----", "");
        let line = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        for (content, told) in [
            ("", "there is no certificate in it; PEM with a line -----BEGIN CERTIFICATE----- is needed; it is empty"),
            ("\x30\x03", "it looks like DER"),
            (&std::fs::read_to_string(&made.key).unwrap(), "it has a private key: are two files mixed up?"),
            ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "it has a request"),
            (&begun, "it breaks off: the line -----END CERTIFICATE----- is missing"),
            (&line("@@@"), "is not base64: it is damaged"),
            ("-----BEGIN CERTIFICATE\n", "does not end with -----"),
        ] {
            let path = file(&folder, content);
            let error = certificates(&path).unwrap_err();
            assert_eq!(error.file, path);
            assert!(error.problem.contains(told), "{error}");
        }
        let error = roots(&file(&folder, whole.clone() + &line("AAAA"))).unwrap_err().to_string();
        assert!(error.ends_with("file.pem: its certificate 2 is damaged, or no certificate of X.509"), "{error}");
        let error = certificates(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none: it cannot be read: No such file"), "{error}");
    }

    #[test]
    fn a_key_is_told_by_what_is_wrong_with_it_and_the_file_that_is_wrong_is_named() {
        let (folder, made, other) = (tempfile::tempdir().unwrap(), SelfSigned::of("a"), SelfSigned::of("b"));
        assert!(pair(&made.certificate, &made.key).is_ok());
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let unknown = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let written = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        for (key, told) in [
            (made.certificate.clone(), "there is no private key in it; PEM with a line -----BEGIN PRIVATE KEY-----"),
            (other.key.clone(), "its key is that of another certificate than the one in "),
            (written("locked", locked), "a key under a password"),
            (written("unknown", unknown), "its key is damaged, or of a kind that is not taken"),
        ] {
            let error = FileError::from(pair(&made.certificate, &key).unwrap_err());
            assert_eq!(error.file, key);
            assert!(error.problem.contains(told), "{error}");
        }
        let none = file(&folder, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let error = FileError::from(pair(&none, &made.key).unwrap_err());
        assert_eq!((error.file, &*error.problem), (none, "its certificate 1 is damaged, or no certificate of X.509"));
        assert!(matches!(pair(&made.key, &made.key), Err(PairError::Certificate(_))), "one file for both");
        assert!(matches!(pair(&made.certificate, &made.certificate), Err(PairError::Key(_))));
    }
}
