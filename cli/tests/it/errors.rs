//! S28: every error of the catalogue is provoked by a test and is the typed kind. A kind
//! that nobody provokes fails here, and so does one that is said not to occur and does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meshwire::{Delivery, Durability, Error, ErrorKind, Event, GroupSettings, Mesh, Position, TopicSettings};
use tokio::time::timeout;

use crate::program::Gateway;

/// Where a kind is provoked.
enum Where {
    /// Here, with the real gateway and client.
    Here,
    /// In this file, by this test, which names the kind: it takes a peer that misbehaves, or a disk that fails.
    There(&'static str, &'static str),
    /// No part of this version makes it.
    Never(&'static str),
}

const fn provoked(kind: ErrorKind) -> Where {
    use Where::{Here, Never, There};
    match kind {
        ErrorKind::Unauthenticated | ErrorKind::Denied => {
            There("gateway/tests/it/hostile/sessions.rs", "a_login_that_cannot_be_is_refused_by_name")
        }
        ErrorKind::Busy => {
            There("gateway/tests/it/requests.rs", "one_connection_has_no_more_requests_than_the_option_says")
        }
        ErrorKind::DiskFull => {
            There("cli/tests/it/full.rs", "a_full_disk_is_answered_by_name_and_ends_by_itself_when_space_returns")
        }
        ErrorKind::StoreFailed => {
            There("gateway/tests/it/kept.rs", "a_subscription_whose_group_cannot_be_kept_is_refused")
        }
        ErrorKind::BufferFull => {
            There("core-client/tests/it/publish.rs", "a_full_window_is_an_error_for_one_form_and_a_wait_for_the_other")
        }
        ErrorKind::ProducerFenced => There("gateway/tests/it/sessions.rs", "an_older_epoch_of_a_producer_is_fenced"),
        ErrorKind::Cancelled => There(
            "core-client/tests/it/request.rs",
            "a_handler_that_hangs_is_dropped_when_nobody_waits_and_so_is_what_no_handler_has_begun",
        ),
        ErrorKind::Internal => {
            There("core-client/tests/it/subscribe.rs", "an_event_that_cannot_be_read_is_an_item_of_its_own")
        }
        ErrorKind::OriginRefused => {
            There("gateway/tests/it/browsers.rs", "a_page_of_a_foreign_origin_is_refused_whatever_it_asks")
        }
        ErrorKind::TopicFull => {
            There("gateway/tests/it/retention.rs", "in_a_topic_that_blocks_publishers_wait_for_the_group")
        }
        ErrorKind::ProducerUnknown => Never("the login says what is known of a producer; replays are never refused"),
        ErrorKind::TlsRequired => There(
            "gateway/tests/it/tls.rs",
            "with_a_certificate_sessions_and_http_are_served_inside_tls_and_plain_ones_are_told_so",
        ),
        ErrorKind::ProxyRefused => {
            There("core-client/tests/it/proxy.rs", "a_proxy_that_does_not_know_this_client_is_asked_once_and_named")
        }
        _ => Here,
    }
}

/// What clients do with kinds that come from a gateway, which is not making them.
const JUDGES: [&str; 2] = ["core-client/src/session/link.rs", "cli/src/exit.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The text of a test.
fn body(file: &str, test: &str) -> Option<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let (_, behind) = text.split_once(&format!("fn {test}("))?;
    behind.split_once("\n}\n").map(|(body, _)| body.to_owned())
}

/// Source files that name a kind in code of the product.
fn makers(folder: &Path, name: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            makers(&path, name, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            if text.contains(&format!("Kind::{name}")) && !JUDGES.contains(&shown.as_str()) {
                found.push(shown);
            }
        }
    }
}

#[tokio::test]
async fn every_error_of_the_catalogue_is_provoked_by_a_test_or_cannot_occur() {
    let gateway = Gateway::start();
    for kind in ErrorKind::ALL {
        let name = format!("{kind:?}");
        match provoked(*kind) {
            Where::Here => {
                let mesh = meshwire::connect(&gateway.url).await.unwrap();
                let error = timeout(Duration::from_secs(20), provoke(*kind, &mesh)).await;
                let error = error.unwrap_or_else(|_| panic!("{kind}: nothing came of it"));
                assert_eq!(error.kind(), *kind, "{error}");
                assert!(!error.message().is_empty() && !error.operation().is_empty(), "{error:?}");
            }
            Where::There(file, test) => {
                let body = body(file, test).unwrap_or_else(|| panic!("{file} has no test {test}"));
                assert!(body.contains(&name) || body.contains(kind.code()), "{test} in {file} says nothing of {name}");
            }
            Where::Never(why) => {
                let mut found = Vec::new();
                for folder in ["gateway/src", "core-client/src", "cli/src"] {
                    makers(&root().join(folder), &name, &mut found);
                }
                assert!(found.is_empty(), "{kind} is made in {found:?}, and no test provokes it; it was said: {why}");
            }
        }
    }
}

