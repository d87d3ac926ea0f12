//! Requests and replies between real programs.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{Ended, Gateway, Program};

/// A responder that is ready.
fn reply(gateway: &Gateway, args: &[&str]) -> Program {
    let mut program = gateway.begin(&[&["reply"], args].concat());
    program.wait_for_log("serving requests");
    program
}

fn outcome(ended: &Ended) -> (Option<i32>, &str) {
    (ended.code, ended.out.as_str())
}

#[test]
fn a_request_is_answered_with_fixed_data_and_without_a_responder_refused_at_once() {
    let gateway = Gateway::start();
    let alone = gateway.run(&["request", "ping", "--data", "x"]);
    assert_eq!(alone.code, Some(4));
    assert!(alone.err.contains("nobody serves requests of topic ping (NO_RESPONDERS"), "{}", alone.err);
    let responder = reply(&gateway, &["ping", "--data", "pong", "--count", "1"]);
    assert_eq!(outcome(&gateway.run(&["request", "ping", "--data", "x"])), (Some(0), "pong\n"));
    assert_eq!(responder.end().code, Some(0));
}

#[test]
fn a_command_answers_with_what_it_prints_and_its_exit_code_fails_the_request() {
    let gateway = Gateway::start();
    let _upper = reply(&gateway, &["upper", "--exec", "tr a-z A-Z"]);
    assert_eq!(outcome(&gateway.run(&["request", "upper", "--data", "abc"])), (Some(0), "ABC\n"));
    let json = gateway.run(&["request", "upper", "--data", "{\"a\": 1}", "--json"]);
    let event: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&event["data"], &event["type"]), (&serde_json::json!({"A": 1}), &"upper".into()));

    let _whole = reply(&gateway, &["whole", "--exec", "cat", "--json"]);
    let asked = gateway.run(&["request", "whole", "--data", "x", "--type", "asked"]);
    let event: serde_json::Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!((&event["type"], &event["data"]), (&"asked".into(), &"x".into()));

    let _failing = reply(&gateway, &["failing", "--exec", "exit 3"]);
    let failed = gateway.run(&["request", "failing", "--data", "x"]);
    assert_eq!(outcome(&failed), (Some(1), ""));
    assert!(failed.err.contains("exit status: 3 (RESPONDER_FAILED"), "{}", failed.err);
}

#[test]
fn a_command_that_hangs_is_killed_when_nobody_waits_and_the_next_request_is_answered() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("first").display().to_string();
    // The first one waits for ever for input that nobody writes.
    let command = format!("if mkdir {mark}; then exec tail -f /dev/null; else echo second; fi 2>/dev/null");
    let _responder = reply(&gateway, &["t", "--exec", &command]);
    let late = gateway.run(&["request", "t", "--data", "x", "--timeout", "300ms"]);
    assert_eq!(outcome(&late), (Some(1), ""));
    assert!(late.err.contains("no reply came within 300ms (TIMEOUT"), "{}", late.err);
    assert_eq!(outcome(&gateway.run(&["request", "t", "--data", "x"])), (Some(0), "second\n"));
}

/// A command whose own command, which `sh` waits for, has the pipe `fifo` open as long as it lives.
fn nested(fifo: &str) -> String {
    format!("sh -c 'echo begun; exec tail -f /dev/null' > {fifo}; echo done")
}

/// What comes out of a pipe, once it begins and once nobody has it open any more.
fn listen(fifo: String) -> mpsc::Receiver<String> {
    let (sender, said) = mpsc::sync_channel(2);
    thread::spawn(move || {
        use std::io::BufRead as _;
        let mut pipe = std::io::BufReader::new(std::fs::File::open(fifo).unwrap());
        for _ in 0..2 {
            let mut line = String::new();
            pipe.read_line(&mut line).unwrap();
            sender.send(line).unwrap();
        }
    });
    said
}

