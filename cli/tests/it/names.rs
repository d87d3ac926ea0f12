//! Names of topics and groups: completed by the shell, and guessed when they are mistyped.

use std::process::Command;

use crate::program::{Gateway, meshwire, run};

fn gateway() -> Gateway {
    let gateway = Gateway::with(&["--memory", "--auto-create=false"]);
    for topic in ["orders", "order-lines", "payments"] {
        assert_eq!(gateway.run(&["topics", "create", topic]).code, Some(0));
    }
    gateway.run(&["groups", "create", "orders", "billing"]);
    gateway.run(&["groups", "create", "payments", "audit"]);
    gateway
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest_one_that_exists() {
    let gateway = gateway();
    for (args, meant) in [
        (&["groups", "list", "ordrs"][..], "did you mean orders?"),
        (&["groups", "seek", "orders", "biling", "1"], "group biling); did you mean billing?"),
        (&["groups", "show", "orders", "biling"], "did you mean billing?"),
        (&["topics", "set", "payment", "--retention", "1h"], "did you mean payments?"),
        (&["dead-letters", "list", "oders"], "did you mean orders?"),
        (
            &["dead-letters", "list", "orders", "--group", "biling"],
            "no group biling (NOT_FOUND, topic orders, group biling); did you mean billing?",
        ),
        (&["dead-letters", "purge", "orders", "--group", "biling", "--all"], "did you mean billing?"),
        (&["dead-letters", "redrive", "orders", "--group", "biling", "--all"], "did you mean billing?"),
        (&["sub", "oders", "--group", "g"], "did you mean orders?"),
        (&["pub", "payment", "--data", "x"], "did you mean payments?"),
    ] {
        let ended = gateway.run(args);
        assert_eq!(ended.code, Some(4), "{args:?}: {ended:?}");
        assert!(ended.err.contains(meant), "{args:?}: {}", ended.err);
    }
    for args in [&["groups", "list", "something-else"][..], &["groups", "show", "payments", "billing"]] {
        let ended = gateway.run(args);
        assert!(ended.code == Some(4) && !ended.err.contains("did you mean"), "{args:?}: {ended:?}");
    }
}

#[test]
fn a_request_to_a_mistyped_topic_names_one_that_is_served() {
    let gateway = gateway();
    let mut reply = gateway.begin(&["reply", "quotes", "--data", "42"]);
    loop {
        let asked = gateway.run(&["request", "quotes", "--data", "x"]);
        if asked.code == Some(0) {
            break;
        }
        assert!(asked.err.contains("NO_RESPONDERS") && reply.stays_quiet(std::time::Duration::ZERO), "{asked:?}");
    }
    let ended = gateway.run(&["request", "qoutes", "--data", "x"]);
    assert!(ended.code == Some(4) && ended.err.ends_with("did you mean quotes?\n"), "{ended:?}");
    let listed = gateway.run(&["topics", "list"]);
    assert!(listed.out.contains("requests: 1 serve, 0 open, 1 taken, 0 late replies dropped"), "{listed:?}");
    let served = listed.lines().into_iter().find(|line| line.starts_with("quotes")).unwrap().to_owned();
    assert_eq!(served.split_whitespace().take(3).collect::<Vec<_>>(), ["quotes", "-", "-"], "nothing of it is kept");
}

/// What the shell is offered for the last of these words.
fn offered(command: &mut Command, words: &[&str]) -> Vec<String> {
    let index = words.len() - 1;
    command.env("MESHWIRE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index.to_string()).env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true");
    let ended = command.arg("--").args(words).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    text.split('\n').filter(|word| !word.is_empty()).map(|word| word.trim_end().to_owned()).collect()
}

#[test]
fn a_shell_is_offered_commands_flags_and_the_names_on_the_gateway() {
    let gateway = gateway();
    let offer = |words: &[&str]| offered(meshwire(&[]).env("MESHWIRE_URL", &gateway.url), words);
    assert!(offer(&["meshwire", "dead"]).contains(&"dead-letters".to_owned()));
    assert!(offer(&["meshwire", "sub", "--unt"]).contains(&"--until-idle".to_owned()));
    assert_eq!(offer(&["meshwire", "sub", "ord"]), ["order-lines", "orders"]);
    assert_eq!(offer(&["meshwire", "groups", "show", "orders", ""])[0], "billing");
    assert_eq!(offer(&["meshwire", "sub", "payments", "--group", ""])[0], "audit");
    assert_eq!(offer(&["meshwire", "watch", "pay"]), ["payments"]);
    gateway.run(&["groups", "create", "payments", "caches", "--broadcast", "--member", "host1"]);
    assert!(offer(&["meshwire", "sub", "order-lines", "--group", ""]).is_empty(), "it has none");
    assert_eq!(offer(&["meshwire", "sub", "payments", "--group", "caches", "--broadcast", "--member", ""]), ["host1"]);
    assert_eq!(offer(&["meshwire", "groups", "seek", "payments", "caches", "--member", "h"]), ["host1"]);
    assert_eq!(offer(&["meshwire", "sub", "orders", "--start", ""]), ["earliest", "latest"]);
    assert_eq!(offer(&["meshwire", "groups", "seek", "orders", "billing", "--to", "l"]), ["latest"]);
}

#[test]
fn without_a_gateway_a_shell_is_offered_no_names_and_no_error() {
    // Port 1 of the loopback address refuses: nothing of ours ever listens there.
    let mut command = meshwire(&[]);
    assert!(offered(command.env("MESHWIRE_URL", "mesh://127.0.0.1:1"), &["meshwire", "sub", "ord"]).is_empty());
}

#[test]
fn each_shell_gets_its_own_script_which_asks_this_program() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&["completions", shell]);
        assert_eq!(ended.code, Some(0), "{shell}: {ended:?}");
        assert!(ended.out.contains("MESHWIRE_COMPLETE") && ended.out.contains("meshwire"), "{shell}: {}", ended.out);
    }
    let none = run(&["completions", "tcsh"]);
    assert!(none.code == Some(2) && none.err.contains("bash, zsh, fish"), "{none:?}");
}
