//! What is refused for its head alone, on every path: before a handler sees it, and before a byte of its body is read.

use axum::body::HttpBody as _;
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use meshwire_proto::ErrorKind;
use meshwire_proto::codec::http::PREFIX;
use meshwire_proto::codec::percent;

use super::Problem;

/// Most headers of a request.
pub(super) const MAX_HEADERS: usize = 200;

/// Most bytes of attributes in headers: what comes back must fit into the head of an answer too.
const MAX_ATTRIBUTES: usize = 32 * 1024;

/// Longest refusal of an extractor that is given a code; they are one line.
const LONGEST_REJECTION: u64 = 4096;

/// What stands before the router, and not as a layer of it: that would cost each request some allocations.
///
/// # Errors
/// What is wrong with the head.
pub(super) fn check(headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    if headers.len() > MAX_HEADERS {
        let text = format!("the request has {} headers; at most {MAX_HEADERS} are taken", headers.len());
        return Err(Problem::new(ErrorKind::TooLarge, text).with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(Problem::new(ErrorKind::Invalid, "header content-type occurs twice"));
    }
    let is_coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(is_coded) {
        let text = "compressed bodies are not taken: send it without content-encoding";
        return Err(Problem::new(ErrorKind::Unsupported, text).with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if percent::decode(path.as_bytes()).is_none() {
        return Err(Problem::new(ErrorKind::Invalid, "the path has a % without two hexadecimal digits behind it"));
    }
    let attributes = headers.iter().filter(|(name, _)| name.as_str().starts_with(PREFIX));
    let bytes: usize = attributes.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTES {
        let text = format!(
            "attributes in headers have {bytes} bytes, at most {MAX_ATTRIBUTES} are taken; send the event as JSON with \
            content-type: application/cloudevents+json"
        );
        return Err(Problem::new(ErrorKind::TooLarge, text).with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    Ok(())
}

/// With an answer to a method that its path does not take: which that is.
#[derive(Clone, Debug)]
struct WrongMethod(Method, Uri);

/// An answer to such a method. Which ones the path takes, the router puts into its head afterwards, where [`with_code`] finds it.
pub(super) fn wrong_method(method: Method, uri: Uri) -> Response {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    response.extensions_mut().insert(WrongMethod(method, uri));
    response
}

/// Makes a problem with our code of what stands before the handlers: a method is told the others, and an extractor, which refuses in plain
/// text, as a path that is not UTF-8, has none.
pub(super) async fn with_code(response: Response) -> Response {
    if let Some(WrongMethod(method, uri)) = response.extensions().get() {
        let allow = response.headers().get(ALLOW).cloned().unwrap_or(HeaderValue::from_static(""));
        return Problem::wrong_method(method, uri.path(), allow);
    }
    let is_text = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let is_short = response.body().size_hint().upper().is_some_and(|most| most <= LONGEST_REJECTION);
    let status = response.status();
    if !status.is_client_error() || !is_text || !is_short {
        return response;
    }
    match response.into_body().collect().await {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text.to_bytes()).into_owned();
            Problem::new(ErrorKind::Invalid, text).with(status).into_response()
        }
        Err(error) => Problem::new(ErrorKind::Internal, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &'static str, values: &[&str]) -> Option<ErrorKind> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().ok()?);
        }
        check(&headers, "/").err().map(|problem| problem.kind())
    }

    #[test]
    fn a_head_is_refused_for_what_no_handler_takes() {
        assert_eq!(refused("content-encoding", &["identity"]), None);
        assert_eq!(refused("content-encoding", &["identity", "br"]), Some(ErrorKind::Unsupported));
        assert_eq!(refused("content-type", &["text/plain"]), None);
        assert_eq!(refused("content-type", &["text/plain", "text/plain"]), Some(ErrorKind::Invalid));
        assert_eq!(refused("ce-a", &[&"x".repeat(MAX_ATTRIBUTES - 4)]), None);
        assert_eq!(refused("ce-a", &[&"x".repeat(MAX_ATTRIBUTES - 3)]), Some(ErrorKind::TooLarge));
        assert_eq!(refused("a", &["x"; MAX_HEADERS]), None);
        assert_eq!(refused("a", &["x"; MAX_HEADERS + 1]), Some(ErrorKind::TooLarge));
        let of_path = |path| check(&HeaderMap::new(), path).err().map(|problem| problem.kind());
        assert_eq!((of_path("/%41"), of_path("/%4g/a")), (None, Some(ErrorKind::Invalid)));
    }
}
