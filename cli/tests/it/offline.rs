//! Publishing without a gateway, by way of a file.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::program::{Gateway, Program, meshwire, run};

/// An address where nobody listens.
fn nowhere() -> String {
    format!("mesh://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("{{\"id\":\"e{n}\",\"source\":\"/s\",\"data\":{n}}}\n")).collect()
}

/// Waits until the file holds this.
fn wait_for(program: &mut Program, file: &Path, part: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read(file).is_ok_and(|bytes| bytes.windows(part.len()).any(|window| window == part.as_bytes())) {
        assert!(Instant::now() < deadline, "{part} never was in the file");
        assert!(program.stays_quiet(Duration::from_millis(10)), "without a gateway there is no receipt");
    }
}

#[test]
fn without_a_gateway_events_wait_in_the_file_and_the_next_command_publishes_them_first() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buffer");
    let file = file.to_str().unwrap();
    let publish = |server: &str, id: &str| {
        run(&["pub", "orders", "--data", "x", "--id", id, "--offline-file", file, "--server", server])
    };
    let ended = publish(&nowhere(), "a");
    assert_eq!((ended.code, ended.out), (Some(0), format!("published 0, 1 waits in {file}\n")), "{}", ended.err);
    let ended = publish(&nowhere(), "b");
    assert_eq!((ended.code, ended.out), (Some(0), format!("published 0, 2 wait in {file}\n")), "{}", ended.err);
    assert!(!ended.err.contains("stay in"), "told once: {}", ended.err);
    let gateway = Gateway::start();
    let ended = publish(&gateway.url, "c");
    let said = "published 3 (2 of earlier commands)\n";
    assert_eq!((ended.code, &*ended.out, ended.notes().len()), (Some(0), said, 0), "{}", ended.err);
    assert_eq!(ended.err.matches("published first").count(), 1, "{}", ended.err);
    assert_eq!(gateway.all_ids("orders"), ["a", "b", "c"]);
}

#[test]
fn s52_what_a_killed_publisher_had_in_its_file_arrives_in_order_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let (file, data) = (directory.path().join("buffer"), directory.path().join("data"));
    let gateway = Gateway::on(&data);
    let address = gateway.address.clone();
    let args = ["pub", "orders", "--file", "-", "--json", "--offline-file", file.to_str().unwrap()];
    let mut publisher = gateway.begin(&args);
    let mut input = publisher.input.take().unwrap();
    input.write_all(lines(0..300).as_bytes()).unwrap();
    // Killed at an event that may have no receipt yet, and others that have.
    for _ in 0..200 {
        publisher.line();
    }
    gateway.program.kill();
    while publisher.line_within(Duration::from_millis(100)).is_some() {}
    input.write_all(lines(300..500).as_bytes()).unwrap();
    wait_for(&mut publisher, &file, "e499");
    publisher.kill();
    let serve = ["serve", "--listen", &address, "--data-dir", data.to_str().unwrap()];
    let gateway = Gateway::spawn(meshwire(&serve));
    let ended = gateway.run_with(&args, &lines(500..510));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let ids: Vec<String> = (0..510).map(|n| format!("e{n}")).collect();
    assert_eq!(gateway.all_ids("orders"), ids);
}

#[test]
fn a_file_that_is_in_use_or_something_else_is_an_error_before_anything_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buffer");
    std::fs::write(&file, "a letter").unwrap();
    let args = ["pub", "orders", "--data", "x", "--offline-file", file.to_str().unwrap()];
    let ended = run(&args);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{}", ended.err);
    assert!(ended.err.contains("is no offline file"), "{}", ended.err);
    let elsewhere = directory.path().join("absent").join("buffer");
    let ended = run(&["pub", "orders", "--data", "x", "--offline-file", elsewhere.to_str().unwrap()]);
    assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{}", ended.err);
    assert!(ended.err.contains("cannot be opened: ") && ended.err.contains("(INVALID"), "{}", ended.err);
    std::fs::remove_file(&file).unwrap();
    let url = nowhere();
    let mut publisher = Program::start(&["pub", "orders", "--file", "-", "--server", &url, args[4], args[5]]);
    publisher.input.as_mut().unwrap().write_all(lines(0..1).as_bytes()).unwrap();
    wait_for(&mut publisher, &file, "e0");
    let ended = run(&args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("in use by another client"), "{ended:?}");
}
