//! Who is let in at all: no web page of a foreign origin, and nobody who was sent here by a name that a foreign name service
//! points to this machine. A page could otherwise drive a gateway on the loopback address of whoever looks at it. Whether a gateway lives
//! and is ready is said whatever name it was reached by: who watches it may use any, and no more is said.
//!
//! It stands before every route, upgrades and gRPC among them.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderName, ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use meshwire_proto::ErrorKind;

use super::authority::{Authority, Origin};
use super::{Problem, health};

/// What a listed page may send; headers are as it asks, since attributes of events may have any name.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");

/// What a listed page may read beside what every page may; with the attributes of an event.
const EXPOSED: &str = "retry-after";

/// Seconds for which a browser may remember an answer to a preflight.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

const ASKS_FOR_LOCAL: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_LOCAL: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Options `http_origins` and `http_hosts`.
#[derive(Clone, Debug, Default)]
pub struct Guests {
    origins: Vec<Origin>,
    hosts: Vec<Authority>,
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

impl Guests {
    /// With these origins, separated by commas, in place of those before.
    ///
    /// # Errors
    /// The one that is none.
    pub fn set_origins(&mut self, text: &str) -> Result<(), String> {
        let origin = |text: &str| {
            let problem = || {
                format!(
                    "{text:?} is not an origin; write scheme and host, as https://app.example.com or http://localhost:3000"
                )
            };
            Origin::parse(text).ok_or_else(problem)
        };
        self.origins = list(text).map(origin).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// With these hosts, separated by commas, in place of those before. One without a port is meant with any.
    ///
    /// # Errors
    /// The one that is none.
    pub fn set_hosts(&mut self, text: &str) -> Result<(), String> {
        let host = |text: &str| {
            let problem =
                || format!("{text:?} is not a host; write its name, as mesh.example.com or mesh.example.com:7400");
            Authority::parse(text).ok_or_else(problem)
        };
        self.hosts = list(text).map(host).collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// What is to become of a request.
#[derive(Debug)]
pub(super) enum Judged {
    /// It is answered at once.
    Answered(Response<Body>),
    /// It goes on; the page it is from, if any that is listed, may read the answer.
    Passes(Option<HeaderValue>),
}

fn invalid(text: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

/// The only value of a header, if it is there.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(invalid(&format!("header {name} is there more than once")));
    }
    let text = first.map(HeaderValue::to_str).transpose();
    text.map_err(|_| invalid(&format!("header {name} is not ASCII text")))
}

/// The host that a request is for. `None`: HTTP/1.0 need not say, and no browser speaks it.
fn host(parts: &Parts) -> Result<Option<Authority>, Problem> {
    let form = |text: &str| {
        let problem = || invalid(&format!("{text:?} is not a host; send host: NAME or host: NAME:PORT"));
        Authority::parse(text).ok_or_else(problem)
    };
    let header = single(&parts.headers, &HOST)?.map(form).transpose()?;
    // Of an absolute target, or of HTTP/2.
    let target = parts.uri.authority().map(|authority| form(authority.as_str())).transpose()?;
    match (target, header) {
        (Some(target), Some(header)) if target != header => {
            Err(invalid(&format!("the target is at {target}, and header host says {header}: they must be the same")))
        }
        (Some(host), _) | (None, Some(host)) => Ok(Some(host)),
        (None, None) if parts.version <= Version::HTTP_10 => Ok(None),
        (None, None) => Err(invalid("header host is missing")),
    }
}

fn judge(guests: &Guests, parts: &Parts, authenticated: bool) -> Result<Option<HeaderValue>, Problem> {
    let host = host(parts)?;
    let any_name = authenticated || health::PATHS.contains(&parts.uri.path());
    if let Some(host) = host.as_ref().filter(|_| !any_name)
        && !host.is_fixed()
        && !guests.hosts.iter().any(|listed| host.is_of(listed))
    {
        let text = format!(
            "this gateway does not answer to the name {host}, since a web page elsewhere could have pointed it here; if it is yours, \
             list it in option http_hosts, or use the address"
        );
        return Err(Problem::new(ErrorKind::OriginRefused, text));
    }
    let Some(origin) = single(&parts.headers, &ORIGIN)? else { return Ok(None) };
    let parsed = Origin::parse(origin);
    if parsed.as_ref().is_some_and(|origin| guests.origins.iter().any(|listed| listed.is(origin))) {
        return Ok(parts.headers.get(ORIGIN).cloned());
    }
    if parsed.zip(host).is_some_and(|(origin, host)| origin.is_at(&host)) {
        return Ok(None);
    }
    let text =
        format!("web pages of {origin:?} may not use this gateway; if they are yours, list it in option http_origins");
    Err(Problem::new(ErrorKind::OriginRefused, text))
}

impl Guests {
    /// Lets a request in or not. Who has proven a name may have come by any.
    pub(super) fn judge(&self, parts: &Parts, authenticated: bool) -> Judged {
        match judge(self, parts, authenticated) {
            Err(problem) => Judged::Answered(problem.answer(&parts.headers)),
            Ok(Some(origin)) if is_preflight(parts) => Judged::Answered(preflight(&origin, &parts.headers)),
            Ok(origin) => Judged::Passes(origin),
        }
    }
}

fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What it may read of these; attributes may have any name.
fn exposed(headers: &HeaderMap) -> HeaderValue {
    let attributes = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("ce-"));
    let names: Vec<&str> = std::iter::once(EXPOSED).chain(attributes).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(EXPOSED))
}

/// Lets a listed page read an answer. Without credentials of the browser's own, which it must not send along.
pub(super) fn allow(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed(headers));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

fn preflight(origin: &HeaderValue, asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(headers, origin);
    headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key(ASKS_FOR_LOCAL) {
        headers.insert(ALLOWS_LOCAL, HeaderValue::from_static("true"));
    }
    response
}
