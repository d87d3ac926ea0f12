//! A whole gateway: the only place that names concrete parts and wires them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use meshwire_proto::options;
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, OnStoreFailure};
use crate::ingress::calls::Calls;
use crate::ingress::grpc;
use crate::ingress::http::{HttpConfig, HttpIngress};
use crate::ingress::native::{Native, NativeIngress};
use crate::ingress::tls::{Tls, TlsError};
use crate::ingress::{Also, Doors, Ingress, Listener, ListenerConfig, Serves, Shutdown, most_connections};
use crate::mesh::{AllowAll, Authorize, LOOK_EVERY, Mesh, MeshConfig, Stores};
use crate::random::{Random as _, SystemRandom};
use crate::recover::open_mesh;
use crate::store::Store;
use crate::store::log::{self, Disk, LogClock, LogOptions, LogStore, OpenError};
use crate::store::memory::MemoryStore;

/// Why a gateway did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another one, port 0 takes a free one (option {option})")]
    Listen {
        /// The option that says it.
        option: &'static str,
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Anybody could reach a gateway that asks nobody who they are.
    #[error(
        "{address} is not a loopback address, and callers are not authenticated; listen on 127.0.0.1, or allow it with --allow-anonymous"
    )]
    Open {
        /// The option that says it.
        option: &'static str,
        /// Which.
        address: SocketAddr,
    },
    /// A further listener is to be inside TLS, and there is none.
    #[error(
        "listen_also has {scheme}://{address}, and there is no certificate; set tls_certificate and tls_key, or listen in plain"
    )]
    NoCertificate {
        /// Its scheme.
        scheme: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Less than the log needs to go on when a segment is full.
    #[error(
        "max_disk is {max_disk} bytes, and {} MiB are needed: two segments that hold the largest frame (option max_frame_bytes); \
         give more with --max-disk",
        least >> 20
    )]
    MaxDisk {
        /// What was asked for.
        max_disk: u64,
        /// What would do, in whole MiB.
        least: u64,
    },
    /// The parts leave nothing to connections.
    #[error(
        "memory_budget is {budget} bytes, of which memory_total_bytes, cache_bytes, publish_budget_bytes and suspended_bytes take \
         {parts}: an eighth of it must be left for connections; give more with memory_budget, or less to one of them"
    )]
    MemoryBudget {
        /// What was asked for.
        budget: u64,
        /// What its parts take.
        parts: u64,
    },
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The data directory cannot be used.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log got no thread.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
    /// The log failed while running (option `on_store_failure`).
    #[error("a write or sync of the log failed; nothing unanswered is known to be kept")]
    StoreFailed,
}

impl RunError {
    /// The option whose value it is about, if there is one.
    #[must_use]
    pub const fn option(&self) -> Option<&'static str> {
        match self {
            Self::Listen { option, .. } | Self::Open { option, .. } | Self::Tls(TlsError::File { option, .. }) => {
                Some(*option)
            }
            Self::NoCertificate { .. } => Some(options::LISTEN_ALSO.name),
            Self::Tls(TlsError::Missing { given, .. }) => Some(*given),
            Self::MaxDisk { .. } => Some(options::MAX_DISK.name),
            Self::MemoryBudget { .. } => Some(options::MEMORY_BUDGET.name),
            Self::Log(
                OpenError::Unusable { .. }
                | OpenError::NoRoom { .. }
                | OpenError::Locked { .. }
                | OpenError::NewerFormat { .. },
            ) => Some(options::DATA_DIR.name),
            _ => None,
        }
    }

    /// Whether the next start fails in the same way, unless somebody changes options or files. An address or a directory that another
    /// has may be free a moment later.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Listen { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
            Self::Open { .. }
            | Self::NoCertificate { .. }
            | Self::Tls(_)
            | Self::MaxDisk { .. }
            | Self::MemoryBudget { .. }
            | Self::Log(OpenError::NewerFormat { .. } | OpenError::NoRoom { .. }) => true,
            Self::Log(OpenError::Unusable { lasting, .. }) => *lasting,
            _ => false,
        }
    }
}

