//! Errors as gRPC statuses, whose details say the code of the catalogue.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use meshwire_proto::ErrorKind;
use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Status};

use crate::mesh::Refusal;

/// `google.rpc.Status`: what `grpc-status-details-bin` holds.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

impl Name for ErrorInfo {
    const NAME: &'static str = "ErrorInfo";
    const PACKAGE: &'static str = "google.rpc";
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

impl Name for RetryInfo {
    const NAME: &'static str = "RetryInfo";
    const PACKAGE: &'static str = "google.rpc";
}

fn any<T: Message + Name>(message: &T) -> Any {
    let url = format!("type.googleapis.com/{}.{}", T::PACKAGE, T::NAME);
    Any { type_url: url, value: message.encode_to_vec() }
}

/// The code that the catalogue names.
fn code(kind: ErrorKind) -> Code {
    match kind.grpc_status() {
        "ABORTED" => Code::Aborted,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "CANCELLED" => Code::Cancelled,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "NOT_FOUND" => Code::NotFound,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        "UNAVAILABLE" => Code::Unavailable,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "UNKNOWN" => Code::Unknown,
        _ => Code::Internal,
    }
}

/// A refusal for a gRPC client.
pub(in crate::ingress) fn status(refusal: Refusal) -> Status {
    let Refusal { kind, message, retry_after_ms } = refusal;
    let mut details = vec![any(&ErrorInfo { reason: kind.code().to_owned(), domain: "meshwire".to_owned() })];
    if retry_after_ms > 0 {
        let delay = Duration::from_millis(retry_after_ms.into());
        details.push(any(&RetryInfo { retry_delay: prost_types::Duration::try_from(delay).ok() }));
    }
    let code = code(kind);
    let whole = Details { code: code as i32, message: message.clone(), details };
    Status::with_details(code, message, whole.encode_to_vec().into())
}

/// The kind that a status of ours says.
pub(in crate::ingress) fn kind(status: &Status) -> Option<ErrorKind> {
    let details = Details::decode(status.details()).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with(ErrorInfo::NAME))?;
    let reason = ErrorInfo::decode(&*info.value).ok()?.reason;
    ErrorKind::ALL.iter().find(|kind| kind.code() == reason).copied()
}

/// A whole answer of that refusal.
pub(in crate::ingress) fn answer(refusal: Refusal) -> Response {
    status(refusal).into_http::<Body>()
}

/// What was refused before it was looked at.
pub(in crate::ingress) fn refuse(kind: ErrorKind, message: impl Into<String>) -> Response {
    answer(Refusal::new(kind, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_kind_has_a_known_status_and_its_code_as_the_reason() {
        for &kind in ErrorKind::ALL {
            let status = status(Refusal::new(kind, "why"));
            let name = format!("{:?}", status.code()).to_uppercase();
            assert_eq!(name, kind.grpc_status().replace('_', ""), "{kind}");
            let details = Details::decode(status.details()).unwrap();
            assert_eq!(
                (details.code, details.message.as_str(), details.details.len()),
                (status.code() as i32, "why", 1)
            );
            let info = ErrorInfo::decode(&*details.details[0].value).unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (kind.code(), "meshwire"));
            assert_eq!(super::kind(&status), Some(kind));
        }
    }

    #[test]
    fn a_time_to_wait_is_said_beside_the_code() {
        let status = status(Refusal::new(ErrorKind::Busy, "full").after(1500));
        let details = Details::decode(status.details()).unwrap();
        assert_eq!(details.details[1].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let info = RetryInfo::decode(&*details.details[1].value).unwrap().retry_delay.unwrap();
        assert_eq!((info.seconds, info.nanos), (1, 500_000_000));
    }
}
