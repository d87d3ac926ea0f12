//! Becoming a client of a gateway.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use meshwire_proto::{ErrorKind, Event, options};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::client::Mesh;
use crate::driver::{Driver, Startup, no_room, unreachable};
use crate::hooks::{Hooks, SettledAs};
use crate::identity::{self, Identity};
use crate::offline::{Kept, Offline};
use crate::outbox::{Limits, Outbox};
use crate::session::{Config, Session};
use crate::token::{Secret, Token};
use crate::transport::{Dial, Means, MemoryTransport, Network, choose_proxy};
#[cfg(feature = "tls")]
use crate::transport::{Tls, TlsOptions};
use crate::{Delivery, Error, Result, address};

/// Connects to the gateway at `url`, with every default; [`Connect`] has the options.
///
/// An empty `url` means the environment variable `MESHWIRE_URL`, else
/// `mesh://127.0.0.1:7400`. Up to 16 endpoints stand in one URL, separated by commas;
/// `mesh://` takes whatever gets through to one of them (TCP, then gRPC, then WebSocket,
/// then HTTP), `tcp://`, `grpc://`, `ws://` and `http://` only that. `meshs`, `tcps`,
/// `grpcs`, `wss` and `https` are the same inside TLS.
///
/// ```no_run
/// # async fn example() -> meshwire::Result<()> {
/// let mesh = meshwire::connect("mesh://127.0.0.1:7400").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `UNAVAILABLE` naming every address tried: at once when all refuse, after 5 s
/// when one is silent. `UNAUTHENTICATED`, `DENIED` or `UNSUPPORTED` as the gateway
/// answers; `UNAUTHENTICATED`, too, when it does not take this client's certificate.
/// `TLS_REQUIRED` when it speaks TLS only. `UNAVAILABLE` at once, too, when what answers
/// there is not a Meshwire gateway, and that for good ([`Retry::Never`](crate::Retry::Never)) when it does
/// not speak the TLS that the URL asks for, or shows a certificate that is not trusted,
/// of another name, or out of date. `PROXY_REFUSED` when a proxy
/// refuses. `BUSY` when the wait is over and the gateway had no room for one more
/// client; until then it is asked again when it says. `INVALID` for a URL that is none, a file or a token that cannot be
/// used, a token that may not be sent there, an option of TLS for another host without TLS (to this machine it goes in
/// plain, and the option is not used), or outside a tokio runtime.
///
/// # Cancel safety
/// Dropping the future abandons the connection.
pub async fn connect(url: &str) -> Result<Mesh> {
    Connect::new(url).await
}

/// How to connect, until it is awaited for the [`Mesh`].
///
/// ```no_run
/// # async fn example() -> meshwire::Result<()> {
/// use std::time::Duration;
/// let mesh = meshwire::Connect::new("").name("billing").wait(Duration::from_secs(60)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is connected until it is awaited"]
pub struct Connect {
    url: String,
    name: Option<String>,
    timeout: Duration,
    wait: Duration,
    window: (u64, u64),
    requests: u64,
    reconnect: (Duration, Duration),
    publish_timeout: Duration,
    offline: Option<Offline>,
    hooks: Hooks,
    memory: Option<MemoryTransport>,
    proxy: String,
    token: Token,
    #[cfg(feature = "tls")]
    tls: TlsOptions,
}

