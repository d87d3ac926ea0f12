//! Commands of the limits of the whole gateway.

use meshwire::{GatewayLimits, Result};
use meshwire_proto::options;
use serde::Deserialize;

use super::arguments::Asked;
use super::values::Whole;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    publish_rate: Option<Whole>,
    publish_bytes_rate: Option<Whole>,
    publish_budget_bytes: Option<Whole>,
    deliver_rate: Option<Whole>,
    deliver_bytes_rate: Option<Whole>,
}

pub(super) async fn get(asked: Asked) -> Result<String> {
    let Nothing {} = asked.read()?;
    asked.answer(&asked.mesh.limits().get().await?)
}

pub(super) async fn set(asked: Asked) -> Result<String> {
    let Set { publish_rate, publish_bytes_rate, publish_budget_bytes, deliver_rate, deliver_bytes_rate } =
        asked.read()?;
    let mut limits = GatewayLimits::new();
    limits.publish_rate = asked.within("publish_rate", publish_rate, &options::MAX_PUBLISH_RATE)?;
    limits.publish_bytes_rate =
        asked.within("publish_bytes_rate", publish_bytes_rate, &options::MAX_PUBLISH_BYTES_RATE)?;
    // Only the gateway knows what it was started with.
    limits.publish_budget_bytes = publish_budget_bytes.map(|Whole(bytes)| bytes);
    limits.deliver_rate = asked.within("deliver_rate", deliver_rate, &options::MAX_DELIVER_RATE)?;
    limits.deliver_bytes_rate =
        asked.within("deliver_bytes_rate", deliver_bytes_rate, &options::MAX_DELIVER_BYTES_RATE)?;
    asked.answer(&asked.mesh.limits().set(limits).await?)
}
