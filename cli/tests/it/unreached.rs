//! What a command says and ends with that comes to no gateway, or to one that does not take it.

use std::net::TcpListener;

use meshwire::{Connect, ErrorKind, Retry};
use meshwire_certificates::{Authority, Files, Named, SelfSigned};

use crate::program::{Ended, Gateway, Program, meshwire, run};

const SECURE: [&str; 5] = ["meshs", "tcps", "grpcs", "wss", "https"];
const PLAIN: [&str; 5] = ["mesh", "tcp", "grpc", "ws", "http"];

fn path(file: &std::path::Path) -> &str {
    file.to_str().unwrap()
}

fn with_tls(files: &Files, more: &[&str]) -> Gateway {
    let args = ["--memory", "--tls-certificate", path(&files.certificate), "--tls-key", path(&files.key)];
    Gateway::with(&[&args[..], more].concat())
}

/// Lists topics there.
fn list(url: &str, more: &[&str]) -> Ended {
    run(&[&["topics", "list", "--server", url], more].concat())
}

/// The one line that it says.
fn line(ended: &Ended) -> &str {
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!((lines.len(), ended.out.as_str()), (1, ""), "{ended:?}");
    lines[0]
}

#[test]
fn a_gateway_without_tls_is_named_once_and_not_waited_for() {
    let (gateway, roots) = (Gateway::start(), SelfSigned::of("localhost"));
    for scheme in SECURE {
        let url = format!("{scheme}://{}", gateway.address);
        for wait in ["0s", "1h"] {
            let ended = list(&url, &["--tls-roots", path(&roots.certificate), "--wait", wait]);
            let told = line(&ended);
            assert_eq!((ended.code, told.matches(&gateway.address).count()), (Some(3), 1), "{told}");
            assert!(told.contains("does not speak TLS") && !told.contains("start one with"), "{told}");
        }
    }
}

#[test]
fn a_certificate_that_is_not_trusted_ends_with_3_and_the_flag_that_helps() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let gateway = with_tls(&authority.gateway(), &[]);
    let (root, other) = (authority.root(), stranger.root());
    for scheme in SECURE {
        let url = format!("{scheme}://{}", gateway.address);
        for (flags, part) in [
            (&["--tls-roots", path(&other), "--tls-server-name", "localhost"][..], "--tls-roots"),
            (&["--tls-roots", path(&root)], "--tls-server-name"),
        ] {
            let ended = list(&url, &[flags, &["--wait", "1h"]].concat());
            assert!(ended.code == Some(3) && line(&ended).contains(part), "{scheme}: {ended:?}");
            assert!(!ended.err.contains("yet"), "nobody waits: {ended:?}");
        }
    }
    // As `openssl req -x509` makes them.
    let own = Files { certificate: root.clone(), key: authority.root_key() };
    let gateway = with_tls(&own, &[]);
    let ended = list(&format!("meshs://{}", gateway.address), &["--tls-roots", path(&root)]);
    assert!(ended.code == Some(3) && line(&ended).contains("CA:TRUE"), "{ended:?}");
}

#[tokio::test]
async fn a_client_certificate_that_the_gateway_does_not_take_is_unauthenticated_over_every_carrier() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let root = authority.root();
    let gateway = with_tls(&authority.gateway(), &["--tls-client-roots", path(&root)]);
    let named = Named { common: "mallory", ..Named::default() };
    let own = stranger.issue("mallory", &named);
    let old = authority.issue("old", &Named { expired: true, ..named });
    for scheme in SECURE {
        let url = format!("{scheme}://{}", gateway.address);
        for (files, part) in [(&own, "no root that it trusts has signed it"), (&old, "it has expired")] {
            let connect = Connect::new(&url).tls_roots(&root).tls_server_name("localhost");
            let connect =
                connect.tls_certificate(&files.certificate, &files.key).wait(std::time::Duration::from_secs(600));
            let error = connect.await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{scheme}: {error}");
            assert!(
                error.message().contains(part) && error.message().contains("--tls-certificate"),
                "{scheme}: {error}"
            );
        }
    }
}

