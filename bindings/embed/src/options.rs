//! Options as text: the same names, forms and words in every language.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use meshwire::{
    Connect, Consume, Error, ErrorKind, GroupSettings, Mesh, Offline, Result, SendRequest, Serve, Start, StreamRequest,
    Subscribe,
};
use meshwire_proto::options::{self, parse_count, parse_duration, parse_size};

/// Names of a client's options, as docs/options.md has them; `name` is that of the program.
const CLIENT: &[&str] = &[
    "client_tls_certificate",
    "client_tls_key",
    "client_tls_roots",
    "client_tls_server_name",
    "connect_timeout",
    "connect_wait",
    "name",
    "offline_file",
    "offline_max_age",
    "offline_max_bytes",
    "offline_sync",
    "proxy",
    "publish_offline",
    "publish_timeout",
    "publish_window_bytes",
    "publish_window_events",
    "reconnect_max",
    "reconnect_min",
    "request_window",
    "token",
    "token_file",
    "url",
];

/// Those of a subscription.
const SUBSCRIPTION: &[&str] = &[
    "ack_wait",
    "backoff_max",
    "backoff_min",
    "broadcast",
    "group",
    "hold_after_dead_letter",
    "max_age",
    "max_failures",
    "max_in_flight",
    "max_rate",
    "member",
    "prefetch_bytes",
    "prefetch_events",
    "start",
    "strict_order",
];

/// What a consumer has beside those of its subscription.
const CONSUMER: &[&str] = &["handler_concurrency"];

/// Those of a responder.
const RESPONDER: &[&str] = &["group", "handler_concurrency", "prefetch_bytes", "prefetch_events"];

/// Those of a request; `reply_credit` is of one for many replies.
const REQUEST: &[&str] = &["request_timeout", "retry"];
const REQUEST_STREAM: &[&str] = &["reply_credit"];

/// Names with their values, read where they are used.
///
/// Durations are as `30s`, `500ms`, `10m`; sizes as `64MiB`; flags `true` or `false`. A start is `earliest`, `latest`, `position N`, or a
/// time as `2026-11-22T10:00:00Z`. A name that is none is `INVALID`, with those that are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Options {
    /// The last of a name holds.
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Options {
    /// One more, in place of one of that name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }
}

impl Options {
    /// How many handlers may run at once, for a host that runs one alone.
    ///
    /// # Errors
    /// `INVALID`: that is no number.
    pub fn handlers(&self, operation: &'static str) -> Result<u64> {
        Reader { said: &self.0, operation }.handlers()
    }
}

impl FromStr for Options {
    type Err = Error;

    /// Pairs `name=value`, a line each, or with `;` between them where there is one line: `group=billing; max_failures=3`. Blanks around
    /// names and values, and empty lines, mean nothing.
    fn from_str(text: &str) -> Result<Self> {
        let between = if text.contains('\n') { '\n' } else { ';' };
        let pairs = text.split(between).map(str::trim).filter(|pair| !pair.is_empty());
        let read = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                // Not shown: it may be a part of a token that has a ; in it.
                let text = if between == ';' {
                    "an option has no =: write name=value, with ; between them, or a new line if a value has a ; in it"
                } else {
                    "a line has no =: write name=value, an option a line"
                };
                Err(Error::of_host(ErrorKind::Invalid, "options", text))
            }
        };
        Ok(Self(pairs.map(read).collect::<Result<_>>()?))
    }
}

/// The options of one call while they are read.
struct Reader<'a> {
    said: &'a BTreeMap<String, String>,
    operation: &'static str,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// `INVALID`: a name is none of those.
    fn new(said: &'a BTreeMap<String, String>, operation: &'static str, names: &[&[&str]]) -> Result<Self> {
        let is_known = |name: &str| names.iter().any(|names| names.contains(&name));
        match said.keys().find(|name| !is_known(name)) {
            None => Ok(Self { said, operation }),
            Some(name) => {
                let mut names = names.concat();
                names.sort_unstable();
                let text = format!("{name} is no option of {operation}; those are {}", names.join(", "));
                Err(Error::of_host(ErrorKind::Invalid, operation, text))
            }
        }
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.said.get(name).map(String::as_str)
    }

    fn read<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>> {
        let invalid = |problem| Error::of_host(ErrorKind::Invalid, self.operation, format!("option {name}: {problem}"));
        self.text(name).map(|text| read(text).map_err(invalid)).transpose()
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>> {
        self.read(name, parse_duration)
    }

    fn count(&self, name: &str) -> Result<Option<u64>> {
        self.read(name, parse_count)
    }

    /// A count that a group's setting has room for.
    fn small(&self, name: &str) -> Result<Option<u32>> {
        self.read(name, |text| {
            let count = parse_count(text)?;
            u32::try_from(count).map_err(|_| format!("{count} is more than {}", u32::MAX))
        })
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        self.read(name, parse_size)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        self.read(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        })
    }

    /// How many handlers may run at once.
    fn handlers(&self) -> Result<u64> {
        Ok(self.count("handler_concurrency")?.unwrap_or(options::HANDLER_CONCURRENCY.default))
    }

    fn start(&self) -> Result<Option<Start>> {
        self.read("start", |text| text.parse().map_err(|error: Error| error.message().to_owned()))
    }

    /// Events and bytes, where one of them is said.
    fn prefetch(&self) -> Result<Option<(u64, u64)>> {
        let (events, bytes) = (self.count("prefetch_events")?, self.size("prefetch_bytes")?);
        let (most, largest) = (&options::PREFETCH_EVENTS, &options::PREFETCH_BYTES);
        Ok((events.is_some() || bytes.is_some())
            .then(|| (events.unwrap_or(most.default), bytes.unwrap_or(largest.default))))
    }

    /// One of two words.
    fn choice(&self, name: &str, no: &'static str, yes: &'static str) -> Result<bool> {
        let choice = self.read(name, |text| match text {
            _ if text == yes => Ok(true),
            _ if text == no => Ok(false),
            other => Err(format!("{other:?} is neither {no} nor {yes}")),
        });
        Ok(choice?.unwrap_or(false))
    }
}

