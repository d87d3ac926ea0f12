//! Logging in with a token.

use std::future::IntoFuture as _;

use meshwire::{Connect, ErrorKind, State};
use meshwire_proto::frame::ServerFrame;

use crate::network::{Begun, Port};
use crate::script::{Gateway, resumed, welcome};

#[tokio::test]
async fn the_token_is_in_the_login_and_a_file_is_read_again_at_each_connect() {
    let (port, file) = (Port::open().await, tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), "first\n").unwrap();
    let connect = Connect::new(&format!("tcp://{}", port.address)).token_file(file.path());
    let connecting = tokio::spawn(connect.into_future());
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    let hello = gateway.hello().await;
    assert_eq!((hello.auth_scheme.as_str(), &hello.auth_credentials[..]), ("bearer", &b"first"[..]));
    gateway.send(&ServerFrame::Welcome(welcome())).await;
    let mesh = connecting.await.unwrap().unwrap();
    std::fs::write(file.path(), "second").unwrap();
    drop(gateway);
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    assert_eq!(&gateway.hello().await.auth_credentials[..], b"second");
    gateway.send(&ServerFrame::Welcome(resumed())).await;
    mesh.state().wait_for(|state| *state == State::Connected).await.unwrap();
}

#[tokio::test]
async fn without_a_token_the_login_names_no_scheme() {
    let port = Port::open().await;
    let connecting = tokio::spawn(Connect::new(&format!("tcp://{}", port.address)).into_future());
    let mut gateway = Gateway::over(port.expect(Begun::Tcp).await);
    let hello = gateway.hello().await;
    assert!(hello.auth_scheme.is_empty() && hello.auth_credentials.is_empty());
    gateway.send(&ServerFrame::Welcome(welcome())).await;
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_token_is_never_sent_in_plain_to_another_host_or_to_a_proxy() {
    let through = Connect::new("mesh://127.0.0.1:1").proxy("http://127.0.0.1:1");
    for connect in [Connect::new("mesh://gateway.invalid"), Connect::new("ws://127.0.0.1:1,10.0.0.1"), through] {
        let error = connect.token("secret").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains("use TLS") && !format!("{error:?}").contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_token_file_that_cannot_be_used_is_named_with_the_reason() {
    let port = Port::open().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://{}", port.address);
    let missing = folder.path().join("missing");
    let error = Connect::new(&url).token_file(&missing).await.unwrap_err();
    assert!(error.message().contains(missing.to_str().unwrap()), "{error}");
    let bad = folder.path().join("bad");
    std::fs::write(&bad, "two words").unwrap();
    let error = Connect::new(&url).token_file(&bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("the token has blanks"), "{error}");
    assert!(!error.message().contains("two words"), "{error}");
}
