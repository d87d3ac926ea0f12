//! Names in paths.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use meshwire_proto::ErrorKind;
use serde::de::DeserializeOwned;

use super::Problem;

/// What the braces of a route stand for, percent-decoded.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(Problem::new(ErrorKind::Invalid, format!("path {}: {rejection}", parts.uri.path()))),
        }
    }
}
