//! TLS on the one port: certificates that are read again when they change, and who a client's certificate says it is.

mod common_name;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use meshwire_proto::{UnixMillis, options};
use meshwire_tls::{FileError, Flaw, PairError};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::refused::FloodCount;
use super::{BoxIo, READ_AWAY, REFUSAL, Sniff, part};
use crate::mesh::Counts;

/// What is spoken inside, in the order in which it is preferred.
const ALPN: [&[u8]; 3] = [b"meshwire/1", b"h2", b"http/1.1"];

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whether a connection may be, or must be, inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Off,
    /// Always.
    Required,
    /// As each peer likes.
    Both,
}

/// Files of a listener's TLS, all PEM; an empty path is none.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// `None`: required if there is a certificate, else off.
    pub mode: Option<TlsMode>,
    /// The certificate, with those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roots of clients' certificates: who shows one must have it from these. Nobody has to.
    pub client_roots: PathBuf,
}

/// TLS that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{source}")]
    File {
        /// The option that names it.
        option: &'static str,
        /// Which, and what is wrong.
        source: FileError,
    },
    /// An option is missing beside another.
    #[error("TLS needs {missing} beside {given}; set it to a PEM file")]
    Missing {
        /// The option that is not set.
        missing: &'static str,
        /// The one that asks for it.
        given: &'static str,
    },
    /// What no file is to blame for.
    #[error("TLS cannot be served: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What the files looked like when they were read: size and time of each.
type Stamps = Vec<Option<(u64, SystemTime)>>;

/// TLS of a listener.
pub struct Tls {
    config: TlsConfig,
    served: RwLock<Served>,
    /// When a certificate that was not valid yet is looked at again.
    valid_from: Mutex<Option<UnixMillis>>,
    stamps: Mutex<Stamps>,
    counts: OnceLock<Arc<Counts>>,
    failed: Mutex<Failed>,
}

/// What the files had when they could be used.
struct Served {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

impl Served {
    /// That its certificate is of no use now: clients refuse it.
    fn flaw(&self, now: UnixMillis) -> Option<Flaw> {
        meshwire_tls::out_of_date(&self.certificate, now)
    }

