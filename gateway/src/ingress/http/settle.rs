//! `POST /v1/topics/{topic}/groups/{group}/settle`: what is said of deliveries, by their leases.

use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::SettleKind;
use serde::Deserialize;

use super::deadline::TIMEOUT;
use super::names::{Named, group_key};
use super::query::Query;
use super::{Door, Problem, answer_json, json_body};
use crate::ingress::calls::Settlement;
use crate::mesh::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    settlements: Vec<Item>,
    #[serde(default = "yes")]
    confirm: bool,
}

pub(super) const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    lease: String,
    kind: Kind,
    delay_ms: Option<u32>,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Ack,
    Nack,
    Reject,
    Extend,
    Release,
}

impl Item {
    pub(super) fn settlement(&self) -> Settlement<'_> {
        let kind = match self.kind {
            Kind::Ack => SettleKind::Ack,
            Kind::Nack => SettleKind::Nack,
            Kind::Reject => SettleKind::Reject,
            Kind::Extend => SettleKind::Extend,
            Kind::Release => SettleKind::Release,
        };
        let delay = self.delay_ms.map(|ms| Duration::from_millis(ms.into()));
        Settlement { lease: &self.lease, kind, delay, reason: &self.reason }
    }
}

pub(super) async fn settle(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::read(&parts.uri, &[TIMEOUT])?;
    let missing = || {
        Problem::new(ErrorKind::Invalid, "the body is missing: {\"settlements\":[{\"lease\":...,\"kind\":\"ack\"}]}")
    };
    let asked: Asked = json_body::read(&door, &parts.headers, body).await?.ok_or_else(missing)?;
    let group = group_key(&group)?;
    let settlements = asked.settlements.iter().map(Item::settlement).collect::<Vec<_>>();
    let settled = door.calls.settle(&door.caller("http"), (&topic, &group), &settlements, asked.confirm).await?;
    Ok(answer_json(&results(settled)))
}

/// What became of each, as JSON.
pub(super) fn results(settled: Vec<Result<(), Refusal>>) -> serde_json::Value {
    let result = |settled: Result<(), Refusal>| match settled {
        Ok(()) => serde_json::json!({ "settled": true }),
        Err(refusal) => Problem::from(refusal).json(),
    };
    let results: Vec<serde_json::Value> = settled.into_iter().map(result).collect();
    serde_json::json!({ "results": results })
}