#[test]
fn a_listener_that_serves_something_else_is_not_called_a_stranger() {
    let mut gateway = Gateway::with(&["--memory", "--listen-also", "tcp://127.0.0.1:0,http://127.0.0.1:0"]);
    let mut also = |scheme: &str| {
        let line = gateway.program.line();
        line.strip_prefix(&format!("listening {scheme}://")).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let (tcp, http) = (also("tcp"), also("http"));
    for (scheme, address) in [("http", &tcp), ("ws", &tcp), ("grpc", &tcp), ("tcp", &http)] {
        let ended = list(&format!("{scheme}://{address}"), &[]);
        let told = line(&ended);
        assert_eq!((ended.code, told.matches(address).count()), (Some(3), 1), "{told}");
        assert!(told.contains("a Meshwire gateway that serves something else"), "{told}");
        assert!(!told.contains("start one with") && !told.contains("not a Meshwire"), "{told}");
    }
    for (scheme, address) in [("mesh", &tcp), ("mesh", &http), ("grpc", &http)] {
        assert_eq!(list(&format!("{scheme}://{address}"), &[]).code, Some(0), "{scheme}");
    }
}

#[test]
fn a_gateway_at_its_limit_of_connections_is_busy_over_every_carrier() {
    let mut gateway = Gateway::with(&["--memory", "--max-connections", "1", "--access-log"]);
    let _holder = gateway.begin(&["sub", "orders"]);
    gateway.program.wait_for_log("operation=\"subscribe\"");
    let asking = PLAIN.map(|scheme| {
        let url = format!("{scheme}://{}", gateway.address);
        (scheme, Program::start(&["topics", "list", "--server", &url, "--wait", "500ms"]))
    });
    for (scheme, asking) in asking {
        let ended = asking.end();
        let told = ended.notes().join("\n");
        assert_eq!((ended.code, ended.notes().len()), (Some(4), 1), "{scheme}: {ended:?}");
        assert!(told.contains("BUSY") && told.contains("max_connections"), "{scheme}: {told}");
        assert!(!told.contains("start one with"), "{scheme}: {told}");
    }
}

#[test]
fn a_gateway_at_its_limit_of_connections_is_passed_by_for_another_one_by_every_carrier() {
    let (mut full, other) = (Gateway::with(&["--memory", "--max-connections", "1", "--access-log"]), Gateway::start());
    let _holder = full.begin(&["sub", "orders"]);
    full.program.wait_for_log("operation=\"subscribe\"");
    let asking = PLAIN.map(|scheme| {
        let url = format!("{scheme}://{},{}", full.address, other.address);
        (scheme, Program::start(&["topics", "list", "--server", &url]))
    });
    for (scheme, asking) in asking {
        let ended = asking.end();
        assert_eq!(ended.code, Some(0), "{scheme}: {ended:?}");
    }
}

#[test]
fn what_was_typed_wrong_for_the_way_to_a_gateway_exits_2_also_when_it_is_a_file() {
    let (one, other) = (SelfSigned::of("localhost"), SelfSigned::of("localhost"));
    let (certificate, key, misfit) = (path(&one.certificate), path(&one.key), path(&other.key));
    // Nothing of ours ever listens there.
    let (secure, plain, far) = ("meshs://127.0.0.1:1", "mesh://127.0.0.1:1", "mesh://192.0.2.1:1");
    let cases: &[(&str, &[&str], &str)] = &[
        (secure, &["--tls-roots", "no/such.pem"], "no/such.pem"),
        (secure, &["--tls-roots", key], "there is no certificate in it"),
        (secure, &["--tls-roots", certificate, "--tls-certificate", certificate, "--tls-key", misfit], certificate),
        (
            secure,
            &["--tls-roots", certificate, "--tls-certificate", certificate, "--tls-key", "no/such.key"],
            "no/such.key",
        ),
        (secure, &["--tls-roots", certificate, "--tls-server-name", "no name"], "no name"),
        (far, &["--tls-roots", certificate], "meshs://"),
        (far, &["--tls-server-name", "localhost"], "meshs://"),
        (plain, &["--token-file", "no/such.token"], "no/such.token"),
        (plain, &["--proxy", "socks5://127.0.0.1:1"], "http://HOST:PORT"),
        (plain, &["--proxy", "http://:1"], "http://HOST:PORT"),
    ];
    for (url, flags, part) in cases {
        let ended = list(url, flags);
        assert!(ended.code == Some(2) && line(&ended).contains(part), "{flags:?}: {ended:?}");
    }
    let mut command = meshwire(&["topics", "list", "--server", far]);
    command.env("MESHWIRE_CLIENT_TLS_ROOTS", certificate);
    let ended = Program::spawn(command).end();
    assert!(ended.code == Some(2) && line(&ended).contains("client_tls_roots"), "{ended:?}");
}

#[test]
fn a_gateway_whose_files_of_tls_cannot_be_used_exits_2_as_for_any_other_option() {
    let made = SelfSigned::of("localhost");
    let (certificate, key) = (path(&made.certificate), path(&made.key));
    let cases: &[(&[&str], &str)] = &[
        (&["--tls", "required"], "tls_certificate"),
        (&["--tls-certificate", certificate], "tls_key"),
        (&["--tls-certificate", "no/such.pem", "--tls-key", key], "no/such.pem"),
        (&["--tls-certificate", certificate, "--tls-key", certificate], certificate),
        (&["--tls-certificate", certificate, "--tls-key", key, "--tls-client-roots", "no/such.pem"], "no/such.pem"),
        (&["--listen-also", "https://127.0.0.1:0"], "tls_certificate"),
        (&["--config", "no/such.toml"], "no/such.toml"),
    ];
    for (flags, part) in cases {
        let ended = run(&[&["serve", "--memory", "--listen", "127.0.0.1:0"], *flags].concat());
        assert!(ended.code == Some(2) && ended.notes().join("\n").contains(part), "{flags:?}: {ended:?}");
    }
}

#[test]
fn what_turns_out_wrong_with_a_configuration_is_told_with_its_line_flag_or_variable_as_what_cannot_be_read() {
    let made = SelfSigned::of("localhost");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let served = |text: &str, flags: &[&str], variable: (&str, &str)| {
        std::fs::write(&file, text).unwrap();
        let mut command = meshwire(&[&["serve", "--memory", "--config", path(&file)], flags].concat());
        command.env(variable.0, variable.1);
        let ended = Program::spawn(command).end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.notes().join("\n").replace(path(&file), "FILE")
    };
    let (certificate, none) = (path(&made.certificate), ("MESHWIRE_URL", ""));
    let tls = format!("listen = '127.0.0.1:0'\n\ntls_certificate = 'no/such.pem'\ntls_key = '{}'", path(&made.key));
    let swapped = format!("listen = '127.0.0.1:0'\ntls_certificate = '{certificate}'\ntls_key = '{certificate}'");
    for (file, flags, variable, told) in [
        (&*tls, &[][..], none, "FILE:3: tls_certificate: no/such.pem: it cannot be read: No such file"),
        (&swapped, &[], none, "FILE:3: tls_key: "),
        (&swapped, &[], none, "there is no private key in it"),
        ("\nlisten = '0.0.0.0:0'", &[], none, "FILE:2: listen: 0.0.0.0:0 is not a loopback address"),
        ("", &["--listen", "0.0.0.0:0"], none, "error: --listen: 0.0.0.0:0 is not a loopback address"),
        ("", &[], ("MESHWIRE_LISTEN", "0.0.0.0:0"), "error: MESHWIRE_LISTEN: 0.0.0.0:0 is not a loopback address"),
        (
            "listen = '127.0.0.1:0'\nmax_disk = '2GiB'\ntls = 'both'",
            &[],
            none,
            "FILE:3: tls: TLS needs tls_certificate beside tls",
        ),
    ] {
        let text = served(file, flags, variable);
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn a_switch_takes_its_value_behind_a_blank_too() {
    let mut gateway = Gateway::with(&["--memory", "true", "--access-log", "true", "--auto-create", "false"]);
    let ended = gateway.run(&["sub", "orders"]);
    assert!(ended.code == Some(4) && ended.err.contains("TOPIC_NOT_FOUND"), "{ended:?}");
    gateway.program.wait_for_log("operation=\"login\"");
    let ended = run(&["serve", "--memory", "maybe"]);
    assert!(ended.code == Some(2) && ended.err.contains("--memory: \"maybe\""), "{ended:?}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let gateway = Gateway::spawn(meshwire(&["serve", "--memory", "--listen", &free]));
    assert_eq!(gateway.address, free, "a flag behind a switch is not its value");
}