    /// What is wrong, with the name of the certificate that has the flaw.
    fn problem(&self, flaw: &Flaw) -> String {
        let name = name_of(&self.certificate);
        format!("its certificate 1, {}, {flaw}", name.as_deref().unwrap_or("without a name"))
    }
}

/// Handshakes that failed: each kind is said once a minute, with its count.
#[derive(Debug, Default)]
struct Failed {
    certificates: FloodCount,
    others: FloodCount,
}

/// A connection inside TLS, and the name that its client has proven.
pub(super) struct Inside {
    pub(super) stream: BoxIo,
    pub(super) principal: Option<Arc<str>>,
}

fn load(config: &TlsConfig) -> Result<Served, TlsError> {
    let of = |option: &'static str| move |source| TlsError::File { option, source };
    let pair = meshwire_tls::pair(&config.certificate, &config.key);
    let (chain, key) = pair.map_err(|error| match error {
        PairError::Certificate(source) => of(options::TLS_CERTIFICATE.name)(source),
        PairError::Key(source) => of(options::TLS_KEY.name)(source),
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match config.client_roots.as_path() {
        none if none.as_os_str().is_empty() => builder.with_no_client_auth(),
        file => {
            let roots = meshwire_tls::roots(file).map_err(of(options::TLS_CLIENT_ROOTS.name))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            // It has roots, and no lists of what was revoked: nothing else is looked at.
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
        }
    };
    let certificate = chain.first().cloned().ok_or(rustls::Error::NoCertificatesPresented)?;
    let mut server = builder.with_single_cert(chain, key)?;
    server.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(Served { acceptor: TlsAcceptor::from(Arc::new(server)), certificate })
}

/// The time by which TLS judges certificates.
fn now() -> UnixMillis {
    UnixMillis(i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

impl Tls {
    /// Reads the files; `None` if TLS is off.
    ///
    /// # Errors
    /// [`TlsError`]: which file or option, and what is wrong with it.
    pub fn open(config: TlsConfig) -> Result<Option<Self>, TlsError> {
        let given = |path: &Path| !path.as_os_str().is_empty();
        let (certificate, key, tls) = (options::TLS_CERTIFICATE.name, options::TLS_KEY.name, options::TLS.name);
        let (missing, given) = match (config.mode, given(&config.certificate), given(&config.key)) {
            (Some(TlsMode::Off), _, _) => return Ok(None),
            (_, true, true) => {
                let stamps = Mutex::new(stamps(&config));
                let served = load(&config)?;
                // It may be renewed while the gateway runs.
                if let Some(flaw) = served.flaw(now()) {
                    tell_flaw(&config, &served.problem(&flaw));
                }
                return Ok(Some(Self {
                    served: RwLock::new(served),
                    valid_from: Mutex::default(),
                    stamps,
                    counts: OnceLock::new(),
                    failed: Mutex::default(),
                    config,
                }));
            }
            (_, true, false) => (key, certificate),
            (_, false, true) => (certificate, key),
            (Some(_), false, false) => (certificate, tls),
            (None, false, false) if given(&config.client_roots) => (certificate, options::TLS_CLIENT_ROOTS.name),
            (None, false, false) => return Ok(None),
        };
        Err(TlsError::Missing { missing, given })
    }

    /// Whether plain connections are served too.
    pub(crate) fn allows_plain(&self) -> bool {
        self.config.mode == Some(TlsMode::Both)
    }

    /// Failures to read the files again are counted there from now on.
    pub(crate) fn count_failures(&self, counts: Arc<Counts>) {
        // Once for a gateway.
        let _ = self.counts.set(counts);
    }

    /// Reads the files again; what was is kept if they cannot be used, or if clients would refuse what they have now and not
    /// what was.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamps = stamps(&self.config);
        // What it waited for is for other files.
        *self.valid_from.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let loaded = load(&self.config).and_then(|new| self.compared(new));
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        match loaded {
            Ok(served) => {
                *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
                tracing::info!(certificate = %self.config.certificate.display(), "the certificate was read again");
                Ok(())
            }
            Err(error) => {
                if let Some(counts) = self.counts.get() {
                    counts.tls_failed();
                }
                tracing::error!(%error, "the new certificate cannot be used; the one of before is kept");
                Err(error)
            }
        }
    }

    /// What was read, if it is no worse than what is served.
    fn compared(&self, new: Served) -> Result<Served, TlsError> {
        let now = now();
        let Some(flaw) = new.flaw(now) else {
            return Ok(new);
        };
        let problem = new.problem(&flaw);
        if self.served.read().unwrap_or_else(PoisonError::into_inner).flaw(now).is_some() {
            tell_flaw(&self.config, &problem);
            return Ok(new);
        }
        if let Flaw::NotYet(Some((from, _))) = flaw {
            *self.valid_from.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
        }
        let source = FileError { file: self.config.certificate.clone(), problem };
        Err(TlsError::File { option: options::TLS_CERTIFICATE.name, source })
    }

    /// Whether there is something else to be had of the files than when they were read.
    fn has_news(&self) -> bool {
        let valid_from = *self.valid_from.lock().unwrap_or_else(PoisonError::into_inner);
        valid_from.is_some_and(|from| from <= now())
            || *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) != stamps(&self.config)
    }

    /// Reloads whenever the files have changed, for ever.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.has_news() {
                // Said already.
                let _ = self.reload();
            }
        }
    }

