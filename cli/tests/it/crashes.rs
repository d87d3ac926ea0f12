//! Consumers that are killed: what they held comes to others.
//!
//! `MESHWIRE_CRASHES` says how many are killed; 10 when it is absent.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use meshwire::{Mesh, Subscription};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::program::{Gateway, Program, id};

const MEMBERS: usize = 3;

fn crashes() -> usize {
    std::env::var("MESHWIRE_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// Longer than the patience of the tests: whoever waits for it fails.
const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn join(url: &str) -> (Mesh, Subscription) {
    let mesh = meshwire::connect(url).await.unwrap();
    let work = mesh.subscribe("work").group("g").ack_wait(LONG).await.unwrap();
    (mesh, work)
}

#[test]
fn what_a_program_held_that_panics_comes_to_others_at_once() {
    let gateway = Gateway::with(&["--memory", "--resume-window", "10m"]);
    gateway.publish("work", &["1", "2"]);
    let mut attempts = Vec::new();
    for _ in 0..20 {
        // As `#[tokio::main]` does it: the panic unwinds through the runtime.
        let program = || {
            let runtime = runtime();
            runtime.block_on(async {
                let (_mesh, mut work) = join(&gateway.url).await;
                let mut next = async || timeout(PATIENCE, work.try_next()).await.unwrap().unwrap().unwrap();
                let held = [next().await, next().await];
                attempts.push(held.each_ref().map(|d| d.attempt()));
                panic!("a defect of the program");
            });
        };
        catch_unwind(AssertUnwindSafe(program)).unwrap_err();
    }
    assert_eq!(attempts, (1..=20).map(|n| [n, n]).collect::<Vec<_>>());
}

#[test]
fn nothing_is_lost_when_consumers_are_killed_at_random() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let gateway = Gateway::with(&["--data-dir", data, "--resume-window", "100ms"]);
    let member = || gateway.begin(&["sub", "work", "--group", "g", "--json"]);
    let mut members: Vec<Program> = (0..MEMBERS).map(|_| member()).collect();
    let (mut got, mut published) = (BTreeSet::new(), 0);
    for round in 0..crashes() {
        let ids: Vec<String> = (published..published + 50).map(|n| n.to_string()).collect();
        gateway.publish("work", &ids.iter().map(String::as_str).collect::<Vec<_>>());
        published += 50;
        let victim = round % MEMBERS;
        // It dies after a few lines, with others taken and not acked.
        for _ in 0..round % 7 {
            got.insert(id(&members[victim].line()));
        }
        let killed = std::mem::replace(&mut members[victim], member());
        got.extend(killed.kill().iter().map(|line| id(line)));
    }
    // An event that was acked was printed before: whatever is missing must still come.
    let deadline = Instant::now() + Duration::from_secs(60);
    while got.len() < published {
        assert!(Instant::now() < deadline, "{} of {published} events came", got.len());
        for program in &mut members {
            while let Some(line) = program.line_within(Duration::from_millis(10)) {
                got.insert(id(&line));
            }
        }
    }
}