impl Connect {
    /// A connection to `url`, as [`connect`] takes it.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            name: None,
            timeout: options::CONNECT_TIMEOUT.default_duration(),
            wait: options::CONNECT_WAIT.default_duration(),
            window: (options::PUBLISH_WINDOW_EVENTS.default, options::PUBLISH_WINDOW_BYTES.default),
            requests: options::REQUEST_WINDOW.default,
            reconnect: (options::RECONNECT_MIN.default_duration(), options::RECONNECT_MAX.default_duration()),
            publish_timeout: options::PUBLISH_TIMEOUT.default_duration(),
            offline: None,
            hooks: Hooks::default(),
            memory: None,
            proxy: options::PROXY.default.to_owned(),
            token: Token::None,
            #[cfg(feature = "tls")]
            tls: TlsOptions::default(),
        }
    }

    /// A connection without sockets, to whatever takes it off the listener.
    pub fn memory(transport: MemoryTransport) -> Self {
        Self { memory: Some(transport), ..Self::new("") }
    }

    /// Name of this program in the gateway's logs, and in the `source` of events
    /// that have none. Default: the name of the executable.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long to wait for an address that does not answer. Default 5 s; from
    /// 10 ms to 10 min.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Keeps trying for so long, also while every address refuses: for programs
    /// that start before their gateway. It takes the place of the timeout. Default
    /// 0, not at all; at most 1 h. A gateway that refuses the login, a certificate that is not taken, and over
    /// `tcp://` an answer of something else than a gateway, end it at once. Who answers in HTTP that there is no such thing is
    /// asked again: a proxy may have no gateway behind it yet.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Most publishes without a receipt, and most bytes of them. Default 16,384
    /// and 64 MiB; from 1 and 64 KiB to 1,048,576 and 1 GiB. It is the memory
    /// that publishes may take, and what is replayed after a reconnect.
    pub const fn publish_window(mut self, events: u64, bytes: u64) -> Self {
        self.window = (events, bytes);
        self
    }

    /// Most requests without their last reply. Default 16,384; from 1 to 1,048,576. Over
    /// it, or over 64 MiB of their events, a request is `BUFFER_FULL`.
    pub const fn request_window(mut self, requests: u64) -> Self {
        self.requests = requests;
        self
    }

    /// Waits between reconnects: the ceiling of the first and of the longest, each
    /// with full jitter. Default 50 ms and 5 s; from 1 ms to 1 min and 10 min.
    pub const fn reconnect(mut self, min: Duration, max: Duration) -> Self {
        self.reconnect = (min, max);
        self
    }

    /// How long a plain [`publish`](Mesh::publish) waits for its receipt, and for room before; then it is `TIMEOUT` with
    /// unknown outcome, and what was admitted is published all the same. Default 0: as long as it takes; at most 12 h.
    pub const fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = timeout;
        self
    }

    /// Lets publishes wait for a gateway in the offline buffer: connecting succeeds at once, whether one runs or not,
    /// and [`Mesh::connected`] waits for one. [`Mesh::publish_start`] takes events up to the buffer's size, then is
    /// `BUFFER_FULL` while there is no gateway. What a gateway refuses for a while (`BUSY`, `DISK_FULL`, `TOPIC_FULL`) is
    /// sent again when it says. An event that waits longer than the buffer allows fails. Default: none of that.
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = Some(offline);
        self
    }

    /// Calls `hook` with the topic and each event that is published, before what is absent is filled in and it is encoded:
    /// what it gives is published. An error of it refuses the event: the publish fails with it, as `INVALID` unless it is an
    /// [`Error`] of this crate. When it panics the publish is `INTERNAL`. It runs in the caller's task and must not block.
    /// Requests are not published. One hook; the last one set counts.
    ///
    /// ```no_run
    /// # fn current() -> String { String::new() }
    /// # async fn example() -> meshwire::Result<()> {
    /// let mesh = meshwire::Connect::new("")
    ///     .on_publish(|_topic, event| Ok(event.attribute("traceparent", current())))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_publish(
        mut self,
        hook: impl Fn(&str, Event) -> Result<Event, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.publish = Some(Box::new(hook));
        self
    }

    /// Calls `hook` with each delivery before the program is handed it, also before a handler. When it panics the delivery is
    /// nacked, and the subscription gives `INTERNAL` in its place, and goes on. It must not block.
    pub fn on_delivery(mut self, hook: impl Fn(&Delivery) + Send + Sync + 'static) -> Self {
        self.hooks.delivery = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a delivery is settled, or dropped without. When it panics that is logged. It must not block.
    pub fn on_settle(mut self, hook: impl Fn(&Delivery, SettledAs) + Send + Sync + 'static) -> Self {
        self.hooks.settle = Some(Box::new(hook));
        self
    }

    /// The HTTP proxy to go through, as `http://HOST:PORT` or `http://NAME:PASSWORD@HOST:PORT`; by CONNECT, whatever the
    /// URL's scheme is. Default, and for `""`: as the environment says in `HTTPS_PROXY` (TLS schemes), `HTTP_PROXY`
    /// (others), `ALL_PROXY` and `NO_PROXY`, never for this machine. `none`: no proxy at all. One that refuses
    /// ends the connect with `PROXY_REFUSED`, unless an endpoint is left that needs none or that it lets through to.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = url.into();
        self
    }

    /// Logs in with this bearer token. It is sent over TLS, or without it to this machine alone: to another host in
    /// plain, connecting is refused with `INVALID` before anything is sent. At most 16 KiB without blanks.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Token::Text(Secret::new(token));
        self
    }

    /// The same with the token in a file, which is read at each connect: a program that renews it need not tell.
    /// Blanks around it do not count. In place of [`Connect::token`].
    pub fn token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.token = Token::File(file.into());
        self
    }

    /// Trusts the certificates of this PEM file, in place of the system's roots (option `client_tls_roots`). It is read
    /// when connecting, which fails with `INVALID` if it cannot be. For TLS schemes, as the other options of TLS: without
    /// TLS connecting to another host fails with `INVALID`; to this machine it goes in plain, and they are not used.
    #[cfg(feature = "tls")]
    pub fn tls_roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.roots = Some(file.into());
        self
    }

    /// Shows this certificate with its private key, both PEM files: the gateway knows this client by it (options
    /// `client_tls_certificate`, `client_tls_key`). Default: none.
    #[cfg(feature = "tls")]
    pub fn tls_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// The name that the gateway's certificate must have (option `client_tls_server_name`). Default: the URL's host.
    #[cfg(feature = "tls")]
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.server_name = Some(name.into());
        self
    }

    fn config(&self, producer_id: [u8; 16]) -> Result<Config> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, "connect", problem);
        options::CONNECT_TIMEOUT.check_duration(self.timeout).map_err(invalid)?;
        options::CONNECT_WAIT.check_duration(self.wait).map_err(invalid)?;
        let defaults = Config::default();
        Ok(Config {
            producer_id,
            producer_epoch: 1,
            client_name: self.name.clone().unwrap_or_else(identity::program),
            window_events: options::PUBLISH_WINDOW_EVENTS.check(self.window.0).map_err(invalid)?,
            window_bytes: options::PUBLISH_WINDOW_BYTES.check(self.window.1).map_err(invalid)?,
            reconnect_min: options::RECONNECT_MIN.check_duration(self.reconnect.0).map_err(invalid)?,
            reconnect_max: options::RECONNECT_MAX.check_duration(self.reconnect.1).map_err(invalid)?,
            login_timeout: defaults.login_timeout,
            offline: self.offline.as_ref().map(Offline::policy).transpose()?,
        })
    }

    fn dialer(&self) -> Result<Arc<dyn Dial>> {
        Ok(match &self.memory {
            Some(transport) => Arc::new(transport.clone()),
            None => {
                let target = address::resolve(&self.url)?;
                let mut proxies = BTreeMap::new();
                for endpoint in &target.endpoints {
                    let variable = |name: &str| std::env::var(name).ok();
                    if let Some(proxy) = choose_proxy(&self.proxy, variable, target.secure, endpoint)? {
                        proxies.insert(endpoint.clone(), proxy);
                    }
                }
                self.token.may_go(&target, &proxies)?;
                #[cfg(feature = "tls")]
                if let Some(option) = self.tls.said().filter(|_| !target.secure && !target.is_local()) {
                    return Err(unused(option, &target.endpoints.join(",")));
                }
                let means = Means {
                    token: self.token.clone(),
                    proxies,
                    secure: target.secure,
                    #[cfg(feature = "tls")]
                    tls: target.secure.then(|| Tls::new(&self.tls)).transpose()?,
                };
                Arc::new(Network::new(target, means))
            }
        })
    }

    async fn begin(mut self) -> Result<Mesh> {
        let dialer = self.dialer()?;
        let [producer, jitter, ids @ ..] = random()?;
        let [producer_high, low, high] = ids;
        let mut producer_id = [0; 16];
        let (left, right) = producer_id.split_at_mut(8);
        left.copy_from_slice(&producer.to_le_bytes());
        right.copy_from_slice(&producer_high.to_le_bytes());
        let mut config = self.config(producer_id)?;
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, "connect", problem);
        let requests = options::REQUEST_WINDOW.check(self.requests).map_err(invalid)?;
        let runtime = Handle::try_current().map_err(|cause| {
            let message = "there is no tokio runtime here; call it inside #[tokio::main] or Runtime::block_on, with I/O and time enabled";
            Error::new(ErrorKind::Invalid, "connect", message).with_source(cause)
        })?;
        let window = match &config.offline {
            Some(policy) => Limits { events: policy.max_events(), bytes: policy.max_bytes },
            None => Limits { events: config.window_events, bytes: config.window_bytes },
        };
        let is_offline = config.offline.is_some();
        let outbox = Arc::new(Outbox::new(
            window,
            is_offline,
            Limits { events: requests, bytes: REQUEST_BYTES },
            std::mem::take(&mut self.hooks),
        ));
        options::PUBLISH_TIMEOUT.check_duration(self.publish_timeout).map_err(invalid)?;
        let publish_timeout = Some(self.publish_timeout).filter(|timeout| !timeout.is_zero());
        let identity = Identity::new(&config.client_name, [low, high]);
        let file = match self.offline.clone() {
            Some(offline) => Kept::open(offline, &mut config, &runtime).await?,
            None => None,
        };
        let mut session = Session::new(config, jitter);
        let filed = file.map(|file| file.begin(&outbox, &mut session)).transpose()?;
        let (reply, connected) = oneshot::channel();
        let startup = (!is_offline).then_some(Startup { reply, keep_trying: !self.wait.is_zero() });
        runtime.spawn(Driver::new(Arc::clone(&outbox), session, Arc::clone(&dialer), startup, filed).run());
        // Dropped on every way out but success, it ends the driver.
        let mesh = Mesh::new(Arc::clone(&outbox), identity, publish_timeout);
        if is_offline {
            return Ok(mesh);
        }
        let patience = if self.wait.is_zero() { self.timeout } else { self.wait };
        match timeout(patience, connected).await {
            Ok(Ok(Ok(()))) => Ok(mesh),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(Error::closed("connect")),
            Err(_) => {
                let (last, is_busy) = {
                    let mut outbox = outbox.lock();
                    (outbox.last_attempt.take(), outbox.refused == Some(ErrorKind::Busy))
                };
                // What a gateway that is busy says counts more than what became of the other ways.
                let attempt = dialer.tried().filter(|_| !is_busy || last.is_none()).or(last);
                let attempt = attempt.unwrap_or_else(|| dialer.unanswered());
                Err(if is_busy { no_room(&attempt) } else { unreachable(&attempt) })
            }
        }
    }
}

/// An option of TLS where the URL asks for none: whoever says it does not mean to go in plain, but for a gateway on the same machine.
#[cfg(feature = "tls")]
fn unused(option: &str, address: &str) -> Error {
    let text = format!(
        "{option} (option client_{option}) is for TLS, and the URL's scheme is one without; use the one with s, as meshs://, or leave the option out"
    );
    Error::new(ErrorKind::Invalid, "connect", text).with("address", address)
}

/// Most bytes of requests without their last reply: as of publishes by default.
const REQUEST_BYTES: u64 = 64 << 20;

impl IntoFuture for Connect {
    type Output = Result<Mesh>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// Connects; see [`connect`].
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

/// Five random numbers from the system.
fn random() -> Result<[u64; 5]> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes).map_err(|cause| {
        Error::new(ErrorKind::Internal, "connect", format!("the system gives no random bytes: {cause}"))
    })?;
    let mut numbers = [0; 5];
    for (number, chunk) in numbers.iter_mut().zip(bytes.as_chunks().0) {
        *number = u64::from_le_bytes(*chunk);
    }
    Ok(numbers)
}