    fn failed(&self, peer: SocketAddr, error: &io::Error) {
        let (mut failed, now) = (self.failed.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let told = || meshwire_tls::ended(error).unwrap_or_else(|| error.to_string());
        if is_of_certificate(error) {
            if let Some(count) = failed.certificates.count(now) {
                let option = options::TLS_CLIENT_ROOTS.name;
                tracing::warn!(%peer, error = %told(), count, "certificates of clients refused (option {option})");
            }
        } else if let Some(count) = failed.others.count(now) {
            tracing::info!(%peer, error = %told(), count, "TLS handshakes failed");
        }
    }

    /// The server's side of a handshake with `peer`.
    pub(super) async fn accept(&self, peer: SocketAddr, stream: BoxIo) -> io::Result<Inside> {
        let acceptor = self.served.read().unwrap_or_else(PoisonError::into_inner).acceptor.clone();
        let stream = match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                self.failed(peer, &error);
                // It was written why, as an alert, which must arrive.
                let _ = tokio::time::timeout(REFUSAL, part(stream, READ_AWAY)).await;
                return Err(error);
            }
        };
        let principal = principal(&stream);
        Ok(Inside { stream: Box::new(stream), principal })
    }
}

/// Clients refuse what is served.
fn tell_flaw(config: &TlsConfig, problem: &str) {
    tracing::warn!("{}: {problem}; clients refuse it until it is renewed", config.certificate.display());
}

/// Whether a handshake failed by the certificate that the client showed.
fn is_of_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// A handshake record of TLS 1.0 to 1.3.
pub(super) fn begins(prefix: &[u8]) -> Sniff {
    match prefix {
        [] | [0x16] => Sniff::NeedMore,
        [0x16, 0x03, ..] => Sniff::Yes,
        _ => Sniff::No,
    }
}

fn stamps(config: &TlsConfig) -> Stamps {
    let stamp = |file: &PathBuf| std::fs::metadata(file).ok().and_then(|m| Some((m.len(), m.modified().ok()?)));
    [&config.certificate, &config.key, &config.client_roots].into_iter().map(stamp).collect()
}

/// The first URI, else the first host name, else the common name of a certificate that was verified.
fn principal(stream: &TlsStream<BoxIo>) -> Option<Arc<str>> {
    name_of(stream.get_ref().1.peer_certificates()?.first()?)
}

