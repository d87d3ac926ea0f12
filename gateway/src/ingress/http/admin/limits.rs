//! `/v1/limits`: of the whole gateway, until it ends.

use axum::Extension;
use axum::extract::Request;
use meshwire_proto::options;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{GetLimits, Limits, SetLimits};

use super::{Door, Shown, body, carry_out, json, show, unexpected};
use crate::ingress::http::deadline::TIMEOUT;
use crate::ingress::http::fields::Fields;
use crate::ingress::http::query::Query;

const LIMITS: [&str; 5] =
    ["publish_rate", "publish_bytes_rate", "publish_budget_bytes", "deliver_rate", "deliver_bytes_rate"];

fn shown(answer: &Answer) -> Shown {
    match answer {
        Answer::Limits(limits) => Ok(json(&show::limits(limits))),
        _ => Err(unexpected()),
    }
}

pub(in crate::ingress::http) async fn show(Extension(door): Extension<Door>, request: Request) -> Shown {
    Query::read(request.uri(), &[TIMEOUT])?;
    shown(&carry_out(&door, Command::GetLimits(GetLimits {})).await?)
}

pub(in crate::ingress::http) async fn change(Extension(door): Extension<Door>, request: Request) -> Shown {
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &LIMITS)?;
    let limits = Limits {
        publish_rate: fields.within("publish_rate", &options::MAX_PUBLISH_RATE)?,
        publish_bytes_rate: fields.within("publish_bytes_rate", &options::MAX_PUBLISH_BYTES_RATE)?,
        publish_budget_bytes: fields.u64("publish_budget_bytes")?,
        deliver_rate: fields.within("deliver_rate", &options::MAX_DELIVER_RATE)?,
        deliver_bytes_rate: fields.within("deliver_bytes_rate", &options::MAX_DELIVER_BYTES_RATE)?,
    };
    shown(&carry_out(&door, Command::SetLimits(SetLimits { limits: Some(limits) })).await?)
}
