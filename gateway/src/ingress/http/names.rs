//! Names in paths.

use axum::extract::path::ErrorKind as PathErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use meshwire_proto::{ErrorKind, GroupKey};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::ingress::calls;

/// What the braces of a route stand for, percent-decoded.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(Problem::new(ErrorKind::Invalid, unreadable(parts.uri.path(), &rejection))),
        }
    }
}

fn unreadable(path: &str, rejection: &PathRejection) -> String {
    if let PathRejection::FailedToDeserializePathParams(failed) = rejection
        && let PathErrorKind::InvalidUtf8InPathParam { key } = failed.kind()
    {
        return format!("the {key} in path {path} is not percent-encoded UTF-8");
    }
    format!("path {path} cannot be read")
}

/// A group by its name.
///
/// # Errors
/// `INVALID`: the name.
pub(super) fn group_key(name: &str) -> Result<GroupKey, Problem> {
    Ok(calls::group_key(name, "")?)
}
