//! What is told before anything is done, and how wrong arguments are refused.

use crate::program::{Gateway, Program, meshwire, run};

#[test]
fn every_command_has_a_help_page_with_examples() {
    for command in [
        &["serve"][..],
        &["pub"],
        &["sub"],
        &["request"],
        &["reply"],
        &["topics"],
        &["topics", "list"],
        &["topics", "create"],
        &["groups"],
        &["groups", "list"],
        &["dead-letters"],
        &["watch"],
        &[],
    ] {
        let ended = run(&[command, &["--help"]].concat());
        assert_eq!(ended.code, Some(0), "{command:?}");
        assert!(ended.out.contains("Examples:\n  meshwire "), "{command:?}: {}", ended.out);
    }
}

#[test]
fn the_version_is_printed() {
    let expected = format!("meshwire {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]).out, expected);
}

#[test]
fn the_help_of_serve_lists_every_option_with_its_default_in_human_units() {
    let help = run(&["serve", "--help"]).out;
    for part in [
        "--retention <DURATION>",
        "[default: 7d]",
        "--max-event-bytes <SIZE>",
        "[default: 4MiB]",
        "--auto-create [<true|false>]",
        "--on-store-failure <exit|stay>",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn wrong_arguments_exit_2_and_say_what_is_accepted() {
    let cases: &[(&[&str], &str)] = &[
        (&["topics", "list", "--tls-key", "k"], "--tls-certificate <FILE>"),
        (&["pub", "orders"], "<--file <FILE>|--data <TEXT>>"),
        (&["pub", "a b", "--data", "x"], "1 to 120 bytes of A-Z a-z 0-9"),
        (&["pub", "orders", "--file", "-", "--data", "x"], "cannot be used with"),
        (&["pub", "orders", "--file", "-", "--key", "k"], "cannot be used with '--key <KEY>'"),
        (&["pub", "orders", "--file", "no/such/file"], "no/such/file cannot be read"),
        (&["pub", "orders", "--file", "."], "error: . cannot be read: it is a directory"),
        (&["pub", "orders", "--data", "x", "--id", ""], "'--id <ID>': it is empty; leave the flag out"),
        (&["pub", "orders", "--data", "x", "--type", ""], "'--type <TYPE>': it is empty; leave the flag out"),
        (&["pub", "orders", "--data", "x", "--key", ""], "'--key <KEY>': it is empty; leave the flag out"),
        (&["sub", "$sys"], "does not begin with $"),
        (&["sub", "orders", "--group", "a/b"], "group name \"a/b\" holds '/'"),
        (&["sub", "orders", "--start", "yesterday"], "write earliest, latest, a position, a time such as"),
        (&["sub", "orders", "--until-idle", "2"], "a whole number and ms, s, m, h or d"),
        (&["sub", "orders", "--count", "0"], "it is at least 1"),
        (&["sub", "orders", "--server", "ftp://localhost"], "mesh://HOST:PORT"),
        (&["sub", "orders", "--wait", "2h"], "from 0s to 1h is accepted"),
        (&["groups", "seek", "a", "b"], "<POSITION|--to <PLACE>>"),
        (&["groups", "seek", "a", "b", "1x"], "'1x' for '[POSITION]': it is not a whole number"),
        (&["groups", "update", "a", "b", "--max-failures", "99999999999"], "it is too large"),
        (&["dead-letters", "redrive", "a"], "<NUMBERS|--all>"),
        (&["dead-letters", "purge", "a", "1", "--all"], "cannot be used with"),
        (&["dead-letters", "show", "a", "first"], "it is not a whole number"),
        (&["topics", "create", "t", "--durability", "most"], "memory, written, synced"),
        (&["topics", "create", "t", "--retention", "1ms"], "from 1s to 3650d is accepted"),
        (&["serve", "--unknown"], "--unknown"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (args, part) in cases {
        let ended = run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{args:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{args:?}");
    }
}

#[test]
fn without_a_gateway_every_command_exits_3_at_once_and_says_how_to_start_one() {
    // Port 1 of the loopback address refuses: nothing of ours ever listens there.
    for args in [&["pub", "orders", "--data", "x"][..], &["sub", "orders"], &["topics", "list"]] {
        let ended = run(&[args, &["--server", "mesh://127.0.0.1:1"]].concat());
        assert_eq!(ended.code, Some(3), "{args:?}");
        let told = ended.notes();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("127.0.0.1:1 refused") && told[0].contains("meshwire serve"), "{told:?}");
    }
}

#[test]
fn with_a_wait_every_command_goes_on_once_the_gateway_is_there_and_ends_with_3_when_none_comes() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = format!("mesh://{free}");
    let commands = [
        &["pub", "orders", "--data", "x"][..],
        &["sub", "orders", "--group", "g", "--count", "1"],
        &["topics", "list"],
    ];
    let mut waiting: Vec<Program> =
        commands.iter().map(|c| Program::start(&[c, &["--server", &url, "--wait", "25s"][..]].concat())).collect();
    for program in &mut waiting {
        program.wait_for_log("no gateway can be reached yet");
    }
    let _gateway = Gateway::spawn(meshwire(&["serve", "--memory", "--listen", &free]));
    for program in waiting {
        let ended = program.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
    let ended = run(&["pub", "orders", "--data", "x", "--server", "mesh://127.0.0.1:1", "--wait", "200ms"]);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(ended.notes()[0].contains("127.0.0.1:1 refused"), "{}", ended.err);
}

#[test]
fn with_json_an_error_that_ends_a_command_is_one_object_on_the_error_stream() {
    let gateway = Gateway::with(&["--memory", "--auto-create=false"]);
    gateway.run(&["topics", "create", "t"]);
    let cases: &[(&[&str], &str)] = &[
        (&["groups", "show", "t", "none"], "NOT_FOUND"),
        (&["groups", "list", "none"], "TOPIC_NOT_FOUND"),
        (&["topics", "delete", "none"], "TOPIC_NOT_FOUND"),
        (&["dead-letters", "show", "t", "1"], "NOT_FOUND"),
        (&["dead-letters", "list", "t", "--group", "none"], "NOT_FOUND"),
        (&["dead-letters", "redrive", "none", "--all"], "TOPIC_NOT_FOUND"),
        (&["dead-letters", "purge", "t", "--group", "none", "--all"], "NOT_FOUND"),
        (&["limits", "set", "--publish-budget-bytes", "1TiB"], "INVALID"),
        (&["request", "t", "--data", "x"], "NO_RESPONDERS"),
        (&["sub", "none"], "TOPIC_NOT_FOUND"),
    ];
    for (args, code) in cases {
        let ended = gateway.run(&[args, &["--json"][..]].concat());
        assert_eq!((ended.code, ended.out.as_str(), ended.notes().len()), (Some(4), "", 1), "{args:?}: {ended:?}");
        let error: serde_json::Value =
            serde_json::from_str(ended.notes()[0]).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
        assert_eq!(error["code"], *code, "{args:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains(code), "{error}");
        assert!(gateway.run(args).err.contains("error: "), "{args:?}");
    }
    let unreachable = run(&["topics", "list", "--json", "--server", "mesh://127.0.0.1:1"]);
    assert!(
        unreachable.code == Some(3) && unreachable.err.starts_with("{\"code\":\"UNAVAILABLE\","),
        "{unreachable:?}"
    );
}

#[test]
fn usage_lines_have_the_arguments_in_the_order_in_which_they_are_given() {
    for (args, usage) in [
        (["dead-letters", "purge"], "dead-letters purge [OPTIONS] <TOPIC> <NUMBERS|--all>"),
        (["dead-letters", "redrive"], "dead-letters redrive [OPTIONS] <TOPIC> <NUMBERS|--all>"),
        (["groups", "seek"], "groups seek [OPTIONS] <TOPIC> <GROUP> <POSITION|--to <PLACE>>"),
    ] {
        let usage = format!("Usage: meshwire {usage}\n");
        assert!(run(&[&args[..], &["--help"]].concat()).out.contains(&usage), "{args:?}");
    }
}

#[test]
fn what_changes_a_topic_and_what_changes_a_group_have_either_name() {
    let gateway = Gateway::with(&["--memory"]);
    for args in [
        &["topics", "create", "t"][..],
        &["topics", "update", "t", "--retention", "1h"],
        &["groups", "create", "t", "g"],
        &["groups", "set", "t", "g", "--max-failures", "3"],
    ] {
        let ended = gateway.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
    }
}
