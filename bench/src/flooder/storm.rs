//! Connections that come all at once, again and again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::raw::Connection;

/// From the begin of one wave to the next, if it is over by then.
const BETWEEN: Duration = Duration::from_secs(3);

/// A client of ours comes back.
pub(super) async fn log_in(address: SocketAddr, n: u32) -> anyhow::Result<Connection> {
    Connection::open(address, n).await
}

pub(super) async fn shake_hands(address: SocketAddr, connector: TlsConnector) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    Ok(connector.connect(ServerName::try_from("localhost")?, stream).await?)
}

/// What trusts this certificate alone, and resumes nothing.
pub(super) fn connector(certificate: &Path) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Waves of so many connections, which are held until the last one has come. Who is refused or cut off has come too.
pub(super) async fn run<F, T>(connections: u32, come: impl Fn(u32) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut first = true;
    loop {
        let next = Instant::now() + BETWEEN;
        let mut coming: JoinSet<_> = (0..connections).map(&come).collect();
        let mut held = Vec::new();
        while let Some(came) = coming.join_next().await {
            held.extend(came.context("a connection panicked")?.ok());
        }
        if std::mem::take(&mut first) {
            super::all_have_come();
        }
        drop(held);
        sleep_until(next).await;
    }
}
