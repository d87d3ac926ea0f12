//! The offline buffer in a file, over lives of its client. On the real clock but for one test: the file has a thread of
//! its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshwire::{Connect, ErrorKind, Event, MemoryListener, MemoryTransport, Mesh, Offline, Retry};
use meshwire_proto::frame::Receipt;
use meshwire_proto::wire::session::Welcome;
use tempfile::TempDir;

use crate::offline::{comes, event, keep};
use crate::script::{Gateway, welcome};

/// What every new life leaves out.
const LEAP: u64 = 1 << 32;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buffer");
    (directory, file)
}

async fn life(file: &Path) -> (Mesh, MemoryListener) {
    let (transport, listener) = MemoryTransport::new();
    let connect = Connect::memory(transport).name("test").offline(Offline::new().file(file));
    (connect.await.unwrap(), listener)
}

async fn refused(file: &Path) -> meshwire::Error {
    let (transport, _listener) = MemoryTransport::new();
    Connect::memory(transport).offline(Offline::new().file(file)).await.unwrap_err()
}

/// The file as a kill would leave it.
fn as_killed(file: &Path, name: &str) -> PathBuf {
    let copy = file.with_file_name(name);
    std::fs::copy(file, &copy).unwrap();
    copy
}

#[tokio::test]
async fn a_client_that_was_killed_goes_on_under_its_name_with_its_sequences_and_then_with_new_ones() {
    let (_directory, file) = place();
    let (mesh, mut listener) = life(&file).await;
    let mut pending = Vec::new();
    for n in 1..=5 {
        pending.push(mesh.publish_start("orders", event(n)).await.unwrap());
    }
    let (mut gateway, first) = Gateway::log_in(&mut listener, welcome()).await;
    gateway.publishes(5).await;
    // The gateway has three of them, and the client hears of none.
    let file = as_killed(&file, "killed");
    let (mesh, mut listener) = life(&file).await;
    assert_eq!((mesh.stats().restored, mesh.stats().pending), (5, 5));
    let sixth = mesh.publish_start("orders", event(6)).await.unwrap();
    let (mut gateway, hello) = Gateway::log_in(&mut listener, Welcome { kept_through: 3, ..welcome() }).await;
    assert_eq!((&hello.producer_id, hello.producer_epoch), (&first.producer_id, first.producer_epoch));
    assert_eq!(hello.first_unanswered, 1);
    let ids = ["4", "5", "6"].map(str::to_owned);
    assert_eq!(keep(&mut gateway, 3).await, [4, 5, LEAP].into_iter().zip(ids).collect::<Vec<_>>());
    sixth.await.unwrap();
    mesh.flush().await.unwrap();
    let stats = mesh.stats();
    assert_eq!((stats.pending, stats.published, stats.replays), (0, 1, 2));
    mesh.close().await.unwrap();
    assert_eq!(life(&file).await.0.stats().restored, 0, "what has its receipt does not come back");
}

#[tokio::test]
async fn the_gateway_may_forget_no_answer_that_is_not_in_the_file() {
    let (_directory, file) = place();
    let (mesh, mut listener) = life(&file).await;
    let mut gateway = Gateway::log_in(&mut listener, welcome()).await.0;
    for n in 1..=3 {
        let pending = mesh.publish_start("orders", event(n)).await.unwrap();
        let publish = gateway.publish().await;
        // The answer of the event before is on disk with this one; its own cannot be.
        assert!(publish.answered_through < n, "{publish:?}");
        gateway.keep(n, 1, n).await;
        pending.await.unwrap();
    }
}

#[tokio::test]
async fn without_a_gateway_closing_waits_for_none_and_the_next_client_finds_everything() {
    let (_directory, file) = place();
    let (mesh, listener) = life(&file).await;
    drop(listener);
    let pending = mesh.publish_start("orders", event(1)).await.unwrap();
    mesh.close().await.unwrap();
    let error = pending.await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Closed, Retry::UnknownOutcome));
    assert!(error.message().contains("stays in the offline file"), "{error}");
    let (mesh, mut listener) = life(&file).await;
    let mut gateway = Gateway::log_in(&mut listener, welcome()).await.0;
    assert_eq!(keep(&mut gateway, 1).await, [(1, "1".to_owned())]);
    mesh.flush().await.unwrap();
}