/// A gateway that is bound and recovered, and serves once [`Gateway::serve`] is called.
pub struct Gateway {
    listener: Listener,
    address: SocketAddr,
    also: Vec<(Also, Listener)>,
    mesh: Mesh,
    native: Arc<Native>,
    calls: Arc<Calls>,
    http: HttpConfig,
    tls: Option<Arc<Tls>>,
    stores: Stores,
    on_store_failure: OnStoreFailure,
    stop_timeout: Duration,
    report: Option<Report>,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Events that can be read.
    pub events: u64,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Damage, each with its place.
    pub damage: Vec<String>,
}

impl Report {
    fn of(found: &log::Recovered) -> Self {
        Self { events: found.events, torn_bytes: found.torn_bytes, millis: 0, damage: found.damage.clone() }
    }
}

impl Gateway {
    /// Binds the listener and recovers the log.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn open(config: Config) -> Result<Self, RunError> {
        Self::open_with(config, Arc::new(AllowAll)).await
    }

    /// [`Gateway::open`] with another judge of who may do what.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn open_with(config: Config, authorize: Arc<dyn Authorize>) -> Result<Self, RunError> {
        Self::build(config, authorize, None).await
    }

    /// [`Gateway::open_with`] with its log on this disk, and not in `data_dir`.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn open_on(config: Config, authorize: Arc<dyn Authorize>, disk: Arc<dyn Disk>) -> Result<Self, RunError> {
        Self::build(config, authorize, Some(disk)).await
    }

    async fn build(
        config: Config,
        authorize: Arc<dyn Authorize>,
        disk: Option<Arc<dyn Disk>>,
    ) -> Result<Self, RunError> {
        let also = config.listen_also.iter().map(|also| (options::LISTEN_ALSO.name, also.address));
        let open = |(_, address): &(_, SocketAddr)| !address.ip().is_loopback() && !config.allow_anonymous;
        if let Some((option, address)) = std::iter::once((options::LISTEN.name, config.listen)).chain(also).find(open) {
            return Err(RunError::Open { option, address });
        }
        check_max_disk(&config)?;
        check_memory(&config)?;
        let tls = Tls::open(config.tls.clone())?.map(Arc::new);
        let limits = config.listener();
        let (listener, address) = bind((options::LISTEN.name, config.listen), limits).await?;
        let also = bind_also(&config, limits, tls.is_some()).await?;
        let mut random = [0; 32];
        SystemRandom.fill(&mut random).map_err(RunError::Random)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let began = clock.now();
        let memory = config.rings();
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(memory));
        let (log, found) = if config.memory { (None, None) } else { open_log(&config, disk, clock.clone(), random)? };
        let report = found.as_ref().map(Report::of);
        let stores = Stores { memory, log: log.clone().map(|l| l as Arc<dyn Store>) };
        let mesh_config = MeshConfig { gateway_id: gateway_id(random), ..config.mesh(hash_key(random)) };
        let mesh = open_mesh(mesh_config, clock.clone(), authorize, stores.clone(), found);
        let mesh = mesh.map_err(OpenError::from)?;
        if let Some(log) = &log {
            log.start(mesh.completions()).map_err(RunError::Thread)?;
        }
        if let Some(tls) = &tls {
            tls.count_failures(mesh.counts().clone());
        }
        let millis = u64::try_from(clock.now().mono.since(began.mono).as_millis()).unwrap_or(u64::MAX);
        let report = report.map(|r| Report { millis, ..r });
        let mut sessions = config.native(gateway_id(random));
        sessions.max_connections = most_connections(sessions.max_connections);
        let native = Native::new(mesh.clone(), sessions, Arc::new(SystemRandom));
        let mut secret = [0; 24];
        SystemRandom.fill(&mut secret).map_err(RunError::Random)?;
        let calls = Calls::new(mesh.clone(), config.calls(), secret);
        Ok(Self {
            listener,
            address,
            also,
            mesh,
            native,
            calls,
            http: config.http(),
            tls,
            stores,
            on_store_failure: config.on_store_failure,
            stop_timeout: config.stop_timeout,
            report,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where else it listens, and what is served there.
    #[must_use]
    pub fn also(&self) -> Vec<Also> {
        self.also.iter().map(|(also, _)| *also).collect()
    }

    /// TLS of the listeners, to read its files again; `None` without a certificate.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Tells how many sessions wait without a connection, and the most connections at once since it was asked before; for as long as the
    /// gateway serves.
    pub fn crowd(&self) -> impl Fn() -> (usize, usize) + Send + use<> {
        let native = self.native.clone();
        move || (native.suspended(), native.places().peak())
    }

    /// What recovery found; `None` without a log.
    #[must_use]
    pub const fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Serves until `stop` ends, then drains sessions and closes the log.
    ///
    /// # Errors
    /// [`RunError::StoreFailed`] with `on_store_failure = exit`.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let (shutdown, watched) = watch::channel(Shutdown::Running);
        let (mesh, native, calls) = (self.mesh.clone(), self.native.clone(), self.calls.clone());
        tokio::spawn(mesh.clone().announce());
        mesh.deliver_late().into_iter().for_each(|task| drop(tokio::spawn(task)));
        let mut failed = mesh.failed();
        let exit = self.on_store_failure == OnStoreFailure::Exit;
        let http = HttpIngress::new(self.native.clone(), self.calls.clone(), self.http, grpc::router(&self.calls));
        let ingresses: [Arc<dyn Ingress>; 2] = [Arc::new(NativeIngress(self.native.clone())), Arc::new(http)];
        let tls = self.tls.clone();
        let serving = serve_all((self.listener, self.also), &ingresses, (&tls, &native), &watched);
        let mut serving = std::pin::pin!(serving);
        let mut stop = std::pin::pin!(stop);
        let certificates = async {
            match &tls {
                Some(tls) => tls.watch().await,
                None => std::future::pending().await,
            }
        };
        let time = async { tokio::join!(mesh.keep_time(), native.keep_time(), calls.keep_time(), certificates) };
        let mut time = std::pin::pin!(time);
        let result = tokio::select! {
            biased;
            () = &mut stop => Ok(()),
            Ok(_) = failed.wait_for(|failed| *failed), if exit => Err(RunError::StoreFailed),
            _ = &mut time => Ok(()),
            _ = &mut serving => Ok(()),
        };
        mesh.stop();
        shutdown.send_replace(Shutdown::Draining);
        self.calls.stop();
        let mut served = false;
        if result.is_ok() {
            // Settlements are still taken, over new connections too, and time goes on for them.
            tokio::select! {
                () = nothing_held(&mesh, &native) => {}
                () = tokio::time::sleep(self.stop_timeout) => {
                    let (in_flight, requests) = (mesh.held(), mesh.requests_open());
                    tracing::warn!(in_flight, requests, "at the deadline (option stop_timeout) deliveries are not settled, which come again unless their topic is in memory, or requests not answered, which fail");
                }
                _ = failed.wait_for(|failed| *failed) => {}
                _ = &mut time => {}
                _ = &mut serving => served = true,
            }
        }
        shutdown.send_replace(Shutdown::Closing);
        self.calls.close();
        if !served {
            serving.await;
        }
        self.mesh.commit_settled();
        if let Some(log) = self.stores.log {
            // Closing waits for the disk; nothing else runs by now.
            log.close();
        }
        result
    }
}

