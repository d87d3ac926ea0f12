//! Programs that end with an event in hand: what they cannot handle becomes a dead letter, and holds up nothing.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use meshwire::{Delivery, Error, GroupSettings, Mesh, Subscription};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::program::{Gateway, Program};

const PATIENCE: Duration = Duration::from_secs(20);
const FAILURES: u32 = 3;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn join(url: &str) -> (Mesh, Subscription) {
    let soon = Duration::from_millis(10);
    let mesh = meshwire::connect(url).await.unwrap();
    let settings = GroupSettings::new().max_failures(FAILURES).backoff(soon, soon);
    let work = mesh.subscribe("work").group("g").settings(settings).await.unwrap();
    (mesh, work)
}

/// A program as a beginner writes it; `true` when it came to its end.
fn program(url: &str, handle: impl Fn(&Delivery) -> Result<(), Error>) -> bool {
    let runtime = runtime();
    let main = async {
        let (_mesh, mut work) = join(url).await;
        while let Ok(delivery) = timeout(Duration::from_secs(1), work.try_next()).await {
            let delivery = delivery?.unwrap();
            handle(&delivery)?;
            delivery.ack();
        }
        Ok::<(), Error>(())
    };
    // As `#[tokio::main]` does it: a panic unwinds through the runtime.
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(main))).is_ok_and(|ended| ended.is_ok())
}

fn a_poisoned_program(handle: impl Fn(&Delivery) -> Result<(), Error>, error: &str) {
    let directory = tempfile::tempdir().unwrap();
    for gateway in [Gateway::start(), Gateway::on(directory.path())] {
        gateway.publish("work", &["poison", "1", "2", "3"]);
        let mut ends = 0;
        while !program(&gateway.url, &handle) {
            ends += 1;
            assert!(ends <= FAILURES, "the program ends for ever");
        }
        runtime().block_on(async {
            let mesh = meshwire::connect(&gateway.url).await.unwrap();
            let group = mesh.groups("work").list().await.unwrap().remove(0);
            assert_eq!((ends, group.lag, group.dead_letters), (FAILURES, 0, 1), "those behind it are done");
            let letters = gateway.run(&["dead-letters", "list", "work", "--json"]);
            assert!(letters.out.contains(error) && letters.out.contains("poison"), "{letters:?}");
        });
    }
}

#[test]
fn an_event_whose_handling_ends_the_program_by_an_error_becomes_a_dead_letter() {
    let handle = |d: &Delivery| if d.id() == "poison" { d.json::<u32>().map(drop) } else { Ok(()) };
    a_poisoned_program(handle, "dropped without being settled");
}

#[test]
fn an_event_whose_handling_panics_becomes_a_dead_letter() {
    let handle = |d: &Delivery| if d.id() == "poison" { panic!("a defect of the program") } else { Ok(()) };
    a_poisoned_program(handle, "the program panicked");
}

#[test]
fn who_leaves_its_loop_with_nothing_in_hand_fails_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for gateway in [Gateway::start(), Gateway::on(directory.path())] {
        gateway.publish("work", &["1", "2", "3", "4"]);
        runtime().block_on(async {
            for round in 1..=4 {
                let (_mesh, mut work) = join(&gateway.url).await;
                let delivery = timeout(PATIENCE, work.try_next()).await.unwrap().unwrap().unwrap();
                assert_eq!(delivery.id(), round.to_string());
                delivery.ack_confirmed().await.unwrap();
            }
            let (mesh, _work) = join(&gateway.url).await;
            let group = mesh.groups("work").list().await.unwrap().remove(0);
            assert_eq!((group.lag, group.dead_letters, group.failing), (0, 0, 0));
        });
    }
}

const URL: &str = "MESHWIRE_BILLS";
const NAME: &str = "dropped::a_program_of_ten_lines_that_is_started_again_and_again_gets_past_what_it_cannot_handle";

/// The program of the README.
async fn bill_orders(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mesh = meshwire::connect(url).await?;
    let mut orders = mesh.subscribe("orders").group("billing").await?;
    while let Some(order) = orders.try_next().await? {
        let number: u32 = order.id().parse()?;
        println!("bill {number}");
        order.ack();
    }
    Ok(())
}

fn billed(lines: &[impl AsRef<str>]) -> impl Iterator<Item = String> {
    // The harness of the tests prints lines of its own, and may have begun one of these.
    lines.iter().filter_map(|line| Some(line.as_ref().rsplit_once("bill ")?.1.to_owned()))
}

/// This test is the program as well: in a process of its own, where it finds [`URL`].
#[test]
fn a_program_of_ten_lines_that_is_started_again_and_again_gets_past_what_it_cannot_handle() {
    if let Ok(url) = std::env::var(URL) {
        let ended = runtime().block_on(bill_orders(&url));
        // The runtime is gone, as when `main` returns.
        std::process::exit(i32::from(ended.is_err()));
    }
    let directory = tempfile::tempdir().unwrap();
    for gateway in [Gateway::start(), Gateway::on(directory.path())] {
        gateway.publish("orders", &["poison", "1", "2", "3"]);
        let soon = Duration::from_millis(300);
        let settings = GroupSettings::new().backoff(soon, soon);
        let groups = async || meshwire::connect(&gateway.url).await.unwrap().groups("orders");
        runtime().block_on(async { groups().await.create("billing", settings, None).await.unwrap() });
        let start = || {
            let mut program = Command::new(std::env::current_exe().unwrap());
            program.env(URL, &gateway.url).args([NAME, "--exact", "--nocapture"]);
            Program::spawn(program)
        };
        let mut done = BTreeSet::new();
        for _ in 0..5 {
            let ended = start().end();
            assert_eq!(ended.code, Some(1), "{ended:?}");
            done.extend(billed(&ended.lines()));
        }
        let mut last = start();
        while done.len() < 3 {
            done.extend(billed(&[last.line()]));
        }
        let group = runtime().block_on(async { groups().await.get("billing").await.unwrap() });
        assert_eq!(group.dead_letters, 1, "{group:?}");
    }
}
