//! A real process that may not write more: a limit on the size of its files.

use meshwire::{ErrorKind, Event};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::program::Gateway;

/// The first segment fits, the next one does not.
const LIMIT: u64 = 5 << 20;

/// A gateway whose soft limit holds from its start on.
fn limited(directory: &std::path::Path) -> Gateway {
    let mut shell = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_meshwire");
    // The unit of ulimit is 512 bytes.
    let script = format!("ulimit -S -f {}; exec {program} serve --listen 127.0.0.1:0 --data-dir \"$0\"", LIMIT / 512);
    shell.env_clear().args(["-c", &script]).arg(directory);
    Gateway::spawn(shell)
}

fn lift_limit(gateway: &Gateway) {
    let id = Pid::from_raw(gateway.program.id().try_into().unwrap());
    prlimit(id, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_answered_by_name_and_ends_by_itself_when_space_returns() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = limited(directory.path());
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let event = |n: u32| Event::bytes("big", vec![7; 100_000]).id(n.to_string()).source("/full");
    let (mut kept, mut refused) = (0, None);
    for n in 0..2000 {
        match mesh.publish("big", event(n)).await {
            Ok(_) => kept += 1,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("the disk fills up");
    assert_eq!(refused.kind(), ErrorKind::DiskFull, "{refused}");
    assert!(refused.to_string().contains("big"), "it names the topic that holds the oldest segment: {refused}");
    assert!(kept >= 10, "{kept}");
    let said = gateway.program.wait_for_log(" WARN ");
    assert!(said.contains("publishes are refused until there is space") && said.contains("make room"), "{said}");

    // It serves on: what was kept can be read, and memory topics can be written.
    assert_eq!(gateway.all_ids("big").len(), kept);
    let created = gateway.run(&["topics", "create", "small", "--durability", "memory"]);
    assert_eq!(created.code, Some(0), "{}", created.err);
    mesh.publish("small", Event::text("t", "x")).await.unwrap();

    lift_limit(&gateway);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut tries = tokio::time::interval(std::time::Duration::from_millis(100));
    while mesh.publish("big", event(9999)).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "space has returned");
        tries.tick().await;
    }
    gateway.program.wait_for_log("the disk has space again");
    assert_eq!(gateway.all_ids("big").len(), kept + 1);
}