/// Ends once nothing is leased that can still be settled, and every request has its last reply.
async fn nothing_held(mesh: &Mesh, native: &Native) {
    loop {
        let held = mesh.held();
        // Only then is it worth to look at each of those who are gone.
        let waited_for = if held == 0 { 0 } else { held.saturating_sub(native.held_by_gone()) };
        if waited_for == 0 && mesh.requests_open() == 0 {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn bind(
    (option, address): (&'static str, SocketAddr),
    limits: ListenerConfig,
) -> Result<(Listener, SocketAddr), RunError> {
    let refused = |source| RunError::Listen { option, address, source };
    let listener = Listener::bind(address, limits).await.map_err(refused)?;
    let bound = listener.address().map_err(refused)?;
    Ok((listener, bound))
}

async fn bind_also(config: &Config, limits: ListenerConfig, tls: bool) -> Result<Vec<(Also, Listener)>, RunError> {
    let mut bound = Vec::new();
    for Also { scheme, address } in config.listen_also.iter().copied() {
        if scheme.secure && !tls {
            return Err(RunError::NoCertificate { scheme: scheme.name(), address });
        }
        let (listener, address) = bind((options::LISTEN_ALSO.name, address), limits).await?;
        bound.push((Also { scheme, address }, listener));
    }
    Ok(bound)
}

/// Serves on every listener until the gateway stops.
fn serve_all(
    (first, also): (Listener, Vec<(Also, Listener)>),
    [sessions, http]: &[Arc<dyn Ingress>; 2],
    (tls, native): (&Option<Arc<Tls>>, &Arc<Native>),
    shutdown: &watch::Receiver<Shutdown>,
) -> impl Future<Output = Vec<()>> + use<> {
    let doors = |serves, tls: Option<&Arc<Tls>>, plain| {
        let ingresses = match serves {
            Serves::All => vec![sessions.clone(), http.clone()],
            Serves::Native => vec![sessions.clone()],
            Serves::Http => vec![http.clone()],
        };
        let (counts, places) = (native.mesh().counts().clone(), native.places().clone());
        Doors { ingresses, tls: tls.cloned(), plain, counts, places }
    };
    let plain = tls.as_ref().is_none_or(|tls| tls.allows_plain());
    let mut serving = vec![first.serve(doors(Serves::All, tls.as_ref(), plain), shutdown.clone())];
    for (Also { scheme, .. }, listener) in also {
        let tls = if scheme.secure { tls.as_ref() } else { None };
        serving.push(listener.serve(doors(scheme.serves, tls, !scheme.secure), shutdown.clone()));
    }
    join_all(serving)
}

type OpenedLog = (Option<Arc<LogStore>>, Option<log::Recovered>);

fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        max_disk: config.max_disk,
        // Room for the events of one frame is claimed at once.
        largest_write: config.max_frame_bytes.into(),
        cache_bytes: usize::try_from(config.memory_shares().cache).unwrap_or(usize::MAX),
        dedup_window_ms: u64::try_from(config.dedup_window.as_millis()).unwrap_or(u64::MAX),
        dedup_ids: config.dedup_ids as u64,
        ..LogOptions::default()
    }
}

fn check_max_disk(config: &Config) -> Result<(), RunError> {
    let (max_disk, least) = (config.max_disk, log_options(config).least_max_disk());
    if config.memory || max_disk == 0 || max_disk >= least {
        Ok(())
    } else {
        Err(RunError::MaxDisk { max_disk, least })
    }
}

fn check_memory(config: &Config) -> Result<(), RunError> {
    let (budget, shares) = (config.memory_budget, config.memory_shares());
    let left = shares.sending + shares.receiving + shares.windows;
    if left >= budget / 8 { Ok(()) } else { Err(RunError::MemoryBudget { budget, parts: budget - left }) }
}

fn open_log(
    config: &Config,
    disk: Option<Arc<dyn Disk>>,
    clock: Arc<dyn Clock>,
    random: [u8; 32],
) -> Result<OpenedLog, OpenError> {
    let salt = random.iter().skip(24).fold(0, |salt: u64, byte| salt << 8 | u64::from(*byte));
    let options = LogOptions { salt, ..log_options(config) };
    let time: LogClock = Arc::new(move || {
        let now = clock.now();
        (now.mono, now.wall)
    });
    let (log, found) = match disk {
        Some(disk) => LogStore::open_on(disk, &options, time)?,
        None => LogStore::open(&config.data_dir, &options, time)?,
    };
    Ok((Some(log), Some(found)))
}

fn hash_key(random: [u8; 32]) -> [u8; 16] {
    let mut key = [0; 16];
    key.iter_mut().zip(random).for_each(|(to, from)| *to = from);
    key
}

fn gateway_id(random: [u8; 32]) -> String {
    random.iter().skip(16).take(8).map(|b| format!("{b:02x}")).collect()
}
