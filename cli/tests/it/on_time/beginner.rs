//! S82: ten lines without a setting survive their own crash, duplicates and a poison event.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use super::*;
use crate::program::{Gateway, Program};

#[derive(serde::Deserialize)]
struct Order {
    number: u64,
}

/// The program of a beginner.
async fn ten_lines(url: &str) -> meshwire::Result<()> {
    let mesh = meshwire::connect(url).await?;
    let handle = async |delivery: &Delivery| {
        let order: Order = delivery.json()?;
        println!("begin {}", order.number);
        tokio::task::spawn_blocking(work).await.unwrap();
        println!("bill {}", order.number);
        Ok::<(), meshwire::Error>(())
    };
    mesh.consume("orders").group("billing").run(handle).await
}

/// Is done when the other side says so.
fn work() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

const URL: &str = "MESHWIRE_TEN_LINES";

/// This test is the program as well: in a process of its own, where it finds [`URL`].
#[test]
fn the_ten_lines_handle_what_comes_until_their_gateway_is_gone() {
    if let Ok(url) = std::env::var(URL) {
        return runtime().block_on(ten_lines(&url)).unwrap();
    }
    let gateway = Gateway::start();
    let mut program = begin(&gateway);
    gateway.run(&["pub", "orders", "--data", "{\"number\":1}"]);
    assert_eq!(words(&mut program), ("begin".to_owned(), 1));
    let_work(&mut program);
    assert_eq!(words(&mut program), ("bill".to_owned(), 1));
}

fn begin(gateway: &Gateway) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "on_time::beginner::the_ten_lines_handle_what_comes_until_their_gateway_is_gone";
    command.env(URL, &gateway.url).args([name, "--exact", "--nocapture"]);
    Program::spawn(command)
}

/// The next line of the program that is not one of the test's own.
fn words(program: &mut Program) -> (String, u64) {
    loop {
        let line = program.line();
        // The harness may have begun the line with the name of the test.
        let mut words = line.split_whitespace().rev();
        if let (Some(Ok(number)), Some(verb @ ("begin" | "bill"))) = (words.next().map(str::parse), words.next()) {
            return (verb.to_owned(), number);
        }
    }
}

fn let_work(program: &mut Program) {
    program.input.as_mut().unwrap().write_all(b"\n").unwrap();
}

#[test]
fn s82_ten_lines_survive_a_crash_duplicates_and_a_poison_event_without_settings() {
    let directory = tempfile::tempdir().unwrap();
    survive(&["--data-dir", directory.path().to_str().unwrap()]);
}

#[test]
fn s82_ten_lines_survive_a_crash_duplicates_and_a_poison_event_without_settings_in_memory() {
    survive(&["--memory"]);
}

fn survive(store: &[&str]) {
    const ORDERS: u64 = 40;
    // With the defaults of the gateway what a killed program held comes after ten seconds.
    let quick: &[&str] = if is_full() { &[] } else { &["--resume-window", "1s"] };
    let gateway = Gateway::with(&[store, quick].concat());
    let mut program = begin(&gateway);
    let order =
        |n: u64| Event::json("order", &BTreeMap::from([("number", n)])).unwrap().id(n.to_string()).source("/shop");
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        for n in 1..=ORDERS {
            mesh.publish("orders", order(n)).await.unwrap();
            if n == 5 {
                let poison = Event::json("order", "no order").unwrap().id("poison").source("/shop");
                mesh.publish("orders", poison).await.unwrap();
                assert!(mesh.publish("orders", order(3)).await.unwrap().duplicate, "told apart by its id");
            }
        }
        let mut times: BTreeMap<(String, u64), u32> = BTreeMap::new();
        while !times.contains_key(&("begin".to_owned(), 10)) {
            let said = words(&mut program);
            if said.0 == "begin" && said.1 != 10 {
                let_work(&mut program);
            }
            *times.entry(said).or_default() += 1;
        }
        let group = async || mesh.groups("orders").list().await.unwrap().remove(0);
        // The poison event and the tenth order are left of those that came.
        let settled = async { while group().await.lag > ORDERS + 1 - 9 {} };
        timeout(PATIENCE, settled).await.expect("nine are settled");
        program.kill();
        let mut program = begin(&gateway);
        let billed = |times: &BTreeMap<(String, u64), u32>| times.keys().filter(|(verb, _)| verb == "bill").count();
        while (billed(&times) as u64) < ORDERS {
            let said = words(&mut program);
            if said.0 == "begin" {
                let_work(&mut program);
            }
            *times.entry(said).or_default() += 1;
        }
        // Only the one in hand when it crashed was begun twice.
        let again: Vec<_> = times.iter().filter(|(_, count)| **count > 1).map(|(said, _)| said.clone()).collect();
        assert_eq!(again, [("begin".to_owned(), 10)]);
        // The poison event alone is left; with the defaults it is a dead letter after five attempts.
        let is_over = |group: &meshwire::Group| match is_full() {
            true => group.dead_letters == 1 && group.lag == 0,
            false => group.dead_letters + group.lag == 1,
        };
        let over = timeout(PATIENCE, async { while !is_over(&group().await) {} }).await;
        assert!(over.is_ok(), "{:?}", group().await);
    });
}
