//! A gateway that denies everything: every operation of every door is refused, and nothing has happened behind it.
#![allow(clippy::print_stdout, reason = "a table prints its cells")]

mod commands;
mod grpc;
mod http;
mod schema;
mod session;
mod sockets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use meshwire_gateway::mesh::{Action, Authorize, Caller};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::SettleKind;
use serde_json::{Value, json};

use crate::doors::{Door, Said};
use crate::rig::{Rig, earliest, memory};

/// Operations that were tried and refused.
const CELLS: usize = 153;

/// Who may do what.
pub(super) struct Judge(AtomicU8);

impl Judge {
    const ALL: u8 = 0;
    const CONNECT: u8 = 1;
    const NOTHING: u8 = 2;

    pub(super) fn set(&self, to: u8) {
        self.0.store(to, Ordering::Relaxed);
    }
}

impl Authorize for Judge {
    fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
        match self.0.load(Ordering::Relaxed) {
            Self::ALL => true,
            Self::CONNECT => action == Action::Connect,
            _ => false,
        }
    }
}

/// Door, operation, and what was said.
type Cells = Vec<(String, String, Said)>;

/// Topic `t` has an event, group `g` and a dead letter. A topic `held` is there for those who hold something.
async fn furnish(rig: &Rig) {
    rig.offer("t", &["1", "2"]).await;
    rig.offer("held", &["1", "2", "3", "4", "5", "6", "7"]).await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(2).await;
    peer.settle(1, 1, 1, SettleKind::Reject).await;
    peer.send(meshwire_proto::frame::ClientFrame::Goodbye(Default::default())).await;
    while peer.next().await.is_some() {}
}

/// Without what changes as time passes.
fn steady(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for name in ["oldest_ms", "unkept_bytes", "sending_bytes"] {
                members.remove(name);
            }
            members.values_mut().for_each(|member| *member = steady(member.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = steady(item.take())),
        _ => {}
    }
    value
}

/// All that there is: topics with their events and groups, groups with what they hold, dead letters, limits.
async fn everything(rig: &Rig) -> Value {
    let mut found = BTreeMap::new();
    for path in [
        "/v1/topics",
        "/v1/topics/t/groups",
        "/v1/topics/held/groups",
        "/v1/topics/t/groups/g/dead-letters",
        "/v1/limits",
    ] {
        let answer = rig.get(path).await;
        found.insert(path, (answer.status, steady(answer.json())));
    }
    json!(found)
}

/// Everything is tried, by a judge that lets as much through; gives what was there before and after.
async fn tried(connect: u8, nothing: u8) -> (Cells, Value, Value) {
    let judge = Arc::new(Judge(AtomicU8::new(Judge::ALL)));
    let mut config = memory();
    // Those who hold something answer no pings meanwhile, and hold it to the end.
    config.heartbeat = Duration::from_secs(600);
    let rig = Rig::with(config, judge.clone()).await;
    furnish(&rig).await;
    let mut sessions = Vec::new();
    for door in Door::SESSIONS {
        sessions.push(session::Holder::of(door, &rig).await);
    }
    let mut page = sockets::Holder::of(&rig).await;
    let mut listeners = sockets::listeners(&rig).await;
    let leases = (http::lease(&rig).await, grpc::lease(&rig).await);
    let before = everything(&rig).await;

    judge.set(connect);
    let mut cells = sockets::publishes(&mut listeners).await;
    for holder in &mut sessions {
        cells.extend(holder.tried().await);
    }
    judge.set(nothing);
    cells.extend(session::logins(&rig).await);
    cells.extend(page.tried().await);
    cells.extend(sockets::upgrades(&rig).await);
    cells.extend(http::tried(&rig, &leases.0).await);
    cells.extend(grpc::tried(&rig, &leases.1.0).await);
    judge.set(Judge::ALL);
    let after = everything(&rig).await;
    (cells, before, after)
}

#[tokio::test]
async fn every_operation_of_every_door_is_refused_to_who_may_nothing_and_nothing_happens() {
    let (cells, before, after) = tried(Judge::CONNECT, Judge::NOTHING).await;
    let mut doors = BTreeMap::<&str, usize>::new();
    cells.iter().for_each(|(door, _, _)| *doors.entry(door).or_default() += 1);
    println!("deny all: {} cells, {doors:?}", cells.len());
    let wrong: Vec<_> = cells.iter().filter(|(_, _, said)| !said.is(ErrorKind::Denied)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(cells.len(), CELLS);
    assert!(before.as_object().unwrap().values().all(|found| found[0] == 200), "{before}");
    assert_eq!(before, after, "it left something behind");
}

#[tokio::test]
async fn the_same_operations_are_not_denied_to_who_may_everything() {
    let (cells, _, _) = tried(Judge::ALL, Judge::ALL).await;
    let denied: Vec<_> = cells.iter().filter(|(_, _, said)| said.is(ErrorKind::Denied)).collect();
    assert!(denied.is_empty(), "{denied:#?}");
    assert_eq!(cells.len(), CELLS);
}

fn cell(door: Door, operation: impl Into<String>, said: Said) -> (String, String, Said) {
    (format!("{door:?}"), operation.into(), said)
}
