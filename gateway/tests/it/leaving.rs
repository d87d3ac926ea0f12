//! How a connection ends: who goes on sending hears why, and nobody waits for one that is lost.

use std::net::SocketAddr;
use std::sync::Arc;

use meshwire_gateway::ingress::native::NativeIngress;
use meshwire_gateway::ingress::{Doors, Listener, ListenerConfig, Shutdown};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::machine::{Line, Machine};
use crate::requests::{request, serve};
use crate::rig::{PATIENCE, Peer, Rig, earliest, hello, memory};

#[tokio::test]
async fn who_sends_a_frame_over_the_limit_hears_that_though_all_of_it_is_on_its_way() {
    let rig = Rig::start().await;
    let limit = memory().max_frame_bytes;
    for (mut peer, bytes) in [(rig.peer().await, 900 << 10), (rig.session().await, limit + 1)] {
        let mut frame = bytes.to_le_bytes().to_vec();
        frame.resize(frame.len() + bytes as usize, 0);
        timeout(PATIENCE, peer.stream.write_all(&frame)).await.unwrap().expect("it is not reset");
        assert_eq!(peer.error().await.code, ErrorKind::TooLarge.number());
        assert_eq!(timeout(PATIENCE, peer.stream.read(&mut [0])).await.unwrap().expect("nor later"), 0);
    }
}

/// Positions of all deliveries among these.
fn positions(frames: Vec<ServerFrame>) -> Vec<u64> {
    let runs = frames.into_iter().flat_map(|f| if let ServerFrame::Deliver(d) = f { d.runs } else { Vec::new() });
    runs.flat_map(|run| run.first_position..run.first_position + u64::from(run.events.count())).collect()
}

fn subscribe(machine: &Machine, line: &Line, max_events: u32) {
    line.send(&ClientFrame::Subscribe(wire::Subscribe { max_events, ..earliest(1, "t", "g") }));
    machine.run_disk();
    assert!(line.frames().iter().any(|frame| matches!(frame, ServerFrame::Subscribed(_))));
}

#[test]
fn while_a_lost_session_waits_to_end_others_get_what_comes_and_what_it_did_not_send_comes_with_its_resume() {
    let machine = Machine::start();
    let (publisher, other) = (machine.session(), machine.session());
    let hello = hello();
    let (lost, welcome) = machine.login(hello.clone());
    subscribe(&machine, &lost, 100);
    for sequence in 1..=2 {
        publisher.publish(sequence, "t");
    }
    machine.run_disk();
    let waiting = machine.waiting();
    lost.leave();
    assert!(machine.waiting() < waiting, "what it had takes up no memory");
    subscribe(&machine, &other, 100);
    for sequence in 3..=6 {
        publisher.publish(sequence, "t");
        machine.run_disk();
    }
    assert_eq!(positions(other.frames()), [3, 4, 5, 6]);
    lost.cut();
    let resume = wire::Hello { resume_session: welcome.session, resume_secret: welcome.secret, ..hello };
    let (resumed, again) = machine.login(resume);
    assert!(again.resumed);
    machine.run_disk();
    let mut come = positions(resumed.frames());
    come.extend(positions(other.frames()));
    come.sort_unstable();
    assert_eq!(come, [1, 2], "what never went out is anyone's of the group, once");
}

/// Serves native sessions of this machine, until the sender is dropped.
async fn listening(machine: &Machine) -> (SocketAddr, watch::Sender<Shutdown>) {
    let config = ListenerConfig { login_timeout: PATIENCE, heartbeat: PATIENCE, accept_rate: 100_000 };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
    let address = listener.address().unwrap();
    let (running, shutdown) = watch::channel(Shutdown::Running);
    let native = machine.native();
    let places = native.places().clone();
    let ingresses: Vec<Arc<dyn meshwire_gateway::ingress::Ingress>> = vec![Arc::new(NativeIngress(native))];
    let doors = Doors { ingresses, tls: None, plain: true, counts: Arc::default(), places };
    tokio::spawn(listener.serve(doors, shutdown));
    (address, running)
}

async fn session(address: SocketAddr) -> Peer {
    let mut peer = Peer::over(Box::new(TcpStream::connect(address).await.unwrap())).await;
    peer.login(hello()).await;
    peer
}

#[tokio::test]
async fn a_session_that_was_told_why_it_ends_has_its_place_until_it_hangs_up_or_a_newcomer_needs_it() {
    let machine = Machine::with(|config| config.max_connections = 2);
    let places = machine.native().places().clone();
    let (address, _running) = listening(&machine).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let mut peer = session(address).await;
        peer.stream.write_all(&[2, 0, 0, 0, 0x0a, 0x7f]).await.unwrap();
        assert_eq!(peer.error().await.code, ErrorKind::Invalid.number());
        assert_eq!(peer.next().await, None);
        told.push(peer);
    }
    let _ = places.peak();
    assert_eq!(places.peak(), 2, "each is an open file");
    let _others = (session(address).await, session(address).await);
    assert_eq!(places.peak(), 2);
    let most = Peer::over(Box::new(TcpStream::connect(address).await.unwrap())).await.error().await;
    assert_eq!(most.code, ErrorKind::Busy.number());
}

#[tokio::test]
async fn a_responder_that_is_lost_among_many_is_asked_nothing_while_its_session_waits_to_end() {
    // So many need not wait for their turn. The next one waits for a second, the one behind it for two.
    let burst = 64;
    let machine = Machine::with(|config| config.leave_rate = 1);
    let native = machine.native();
    let (address, _running) = listening(&machine).await;
    let (mut responder, mut requester) = (session(address).await, session(address).await);
    responder.subscribe(serve(1, "quote")).await;
    requester.ask(request(1, "quote")).await;
    responder.asked().await;
    let mut others = Vec::new();
    for _ in 0..=burst {
        others.push(session(address).await);
    }
    drop(others);
    let most_ended = async {
        while native.suspended() < burst {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, most_ended).await.unwrap();
    drop(responder);
    assert_eq!(requester.replied().await.code, ErrorKind::ResponderLost.number());
    assert!(native.suspended() < burst + 2, "its turn has not come");
    requester.ask(request(2, "quote")).await;
    assert_eq!(requester.replied().await.code, ErrorKind::NoResponders.number());
    assert!(native.suspended() < burst + 2, "nor now");
    // Each that waits is an open file.
    let _ = native.places().peak();
    let taken = native.places().peak();
    assert!(taken + native.suspended() >= burst + 3, "{taken} places are taken");
}
