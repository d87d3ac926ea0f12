//! What a peer cannot make the gateway log, and what is logged of its frames when somebody asks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use meshwire::{Connect, Event};
use rustix::process::Signal;

use crate::program::Gateway;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const STRAY_ACKS: usize = 1_000;

/// A PING of HTTP/2 or the answer to one.
fn ping(answer: bool, payload: [u8; 8]) -> Vec<u8> {
    [&[0, 0, 8, 6, u8::from(answer), 0, 0, 0, 0], &payload[..]].concat()
}

#[test]
fn a_thousand_answers_to_pings_that_were_never_sent_give_no_log_line() {
    let gateway = Gateway::start();
    let mut peer = TcpStream::connect(&gateway.address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let strays = ping(true, *b"nobody's").repeat(STRAY_ACKS);
    peer.write_all(&[PREFACE, SETTINGS, &strays, &ping(false, *b"the last")].concat()).unwrap();
    // Our own ping is answered when all before it was read.
    let (answer, mut came) = (ping(true, *b"the last"), Vec::new());
    while !came.windows(answer.len()).any(|frame| frame == answer) {
        let mut bytes = [0; 1024];
        let count = peer.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "the connection ended: {came:?}");
        came.extend_from_slice(&bytes[..count]);
    }
    // One that does not answer the gateway's farewell is cut off, which is said.
    drop(peer);
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<&str> = ended.err.lines().collect();
    assert!(lines.len() < 10 && !lines.iter().any(|line| line.contains("WARN")), "{lines:?}");
}

/// Frames of a session that publishes once.
const FRAMES: [(&str, &str); 5] =
    [("read", "hello"), ("written", "welcome"), ("read", "publish"), ("written", "receipts"), ("read", "goodbye")];

#[tokio::test]
async fn each_frame_of_a_session_is_a_line_whatever_carries_it_if_its_target_is_asked_for() {
    for (level, told) in [("error,meshwire::frames=trace", true), ("debug", false)] {
        let gateway = Gateway::with(&["--memory", "--log-level", level]);
        for scheme in ["tcp", "grpc", "ws", "http"] {
            let mesh = Connect::new(&format!("{scheme}://{}", gateway.address)).await.unwrap();
            mesh.publish("t", Event::text("t", "what nobody else is to read")).await.unwrap();
            mesh.close().await.unwrap();
        }
        gateway.program.signal(Signal::TERM);
        let ended = gateway.program.end();
        for carrier in ["native", "grpc", "websocket", "http"] {
            for (way, frame) in FRAMES {
                let (begin, end) =
                    (format!(" TRACE frame {way} "), format!("carrier=\"{carrier}\" frame=\"{frame}\" bytes="));
                let found = ended.err.lines().any(|line| line.contains(&begin) && line.contains(&end));
                assert_eq!(found, told, "{level}: {begin}{end} in {}", ended.err);
            }
        }
        assert!(!ended.err.contains("nobody else"), "{}", ended.err);
    }
}
