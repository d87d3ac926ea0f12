#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::io::Write as _;
use std::time::Duration;

use super::*;

/// Names with values.
type Pairs = &'static [(&'static str, &'static str)];

fn flag(name: &str, text: &str) -> Given {
    let setting = SETTINGS.iter().find(|s| s.name() == name).expect("an option");
    Given { setting, text: text.to_owned(), origin: format!("--{}", setting.flag()) }
}

fn load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let mut written = tempfile::NamedTempFile::new().unwrap();
    written.write_all(file.as_bytes()).unwrap();
    let path = written.path().display().to_string();
    let variable = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(*v));
    let flags = flags.iter().map(|(n, v)| flag(n, v)).collect();
    let short = |p: Problem| p.to_string().replace(&path, "FILE");
    Settings::load(Some(written.path()), variable, flags).map_err(|all| all.into_iter().map(short).collect())
}

fn problems(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    load(file, environment, flags).err().unwrap_or_default()
}

#[test]
fn every_gateway_option_of_the_shared_table_can_be_set_and_no_other() {
    let catalogue: toml::Table = include_str!("../../../proto/options.toml").parse().unwrap();
    let mut wanted: Vec<&str> = catalogue["option"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|o| o["where"].as_str() == Some("gateway"))
        .map(|o| o["name"].as_str().unwrap())
        .collect();
    let mut known: Vec<&str> = SETTINGS.iter().map(Setting::name).collect();
    wanted.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, wanted);
}

#[test]
fn every_option_accepts_its_own_default_and_that_changes_nothing() {
    let mut settings = load("", &[], &[]).unwrap();
    let before = format!("{settings:?}");
    for setting in SETTINGS {
        let help = setting.help();
        let (_, default) = help.rsplit_once("[default: ").unwrap();
        setting.set(&mut settings, default.trim_end_matches(']')).unwrap();
    }
    assert_eq!(format!("{settings:?}"), before);
}

#[test]
fn what_says_something_of_the_log_is_told_to_have_no_effect_in_memory() {
    let told = |settings: Settings| settings.without_effect().join("\n");
    let asked = [("memory", "true"), ("max_disk", "5MiB"), ("retention", "1h")];
    let text = told(load("", &[("MESHWIRE_CACHE_BYTES", "1GiB")], &asked).unwrap());
    assert!(text.starts_with("--max-disk: max_disk has no effect with memory"), "{text}");
    assert!(
        text.contains("\nMESHWIRE_CACHE_BYTES: cache_bytes has no effect") && !text.contains("retention"),
        "{text}"
    );
    assert_eq!(told(load("", &[], &[("max_disk", "50MiB")]).unwrap()), "");
}

#[test]
fn flags_are_over_environment_and_that_over_the_file() {
    let file = "max_topics = 1\nretention = \"1h\"\ncache_bytes = \"8MiB\"\nmax_connections = 0x10\n";
    let environment = [("MESHWIRE_RETENTION", "2h"), ("MESHWIRE_CACHE_BYTES", "16MiB"), ("MESHWIRE_HEARTBEAT", "")];
    let settings = load(file, &environment, &[("cache_bytes", "32MiB")]).unwrap().gateway;
    assert_eq!(settings.max_topics, 1);
    assert_eq!(settings.max_connections, 16);
    assert_eq!(settings.retention, Duration::from_secs(7200));
    assert_eq!(settings.cache_bytes, 32 << 20);
    assert_eq!(settings.heartbeat, Duration::from_secs(10));
}

#[test]
fn a_directory_and_memory_exclude_each_other_in_one_layer_and_the_later_layer_wins() {
    for (file, environment, flags, memory) in [
        ("memory = true", &[][..], &[("data_dir", "d")][..], false),
        ("data_dir = 'd'", &[], &[("memory", "true")], true),
        ("", &[("MESHWIRE_DATA_DIR", "d")], &[("memory", "true")], true),
        ("memory = true", &[("MESHWIRE_MEMORY", "false")], &[], false),
        ("memory = true", &[("MESHWIRE_MAX_TOPICS", "5")], &[], true),
        ("memory = false\ndata_dir = 'd'", &[], &[], false),
    ] {
        let loaded = load(file, environment, flags).unwrap();
        assert_eq!(loaded.gateway.memory, memory, "{file} {environment:?} {flags:?}");
    }
    assert_eq!(problems("memory = true\ndata_dir = 'd'", &[], &[]), ["FILE:2: data_dir and memory exclude each other"]);
}

