//! Handshakes with a gateway under test.

use std::path::Path;

pub(crate) use meshwire_certificates::{Authority, Files, Named};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::rig::{PATIENCE, Rig};

/// A handshake with a gateway at `localhost`.
pub(crate) async fn handshake(
    rig: &Rig,
    root: &Path,
    client: Option<&Files>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let connector = meshwire_certificates::connector(root, client, alpn);
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = connector.connect(name, rig.socket().await);
    tokio::time::timeout(PATIENCE, connecting).await.expect("a handshake or its end")
}
