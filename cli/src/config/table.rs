//! Every option of a gateway: where its value goes. Names, defaults, bounds and
//! meanings come from the table that all languages share.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use meshwire_gateway::config::OnStoreFailure;
use meshwire_gateway::ingress::tls::TlsMode;
use meshwire_gateway::ingress::{Also, Scheme};
use meshwire_proto::options::{self, Bounded, Flag, Text};

use super::Settings;
use super::environment::PREFIX;
use meshwire_proto::options::{parse_count, parse_duration, parse_size, show_duration, show_size};

/// What an option's value is, and where it goes.
pub(crate) enum Setting {
    Duration(&'static Bounded, fn(&mut Settings, Duration)),
    Bytes(&'static Bounded, fn(&mut Settings, u64)),
    Count(&'static Bounded, fn(&mut Settings, u64)),
    Switch(&'static Flag, fn(&mut Settings, bool)),
    Text(&'static Text, &'static str, Assign),
}

/// Takes text, or says what would be accepted.
type Assign = fn(&mut Settings, &str) -> Result<(), String>;

/// Bounds of the options that are narrower than 64 bits keep them from being cut.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// In the order of the help page.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    Setting::Text(&options::LISTEN, "HOST:PORT", set_listen),
    Setting::Text(&options::LISTEN_ALSO, "URL,...", set_listen_also),
    Setting::Text(&options::DATA_DIR, "DIR", |s, v| { s.gateway.data_dir = v.into(); Ok(()) }),
    Setting::Switch(&options::MEMORY, |s, v| s.gateway.memory = v),
    Setting::Text(&options::LOG_LEVEL, "LEVEL[,TARGET=LEVEL]", |s, v| { s.log_levels = v.parse()?; Ok(()) }),
    Setting::Switch(&options::ACCESS_LOG, |s, v| s.access_log = v),
    Setting::Switch(&options::ALLOW_ANONYMOUS, |s, v| s.gateway.allow_anonymous = v),
    Setting::Text(&options::TLS, "off|required|both", set_tls),
    Setting::Text(&options::TLS_CERTIFICATE, "FILE", |s, v| { s.gateway.tls.certificate = v.into(); Ok(()) }),
    Setting::Text(&options::TLS_KEY, "FILE", |s, v| { s.gateway.tls.key = v.into(); Ok(()) }),
    Setting::Text(&options::TLS_CLIENT_ROOTS, "FILE", |s, v| { s.gateway.tls.client_roots = v.into(); Ok(()) }),
    Setting::Text(&options::HTTP_ORIGINS, "ORIGIN,...", |s, v| s.gateway.guests.set_origins(v)),
    Setting::Text(&options::HTTP_HOSTS, "HOST,...", |s, v| s.gateway.guests.set_hosts(v)),
    Setting::Switch(&options::AUTO_CREATE, |s, v| s.gateway.auto_create = v),
    Setting::Count(&options::MAX_TOPICS, |s, v| s.gateway.max_topics = size(v)),
    Setting::Count(&options::MAX_GROUPS, |s, v| s.gateway.max_groups = size(v)),
    Setting::Count(&options::MAX_TOPIC_GROUPS, |s, v| s.gateway.max_topic_groups = size(v)),
    Setting::Count(&options::MAX_SUBSCRIPTIONS, |s, v| s.gateway.max_subscriptions = size(v)),
    Setting::Count(&options::MAX_REQUESTS, |s, v| s.gateway.max_requests = narrow(v)),
    Setting::Count(&options::MAX_SUSPENDED, |s, v| s.gateway.max_suspended = size(v)),
    Setting::Count(&options::MAX_FETCH_MEMBERS, |s, v| s.gateway.max_fetch_members = size(v)),
    Setting::Bytes(&options::SUSPENDED_BYTES, |s, v| s.gateway.suspended_bytes = v),
    Setting::Duration(&options::RETENTION, |s, v| s.gateway.retention = v),
    Setting::Bytes(&options::RETENTION_BYTES, |s, v| s.gateway.retention_bytes = v),
    Setting::Count(&options::MAX_LAG_EVENTS, |s, v| s.gateway.max_lag_events = v),
    Setting::Duration(&options::MAX_DELAY, |s, v| s.gateway.max_delay = v),
    Setting::Count(&options::DELAYED_EVENTS, |s, v| s.gateway.delayed.0 = v),
    Setting::Bytes(&options::DELAYED_BYTES, |s, v| s.gateway.delayed.1 = v),
    Setting::Duration(&options::DEAD_LETTER_RETENTION, |s, v| s.gateway.dead_letter_retention = v),
    Setting::Bytes(&options::DEAD_LETTER_BYTES, |s, v| s.gateway.dead_letter_bytes = v),
    Setting::Bytes(&options::MAX_DISK, |s, v| s.gateway.max_disk = v),
    Setting::Text(&options::ON_STORE_FAILURE, "exit|stay", set_on_store_failure),
    Setting::Bytes(&options::MAX_EVENT_BYTES, |s, v| s.gateway.limits.max_event_bytes = narrow(v)),
    Setting::Bytes(&options::MAX_ATTRIBUTE_BYTES, |s, v| s.gateway.limits.max_attribute_bytes = narrow(v)),
    Setting::Bytes(&options::MAX_FRAME_BYTES, |s, v| s.gateway.max_frame_bytes = narrow(v)),
    Setting::Bytes(&options::LOGIN_FRAME_BYTES, |s, v| s.gateway.login_frame_bytes = narrow(v)),
    Setting::Duration(&options::HTTP_IDLE_TIMEOUT, |s, v| s.gateway.http_idle_timeout = v),
    Setting::Duration(&options::LOGIN_TIMEOUT, |s, v| s.gateway.login_timeout = v),
    Setting::Duration(&options::HEARTBEAT, |s, v| s.gateway.heartbeat = v),
    Setting::Duration(&options::RESUME_WINDOW, |s, v| s.gateway.resume_window = v),
    Setting::Duration(&options::STOP_TIMEOUT, |s, v| s.gateway.stop_timeout = v),
    Setting::Bytes(&options::SESSION_BYTES, |s, v| s.gateway.session_bytes = v),
    Setting::Count(&options::MAX_CONNECTIONS, |s, v| s.gateway.max_connections = size(v)),
    Setting::Count(&options::ACCEPT_RATE, |s, v| s.gateway.accept_rate = narrow(v)),
    Setting::Duration(&options::DEDUP_WINDOW, |s, v| s.gateway.dedup_window = v),
    Setting::Count(&options::DEDUP_IDS, |s, v| s.gateway.dedup_ids = size(v)),
    Setting::Bytes(&options::MEMORY_BUDGET, |s, v| s.gateway.memory_budget = v),
    Setting::Bytes(&options::MEMORY_RING_BYTES, |s, v| s.gateway.memory_ring_bytes = size(v)),
    Setting::Bytes(&options::MEMORY_TOTAL_BYTES, |s, v| s.gateway.memory_total_bytes = size(v)),
    Setting::Bytes(&options::CACHE_BYTES, |s, v| s.gateway.cache_bytes = size(v)),
    Setting::Bytes(&options::PUBLISH_BUDGET_BYTES, |s, v| s.gateway.publish_budget_bytes = v),
    Setting::Count(&options::MAX_PUBLISH_RATE, |s, v| s.gateway.rates.publish.0 = v),
    Setting::Bytes(&options::MAX_PUBLISH_BYTES_RATE, |s, v| s.gateway.rates.publish.1 = v),
    Setting::Count(&options::MAX_DELIVER_RATE, |s, v| s.gateway.rates.deliver.0 = v),
    Setting::Bytes(&options::MAX_DELIVER_BYTES_RATE, |s, v| s.gateway.rates.deliver.1 = v),
];

fn set_listen(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.gateway.listen = resolve(text)?;
    Ok(())
}

fn set_listen_also(settings: &mut Settings, text: &str) -> Result<(), String> {
    let listener = |text: &str| {
        let found = text.split_once("://").and_then(|(scheme, address)| Some((Scheme::parse(scheme)?, address)));
        let Some((scheme, address)) = found else {
            return Err(format!(
                "{text:?} is no listener; write http://HOST:PORT, tcp://HOST:PORT or mesh://HOST:PORT, or inside TLS https://, tcps:// or \
                 meshs://; gRPC and WebSocket are served with HTTP"
            ));
        };
        Ok(Also { scheme, address: resolve(address)? })
    };
    let listeners = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    settings.gateway.listen_also = listeners.map(listener).collect::<Result<_, _>>()?;
    Ok(())
}

/// One address of `HOST:PORT`. There is one listener: of a name with several
/// addresses IPv4 is preferred, as in the option's default.
fn resolve(text: &str) -> Result<SocketAddr, String> {
    let form = || {
        format!("{text:?} is not an address with a port; write one such as 127.0.0.1:7400, localhost:7400 or [::1]:0")
    };
    if text.starts_with(':') {
        return Err(form());
    }
    if let Some((_, address)) = text.split_once("://") {
        return Err(format!("{text:?} is a URL, as clients take it; write {}", address.trim_end_matches('/')));
    }
    if let Some(port) = text.strip_prefix("*:") {
        return Err(format!(
            "{text:?} is not an address; every address of this machine is 0.0.0.0:{port} or [::]:{port}"
        ));
    }
    let found: Vec<SocketAddr> = match text.to_socket_addrs() {
        Ok(found) => found.collect(),
        // Told before anything is asked.
        Err(cause) if cause.kind() == ErrorKind::InvalidInput => return Err(form()),
        Err(cause) => return Err(format!("the host of {text:?} has no address that is known here: {cause}")),
    };
    let best = found.iter().find(|a| a.is_ipv4()).or(found.first());
    best.copied().ok_or_else(|| format!("the host of {text:?} has no address"))
}

fn set_on_store_failure(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.gateway.on_store_failure = match text {
        "exit" => OnStoreFailure::Exit,
        "stay" => OnStoreFailure::Stay,
        _ => return Err(format!("{text:?} is neither exit nor stay")),
    };
    Ok(())
}

fn set_tls(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.gateway.tls.mode = match text {
        "" => None,
        "off" => Some(TlsMode::Off),
        "required" => Some(TlsMode::Required),
        "both" => Some(TlsMode::Both),
        _ => return Err(format!("{text:?} is neither off nor required nor both")),
    };
    Ok(())
}

impl Setting {
    /// As in files; flags and environment are made from it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Duration(option, _) | Self::Bytes(option, _) | Self::Count(option, _) => option.name,
            Self::Switch(option, _) => option.name,
            Self::Text(option, ..) => option.name,
        }
    }

    /// As a flag, without the dashes in front.
    pub(crate) fn flag(&self) -> String {
        self.name().replace('_', "-")
    }

    /// As a variable of the environment.
    pub(crate) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name().to_ascii_uppercase())
    }

    /// What to write in place of the value, for the help page.
    pub(crate) const fn placeholder(&self) -> &'static str {
        match self {
            Self::Duration(..) => "DURATION",
            Self::Bytes(..) => "SIZE",
            Self::Count(..) => "N",
            Self::Switch(..) => "true|false",
            Self::Text(_, placeholder, _) => placeholder,
        }
    }

    /// Meaning and default, for the help page.
    pub(crate) fn help(&self) -> String {
        let (meaning, default) = match self {
            Self::Duration(option, _) => (option.meaning, show_duration(option.default)),
            Self::Bytes(option, _) => (option.meaning, show_size(option.default)),
            Self::Count(option, _) => (option.meaning, option.default.to_string()),
            Self::Switch(option, _) => (option.meaning, option.default.to_string()),
            Self::Text(option, ..) => (option.meaning, option.default.to_owned()),
        };
        format!("{meaning} [default: {default}]")
    }

    /// Reads a value and puts it in its place.
    ///
    /// # Errors
    /// What is wrong with the value, without the option's name.
    pub(crate) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match self {
            Self::Duration(option, assign) => {
                let value = parse_duration(text)?;
                let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
                within(option, millis, show_duration)?;
                assign(settings, value);
            }
            Self::Bytes(option, assign) => assign(settings, within(option, parse_size(text)?, show_size)?),
            Self::Count(option, assign) => {
                assign(settings, within(option, parse_count(text)?, |n| n.to_string())?);
            }
            Self::Switch(_, assign) => match text {
                "true" => assign(settings, true),
                "false" => assign(settings, false),
                _ => return Err(format!("{text:?} is neither true nor false")),
            },
            Self::Text(.., assign) => assign(settings, text)?,
        }
        Ok(())
    }
}

/// A number within its option's bounds, else a sentence that shows them as people write them.
fn within(option: &Bounded, value: u64, show: impl Fn(u64) -> String) -> Result<u64, String> {
    option.check(value).map_err(|_| {
        let [value, min, max] = [value, option.min, option.max].map(show);
        format!("{value} is out of bounds; from {min} to {max} is accepted")
    })
}
