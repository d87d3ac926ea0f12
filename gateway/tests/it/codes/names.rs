//! What is wrong with what is named: events, topics, groups, leases.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt as _;
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin::Durability;
use meshwire_proto::wire::session as wire;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::requests::responder;
use super::row::{EVENTS_ONLY, NO_ADMIN, Row};
use crate::doors::carriers::upgrade;
use crate::doors::{Ask, Door, Said, nameless, sent};
use crate::hostile::frames;
use crate::http_websocket::{next, next_json};
use crate::rig::{Rig, memory};

pub(super) async fn invalid() -> Row {
    let rig = Rig::start().await;
    Row::asked(ErrorKind::Invalid, &rig, &Ask::Publish { topic: "t", event: nameless() }).await
}

pub(super) async fn not_found() -> Row {
    let rig = Rig::start().await;
    rig.offer("t", &["1"]).await;
    let row = Row::asked(ErrorKind::NotFound, &rig, &Ask::GetGroup { topic: "t", group: "none" }).await;
    let mut page = upgrade(&rig, "/v1/ws", "meshwire.v1.json", &[]).await.unwrap();
    let credit = json!({"id": 1, "op": "credit", "subscription": 7, "max_unsettled": 1});
    page.send(Message::text(credit.to_string())).await.unwrap();
    let said = Said::object(&next_json(&mut page).await["error"]);
    row.told(Door::Page, said).cannot(&[Door::Events], EVENTS_ONLY)
}

pub(super) async fn topic_not_found() -> Row {
    let mut config = memory();
    config.auto_create = false;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let event = sent("1", 1);
    let row = Row::asked(ErrorKind::TopicNotFound, &rig, &Ask::Publish { topic: "none", event }).await;
    // Who listens to a topic is told when it goes.
    rig.ask("PUT", "/v1/topics/gone", "{}").await;
    let mut socket = upgrade(&rig, "/v1/topics/gone/events", "cloudevents.json", &[]).await.unwrap();
    rig.ask("DELETE", "/v1/topics/gone?force=true", "").await;
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no end") };
    row.told(Door::Events, Said::Close { code: frame.code.into(), reason: frame.reason.to_string() })
}

pub(super) async fn group_conflict() -> Row {
    let rig = Rig::start().await;
    rig.ask("PUT", "/v1/topics/t", "{}").await;
    rig.ask("PUT", "/v1/topics/t/groups/g", "{}").await;
    let row = Row::asked(ErrorKind::GroupConflict, &rig, &Ask::Join { topic: "t", group: "g", member: "m" }).await;
    row.cannot(&[Door::Events], "CloudEvents over WebSocket have no groups")
}

pub(super) async fn lease_lost() -> Row {
    let rig = Rig::start().await;
    let mut row = Row::new(ErrorKind::LeaseLost);
    for door in Door::ALL {
        if let Some(said) = door.ask(&rig, &Ask::SettleTwice { topic: &format!("{door:?}") }).await {
            row = row.told(door, said);
        }
    }
    row.cannot(&[Door::Events], "nothing is settled here")
}

pub(super) async fn unsupported() -> Row {
    let rig = Rig::start().await;
    let ask = Ask::Create { topic: "t", durability: Durability::Synced, retention_ms: 60_000 };
    let row = Row::asked(ErrorKind::Unsupported, &rig, &ask).await;
    let Err(no_subprotocol) = upgrade(&rig, "/v1/topics/t/events", "cloudevents.avro", &[]).await else {
        panic!("there is no such format")
    };
    // A reply that has no form in JSON.
    let event: Bytes = frames::event(&[], &frames::field(8, &frames::field(1, b"type.example/T"))).into();
    let _serving = responder(&rig, "asked", wire::Reply { event, ..wire::Reply::default() }).await;
    let said = Door::Page.ask(&rig, &Ask::Request { topic: "asked", timeout_ms: 10_000 }).await.unwrap();
    row.told(Door::Page, said).told(Door::Events, no_subprotocol)
}

pub(super) async fn already_exists() -> Row {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.listen = memory().listen;
    config.data_dir = folder.path().into();
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let create = |durability| Ask::Create { topic: "t", durability, retention_ms: 60_000 };
    assert_eq!(Door::Http.ask(&rig, &create(Durability::Synced)).await, Some(Said::Fine));
    let row = Row::asked(ErrorKind::AlreadyExists, &rig, &create(Durability::Written)).await;
    rig.stop().await;
    row.cannot(&[Door::Page], NO_ADMIN).cannot(&[Door::Events], EVENTS_ONLY)
}
