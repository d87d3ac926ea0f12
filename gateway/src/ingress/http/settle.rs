//! `POST /v1/topics/{topic}/groups/{group}/settle`: what is said of deliveries, by their leases.

use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::{ErrorKind, GroupKey};
use serde_json::value::RawValue;

use super::deadline::TIMEOUT;
use super::event::text;
use super::fields::{Fields, needed};
use super::names::{Named, group_key};
use super::query::Query;
use super::{Door, Problem, answer_json, json_body};
use crate::ingress::calls::{Calls, MAX_SETTLEMENTS, Settlement};
use crate::mesh::{Caller, Refusal};

const KINDS: [(&str, SettleKind); 5] = [
    ("ack", SettleKind::Ack),
    ("nack", SettleKind::Nack),
    ("reject", SettleKind::Reject),
    ("extend", SettleKind::Extend),
    ("release", SettleKind::Release),
];

/// One settlement as it was said.
struct Item {
    lease: String,
    kind: SettleKind,
    delay: Option<Duration>,
    reason: String,
}

impl Item {
    fn read(value: &RawValue) -> Result<Self, Problem> {
        let fields = Fields::parse(value.get(), "a settlement", &["lease", "kind", "delay_ms", "reason"])?;
        let fields = fields.without_nulls(&["delay_ms"]);
        // What is there is judged before what is missing.
        let (lease, kind) = (fields.text("lease")?, fields.word("kind", &KINDS)?);
        Ok(Self {
            delay: fields.u32("delay_ms")?.map(|ms| Duration::from_millis(ms.into())),
            lease: needed("lease", lease)?.into_owned(),
            kind: needed("kind", kind)?,
            reason: fields.text("reason")?.unwrap_or_default().into_owned(),
        })
    }
}

/// Settlements, and what is wrong with one in its place.
pub(super) struct Settlements {
    items: Vec<Result<Item, Refusal>>,
    /// How many there are: of too many no item is read.
    count: usize,
    confirm: bool,
}

impl Settlements {
    /// Of `settlements` and `confirm`.
    ///
    /// # Errors
    /// `INVALID`: they are no array.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Problem> {
        let (items, count) = needed("settlements", fields.items("settlements", MAX_SETTLEMENTS)?)?;
        let items = items.into_iter().take_while(|_| count <= MAX_SETTLEMENTS);
        let items = items.map(|item| Item::read(item).map_err(Refusal::from)).collect();
        Ok(Self { items, count, confirm: fields.bool("confirm")?.unwrap_or(true) })
    }

    /// Settles them; gives what became of each, as JSON.
    ///
    /// # Errors
    /// As [`Calls::settle_each`].
    pub(super) async fn settle(
        &self,
        calls: &Calls,
        caller: &Caller,
        of: (&str, &GroupKey),
    ) -> Result<serde_json::Value, Problem> {
        if self.count > MAX_SETTLEMENTS {
            return Err(calls.too_many_settlements(caller, of, self.count).into());
        }
        let settlements = self.items.iter().map(|item| match item {
            Ok(Item { lease, kind, delay, reason }) => Ok(Settlement { lease, kind: *kind, delay: *delay, reason }),
            Err(refusal) => Err(refusal.clone()),
        });
        let settlements: Vec<_> = settlements.collect();
        Ok(results(calls.settle_each(caller, of, &settlements, self.confirm).await?))
    }
}

pub(super) async fn settle(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::read(&parts.uri, &[TIMEOUT])?;
    let body = json_body::read(&door, &parts.headers, body).await?;
    if body.is_empty() {
        let text = "the body is missing: {\"settlements\":[{\"lease\":...,\"kind\":\"ack\"}]}";
        return Err(Problem::new(ErrorKind::Invalid, text));
    }
    let asked = Settlements::read(&Fields::parse(text(&body)?, "the body", &["settlements", "confirm"])?)?;
    drop(body);
    let settled = asked.settle(&door.calls, &door.caller("http"), (&topic, &group_key(&group)?)).await?;
    Ok(answer_json(&settled))
}

/// What became of each, as JSON.
fn results(settled: Vec<Result<(), Refusal>>) -> serde_json::Value {
    let result = |settled: Result<(), Refusal>| match settled {
        Ok(()) => serde_json::json!({ "settled": true }),
        Err(refusal) => Problem::from(refusal).json(),
    };
    let results: Vec<serde_json::Value> = settled.into_iter().map(result).collect();
    serde_json::json!({ "results": results })
}