fn name_of(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let name = parsed.valid_uri_names().next().or_else(|| parsed.valid_dns_names().next());
    name.or_else(|| common_name::of(parsed.subject())).map(Into::into)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::fs::File;

    use meshwire_certificates::{Authority, Files, Named, SelfSigned, connector};
    use tokio_rustls::rustls::pki_types::ServerName;

    use super::*;

    /// Whether a client that trusts this certificate and no other can talk to the gateway.
    async fn shows(tls: &Tls, certificate: &Path) -> bool {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = connector(certificate, None, &[]).connect(name, near);
        let (client, _) = tokio::join!(connecting, tls.accept(([127, 0, 0, 1], 1).into(), Box::new(far)));
        client.is_ok()
    }

    /// The files look as if they had been written at another time than before, however fast that went.
    fn written_at(files: &Files, minutes: u64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_mins(minutes);
        for file in [&files.certificate, &files.key] {
            File::options().write(true).open(file).unwrap().set_modified(at).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_change_are_read_within_five_seconds_and_bad_ones_keep_the_certificate_and_are_counted_once() {
        let (files, copy) = (SelfSigned::of("localhost"), tempfile::tempdir().unwrap());
        let keep = |name: &str| {
            let to = copy.path().join(name);
            std::fs::copy(&files.certificate, &to).unwrap();
            to
        };
        written_at(&files, 1);
        let first = keep("first");
        let config =
            TlsConfig { certificate: files.certificate.clone(), key: files.key.clone(), ..TlsConfig::default() };
        let tls = Tls::open(config).unwrap().unwrap();
        let counts = Arc::new(Counts::default());
        tls.count_failures(counts.clone());
        let look = || tokio::time::sleep(LOOK_EVERY + Duration::from_millis(1));
        let changing = async {
            look().await;
            assert!(shows(&tls, &first).await);

            files.renew();
            written_at(&files, 2);
            let second = keep("second");
            assert!(shows(&tls, &first).await, "it is not looked at each connection");
            look().await;
            assert!(shows(&tls, &second).await && !shows(&tls, &first).await);
            assert_eq!(counts.tls_failures(), 0);

            std::fs::write(&files.certificate, "no certificate").unwrap();
            written_at(&files, 3);
            look().await;
            look().await;
            assert!(shows(&tls, &second).await);
            assert_eq!(counts.tls_failures(), 1, "once for each change");

            files.renew();
            written_at(&files, 4);
            look().await;
            let third = keep("third");
            assert!(shows(&tls, &third).await && !shows(&tls, &second).await);
            std::fs::remove_file(&files.key).unwrap();
            look().await;
            assert!(shows(&tls, &third).await);
            assert_eq!(counts.tls_failures(), 2);
        };
        tokio::select! {
            () = tls.watch() => {}
            () = changing => {}
        }
    }

    #[tokio::test]
    async fn a_certificate_that_is_out_of_date_is_taken_in_place_of_one_that_is_too_and_of_no_other() {
        let authority = Authority::new();
        let issue = |expired, early| {
            authority.issue("gateway", &Named { dns: "localhost", expired, early, ..Named::default() })
        };
        let files = issue(false, false);
        let config =
            TlsConfig { certificate: files.certificate.clone(), key: files.key.clone(), ..TlsConfig::default() };
        let tls = Tls::open(config.clone()).unwrap().unwrap();
        let counts = Arc::new(Counts::default());
        tls.count_failures(counts.clone());
        assert!(shows(&tls, &authority.root()).await);
        for (failures, expired, told) in
            [(1, true, "localhost, has expired at 2020-02-01"), (2, false, "localhost, is not valid before 2999-01-01")]
        {
            issue(expired, !expired);
            let error = tls.reload().unwrap_err().to_string();
            assert!(error.contains("gateway.pem: its certificate 1, ") && error.contains(told), "{error}");
            assert_eq!(counts.tls_failures(), failures);
            assert!(shows(&tls, &authority.root()).await, "the one of before is served");
        }
        // Whoever starts with such a one may renew it, once by one that is no better.
        issue(true, false);
        let tls = Tls::open(config).unwrap().unwrap();
        assert!(!shows(&tls, &authority.root()).await);
        issue(true, false);
        tls.reload().unwrap();
        issue(false, false);
        tls.reload().unwrap();
        assert!(shows(&tls, &authority.root()).await);
    }

    #[test]
    fn files_that_were_waited_for_and_are_replaced_by_broken_ones_are_read_once_and_not_again_and_again() {
        let authority = Authority::new();
        let files = authority.issue("gateway", &Named { dns: "localhost", ..Named::default() });
        let config =
            TlsConfig { certificate: files.certificate.clone(), key: files.key.clone(), ..TlsConfig::default() };
        let tls = Tls::open(config).unwrap().unwrap();
        assert!(!tls.has_news());
        *tls.valid_from.lock().unwrap() = Some(UnixMillis(0));
        assert!(tls.has_news(), "its time has come");
        std::fs::write(&files.certificate, "broken").unwrap();
        assert!(tls.reload().is_err() && !tls.has_news());
    }

    #[test]
    fn of_one_file_for_both_the_option_is_named_whose_part_is_missing() {
        let files = SelfSigned::of("localhost");
        for (both, named) in [(&files.key, "tls_certificate"), (&files.certificate, "tls_key")] {
            let config = TlsConfig { certificate: both.clone(), key: both.clone(), ..TlsConfig::default() };
            let error = Tls::open(config).err().unwrap();
            assert!(matches!(&error, TlsError::File { option, .. } if *option == named), "{error}");
        }
    }

    #[test]
    fn a_handshake_is_told_by_its_first_two_bytes() {
        for (prefix, expected) in [
            (&b""[..], Sniff::NeedMore),
            (&[0x16], Sniff::NeedMore),
            (&[0x16, 3, 1], Sniff::Yes),
            (&[0x16, 2], Sniff::No),
            (b"GET", Sniff::No),
        ] {
            assert_eq!(begins(prefix), expected);
        }
    }
}
