//! Sessions outlive their connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meshwire_gateway::config::Config;
use meshwire_gateway::ingress::tls::{TlsConfig, TlsMode};
use meshwire_gateway::mesh::{Action, AllowAll, Authorize, Caller};
use meshwire_proto::frame::{ClientFrame, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::{admin, session as wire};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::certificates::{Authority, Files, Named, handshake};
use crate::rig::{PATIENCE, Peer, Rig, earliest, event, hello, memory, run_of};

#[tokio::test]
async fn a_resumed_session_keeps_its_leases_and_gets_what_never_arrived() {
    let rig = Rig::start().await;
    let hello = hello();
    let (mut peer, welcome) = rig.login(hello.clone()).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.publish("t", run_of(&[event("1"), event("2"), event("3")])).await;
    drop(peer);
    let resume = wire::Hello {
        resume_session: welcome.session.clone(),
        resume_secret: welcome.secret.clone(),
        held: vec![wire::HeldSubscription { subscription: 1, next_delivery: 2 }],
        first_unanswered: 4,
        ..hello.clone()
    };
    let (mut peer, again) = rig.login(resume.clone()).await;
    assert!(again.resumed);
    assert_eq!(again.session, welcome.session);
    let runs = peer.deliveries(2).await;
    assert_eq!((runs[0].first_delivery, runs[0].first_position, runs[0].attempt), (2, 2, 1));
    assert_eq!(peer.settle(1, 1, 3, SettleKind::Ack).await, [(1, 3, 0)], "the lease of the first went on");
    // A second connection takes the session from the first, which may be half open.
    let (_taken, third) = rig
        .login(wire::Hello {
            held: vec![wire::HeldSubscription { subscription: 1, next_delivery: 4 }],
            ..resume.clone()
        })
        .await;
    assert!(third.resumed);
    assert!(peer.error().await.message.contains("another connection"));
    let (_, wrong) = rig.login(wire::Hello { resume_secret: vec![0; 16].into(), ..resume }).await;
    assert!(!wrong.resumed, "whoever has the secret only");
}

#[tokio::test]
async fn a_member_that_does_not_come_back_is_lost_when_its_window_ends() {
    let mut config = memory();
    config.resume_window = Duration::from_millis(100);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let (mut first, mut second) = (rig.session().await, rig.session().await);
    first.subscribe(earliest(1, "t", "g")).await;
    first.publish("t", run_of(&[event("1")])).await;
    first.deliveries(1).await;
    second.subscribe(earliest(1, "t", "g")).await;
    drop(first);
    let again = second.deliveries(1).await;
    assert_eq!((again[0].first_position, again[0].attempt), (1, 2));
}

#[tokio::test]
async fn an_older_epoch_of_a_producer_is_fenced() {
    let rig = Rig::start().await;
    let hello = hello();
    let (mut newer, _) = rig.login(wire::Hello { producer_epoch: 2, ..hello.clone() }).await;
    newer.publish("t", run_of(&[event("1")])).await;
    let mut older = rig.peer().await;
    older.send(meshwire_proto::frame::ClientFrame::Hello(hello)).await;
    let error = older.error().await;
    assert_eq!(error.code, meshwire_proto::ErrorKind::ProducerFenced.number());
}

#[tokio::test]
async fn a_peer_that_stops_reading_loses_its_connection_and_what_it_held_goes_to_others() {
    let mut config = memory();
    config.heartbeat = Duration::from_millis(200);
    config.resume_window = Duration::from_millis(100);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut publisher = rig.session().await;
    // More than the buffers of both sockets take.
    for n in 0..15 {
        let big = meshwire_proto::Event::bytes("t", vec![0; 1 << 20]).id(n.to_string()).source("/s");
        publisher.publish("t", run_of(&[big])).await;
    }
    let mut stopped = rig.session().await;
    let all = wire::Subscribe { max_bytes: 1 << 30, max_events: 1000, ..earliest(1, "t", "g") };
    stopped.subscribe(all.clone()).await;
    let mut other = rig.session().await;
    other.send(meshwire_proto::frame::ClientFrame::Subscribe(wire::Subscribe { max_events: 1, ..all })).await;
    let began = std::time::Instant::now();
    let mut got = 0;
    while got == 0 {
        assert!(began.elapsed() < crate::rig::PATIENCE, "nothing came from the one that does not read");
        let ping = wire::Ping { nonce: 1, answer: false };
        other.send(meshwire_proto::frame::ClientFrame::Ping(ping)).await;
        if let Ok(Some(meshwire_proto::frame::ServerFrame::Deliver(d))) =
            tokio::time::timeout(Duration::from_millis(50), other.next()).await
        {
            got += d.runs.len();
        }
    }
}

#[tokio::test]
async fn what_was_settled_in_the_last_moments_before_a_gateway_stops_does_not_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = memory();
    (config.memory, config.data_dir) = (false, folder.path().into());
    let rig = Rig::with(config.clone(), Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&[event("1"), event("2")])).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(2).await;
    let both = SettleRange { subscription: 1, first_delivery: 1, count: 2, ..SettleRange::default() };
    peer.send(ClientFrame::Settle(Settle { sequence: 1, confirm: false, ranges: vec![both] })).await;
    peer.find(|f| if let ServerFrame::Settled(settled) = f { Some(settled) } else { None }).await;
    rig.stop().await;

    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    assert_eq!(peer.subscribe(earliest(1, "t", "g")).await.next_position, 3);
}

