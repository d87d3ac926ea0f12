//! A gateway with the mistake that `MESHWIRE_PLANTED` names, if it is the gateway's.
//!
//! It takes the few flags of `meshwire serve` that cases use, and is started like it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks on its standard streams")]

use std::process::ExitCode;
use std::time::Duration;

use meshwire_gateway::config::Config;
use meshwire_gateway::engine::planted as engine;
use meshwire_gateway::run::Gateway;
use meshwire_gateway::store::log::planted as log;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("planted gateway: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let planted = std::env::var("MESHWIRE_PLANTED").unwrap_or_default();
    if let Some(defect) = engine::Defect::named(&planted) {
        engine::plant_everywhere(defect);
    }
    if let Some(defect) = log::Defect::named(&planted) {
        log::plant_everywhere(defect);
    }
    let config = config(std::env::args().skip(1))?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let gateway = Gateway::open(config).await?;
        println!("listening {}", gateway.address());
        let stop = async {
            terminate.recv().await;
        };
        Ok(gateway.serve(stop).await?)
    })
}

fn config(mut words: impl Iterator<Item = String>) -> Result<Config, Box<dyn std::error::Error>> {
    let mut config = Config::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "serve" => {}
            "--listen" => config.listen = value()?.parse()?,
            "--memory" => config.memory = true,
            "--log-level" => log_frames(&value()?)?,
            "--data-dir" => config.data_dir = value()?.into(),
            "--auto-create=false" => config.auto_create = false,
            "--resume-window" => config.resume_window = seconds(&value()?)?,
            "--max-lag-events" => config.max_lag_events = value()?.parse()?,
            "--heartbeat" => config.heartbeat = seconds(&value()?)?,
            "--max-event-bytes" => config.limits.max_event_bytes = value()?.parse()?,
            _ => return Err(format!("{word} is not a flag that cases use").into()),
        }
    }
    Ok(config)
}

/// Lines as those of `meshwire serve`, by which the runner strikes.
fn log_frames(levels: &str) -> Result<(), Box<dyn std::error::Error>> {
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    tracing_subscriber::registry().with(lines).with(levels.parse::<Targets>()?).try_init()?;
    Ok(())
}

/// `2s`, or `500ms`.
fn seconds(text: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    Ok(match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse()?),
        None => Duration::from_secs(text.trim_end_matches('s').parse()?),
    })
}