#[test]
fn what_a_command_started_is_killed_with_it_at_a_timeout_at_ctrl_c_and_at_a_second_signal() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_secs(30);
    for (number, signals) in [&[][..], &[Signal::INT], &[Signal::TERM, Signal::TERM]].into_iter().enumerate() {
        let fifo = folder.path().join(number.to_string()).display().to_string();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut responder = reply(&gateway, &["t", "--exec", &nested(&fifo)]);
        let pipe = listen(fifo);
        let timeout = if signals.is_empty() { "1s" } else { "25s" };
        let request = gateway.begin(&["request", "t", "--data", "x", "--timeout", timeout]);
        assert_eq!(pipe.recv_timeout(patience).as_deref(), Ok("begun\n"));
        for (sent, signal) in signals.iter().enumerate() {
            if sent > 0 {
                // The first one only ends the taking of requests: heard before the second is sent, and it kills nothing.
                assert_eq!(gateway.run(&["request", "t", "--data", "x", "--timeout", "20s"]).code, Some(4));
                assert!(responder.stays_quiet(Duration::ZERO) && pipe.try_recv().is_err());
            }
            responder.signal(*signal);
        }
        assert_eq!(pipe.recv_timeout(patience).as_deref(), Ok(""), "what the command started is gone");
        let (ended, code) = (request.end(), if signals.is_empty() { "TIMEOUT" } else { "RESPONDER_LOST" });
        assert!(ended.code == Some(1) && ended.err.contains(code), "{signals:?}: {ended:?}");
        if !signals.is_empty() {
            assert_eq!(responder.end().code, Some(0), "{signals:?}");
        }
    }
}

#[test]
fn a_responder_that_is_killed_in_the_middle_is_told_and_with_leave_another_one_answers() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("began").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Whoever runs it is killed, and it ends with them.
    let command = format!("echo begun > {fifo}; exec tail -f /dev/null --pid=$PPID");
    for retry in [false, true] {
        let responder = reply(&gateway, &["t", "--exec", &command]);
        let args = ["request", "t", "--data", "x", "--timeout", "20s"];
        let request = if retry { gateway.begin(&[&args[..], &["--retry"]].concat()) } else { gateway.begin(&args) };
        // Opened for reading, the pipe waits until the command has begun.
        assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "begun\n");
        let _other = retry.then(|| reply(&gateway, &["t", "--data", "other"]));
        responder.kill();
        let ended = request.end();
        if retry {
            assert_eq!(outcome(&ended), (Some(0), "other\n"), "{}", ended.err);
        } else {
            assert_eq!(outcome(&ended), (Some(1), ""));
            assert!(ended.err.contains("RESPONDER_LOST"), "{}", ended.err);
        }
    }
}

#[test]
fn several_responders_share_the_requests_and_a_signal_ends_them_with_what_they_have_answered() {
    let gateway = Gateway::start();
    let responders = [reply(&gateway, &["t", "--data", "a"]), reply(&gateway, &["t", "--data", "b", "--group", "g"])];
    let mut answers: Vec<String> = (0..4).map(|_| gateway.run(&["request", "t", "--data", "x"]).out).collect();
    answers.sort();
    assert_eq!(answers, ["a\n", "a\n", "b\n", "b\n"]);
    let streamed = gateway.run(&["request", "t", "--data", "x", "--stream"]);
    assert!(matches!(streamed.out.as_str(), "a\n" | "b\n") && streamed.code == Some(0), "{streamed:?}");
    for responder in responders {
        responder.signal(rustix::process::Signal::TERM);
        assert_eq!(responder.end().code, Some(0));
    }
    assert_eq!(gateway.run(&["request", "t", "--data", "x", "--stream"]).code, Some(4));
}

#[test]
fn wrong_arguments_of_request_and_reply_exit_2() {
    for (args, text) in [
        (&["request", "t"][..], "--data <TEXT>"),
        (&["request", "t", "--data", "x", "--timeout", "0s"], "from 1ms to 12h is accepted"),
        (&["request", "a b", "--data", "x"], "1 to 120 bytes"),
        (&["reply", "t"], "<--exec <COMMAND>|--data <TEXT>>"),
        (&["reply", "t", "--data", "x", "--json"], "cannot be used with"),
        (&["reply", "t", "--data", "x", "--exec", "y"], "cannot be used with"),
    ] {
        let ended = crate::program::run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(text), "{args:?}: {}", ended.err);
    }
    let unreachable = crate::program::run(&["request", "t", "--data", "x", "--server", "mesh://127.0.0.1:1"]);
    assert_eq!(unreachable.code, Some(3));
}
