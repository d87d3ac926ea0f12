//! Logs: lines on the error stream.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::fmt;

use crate::config::{parse_level, warn_of_unknown_variables};
use crate::exit::{Exit, Failure};

/// The variable that sets the level of every command.
const VARIABLE: &str = "MESHWIRE_LOG_LEVEL";

/// Writes lines of this level and above from now on.
pub(crate) fn start(level: Level) {
    let lines = fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .finish();
    // Only the first call counts, and there is one.
    let _ = tracing::subscriber::set_global_default(lines);
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
