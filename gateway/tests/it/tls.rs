//! TLS on the one port: who may come in plain, who a client's certificate says it is, new certificates.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use meshwire_gateway::config::Config;
use meshwire_gateway::ingress::tls::{Tls, TlsConfig, TlsMode};
use meshwire_gateway::mesh::{Action, AllowAll, Authorize, Caller};
use meshwire_gateway::run::Gateway;
use meshwire_proto::ErrorKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::access::{listen_to, said};
use crate::certificates::{Authority, Files, Named, handshake};
use crate::rig::{PATIENCE, Peer, Rig, event, hello, memory, run_of};

fn secured(files: &Files, mode: Option<TlsMode>, client_roots: PathBuf) -> Config {
    let mut config = memory();
    config.tls = TlsConfig { mode, certificate: files.certificate.clone(), key: files.key.clone(), client_roots };
    config
}

/// Notes who published.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

impl Authorize for Noting {
    fn allows(&self, caller: &Caller, action: Action, _: &str) -> bool {
        if action == Action::Publish {
            self.0.lock().unwrap().push(caller.principal.to_string());
        }
        true
    }
}

async fn publishes(rig: &Rig, root: &Path, client: Option<&Files>) {
    let mut peer = Peer::over(Box::new(handshake(rig, root, client, &["meshwire/1"]).await.unwrap())).await;
    peer.login(hello()).await;
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, 0);
}

/// All that comes until the end.
async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut got = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("an end");
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn with_a_certificate_sessions_and_http_are_served_inside_tls_and_plain_ones_are_told_so() {
    let authority = Authority::new();
    let rig = Rig::with(secured(&authority.gateway(), None, PathBuf::new()), Arc::new(AllowAll)).await;
    publishes(&rig, &authority.root(), None).await;
    let mut nothing = rig.socket().await;
    nothing.write_all(b"\x10\x16MQTT").await.unwrap();
    assert!(rest(nothing).await.ends_with("no protocol that is served here; TLS is on here, and required\n"));

    let mut inside = handshake(&rig, &authority.root(), None, &["http/1.1"]).await.unwrap();
    inside.write_all(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(inside).await.starts_with("HTTP/1.1 404"));

    let mut plain = rig.peer().await;
    let error = plain.error().await;
    assert_eq!((error.code, error.fatal), (ErrorKind::TlsRequired.number(), true));
    assert!(error.message.contains("meshs://"), "{}", error.message);

    let mut plain = rig.socket().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let answer = rest(plain).await;
    let status = format!("HTTP/1.1 {}", ErrorKind::TlsRequired.http_status());
    assert!(answer.starts_with(&status) && answer.contains("\"code\":\"TLS_REQUIRED\""), "{answer}");

    let mut plain = rig.socket().await;
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let answer = rest(plain).await;
    assert!(answer.contains("TLS_REQUIRED: ") && answer.contains("meshs://"), "{answer:?}");
}

#[tokio::test]
async fn both_serves_each_as_it_likes() {
    let authority = Authority::new();
    let config = secured(&authority.gateway(), Some(TlsMode::Both), PathBuf::new());
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    publishes(&rig, &authority.root(), None).await;
    assert_eq!(rig.session().await.publish("t", run_of(&[event("2")])).await[0].code, 0);
}

#[tokio::test]
async fn what_is_preferred_of_the_protocols_offered_is_chosen_and_none_is_no_hindrance() {
    let authority = Authority::new();
    let rig = Rig::with(secured(&authority.gateway(), None, PathBuf::new()), Arc::new(AllowAll)).await;
    for (offered, chosen) in [
        (&["http/1.1", "meshwire/1"][..], Some("meshwire/1")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = handshake(&rig, &authority.root(), None, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes));
    }
    assert!(handshake(&rig, &authority.root(), None, &["spdy/3"]).await.is_err());
}

#[tokio::test]
async fn a_client_is_known_by_the_uri_then_the_host_then_the_common_name_of_its_certificate() {
    let authority = Authority::new();
    let judge = Arc::new(Noting::default());
    let rig = Rig::with(secured(&authority.gateway(), None, authority.root()), judge.clone()).await;
    let all = Named { uri: "spiffe://a/billing", dns: "billing.example", common: "billing", ..Named::default() };
    publishes(&rig, &authority.root(), Some(&authority.issue("all", &all))).await;
    let dns = Named { uri: "", ..all };
    publishes(&rig, &authority.root(), Some(&authority.issue("dns", &dns))).await;
    let common = Named { dns: "", ..dns };
    publishes(&rig, &authority.root(), Some(&authority.issue("common", &common))).await;
    publishes(&rig, &authority.root(), None).await;
    let mut seen = judge.0.lock().unwrap().clone();
    seen.dedup();
    assert_eq!(seen, ["spiffe://a/billing", "billing.example", "billing", "anonymous"]);
}

