//! Options as text, and what is said of wrong ones.

use meshwire::testing::Gateway;
use meshwire_embed::{Client, ErrorKind};

use crate::rig::{connected, options, subscribe};

#[test]
fn every_option_of_a_client_is_read_and_what_is_wrong_with_one_is_said_with_its_name() {
    let gateway = Gateway::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offline").display().to_string();
    let url = gateway.url();
    let all = [
        ("url", &*url),
        ("name", "all"),
        ("connect_timeout", "2s"),
        ("connect_wait", "3s"),
        ("publish_window_events", "1_000"),
        ("publish_window_bytes", "1MiB"),
        ("request_window", "10"),
        ("reconnect_min", "10ms"),
        ("reconnect_max", "1s"),
        ("publish_timeout", "1m"),
        ("publish_offline", "buffer"),
        ("offline_max_bytes", "64KiB"),
        ("offline_max_age", "1h"),
        ("offline_file", &*file),
        ("offline_sync", "written"),
        ("proxy", "none"),
        ("token", "secret"),
    ];
    drop(Client::connect(&options(&all)).unwrap());
    for (name, value, said) in [
        ("colour", "red", "colour is no option of connect; those are"),
        ("connect_timeout", "2", "option connect_timeout: \"2\" is not a duration"),
        ("connect_timeout", "2h", "connect_timeout is 2h; from 10ms to 10m"),
        ("publish_window_events", "many", "option publish_window_events: \"many\" is not a whole number"),
        ("publish_window_bytes", "1 Mio", "option publish_window_bytes:"),
        ("publish_offline", "yes", "option publish_offline: \"yes\" is neither off nor buffer"),
        ("offline_file", "f", "say publish_offline=buffer too"),
        ("client_tls_key", "k", "option client_tls_key needs client_tls_certificate too"),
        ("url", "ftp://x", "ftp"),
    ] {
        let error = Client::connect(&options(&[("url", &*url), (name, value)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
}

#[test]
fn every_option_of_a_subscription_is_read_and_what_is_wrong_with_one_is_said_with_its_name() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let all = [
        ("group", "g"),
        ("start", "-10m"),
        ("prefetch_events", "10"),
        ("prefetch_bytes", "1MiB"),
        ("ack_wait", "10s"),
        ("max_failures", "3"),
        ("max_age", "1h"),
        ("backoff_min", "0"),
        ("backoff_max", "1s"),
        ("hold_after_dead_letter", "true"),
        ("strict_order", "true"),
        ("max_in_flight", "100"),
        ("max_rate", "1000"),
        ("broadcast", "false"),
    ];
    client.wait(subscribe("orders", &all)).unwrap();
    let broadcast = [("group", "b"), ("broadcast", "true"), ("member", "m")];
    client.wait(subscribe("orders", &broadcast)).unwrap();
    for (name, value, said) in [
        ("groop", "g", "groop is no option of subscribe; those are"),
        ("broadcast", "yes", "option broadcast: \"yes\" is neither true nor false"),
        ("start", "soon", "option start: write earliest, latest"),
        ("prefetch_events", "0", "prefetch_events is 0"),
        ("max_failures", "99999999999", "max_failures"),
        ("ack_wait", "5ms", "ack_wait is 5ms; from 1s to 12h is accepted"),
        ("max_rate", "99999999999", "option max_rate: 99999999999 is more than 4294967295"),
        ("member", "m", "needs a broadcast group"),
    ] {
        let error = client.wait(subscribe("orders", &[("group", "h"), (name, value)])).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "subscribe"), "{name}: {error}");
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
}