impl Options {
    /// A client's connection.
    ///
    /// # Errors
    /// `INVALID`: a name, or a value's form. Bounds are checked where it connects.
    pub(crate) fn connect(&self) -> Result<Connect> {
        let said = Reader::new(&self.0, "connect", &[CLIENT])?;
        let mut connect = Connect::new(said.text("url").unwrap_or(""));
        if let Some(name) = said.text("name") {
            connect = connect.name(name);
        }
        if let Some(timeout) = said.duration("connect_timeout")? {
            connect = connect.timeout(timeout);
        }
        if let Some(wait) = said.duration("connect_wait")? {
            connect = connect.wait(wait);
        }
        let window = (said.count("publish_window_events")?, said.size("publish_window_bytes")?);
        if window != (None, None) {
            let (events, bytes) = (&options::PUBLISH_WINDOW_EVENTS, &options::PUBLISH_WINDOW_BYTES);
            connect = connect.publish_window(window.0.unwrap_or(events.default), window.1.unwrap_or(bytes.default));
        }
        if let Some(requests) = said.count("request_window")? {
            connect = connect.request_window(requests);
        }
        let reconnect = (said.duration("reconnect_min")?, said.duration("reconnect_max")?);
        if reconnect != (None, None) {
            let min = reconnect.0.unwrap_or(options::RECONNECT_MIN.default_duration());
            connect = connect.reconnect(min, reconnect.1.unwrap_or(options::RECONNECT_MAX.default_duration()));
        }
        if let Some(timeout) = said.duration("publish_timeout")? {
            connect = connect.publish_timeout(timeout);
        }
        if let Some(offline) = offline(&said)? {
            connect = connect.offline(offline);
        }
        if let Some(proxy) = said.text("proxy") {
            connect = connect.proxy(proxy);
        }
        if let Some(token) = said.text("token") {
            connect = connect.token(token);
        }
        if let Some(file) = said.text("token_file") {
            connect = connect.token_file(file);
        }
        tls(connect, &said)
    }

    /// A subscription to a topic.
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub(crate) fn subscribe(&self, mesh: &Mesh, topic: &str) -> Result<Subscribe> {
        let said = Reader::new(&self.0, "subscribe", &[SUBSCRIPTION])?;
        let mut subscribe = mesh.subscribe(topic).settings(group(&said)?);
        if let Some(group) = said.text("group") {
            subscribe = subscribe.group(group);
        }
        if said.flag("broadcast")?.unwrap_or(false) {
            subscribe = subscribe.broadcast();
        }
        if let Some(member) = said.text("member") {
            subscribe = subscribe.member(member);
        }
        if let Some(start) = said.start()? {
            subscribe = subscribe.start(start);
        }
        if let Some((events, bytes)) = said.prefetch()? {
            subscribe = subscribe.prefetch(events, bytes);
        }
        Ok(subscribe)
    }

    /// A consumer of a topic, and how many handlers it may run.
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub(crate) fn consume(&self, mesh: &Mesh, topic: &str) -> Result<(Consume, u64)> {
        let said = Reader::new(&self.0, "consume", &[SUBSCRIPTION, CONSUMER])?;
        let mut consume = mesh.consume(topic).settings(group(&said)?);
        if let Some(group) = said.text("group") {
            consume = consume.group(group);
        }
        if said.flag("broadcast")?.unwrap_or(false) {
            consume = consume.broadcast();
        }
        if let Some(member) = said.text("member") {
            consume = consume.member(member);
        }
        if let Some(start) = said.start()? {
            consume = consume.start(start);
        }
        if let Some((events, bytes)) = said.prefetch()? {
            consume = consume.prefetch(events, bytes);
        }
        let handlers = said.handlers()?;
        Ok((consume.concurrency(handlers), handlers))
    }

