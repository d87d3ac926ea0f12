//! What survives: a gateway killed and started again on its directory.

use crate::program::Gateway;

#[test]
fn acknowledged_events_and_acks_survive_a_kill_and_the_log_says_what_was_found() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("orders", &["a", "b", "c"]);
    let first = gateway.run(&["sub", "orders", "--group", "g", "--count", "1", "--json"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    gateway.program.kill();
    let mut again = Gateway::on(directory.path());
    let said = again.program.wait_for_log("recovered");
    assert!(said.contains("recovered 3 events in ") && said.contains(" ms; "), "{said}");
    assert!(said.contains("bytes of a torn tail were cut"), "{said}");
    assert_eq!(again.all_ids("orders"), ["a", "b", "c"]);
    assert_eq!(again.group_ids("orders", "g"), ["b", "c"]);
}

#[test]
fn its_first_log_lines_name_version_and_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::on(directory.path());
    let said = gateway.program.wait_for_log("data directory");
    let expected = format!("meshwire {}, data directory {}", env!("CARGO_PKG_VERSION"), directory.path().display());
    assert!(said.ends_with(&expected), "{said}");
}

#[test]
fn a_publisher_outlives_a_restart_of_the_gateway_and_nothing_is_kept_twice() {
    use std::io::Write as _;
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let address = gateway.address.clone();
    let mut publisher = gateway.begin(&["pub", "orders", "--file", "-", "--json"]);
    let mut input = publisher.input.take().unwrap();
    writeln!(input, "{{\"id\":\"a\"}}").unwrap();
    publisher.line();
    gateway.program.kill();
    publisher.wait_for_log("connection");
    writeln!(input, "{{\"id\":\"b\"}}\n{{\"id\":\"c\"}}").unwrap();
    drop(input);
    let directory = directory.path().to_str().unwrap();
    let again = Gateway::spawn(crate::program::meshwire(&["serve", "--listen", &address, "--data-dir", directory]));
    let ended = publisher.end();
    assert_eq!((ended.code, ended.lines().len()), (Some(0), 3), "{}", ended.err);
    assert_eq!(again.all_ids("orders"), ["a", "b", "c"]);
}