/// Ends before anything is answered: a client hears of it when it reads.
async fn is_refused(rig: &Rig, root: &Path, client: &Files) {
    if let Ok(mut stream) = handshake(rig, root, Some(client), &["meshwire/1"]).await {
        let error = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("the end").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "an alert: {error}");
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_or_of_the_past_is_refused_and_others_are_served() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let rig = Rig::with(secured(&authority.gateway(), None, authority.root()), Arc::new(AllowAll)).await;
    let named = Named { common: "mallory", ..Named::default() };
    is_refused(&rig, &authority.root(), &stranger.issue("stranger", &named)).await;
    is_refused(&rig, &authority.root(), &authority.issue("expired", &Named { expired: true, ..named })).await;
    assert!(handshake(&rig, &stranger.root(), None, &[]).await.is_err(), "a client trusts whom it trusts");
    publishes(&rig, &authority.root(), None).await;
}

#[tokio::test]
async fn garbage_in_a_handshake_ends_that_connection_only() {
    let authority = Authority::new();
    let rig = Rig::with(secured(&authority.gateway(), None, PathBuf::new()), Arc::new(AllowAll)).await;
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x00"] {
        let mut socket = rig.socket().await;
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        drop(rest(socket).await);
    }
    publishes(&rig, &authority.root(), None).await;
}

#[tokio::test]
async fn the_alert_of_a_failed_handshake_arrives_also_while_more_is_being_sent() {
    let authority = Authority::new();
    let rig = Rig::with(secured(&authority.gateway(), None, PathBuf::new()), Arc::new(AllowAll)).await;
    // A record of 64 KiB, which is longer than any may be.
    let mut bytes = b"\x16\x03\x01\xff\xff".to_vec();
    bytes.resize(128 * 1024, b'x');
    let mut socket = rig.socket().await;
    socket.write_all(&bytes).await.unwrap();
    let mut got = Vec::new();
    let end = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut got)).await.expect("an end");
    assert!(end.is_ok() && got.starts_with(&[0x15, 3]), "an alert and a clean end: {end:?} {got:?}");
}

#[tokio::test]
async fn refused_certificates_and_failed_handshakes_are_each_logged_once_in_a_while() {
    let (log, _other, _guard) = listen_to("meshwire_gateway::ingress::tls");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let rig = Rig::with(secured(&authority.gateway(), None, authority.root()), Arc::new(AllowAll)).await;
    let stranger = stranger.issue("stranger", &Named { common: "mallory", ..Named::default() });
    for _ in 0..2 {
        let mut socket = rig.socket().await;
        socket.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
        socket.shutdown().await.unwrap();
        drop(rest(socket).await);
        is_refused(&rig, &authority.root(), &stranger).await;
    }
    let lines = said(&log, ["message", "count"]);
    let texts: Vec<&str> = lines.iter().map(|[text, _]| text.as_str()).collect();
    assert_eq!(texts, ["TLS handshakes failed", "certificates of clients refused (option tls_client_roots)"]);
    assert!(lines.iter().all(|[_, count]| count == "1"), "{lines:?}");
    let errors = said(&log, ["error", "peer"]);
    assert!(
        errors[1][0].starts_with("its certificate is not trusted") && errors[1][1].starts_with("127.0.0.1:"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn new_files_are_served_after_a_reload_and_bad_ones_change_nothing() {
    let authority = Authority::new();
    let files = authority.gateway();
    let gateway = Gateway::open(secured(&files, None, PathBuf::new())).await.unwrap();
    let tls: Arc<Tls> = gateway.tls().expect("it has a certificate");
    let rig = Rig::of(gateway);
    let shown = async || {
        let stream = handshake(&rig, &authority.root(), None, &[]).await.unwrap();
        let chain: Vec<CertificateDer<'static>> = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        chain
    };
    let first = shown().await;
    std::fs::write(&files.key, "no key").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("gateway.key"));
    assert_eq!(shown().await, first);
    authority.gateway();
    tls.reload().unwrap();
    assert_ne!(shown().await, first);
}

#[tokio::test]
async fn options_that_do_not_fit_are_named() {
    let authority = Authority::new();
    let files = authority.gateway();
    let with = |change: fn(&mut TlsConfig)| {
        let mut config = secured(&files, None, PathBuf::new());
        change(&mut config.tls);
        async move { Gateway::open(config).await.err().expect("it does not start").to_string() }
    };
    for (problem, expected) in [
        (with(|tls| tls.key = PathBuf::new()).await, "tls_key"),
        (with(|tls| tls.certificate = PathBuf::new()).await, "tls_certificate"),
        (with(|tls| tls.certificate = "/nowhere.pem".into()).await, "/nowhere.pem"),
        (with(|tls| tls.client_roots = "/nowhere.pem".into()).await, "/nowhere.pem"),
        (with(|tls| std::mem::swap(&mut tls.key, &mut tls.certificate)).await, "gateway.key"),
    ] {
        assert!(problem.contains(expected), "{problem}");
    }
}
