//! `meshwire serve`: being ready, and refusing to be.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;

use crate::program::{Ended, Gateway, Program, meshwire, run};

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn refused(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{}", ended.err);
    let told = ended.notes();
    assert_eq!(told.len(), 1, "one line: {told:?}");
    assert!(told[0].starts_with("error: "), "{told:?}");
    for part in parts {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
}

#[test]
fn it_prints_one_line_when_it_is_ready_and_both_signals_end_it_with_exit_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let gateway = Gateway::start();
        assert!(gateway.address.starts_with("127.0.0.1:") && !gateway.address.ends_with(":0"), "{}", gateway.address);
        gateway.publish("orders", &["a"]);
        gateway.program.signal(signal);
        let ended = gateway.program.end();
        assert_eq!((ended.code, ended.out), (Some(0), format!("listening {}\n", gateway.address)), "{}", ended.err);
    }
}

#[test]
fn it_stops_cleanly_with_a_subscriber_connected() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["a"]);
    let mut subscriber = gateway.begin(&["sub", "orders", "--group", "g", "--json"]);
    subscriber.line();
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.end().code, Some(0));
    subscriber.signal(Signal::INT);
    assert_eq!(subscriber.end().code, Some(0));
}

#[test]
fn a_port_in_use_is_one_line_that_names_it_and_the_flag() {
    let gateway = Gateway::start();
    let ended = run(&["serve", "--memory", "--listen", &gateway.address]);
    refused(&ended, 1, &[&gateway.address, "--listen"]);
    gateway.publish("orders", &["a"]);
}

#[test]
fn a_directory_in_use_is_one_line_that_names_it_and_the_other_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", directory.path().to_str().unwrap()]);
    refused(&ended, 1, &[directory.path().to_str().unwrap(), "in use", &gateway.program.id().to_string()]);
    gateway.publish("orders", &["a"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_one_line_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "file", "");
    for path in [file.clone(), format!("{file}/below")] {
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &path]);
        refused(&ended, 2, &[&path, "cannot be used", "--data-dir"]);
    }
}

#[test]
fn a_directory_of_a_newer_format_is_refused_by_name_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let newer = "meshwire log\nversion 2\nwhatever comes then\n";
    let file = write(directory.path(), "FORMAT", newer);
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", directory.path().to_str().unwrap()]);
    refused(&ended, 2, &["newer than format 1"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), newer);
}

#[test]
fn a_host_name_is_listened_on_by_its_address() {
    let gateway = Gateway::spawn(meshwire(&["serve", "--memory", "--listen", "localhost:0"]));
    let (host, port) = gateway.address.rsplit_once(':').unwrap();
    assert!(["127.0.0.1", "[::1]"].contains(&host) && port != "0", "{}", gateway.address);
    gateway.publish("orders", &["a"]);
}

#[test]
fn an_address_for_everybody_needs_to_be_said_twice() {
    let ended = run(&["serve", "--memory", "--listen", "0.0.0.0:0"]);
    refused(&ended, 2, &["0.0.0.0:0", "--allow-anonymous"]);
    Gateway::spawn(meshwire(&["serve", "--memory", "--listen", "0.0.0.0:0", "--allow-anonymous"]));
}

#[test]
fn a_max_disk_with_which_the_log_could_not_go_on_is_refused_and_the_least_one_takes_the_largest_event() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data").to_str().unwrap().to_owned();
    let args = |max_disk| ["serve", "--listen", "127.0.0.1:0", "--data-dir", &path, "--max-disk", max_disk];
    refused(&run(&args("18MiB")), 2, &["max_disk is 18874368 bytes", "19 MiB are needed", "--max-disk"]);
    assert!(!Path::new(&path).exists(), "nothing was begun");
    let gateway = Gateway::spawn(meshwire(&args("19MiB")));
    let data = "x".repeat((4 << 20) - 2);
    let ended = gateway.run_with(&["pub", "orders", "--file", "-"], &format!("{{\"id\":\"a\",\"data\":\"{data}\"}}\n"));
    assert_eq!((ended.code, &*ended.out), (Some(0), "published 1\n"), "{}", ended.err);
}

#[test]
fn an_unknown_key_is_an_error_that_names_file_line_and_the_nearest_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "meshwire.toml", "memory = true\n\nmax_topcs = 5\n");
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--config", &file]);
    refused(&ended, 2, &[&format!("{file}:3: "), "\"max_topcs\"", "did you mean \"max_topics\""]);
}

