//! `meshwire serve`: a gateway in this process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use meshwire_gateway::config::Config;
use meshwire_gateway::ingress::tls::Tls;
use meshwire_gateway::run::{Gateway, Report, RunError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Given, Origins, SETTINGS, Setting, Settings, warn_of_unknown_variables};
use crate::exit::{Exit, Failure};
use crate::stop::Stop;
use crate::{floods, logs, output};

/// Flags shown by the short help.
const SHORT_HELP: [&str; 4] = ["listen", "data_dir", "memory", "log_level"];

const EXAMPLES: &str = "\
Examples:
  meshwire serve                                     keep events in ./meshwire-data
  meshwire serve --memory                            keep nothing on disk
  meshwire serve --listen 127.0.0.1:0 --data-dir d   on a free port, which is printed
  MESHWIRE_RETENTION=30d meshwire serve --config meshwire.toml

When it is ready, the line `listening HOST:PORT` is printed; logs go to the error stream.
Each option can stand in the file (TOML, with _ for -), in the environment
(MESHWIRE_ and upper case) and here; the later holds.
SIGINT and SIGTERM stop it cleanly, SIGHUP reads certificates again. Exit codes: 0 stopped, 1 failed, 2 configuration, 74 the log failed";

/// What was typed behind `serve`.
pub(crate) struct Serve {
    config: Option<PathBuf>,
    flags: Vec<Given>,
}

impl Args for Serve {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("MESHWIRE_CONFIG")
            .hide_env(true)
            .value_parser(value_parser!(PathBuf))
            .help("A TOML file with any of these options, with _ for -; MESHWIRE_CONFIG names it too");
        command
            .about("Serve a gateway: keep events and hand them to consumers")
            .after_help(EXAMPLES)
            .arg(config)
            .args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// A file over the process's size limit is then an error of its write, `DISK_FULL`
/// for publishers, and no longer the end of the process.
fn hear_file_too_large() -> Result<Signal, Failure> {
    hear(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// Certificates are read again when the signal comes; what is wrong with them is logged there.
async fn reload(tls: Arc<Tls>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        let _ = tls.reload();
    }
}

fn hear(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|cause| Failure::new(Exit::Failed, format!("signals cannot be received: {cause}")))
}

fn flag(setting: &Setting) -> Arg {
    let flag = Arg::new(setting.name())
        .long(setting.flag())
        .value_name(setting.placeholder())
        .help(setting.help())
        .hide_short_help(!SHORT_HELP.contains(&setting.name()));
    match setting {
        Setting::Switch(..) => flag.num_args(0..=1).default_missing_value("true"),
        _ => flag.allow_hyphen_values(true),
    }
}

impl FromArgMatches for Serve {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &'static Setting| {
            let text = matches.get_one::<String>(setting.name())?.clone();
            Some(Given { setting, text, origin: format!("--{}", setting.flag()) })
        };
        Ok(Self {
            config: matches.get_one::<PathBuf>("config").cloned(),
            flags: SETTINGS.iter().filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Serve {
    /// Serves until a signal comes.
    pub(crate) async fn run(self, mut stop: Stop) -> Result<Exit, Failure> {
        let environment = |name: &str| -> Option<OsString> { std::env::var_os(name) };
        let settings = Settings::load(self.config.as_deref(), environment, self.flags).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::new(Exit::Usage, lines.join("\nerror: "))
        })?;
        logs::start_with_access(&settings.log_levels, settings.access_log);
        warn_of_unknown_variables();
        tell_start(&settings.gateway);
        raise_open_files();
        let _too_large = hear_file_too_large()?;
        let origins = settings.origins;
        let gateway = Gateway::open(settings.gateway).await.map_err(|e| failure(&e, &origins))?;
        if let Some(report) = gateway.report() {
            tell_recovery(report);
        }
        let mut ready = format!("listening {}\n", gateway.address());
        for also in gateway.also() {
            ready += &format!("listening {}://{}\n", also.scheme.name(), also.address);
        }
        if let Err(cause) = output::write(&ready) {
            tracing::warn!(%cause, "standard output is closed; the address is {}", gateway.address());
        }
        if let Some(tls) = gateway.tls() {
            tokio::spawn(reload(tls, hear(SignalKind::hangup())?));
        }
        tokio::spawn(floods::give_back_memory(gateway.crowd()));
        let mut again = Stop::listen()?;
        let stopping = async {
            stop.requested().await;
            tracing::info!("stopping; another signal ends it at once");
        };
        tokio::select! {
            served = gateway.serve(stopping) => served.map_err(|e| failure(&e, &origins))?,
            // The first is the stop itself.
            () = async { again.requested().await; again.requested().await } => {
                return Err(Failure::new(Exit::Failed, "ended at once by a second signal"));
            }
        }
        tracing::info!("stopped");
        Ok(Exit::Done)
    }
}

fn tell_start(config: &Config) {
    let version = env!("CARGO_PKG_VERSION");
    if config.memory {
        tracing::info!("meshwire {version}, in memory: nothing is kept when it ends");
    } else {
        let directory = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        tracing::info!("meshwire {version}, data directory {}", directory.display());
    }
}

fn tell_recovery(report: &Report) {
    let Report { events, torn_bytes, millis, .. } = report;
    tracing::info!("recovered {events} events in {millis} ms; {torn_bytes} bytes of a torn tail were cut");
    for place in &report.damage {
        tracing::error!("damage: {place}; what is undamaged stays readable");
    }
}

/// Each connection is an open file: the soft limit of many systems, 1,024, is
/// for programs that use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(cause) = setrlimit(Resource::Nofile, raised) {
            let most = limit.current.unwrap_or(u64::MAX);
            tracing::warn!(%cause, "the number of open files stays at {most}");
        }
    }
}

/// What is wrong, and where its option was given.
fn failure(error: &RunError, origins: &Origins) -> Failure {
    let exit = match error {
        RunError::StoreFailed => Exit::StoreFailed,
        lasting if lasting.is_lasting() => Exit::Usage,
        _ => Exit::Failed,
    };
    let what = error.to_string();
    Failure::new(exit, error.option().map_or_else(|| what.clone(), |option| origins.tell(option, &what)))
}