/// Nacks the first delivery, confirmed, in this frame, and reads until this delivery has come. Gives the boundary that
/// the answer names.
async fn nack(peer: &mut Peer, sequence: u64, until: u64) -> u64 {
    let first =
        SettleRange { subscription: 1, first_delivery: 1, count: 1, kind: SettleKind::Nack, ..SettleRange::default() };
    peer.send(ClientFrame::Settle(Settle { sequence, confirm: true, ranges: vec![first] })).await;
    let (mut boundary, mut come) = (None, 0);
    loop {
        match peer.next().await.expect("the answer and the deliveries") {
            ServerFrame::Deliver(deliver) => {
                come = deliver.runs.iter().map(|r| r.first_delivery + u64::from(r.events.count()) - 1).max().unwrap();
            }
            ServerFrame::Settled(settled) => {
                boundary = boundary.or(settled.results.first().map(|r| (r.code, r.next_delivery)));
            }
            _ => {}
        }
        if let Some((code, boundary)) = boundary.filter(|_| come >= until) {
            assert_eq!(code, 0);
            return boundary;
        }
    }
}

#[tokio::test]
async fn a_nack_whose_answer_was_lost_is_answered_as_the_first_time_when_the_session_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut logged = memory();
    (logged.memory, logged.data_dir) = (false, folder.path().into());
    for config in [memory(), logged] {
        let rig = Rig::with(config, Arc::new(AllowAll)).await;
        let hello = hello();
        let (mut peer, welcome) = rig.login(hello.clone()).await;
        let once = admin::GroupSettings { max_failures: Some(1), ..admin::GroupSettings::default() };
        peer.subscribe(wire::Subscribe { settings: once.encode_to_vec().into(), ..earliest(1, "t", "g") }).await;
        peer.publish("t", run_of(&["1", "2", "3"].map(|id| event(id).key("k")))).await;
        peer.deliveries(3).await;
        // It is a dead letter, and its key goes on.
        assert_eq!(nack(&mut peer, 1, 5).await, 4);
        drop(peer);
        let resume = wire::Hello {
            resume_session: welcome.session,
            resume_secret: welcome.secret,
            held: vec![wire::HeldSubscription { subscription: 1, next_delivery: 6 }],
            first_unanswered: 4,
            ..hello
        };
        let (mut peer, again) = rig.login(resume).await;
        assert!(again.resumed);
        assert_eq!(nack(&mut peer, 2, 0).await, 4, "what goes on was not on its way");
    }
}

/// One port for plain connections and for those inside TLS, which may have a certificate of this authority.
fn both(authority: &Authority) -> Config {
    let mut config = memory();
    let Files { certificate, key } = authority.gateway();
    config.tls = TlsConfig { mode: Some(TlsMode::Both), certificate, key, client_roots: authority.root() };
    config
}

fn named(authority: &Authority, common: &str) -> Files {
    authority.issue(common, &Named { common, ..Named::default() })
}

async fn inside(rig: &Rig, authority: &Authority, client: Option<&Files>) -> Peer {
    Peer::over(Box::new(handshake(rig, &authority.root(), client, &["meshwire/1"]).await.unwrap())).await
}

#[tokio::test]
async fn a_session_goes_on_for_its_caller_only_and_others_who_know_its_secret_take_nothing_from_it() {
    let authority = Authority::new();
    let (billing, other) = (named(&authority, "billing"), named(&authority, "other"));
    let rig = Rig::with(both(&authority), Arc::new(AllowAll)).await;
    let hello = hello();
    let mut mine = inside(&rig, &authority, Some(&billing)).await;
    let welcome = mine.login(hello.clone()).await;
    mine.subscribe(earliest(1, "t", "g")).await;
    mine.publish("t", run_of(&[event("1")])).await;
    mine.deliveries(1).await;
    let resume = wire::Hello {
        resume_session: welcome.session.clone(),
        resume_secret: welcome.secret,
        held: vec![wire::HeldSubscription { subscription: 1, next_delivery: 2 }],
        first_unanswered: 2,
        ..hello
    };
    let strangers = [
        ("plain", rig.peer().await),
        ("without a certificate", inside(&rig, &authority, None).await),
        ("with another certificate", inside(&rig, &authority, Some(&other)).await),
    ];
    for (who, mut stranger) in strangers {
        let theirs = stranger.login(resume.clone()).await;
        assert!(!theirs.resumed && theirs.session != welcome.session, "{who}");
    }
    mine.publish("t", run_of(&[event("2")])).await;
    assert_eq!(mine.deliveries(1).await[0].first_delivery, 2, "nobody took its connection, nor its subscription");
    drop(mine);
    let mut again = inside(&rig, &authority, Some(&billing)).await;
    let held = vec![wire::HeldSubscription { subscription: 1, next_delivery: 3 }];
    let welcome = again.login(wire::Hello { held, first_unanswered: 3, ..resume }).await;
    assert!(welcome.resumed);
    assert_eq!(again.settle(1, 1, 2, SettleKind::Ack).await, [(1, 2, 0)]);
}

