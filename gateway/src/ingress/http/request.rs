//! `POST /v1/topics/{topic}/requests`: an event in, the reply to it out.

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use meshwire_proto::codec::{http, json};
use meshwire_proto::{Defaults, ErrorKind, EventError, EventView};

use super::deadline::{Deadline, TIMEOUT};
use super::delivery::ANY_SIZE;
use super::event::{self, Mode};
use super::names::Named;
use super::query::Query;
use super::{Door, Problem, accept};
use crate::ingress::calls::RequestCall;

/// Most bytes of attributes that go out in headers; an event with more is answered as JSON.
const ATTRIBUTES: usize = 32 * 1024;

const STRUCTURED: &str = "application/cloudevents+json";

pub(super) async fn request(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::read(&parts.uri, &[TIMEOUT])?;
    let (mode, body) = event::body(&door, &parts, body).await?;
    if mode == Mode::Batch {
        let text = "a request is one event: send it in binary or structured mode";
        return Err(Problem::new(ErrorKind::Invalid, text));
    }
    let (mut asked, mut encoded) = (BytesMut::new(), Ok(()));
    event::parse(mode, &parts, &body, |event| {
        encoded = event.and_then(|event| event.encode_with(Defaults::default(), &mut asked));
    })?;
    encoded.map_err(|e| event::invalid(&e))?;
    // What was made of the body is as much as it was.
    let (_, held) = body.split();
    let asked = asked.freeze();
    // The responder is told of it too.
    let timeout = Deadline::of(&parts).map(Deadline::left);
    let call = RequestCall { topic: &topic, event: asked, timeout, stream: false, retry: false };
    let mut replies = door.calls.request(&door.caller("http"), call)?;
    // The mesh has a copy of its own, which it counts: a reply that takes hours holds nothing of this.
    drop(held);
    let Some(reply) = replies.next().await? else {
        // The responder ended it without an event.
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let answered = answer(&door, &reply, wants_json(&parts.headers));
    answered.inspect_err(|problem| replies.refuse(problem.kind()))
}

fn wants_json(headers: &HeaderMap) -> bool {
    // In binary mode the type is the event's own, whatever that is: all other types stand for it.
    accept::prefers(headers, STRUCTURED)
}

fn answer(door: &Door, reply: &Bytes, structured: bool) -> Result<Response, Problem> {
    let answered =
        EventView::parse(reply, ANY_SIZE).and_then(|view| if structured { as_json(&view) } else { binary(&view) });
    answered.map_err(|error| {
        if error.kind() == ErrorKind::Unsupported {
            door.calls.count_unwritable();
        }
        Problem::new(error.kind(), format!("the reply: {error}"))
    })
}

fn as_json(view: &EventView<'_>) -> Result<Response, EventError> {
    let mut text = String::new();
    json::write(view, &mut text)?;
    Ok(([(CONTENT_TYPE, STRUCTURED)], text).into_response())
}

fn binary(view: &EventView<'_>) -> Result<Response, EventError> {
    let (mut headers, mut bytes, mut fits) = (HeaderMap::new(), 0, true);
    let mut header = |name: &str, value: String| {
        bytes += name.len() + value.len();
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => fits = false,
        }
    };
    let (content_type, data) = http::write(view, &mut header)?;
    if let Some(content_type) = content_type {
        header(CONTENT_TYPE.as_str(), content_type);
    }
    if !fits || bytes > ATTRIBUTES {
        return as_json(view);
    }
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(data)));
    *response.headers_mut() = headers;
    Ok(response)
}
