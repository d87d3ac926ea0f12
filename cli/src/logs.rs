//! Logs: lines on the error stream.

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{fmt, registry};

use crate::config::warn_of_unknown_variables;
use crate::exit::{Exit, Failure};

/// The variable that sets the level of every command.
const VARIABLE: &str = "MESHWIRE_LOG_LEVEL";

/// What the targets of our own records begin with.
const OURS: &str = "meshwire";

/// The target of the gateway's records of calls.
const ACCESS: &str = "meshwire::access";

/// The target of its lines for frames.
const FRAMES: &str = "meshwire::frames";

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    level: Level,
    /// Targets that have another one.
    targets: Vec<(String, Level)>,
}

impl From<Level> for Levels {
    fn from(level: Level) -> Self {
        Self { level, targets: Vec::new() }
    }
}

impl FromStr for Levels {
    type Err = String;

    /// A level, and behind commas targets with theirs.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let level = parse_level(parts.next().unwrap_or_default())?;
        let target = |part: &str| match part.split_once('=') {
            Some((target, level)) if !target.trim().is_empty() => {
                Ok((target.trim().to_owned(), parse_level(level.trim())?))
            }
            _ => Err(format!("{part:?} is no target with its level; write it as {FRAMES}=trace")),
        };
        Ok(Self { level, targets: parts.map(target).collect::<Result<_, String>>()? })
    }
}

fn parse_level(text: &str) -> Result<Level, String> {
    [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]
        .into_iter()
        .find(|level| level.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("{text:?} is none of error, warn, info, debug and trace"))
}

/// Writes lines of these levels and above from now on. What we are built of says errors only, but at `trace` everything: a peer makes
/// some of it warn as often as it likes.
pub(crate) fn start(levels: &Levels) {
    start_with_access(levels, false);
}

/// [`start`], with a line for each call of a client whatever the level.
pub(crate) fn start_with_access(levels: &Levels, access: bool) {
    let level = levels.level;
    let calls = if access { level.max(Level::DEBUG) } else { level };
    let others = if level == Level::TRACE { level } else { Level::ERROR };
    let filter = Targets::new().with_default(others).with_target(OURS, level).with_target(ACCESS, calls);
    // The last word on a target counts.
    let filter = filter.with_targets(levels.targets.iter().cloned());
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false);
    // Only the first call counts, and there is one.
    let _ = tracing::subscriber::set_global_default(registry().with(lines).with(filter));
}

/// [`start`] for the commands that have no configuration: the environment's
/// level, else `info`. The first lines are about variables that nobody reads.
pub(crate) fn start_from_environment() -> Result<(), Failure> {
    let levels = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => {
            text.parse::<Levels>().map_err(|what| Failure::new(Exit::Usage, format!("{VARIABLE}: {what}")))?
        }
        _ => Levels::from(Level::INFO),
    };
    start(&levels);
    warn_of_unknown_variables();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_with_levels_of_their_own_stand_behind_the_level() {
        let target = |name: &str, level| (name.to_owned(), level);
        let parsed = "info, meshwire::frames=trace,h2=DEBUG".parse::<Levels>();
        let targets = vec![target("meshwire::frames", Level::TRACE), target("h2", Level::DEBUG)];
        assert_eq!(parsed, Ok(Levels { level: Level::INFO, targets }));
        assert_eq!("Warn".parse::<Levels>(), Ok(Levels::from(Level::WARN)));
    }

    #[test]
    fn what_is_no_level_or_no_target_is_refused_and_quoted() {
        let problem = |text: &str| text.parse::<Levels>().err().unwrap_or_default();
        assert_eq!(
            problem("meshwire::frames=trace"),
            "\"meshwire::frames=trace\" is none of error, warn, info, debug and trace"
        );
        assert_eq!(problem("info,x=loud"), "\"loud\" is none of error, warn, info, debug and trace");
        for part in ["h2", "=trace", ""] {
            let expected = format!("{part:?} is no target with its level; write it as meshwire::frames=trace");
            assert_eq!(problem(&format!("info,{part}")), expected);
        }
    }
}