#[tokio::test]
async fn who_knows_the_producer_id_of_another_caller_neither_fences_it_nor_takes_its_sequences() {
    let authority = Authority::new();
    let (billing, other) = (named(&authority, "billing"), named(&authority, "other"));
    let rig = Rig::with(both(&authority), Arc::new(AllowAll)).await;
    let hello = hello();
    let newer = wire::Hello { producer_epoch: 2, ..hello.clone() };
    let mut mine = inside(&rig, &authority, Some(&billing)).await;
    mine.login(hello.clone()).await;
    mine.publish("t", run_of(&[event("mine")])).await;
    let strangers = [
        ("without a certificate", rig.peer().await),
        ("with another certificate", inside(&rig, &authority, Some(&other)).await),
    ];
    for (who, mut stranger) in strangers {
        let welcome = stranger.login(wire::Hello { first_unanswered: 2, ..newer.clone() }).await;
        assert!(!welcome.producer_known, "{who}");
        let receipt = stranger.publish("t", run_of(&[event(who)])).await.remove(0);
        assert_eq!((receipt.code, receipt.duplicate), (0, false), "{who}: the sequence is not taken");
    }
    let mut again = inside(&rig, &authority, Some(&billing)).await;
    let welcome = again.login(wire::Hello { first_unanswered: 2, ..hello.clone() }).await;
    assert!(welcome.producer_known, "it is neither fenced nor forgotten");
    let receipt = again.publish("t", run_of(&[event("told apart by its sequence")])).await.remove(0);
    assert_eq!((receipt.code, receipt.duplicate), (0, true));
}

/// Notes from where was published.
#[derive(Default)]
struct From(Mutex<Vec<Option<SocketAddr>>>);

impl Authorize for From {
    fn allows(&self, caller: &Caller, action: Action, _: &str) -> bool {
        if action == Action::Publish {
            self.0.lock().unwrap().push(caller.peer);
        }
        true
    }
}

#[tokio::test]
async fn what_a_resumed_session_does_is_done_by_the_connection_that_it_has_now() {
    let seen = Arc::new(From::default());
    let rig = Rig::with(memory(), seen.clone()).await;
    let hello = hello();
    let (first, welcome) = rig.login(hello.clone()).await;
    drop(first);
    let socket = rig.socket().await;
    let here = socket.local_addr().unwrap();
    let mut peer = Peer::over(Box::new(socket)).await;
    let resume = wire::Hello { resume_session: welcome.session, resume_secret: welcome.secret, ..hello };
    assert!(peer.login(resume).await.resumed);
    peer.publish("t", run_of(&[event("1")])).await;
    let mut seen = seen.0.lock().unwrap().clone();
    seen.dedup();
    assert_eq!(seen, [Some(here)]);
}

#[tokio::test]
async fn a_session_over_http_requests_is_only_found_by_the_caller_that_began_it() {
    let authority = Authority::new();
    let billing = named(&authority, "billing");
    let rig = Rig::with(both(&authority), Arc::new(AllowAll)).await;
    let ask = async |client: Option<&Files>, request: String, body: &[u8]| {
        let mut stream = handshake(&rig, &authority.root(), client, &["http/1.1"]).await.unwrap();
        let length = body.len();
        let head =
            format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let begun = ask(Some(&billing), "POST /v1/session".into(), &meshwire_proto::frame::PREFACE).await;
    let id = begun.lines().find_map(|line| line.strip_prefix("meshwire-session: ")).expect(&begun).to_owned();
    for request in [format!("POST /v1/session/{id}?batch=1"), format!("GET /v1/session/{id}?after=0&wait_ms=0")] {
        assert!(ask(None, request.clone(), b"").await.starts_with("HTTP/1.1 404"), "{request}");
        assert!(ask(Some(&billing), request.clone(), b"").await.starts_with("HTTP/1.1 20"), "{request}");
    }
}