fn event() -> Event {
    Event::text("asked", "x").source("/errors")
}

/// Does what ends in this error.
async fn provoke(kind: ErrorKind, mesh: &Mesh) -> Error {
    match kind {
        ErrorKind::Invalid => mesh.publish("t", event().attribute("Bad-Name", "x")).await.unwrap_err(),
        ErrorKind::TooLarge => mesh.publish("t", Event::bytes("large", vec![0; 5 << 20])).await.unwrap_err(),
        ErrorKind::NotFound => {
            mesh.publish("t", event()).await.unwrap();
            mesh.groups("t").delete("nobody").await.unwrap_err()
        }
        ErrorKind::TopicNotFound => mesh.dead_letters("nothing").redrive_all().await.unwrap_err(),
        ErrorKind::AlreadyExists => {
            mesh.topics().create("twice", TopicSettings::new().retention(Duration::from_secs(3600))).await.unwrap();
            mesh.topics().create("twice", TopicSettings::new().retention(Duration::from_secs(7200))).await.unwrap_err()
        }
        ErrorKind::Unsupported => {
            mesh.topics().create("s", TopicSettings::new().durability(Durability::Synced)).await.unwrap_err()
        }
        ErrorKind::GroupConflict => {
            let settings = |n| GroupSettings::new().max_failures(n);
            let _member = mesh.subscribe("t").group("conflict").settings(settings(1)).await.unwrap();
            mesh.subscribe("t").group("conflict").settings(settings(2)).await.unwrap_err()
        }
        ErrorKind::LeaseLost => lose_a_lease(mesh).await,
        ErrorKind::NoResponders => mesh.request("nobody", event()).await.unwrap_err(),
        ErrorKind::Timeout | ErrorKind::ResponderLost | ErrorKind::ResponderFailed => ask(kind, mesh).await,
        ErrorKind::Unavailable => meshwire::connect("mesh://127.0.0.1:1").await.unwrap_err(),
        ErrorKind::Closed => {
            mesh.close().await.unwrap();
            mesh.publish("t", event()).await.unwrap_err()
        }
        other => panic!("nobody provokes {other}"),
    }
}

/// Somebody seeks the group back while an event is held.
async fn lose_a_lease(mesh: &Mesh) -> Error {
    mesh.publish("leases", event()).await.unwrap();
    let mut work = mesh.subscribe("leases").group("g").await.unwrap();
    let held: Delivery = work.try_next().await.unwrap().unwrap();
    mesh.groups("leases").seek("g", Position::from_number(1)).await.unwrap();
    held.ack_confirmed().await.unwrap_err()
}

/// A responder that hangs, dies or fails.
async fn ask(kind: ErrorKind, mesh: &Mesh) -> Error {
    let topic = format!("ask-{kind}");
    let (asked, mut has_asked) = tokio::sync::mpsc::channel(8);
    let handler = async |_request: &meshwire::Request| {
        asked.send(()).await.unwrap();
        if kind != ErrorKind::ResponderFailed {
            std::future::pending::<()>().await;
        }
        Err::<Event, _>("it cannot")
    };
    let limit = Duration::from_millis(if kind == ErrorKind::Timeout { 300 } else { 20_000 });
    let question = async {
        // Whoever serves begins in the same task, a little later.
        loop {
            match mesh.request(&topic, event()).timeout(limit).await.unwrap_err() {
                error if error.kind() == ErrorKind::NoResponders => tokio::task::yield_now().await,
                error => return error,
            }
        }
    };
    let serve = async {
        let serving = mesh.serve(&topic).run(handler);
        // Dropped with a request in hand, it is lost to who asked.
        let dies = async {
            has_asked.recv().await;
            if kind != ErrorKind::ResponderLost {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            served = serving => panic!("it serves for ever: {served:?}"),
            () = dies => {}
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        error = question => error,
        () = serve => panic!("it never ends"),
    }
}