    /// Who serves a topic, and how many handlers it may run.
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub(crate) fn serve(&self, mesh: &Mesh, topic: &str) -> Result<(Serve, u64)> {
        let said = Reader::new(&self.0, "serve", &[RESPONDER])?;
        let mut serve = mesh.serve(topic);
        if let Some(group) = said.text("group") {
            serve = serve.group(group);
        }
        if let Some((events, bytes)) = said.prefetch()? {
            serve = serve.prefetch(events, bytes);
        }
        let handlers = said.handlers()?;
        Ok((serve.concurrency(handlers), handlers))
    }
}

impl Options {
    /// A request for one reply.
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub(crate) fn request(&self, mut request: SendRequest) -> Result<SendRequest> {
        let said = Reader::new(&self.0, "request", &[REQUEST])?;
        if let Some(timeout) = said.duration("request_timeout")? {
            request = request.timeout(timeout);
        }
        Ok(request.retry(said.flag("retry")?.unwrap_or(false)))
    }

    /// A request for many replies.
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub(crate) fn request_stream(&self, mut request: StreamRequest) -> Result<StreamRequest> {
        let said = Reader::new(&self.0, "request_stream", &[REQUEST, REQUEST_STREAM])?;
        if let Some(timeout) = said.duration("request_timeout")? {
            request = request.timeout(timeout);
        }
        if let Some(replies) = said.count("reply_credit")? {
            request = request.credit(replies);
        }
        Ok(request.retry(said.flag("retry")?.unwrap_or(false)))
    }
}

fn offline(said: &Reader<'_>) -> Result<Option<Offline>> {
    let mut offline = Offline::new();
    if let Some(bytes) = said.size("offline_max_bytes")? {
        offline = offline.max_bytes(bytes);
    }
    if let Some(age) = said.duration("offline_max_age")? {
        offline = offline.max_age(age);
    }
    if let Some(file) = said.text("offline_file") {
        offline = offline.file(file);
    }
    if said.choice("offline_sync", "synced", "written")? {
        offline = offline.synced(false);
    }
    let on = said.choice("publish_offline", "off", "buffer")?;
    let meant = ["offline_max_bytes", "offline_max_age", "offline_file", "offline_sync"];
    if let (false, Some(name)) = (on, meant.into_iter().find(|name| said.text(name).is_some())) {
        let text = format!("option {name} is of the offline buffer: say publish_offline=buffer too");
        return Err(Error::of_host(ErrorKind::Invalid, "connect", text));
    }
    Ok(on.then_some(offline))
}

fn group(said: &Reader<'_>) -> Result<GroupSettings> {
    let mut settings = GroupSettings::new();
    settings.ack_wait = said.duration("ack_wait")?;
    settings.max_failures = said.small("max_failures")?;
    settings.max_age = said.duration("max_age")?;
    settings.backoff_min = said.duration("backoff_min")?;
    settings.backoff_max = said.duration("backoff_max")?;
    settings.hold_after_dead_letter = said.flag("hold_after_dead_letter")?;
    settings.strict_order = said.flag("strict_order")?;
    settings.max_in_flight = said.small("max_in_flight")?;
    settings.max_rate = said.small("max_rate")?;
    Ok(settings)
}

#[cfg(feature = "tls")]
fn tls(mut connect: Connect, said: &Reader<'_>) -> Result<Connect> {
    if let Some(roots) = said.text("client_tls_roots") {
        connect = connect.tls_roots(roots);
    }
    if let Some(name) = said.text("client_tls_server_name") {
        connect = connect.tls_server_name(name);
    }
    match (said.text("client_tls_certificate"), said.text("client_tls_key")) {
        (None, None) => Ok(connect),
        (Some(certificate), Some(key)) => Ok(connect.tls_certificate(certificate, key)),
        (Some(_), None) => Err(alone("client_tls_certificate", "client_tls_key")),
        (None, Some(_)) => Err(alone("client_tls_key", "client_tls_certificate")),
    }
}

#[cfg(feature = "tls")]
fn alone(one: &str, other: &str) -> Error {
    Error::of_host(ErrorKind::Invalid, "connect", format!("option {one} needs {other} too"))
}

#[cfg(not(feature = "tls"))]
fn tls(connect: Connect, said: &Reader<'_>) -> Result<Connect> {
    match said.said.keys().find(|name| name.starts_with("client_tls")) {
        None => Ok(connect),
        Some(name) => {
            let text = format!("option {name} is for TLS, which this library was built without");
            Err(Error::of_host(ErrorKind::Unsupported, "connect", text))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn options_are_written_on_one_line_or_on_many() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Options>();
        let parse = |text: &str| text.parse::<Options>().unwrap();
        assert_eq!(parse("group=billing"), pairs(&[("group", "billing")]));
        assert_eq!(parse(" group = billing ;; max_failures=3;"), pairs(&[("group", "billing"), ("max_failures", "3")]));
        assert_eq!(parse("token=a;b=c\nname=x"), pairs(&[("token", "a;b=c"), ("name", "x")]));
        assert_eq!(parse(""), Options::default());
        let error = "group".parse::<Options>().unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains("name=value"), "{error}");
    }
}
