//! Logs: lines on the error stream.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{fmt, registry};

use crate::config::{parse_level, warn_of_unknown_variables};
use crate::exit::{Exit, Failure};

/// The variable that sets the level of every command.
const VARIABLE: &str = "MESHWIRE_LOG_LEVEL";

/// What the targets of our own records begin with.
const OURS: &str = "meshwire";

/// The target of the gateway's records of calls.
const ACCESS: &str = "meshwire::access";

/// Writes lines of this level and above from now on. What we are built of says errors only, but at `trace` everything: a peer makes
/// some of it warn as often as it likes.
pub(crate) fn start(level: Level) {
    start_with_access(level, false);
}

/// [`start`], with a line for each call of a client whatever the level.
pub(crate) fn start_with_access(level: Level, access: bool) {
    let calls = if access { level.max(Level::DEBUG) } else { level };
    let others = if level == Level::TRACE { level } else { Level::ERROR };
    let filter = Targets::new().with_default(others).with_target(OURS, level).with_target(ACCESS, calls);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false);
    // Only the first call counts, and there is one.
    let _ = tracing::subscriber::set_global_default(registry().with(lines).with(filter));
}

/// [`start`] for the commands that have no configuration: the environment's
/// level, else `info`. The first lines are about variables that nobody reads.
pub(crate) fn start_from_environment() -> Result<(), Failure> {
    let level = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => {
            parse_level(&text).map_err(|what| Failure::new(Exit::Usage, format!("{VARIABLE}: {what}")))?
        }
        _ => Level::INFO,
    };
    start(level);
    warn_of_unknown_variables();
    Ok(())
}