#[test]
fn a_problem_names_file_and_line_variable_or_flag_and_what_is_accepted() {
    let cases: &[(&str, Pairs, Pairs, &str)] = &[
        ("\n\nmax_topcs = 3", &[], &[], "FILE:3: \"max_topcs\" is not an option; did you mean \"max_topics\"?"),
        (
            "[gateway]\nmemory = true",
            &[],
            &[],
            "FILE:1: \"gateway\" is not an option; `meshwire serve --help` lists them, with - for _",
        ),
        ("max_topics = 0", &[], &[], "FILE:1: max_topics: 0 is out of bounds; from 1 to 1000000 is accepted"),
        (
            "# x\nheartbeat = 10",
            &[],
            &[],
            "FILE:2: heartbeat: \"10\" is not a duration; write a whole number and ms, s, m, h or d, such as 30s",
        ),
        ("heartbeat = '5ms'", &[], &[], "FILE:1: heartbeat: 5ms is out of bounds; from 100ms to 10m is accepted"),
        ("max_disk = [1]", &[], &[], "FILE:1: max_disk is an array; SIZE is accepted"),
        (
            "max_disk = -1",
            &[],
            &[],
            "FILE:1: max_disk: \"-1\" is not a size; write a whole number of bytes, or one with KiB, MiB or GiB, such as 64MiB",
        ),
        ("memory = 'yes'", &[], &[], "FILE:1: memory: \"yes\" is neither true nor false"),
        (
            "",
            &[("MESHWIRE_LOG_LEVEL", "loud")],
            &[],
            "MESHWIRE_LOG_LEVEL: \"loud\" is none of error, warn, info, debug and trace",
        ),
        (
            "",
            &[],
            &[("listen", "7400")],
            "--listen: \"7400\" is not an address with a port; write one such as 127.0.0.1:7400, localhost:7400 or [::1]:0",
        ),
        (
            "",
            &[],
            &[("listen", ":7400")],
            "--listen: \":7400\" is not an address with a port; write one such as 127.0.0.1:7400, localhost:7400 or [::1]:0",
        ),
        (
            "",
            &[],
            &[("listen", "mesh://127.0.0.1:7400/")],
            "--listen: \"mesh://127.0.0.1:7400/\" is a URL, as clients take it; write 127.0.0.1:7400",
        ),
        (
            "",
            &[],
            &[("listen", "*:7400")],
            "--listen: \"*:7400\" is not an address; every address of this machine is 0.0.0.0:7400 or [::]:7400",
        ),
        (
            "",
            &[],
            &[("listen", "localhost:70000")],
            "--listen: \"localhost:70000\" is not an address with a port; write one such as 127.0.0.1:7400, localhost:7400 or [::1]:0",
        ),
        (
            "",
            &[],
            &[("listen_also", "http://127.0.0.1:1, grpc://127.0.0.1:2")],
            "--listen-also: \"grpc://127.0.0.1:2\" is no listener; write http://HOST:PORT, tcp://HOST:PORT or mesh://HOST:PORT, or inside \
             TLS https://, tcps:// or meshs://; gRPC and WebSocket are served with HTTP",
        ),
        (
            "",
            &[],
            &[("listen_also", "http://127.0.0.1")],
            "--listen-also: \"127.0.0.1\" is not an address with a port; write one such as 127.0.0.1:7400, localhost:7400 or [::1]:0",
        ),
        ("", &[], &[("on_store_failure", "panic")], "--on-store-failure: \"panic\" is neither exit nor stay"),
        (
            "max_event_bytes = '16MiB'",
            &[],
            &[],
            "max_frame_bytes: a frame of 8MiB cannot carry an event of max_event_bytes and max_attribute_bytes; at least 16846848 is needed",
        ),
    ];
    for (file, environment, flags, problem) in cases {
        assert_eq!(problems(file, environment, flags), [*problem]);
    }
}

#[test]
fn further_listeners_are_urls_in_their_order() {
    let settings = load("listen_also = 'https://127.0.0.1:1, tcp://[::1]:2'", &[], &[]).unwrap();
    let also: Vec<_> =
        settings.gateway.listen_also.iter().map(|a| format!("{}://{}", a.scheme.name(), a.address)).collect();
    assert_eq!(also, ["https://127.0.0.1:1", "tcp://[::1]:2"]);
}

#[test]
fn all_problems_are_told_at_once() {
    let all = problems("a = 1\nmax_topics = 'x'", &[("MESHWIRE_MEMORY", "1")], &[("retention", "1")]);
    assert_eq!(all.len(), 4, "{all:?}");
}

#[test]
fn broken_toml_names_its_line() {
    let all = problems("max_topics = 1\nretention = ", &[], &[]);
    assert!(all[0].starts_with("FILE:2: "), "{all:?}");
    for (text, told) in [
        ("max_topics = 1\nmax_topics = 2", "FILE:2: not TOML: the option is there twice"),
        ("\nlisten = localhost", "FILE:2: not TOML: text stands in quotes, as in retention = \"7d\""),
        ("retention = 7d", "FILE:1: not TOML: text stands in quotes, as in retention = \"7d\""),
        ("max_topics = 1.2.3", "FILE:1: not TOML: the value begins like a number and is none; text stands in quotes"),
        ("listen", "FILE:1: not TOML: there is no value; write one behind =, as in memory = true"),
        ("memory = true max_topics = 1", "FILE:1: not TOML: something follows behind the value"),
        ("listen = \"localhost", "FILE:1: not TOML: the quotes around the value are not closed"),
    ] {
        let all = problems(text, &[], &[]);
        assert!(all[0].starts_with(told), "{all:?}");
        assert!(all.iter().all(|problem| !problem.contains("expected")), "{all:?}");
    }
}

#[test]
fn an_absent_file_is_named() {
    let absent = Settings::load(Some(Path::new("no/such.toml")), |_| None, Vec::new());
    let first = absent.err().unwrap()[0].to_string();
    assert!(first.starts_with("no/such.toml: the configuration file cannot be read"), "{first}");
}