#[tokio::test]
async fn what_the_gateway_refuses_for_good_does_not_come_back_and_a_flush_tells_it() {
    let (_directory, file) = place();
    let mesh = life(&file).await.0;
    drop(mesh.publish_start("orders", event(1)).await.unwrap());
    let file = as_killed(&file, "killed");
    let (mesh, mut listener) = life(&file).await;
    let mut gateway = Gateway::log_in(&mut listener, welcome()).await.0;
    gateway.publishes(1).await;
    let code = ErrorKind::TooLarge.number();
    gateway.receipt(Receipt { first_sequence: 1, count: 1, code, ..Receipt::default() }).await;
    let error = mesh.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.context().contains(&("failed_publishes", "1".to_owned())), "{error}");
    mesh.close().await.unwrap();
    assert_eq!(life(&file).await.0.stats().restored, 0);
}

#[tokio::test]
async fn a_file_is_one_clients_alone() {
    let (_directory, file) = place();
    let (mesh, listener) = life(&file).await;
    let error = refused(&file).await;
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains("buffer is in use"), "{error}");
    drop(listener);
    mesh.close().await.unwrap();
    drop(life(&file).await);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error_with_its_name() {
    let (directory, file) = place();
    std::fs::write(&file, "a letter").unwrap();
    assert_eq!(refused(&file).await.kind(), ErrorKind::Invalid);
    std::fs::remove_file(&file).unwrap();
    let (mesh, _listener) = life(&file).await;
    drop(mesh.publish_start("orders", event(1)).await.unwrap());
    drop(mesh.publish_start("orders", event(2)).await.unwrap());
    let whole = std::fs::read(&file).unwrap();
    let other = directory.path().join("other");
    for (byte, kind) in [(16, ErrorKind::Unsupported), (30, ErrorKind::StoreFailed), (80, ErrorKind::StoreFailed)] {
        let mut bytes = whole.clone();
        bytes[byte] ^= 2;
        std::fs::write(&other, &bytes).unwrap();
        let error = refused(&other).await;
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Never), "byte {byte}");
        assert!(error.message().contains("other"), "{error}");
        assert_eq!(std::fs::read(&other).unwrap(), bytes, "nothing was changed");
    }
    let error = refused(&directory.path().join("no/such/folder")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_form_that_never_waits_is_refused_with_a_file() {
    let (_directory, file) = place();
    let (mesh, _listener) = life(&file).await;
    let error = mesh.try_publish("orders", event(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("publish_start"), "{error}");
}

#[tokio::test]
async fn many_publishes_at_once_are_all_in_the_file_in_the_order_of_their_sequences() {
    let (_directory, file) = place();
    let (mesh, _listener) = life(&file).await;
    let start = |n: usize| {
        let mesh = mesh.clone();
        tokio::spawn(async move {
            drop(mesh.publish_start(["a", "b"][n % 2], Event::text("t", n.to_string())).await.unwrap())
        })
    };
    for task in (0..500).map(start).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let file = as_killed(&file, "killed");
    let (mesh, mut listener) = life(&file).await;
    assert_eq!(mesh.stats().restored, 500);
    let mut gateway = Gateway::log_in(&mut listener, welcome()).await.0;
    let came = keep(&mut gateway, 500).await;
    assert_eq!(came.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
}

/// Lets something that waits for the thread of the file happen while the virtual clock stands: there is always a task
/// that could go on, so that time does not.
async fn at_once<T>(what: impl Future<Output = T>) -> T {
    let busy = async {
        loop {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = what => done,
        () = busy => unreachable!("it has no end"),
    }
}

#[tokio::test(start_paused = true)]
async fn s52_after_a_link_was_cut_for_ten_minutes_and_the_client_killed_everything_arrives_in_order() {
    let (_directory, file) = place();
    let (mut mesh, mut listener) = at_once(life(&file)).await;
    let mut gateway = comes(&mut listener, welcome()).await;
    drop(at_once(mesh.publish_start("orders", event(1))).await.unwrap());
    gateway.publishes(1).await;
    // The gateway has the first event, and the link is cut before its receipt.
    drop(gateway);
    for n in 2..=601 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(at_once(mesh.publish_start("orders", event(n))).await.unwrap());
        if n == 301 {
            let file = as_killed(&file, "killed");
            (mesh, listener) = at_once(life(&file)).await;
            assert_eq!(mesh.stats().restored, 301);
        }
    }
    assert_eq!(mesh.stats().buffered, 601);
    let mut gateway = comes(&mut listener, Welcome { kept_through: 1, ..welcome() }).await;
    let came = keep(&mut gateway, 600).await;
    let sequences = (2..=301).chain(LEAP..);
    assert_eq!(came, sequences.zip((2..=601).map(|n: u64| n.to_string())).collect::<Vec<_>>());
    at_once(mesh.flush()).await.unwrap();
    assert_eq!((mesh.stats().pending, mesh.stats().given_up), (0, 0));
}
