//! One port, every protocol: what is published by one is consumed by any other, plain and inside TLS.

mod before_login;
mod files;
mod half_messages;
mod matrix;
mod short_items;

use std::time::Duration;

use meshwire::{Connect, ErrorKind, Event, Mesh};
use rustix::process::Signal;

use crate::program::Gateway;
use meshwire_certificates::{Files, SelfSigned};

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn serving(files: &Files, mode: &str, more: &[&str]) -> Gateway {
    let (certificate, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
    let args = ["--tls", mode, "--tls-certificate", certificate, "--tls-key", key];
    Gateway::with(&[&args[..], more].concat())
}

async fn client(gateway: &Gateway, files: &Files, scheme: &str) -> Mesh {
    let url = format!("{scheme}://{}", gateway.address);
    let mut connect = Connect::new(&url);
    if ["meshs", "tcps", "grpcs", "wss", "https"].contains(&scheme) {
        connect = connect.tls_roots(&files.certificate).tls_server_name("localhost");
    }
    connect.await.unwrap_or_else(|e| panic!("{scheme}: {e}"))
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_it_is_needed_and_one_that_does_not_trust_the_certificate_ends() {
    let files = SelfSigned::of("localhost");
    let gateway = serving(&files, "required", &["--memory"]);
    for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
        let error = Connect::new(&format!("{scheme}://{}", gateway.address)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TlsRequired, "{scheme}: {error}");
        assert!(error.to_string().contains("meshs://"), "{scheme}: {error}");
        assert!(error.to_string().contains(&format!("{} speaks TLS only", gateway.address)), "{scheme}: {error}");
    }
    for scheme in ["tcps", "wss", "grpcs", "https"] {
        let url = format!("{scheme}://{}", gateway.address);
        let stranger = SelfSigned::of("localhost");
        for connect in [
            Connect::new(&url).tls_roots(&stranger.certificate).tls_server_name("localhost"),
            Connect::new(&url).tls_roots(&files.certificate).tls_server_name("elsewhere"),
        ] {
            let error = connect.await.unwrap_err().to_string();
            assert!(error.contains("certificate"), "{scheme}: {error}");
        }
    }
}

#[tokio::test]
async fn sighup_reads_the_certificate_again_and_connections_go_on() {
    let files = SelfSigned::of("localhost");
    let mut gateway = serving(&files, "required", &["--memory"]);
    let before = client(&gateway, &files, "tcps").await;
    files.renew();
    gateway.program.signal(Signal::HUP);
    gateway.program.wait_for_log("the certificate was read again");
    let after = client(&gateway, &files, "tcps").await;
    for mesh in [before, after] {
        mesh.publish("t", Event::text("t", "x")).await.unwrap();
    }
    std::fs::write(&files.key, "no key").unwrap();
    gateway.program.signal(Signal::HUP);
    gateway.program.wait_for_log("the one of before is kept");
    client(&gateway, &files, "wss").await.publish("t", Event::text("t", "x")).await.unwrap();
}
