//! Errors as gRPC statuses, whose details say the code of the catalogue.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::rpc;
use prost::Message as _;
use tonic::{Code, Status};

use crate::mesh::Refusal;

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
    let code = code(kind);
    let details = rpc::Status::of(code as i32, &message, kind, Duration::from_millis(retry_after_ms.into()));
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The kind that a status of ours says.
pub(in crate::ingress) fn kind(status: &Status) -> Option<ErrorKind> {
    let reason = rpc::Status::decode(status.details()).ok()?.reason()?;
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
            let details = rpc::Status::decode(status.details()).unwrap();
            let said = (details.code, details.message.as_str(), details.details.len());
            assert_eq!(said, (status.code() as i32, "why", 1));
            assert_eq!(details.reason().as_deref(), Some(kind.code()));
            assert_eq!(super::kind(&status), Some(kind));
        }
    }

    #[test]
    fn a_time_to_wait_is_said_beside_the_code() {
        let status = status(Refusal::new(ErrorKind::Busy, "full").after(1500));
        let details = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(details.details[1].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        assert_eq!(details.retry_after(), Duration::from_millis(1500));
    }
}
