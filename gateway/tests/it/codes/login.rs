//! Who is not let in, or not to do what is asked.

use std::path::PathBuf;
use std::sync::Arc;

use meshwire_gateway::ingress::tls::TlsConfig;
use meshwire_gateway::mesh::{Action, AllowAll, Authorize, Caller};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ServerFrame;
use meshwire_proto::wire::session as wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::row::{NO_SESSION, Row};
use crate::certificates::Authority;
use crate::doors::{Ask, Door, Said, Visit, sent};
use crate::rig::{PATIENCE, Peer, Rig, event, hello, memory, run_of};

fn publish() -> Ask<'static> {
    Ask::Publish { topic: "t", event: sent("1", 1) }
}

const OTHERS: [Door; 4] = [Door::Http, Door::Grpc, Door::Page, Door::Events];

pub(super) async fn unauthenticated() -> Row {
    let rig = Rig::start().await;
    let mut row = Row::new(ErrorKind::Unauthenticated);
    for door in Door::SESSIONS {
        let hello = wire::Hello { auth_scheme: "bearer".into(), auth_credentials: "x".into(), ..hello() };
        let said = door.visit(&rig, &Visit { headers: &[], hello }, &publish()).await.unwrap();
        row = row.told(door, said);
    }
    let visit = Visit { headers: &[("authorization", "Bearer x")], ..Visit::default() };
    for door in OTHERS {
        row = row.told(door, door.visit(&rig, &visit, &publish()).await.unwrap());
    }
    row
}

pub(super) async fn denied() -> Row {
    struct Readers;
    impl Authorize for Readers {
        fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
            action != Action::Publish
        }
    }
    let rig = Rig::with(memory(), Arc::new(Readers)).await;
    Row::asked(ErrorKind::Denied, &rig, &publish()).await
}

pub(super) async fn origin_refused() -> Row {
    let rig = Rig::start().await;
    let visit = Visit { headers: &[("origin", "https://evil.example")], ..Visit::default() };
    let mut row = Row::new(ErrorKind::OriginRefused);
    for door in Door::ALL.into_iter().filter(|door| *door != Door::Session) {
        row = row.told(door, door.visit(&rig, &visit, &publish()).await.unwrap());
    }
    row.cannot(&[Door::Session], "no browser speaks it")
}

pub(super) async fn producer_fenced() -> Row {
    let rig = Rig::start().await;
    let mut row = Row::new(ErrorKind::ProducerFenced);
    for door in Door::SESSIONS {
        let newer = wire::Hello { producer_epoch: 2, ..hello() };
        let older = wire::Hello { producer_epoch: 1, ..newer.clone() };
        // A duplicate would leave no trace of its producer.
        rig.login(newer).await.0.publish("t", run_of(&[event(&format!("{door:?}"))])).await;
        let visit = Visit { headers: &[], hello: older };
        row = row.told(door, door.visit(&rig, &visit, &publish()).await.unwrap());
    }
    row.cannot(&OTHERS, NO_SESSION)
}

pub(super) async fn tls_required() -> Row {
    let authority = Authority::new();
    let files = authority.gateway();
    let mut config = memory();
    config.tls = TlsConfig { mode: None, certificate: files.certificate, key: files.key, client_roots: PathBuf::new() };
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut row = Row::new(ErrorKind::TlsRequired);
    let mut peer = Peer::over(Box::new(rig.socket().await)).await;
    let Some(ServerFrame::Error(error)) = peer.next().await else { panic!("no error") };
    row = row.told(Door::Session, Said::frame(error.code, error.retry_after_ms));
    for door in Door::ALL.into_iter().filter(|door| *door != Door::Session) {
        row = row.told(door, door.ask(&rig, &publish()).await.unwrap());
    }
    // HTTP/2 without a call is told by GOAWAY with INADEQUATE_SECURITY, the code and the text.
    let mut socket = rig.socket().await;
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut came = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut came)).await.expect("the end");
    let at = came.windows(14).position(|w| w == b"TLS_REQUIRED: ").expect("the code") - 17;
    let end = &came[at..];
    assert_eq!((end[3], &end[9..17]), (7, &[0, 0, 0, 0, 0, 0, 0, 0xc][..]), "{came:?}");
    assert_eq!(end.len(), 9 + usize::from(end[2]), "the whole text");
    row
}
