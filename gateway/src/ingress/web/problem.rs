//! Errors as RFC 9457 problem details, with the code of the catalogue.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use meshwire_proto::ErrorKind;

use super::{call, status};
use crate::mesh::Refusal;

const PROBLEM_JSON: &str = "application/problem+json";

/// How credentials would be sent.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");

/// With an answer: why it is a problem.
#[derive(Clone, Copy, Debug)]
pub(in crate::ingress) struct ProblemKind(pub(in crate::ingress) ErrorKind);

/// A request that was not carried out.
#[derive(Debug)]
pub(in crate::ingress) struct Problem {
    refusal: Refusal,
    /// Where the status says more than the code's own.
    status: Option<StatusCode>,
}

impl Problem {
    pub(in crate::ingress) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Refusal::new(kind, message).into()
    }

    pub(in crate::ingress) fn with(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    pub(in crate::ingress) const fn kind(&self) -> ErrorKind {
        self.refusal.kind
    }

    pub(in crate::ingress) fn no_path(path: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("there is nothing at {path}; /openapi.json lists what there is"))
    }

    /// The answer to a method that a path does not take, with those that it takes.
    pub(in crate::ingress) fn wrong_method(method: &Method, path: &str, allow: HeaderValue) -> Response<Body> {
        let takes = allow.to_str().unwrap_or_default().replace(',', ", ");
        let text = format!("{path} does not take {method}; it takes {takes}");
        let mut response = Self::new(ErrorKind::Invalid, text).with(StatusCode::METHOD_NOT_ALLOWED).into_response();
        response.headers_mut().insert(ALLOW, allow);
        response
    }

    /// In the words of who asks: a call of gRPC is told a status.
    pub(in crate::ingress) fn answer(self, headers: &HeaderMap) -> Response<Body> {
        if call::is_grpc(headers) { status::answer(self.refusal) } else { self.into_response() }
    }

    /// As an answer of HTTP/1.1 that ends the connection.
    pub(in crate::ingress) fn into_bytes(self) -> Bytes {
        let (status, body) = (self.status(), self.json().to_string());
        let length = body.len();
        let after = self.refusal.retry_after_ms.div_ceil(1000);
        let after = if after > 0 { format!("retry-after: {after}\r\n") } else { String::new() };
        let challenge = if status == StatusCode::UNAUTHORIZED { "www-authenticate: Bearer\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {length}\r\n{after}{challenge}connection: close\r\n\r\n"
        );
        Bytes::from(head + &body)
    }

    fn status(&self) -> StatusCode {
        let status = self.status.or_else(|| StatusCode::from_u16(self.refusal.kind.http_status()).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its members.
    pub(in crate::ingress) fn json(&self) -> serde_json::Value {
        let (status, Refusal { kind, message, retry_after_ms }) = (self.status(), &self.refusal);
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": kind.code(),
            "status": status.as_u16(),
            "code": kind.code(),
            "detail": message,
        });
        if *retry_after_ms > 0
            && let Some(body) = body.as_object_mut()
        {
            body.insert("retry_after_ms".to_owned(), (*retry_after_ms).into());
        }
        body
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, status: None }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        problem.refusal
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.status();
        response.extensions_mut().insert(ProblemKind(self.refusal.kind));
        let retry_after_ms = self.refusal.retry_after_ms;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if retry_after_ms > 0 {
            response.headers_mut().insert(RETRY_AFTER, retry_after_ms.div_ceil(1000).into());
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 asks for it; there is no other place for a token.
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}
