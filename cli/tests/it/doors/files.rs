//! A gateway that has no files for more connections.

use std::process::Command;
use std::time::Duration;

use meshwire::{Connect, Event, Mesh};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use crate::program::{Gateway, meshwire};

/// Events of 512 KiB until the log needs a third segment: one has 20 MiB there.
const LARGE: usize = 90;

/// How long somebody who logs in may wait for a connection that makes room.
const SOON: Duration = Duration::from_secs(2);

async fn publish(mesh: &Mesh, id: usize) {
    let event = Event::text("t", "x").id(id.to_string());
    timeout(PATIENCE, mesh.publish("t", event)).await.expect("a receipt").unwrap();
}

#[tokio::test]
async fn a_gateway_without_files_for_more_connections_says_so_once_stays_up_and_lets_in_who_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let served =
        meshwire(&["serve", "--listen", "127.0.0.1:0", "--login-timeout", "60s", "--max-disk", "160MiB", "--data-dir"]);
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).arg(served.get_program());
    command.args(served.get_args()).arg(folder.path());
    let gateway = Gateway::spawn(command);
    let mesh = Connect::new(&gateway.url).await.unwrap();
    publish(&mesh, 0).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(&gateway.address).await.unwrap());
    }
    // The oldest of them make room for those who come later, and the log has files for new segments.
    for stream in &mut flood[..200 - 32] {
        assert!(matches!(timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it ends"), Ok(0) | Err(_)));
    }
    for id in 1..LARGE {
        let event = Event::bytes("t", vec![0; 512 << 10]).id(id.to_string());
        timeout(PATIENCE, mesh.publish("t", event)).await.expect("a receipt").unwrap();
    }
    let another = timeout(SOON, Connect::new(&gateway.url).into_future()).await.expect("in time").unwrap();
    publish(&another, LARGE).await;
    drop(flood);
    another.close().await.unwrap();
    mesh.close().await.unwrap();
    gateway.program.signal(rustix::process::Signal::TERM);
    let ended = gateway.program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.err.matches("made room for others").count(), 1, "{}", ended.err);
    assert!(ended.err.contains("ulimit -n"), "{}", ended.err);
}