#[test]
fn a_variable_that_nobody_reads_is_a_warning_with_the_nearest_name_and_those_of_clients_are_none() {
    let mut command = meshwire(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    for (name, value) in [
        ("MESHWIRE_RETENTON", "1h"),
        ("MESHWIRE_PORT", "tcp://10.0.0.1:7400"),
        ("MESHWIRE_URL", "mesh://127.0.0.1:1"),
        ("MESHWIRE_BIN", "meshwire"),
        ("MESHWIRE_HEARTBEAT", "5s"),
    ] {
        command.env(name, value);
    }
    let gateway = Gateway::spawn(command);
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.end();
    let warnings: Vec<&str> = ended.err.lines().filter(|l| l.contains(" WARN ")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("MESHWIRE_PORT ") && warnings[0].contains("serve --help"), "{warnings:?}");
    assert!(warnings[1].contains("MESHWIRE_RETENTON ") && warnings[1].ends_with("did you mean MESHWIRE_RETENTION?"));
}

#[test]
fn every_command_warns_of_a_variable_that_nobody_reads() {
    for args in [&["pub", "orders", "--data", "x"][..], &["sub", "orders"], &["topics", "list"]] {
        let mut command = meshwire(args);
        command.env("MESHWIRE_URI", "mesh://127.0.0.1:7401").env("MESHWIRE_URL", "mesh://127.0.0.1:1");
        let ended = Program::spawn(command).end();
        assert_eq!(ended.code, Some(3), "{args:?}: {}", ended.err);
        let warnings: Vec<&str> = ended.err.lines().filter(|l| l.contains(" WARN ")).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("MESHWIRE_URI ") && warnings[0].ends_with("did you mean MESHWIRE_URL?"));
    }
}

#[test]
fn wrong_values_of_all_layers_are_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "meshwire.toml", "retention = 7\n");
    let mut command = meshwire(&["serve", "--config", &file, "--heartbeat", "1ms"]);
    command.env("MESHWIRE_CACHE_BYTES", "lots");
    let ended = Program::spawn(command).end();
    assert_eq!(ended.code, Some(2));
    let told = ended.notes();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with(&format!("error: {file}:1: retention: ")), "{told:?}");
    assert!(told[1].starts_with("error: MESHWIRE_CACHE_BYTES: \"lots\" "), "{told:?}");
    assert!(told[2].starts_with("error: --heartbeat: 1ms is out of bounds"), "{told:?}");
}

#[test]
fn flags_are_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let text = format!("listen = '127.0.0.1:0'\ndata_dir = '{}'\n", path("of-file"));
    let file = write(directory.path(), "meshwire.toml", &text);
    for (variable, flag, used) in [(false, false, "of-file"), (true, false, "of-variable"), (true, true, "of-flag")] {
        let (of_variable, of_flag) = (path("of-variable"), path("of-flag"));
        let mut args = vec!["serve", "--config", &file];
        if flag {
            args.extend(["--data-dir", &of_flag]);
        }
        let mut command = meshwire(&args);
        if variable {
            command.env("MESHWIRE_DATA_DIR", of_variable);
        }
        let gateway = Gateway::spawn(command);
        gateway.program.signal(Signal::TERM);
        let ended = gateway.program.end();
        let expected = format!("data directory {}", path(used));
        assert!(ended.err.contains(&expected), "{expected} in {}", ended.err);
        assert!(directory.path().join(used).join("FORMAT").exists());
    }
}

#[test]
fn the_log_level_silences_and_a_wrong_one_is_refused_by_every_command() {
    let gateway = Gateway::with(&["--memory", "--log-level", "error"]);
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.end().err, "");
    let mut command = meshwire(&["topics", "list"]);
    command.env("MESHWIRE_LOG_LEVEL", "loud");
    let ended = Program::spawn(command).end();
    refused(&ended, 2, &["MESHWIRE_LOG_LEVEL", "error, warn, info, debug and trace"]);
}

#[test]
fn first_bytes_of_no_protocol_are_hung_up_on_and_others_are_served() {
    let gateway = Gateway::start();
    for bytes in [&b"get / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0", &[0xFF; 64]] {
        let mut stranger = TcpStream::connect(&gateway.address).unwrap();
        stranger.write_all(bytes).unwrap();
        // Whatever it says, it ends: by a close or, with bytes unread, by a reset.
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    let _silent = TcpStream::connect(&gateway.address).unwrap();
    gateway.publish("orders", &["a"]);
    assert_eq!(gateway.all_ids("orders"), ["a"]);
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "ulimit -Sn 64; exec \"$0\" serve --memory --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_meshwire"),
    ]);
    let gateway = Gateway::spawn(command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.program.id())).unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
}
