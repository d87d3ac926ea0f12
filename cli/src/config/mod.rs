//! What a gateway is told. Three layers, the later over the earlier: a TOML file,
//! the environment (`MESHWIRE_*`), flags. All share one table of options.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use meshwire_gateway::config::Config;
use meshwire_proto::options;
use tracing::Level;

use crate::logs::Levels;

mod environment;
mod nearest;
mod raw;
mod table;

pub(crate) use environment::warn_of_unknown_variables;
pub(crate) use meshwire_proto::options::{parse_duration, parse_duration_within, parse_size, show_duration, show_size};
pub(crate) use nearest::nearest;
pub(crate) use table::{SETTINGS, Setting};

/// A gateway's configuration and what only this program asks for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) gateway: Config,
    pub(crate) log_levels: Levels,
    pub(crate) access_log: bool,
    pub(crate) origins: Origins,
}

/// Options that say something of the log, and are nothing to a gateway in memory.
const OF_THE_LOG: [&str; 4] = [
    options::MAX_DISK.name,
    options::CACHE_BYTES.name,
    options::PUBLISH_BUDGET_BYTES.name,
    options::ON_STORE_FAILURE.name,
];

/// Where each option was given that holds, by its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(BTreeMap<&'static str, String>);

impl Origins {
    /// What is wrong with an option's value that was fine to read, with where it was given.
    pub(crate) fn tell(&self, option: &str, what: &str) -> String {
        let Some((origin, setting)) = self.0.get(option).zip(SETTINGS.iter().find(|s| s.name() == option)) else {
            return what.to_owned();
        };
        Problem::of(setting, origin.clone(), what.to_owned()).to_string()
    }
}

/// One option's value as it was written, and where.
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) origin: String,
}

/// What is wrong, and where: `file:line`, variable or flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    place: String,
    what: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }

    /// With a value. A flag and a variable name the option; a line of the file does not.
    fn of(setting: &Setting, origin: String, what: String) -> Self {
        let named = origin == setting.variable() || origin.strip_prefix("--") == Some(&setting.flag());
        let said = named || what.split_whitespace().next() == Some(setting.name());
        let what = if said { what } else { format!("{}: {what}", setting.name()) };
        Self::new(origin, what)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Settings {
    /// The table's defaults under the layers.
    ///
    /// # Errors
    /// Every problem of every layer, in order.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
        flags: Vec<Given>,
    ) -> Result<Self, Vec<Problem>> {
        let mut settings = Self {
            gateway: Config::default(),
            log_levels: Level::INFO.into(),
            access_log: false,
            origins: Origins::default(),
        };
        let (given, mut problems) = file.map(raw::read).unwrap_or_default();
        let (variables, unreadable) = environment::read(environment);
        settings.apply(given, &mut problems);
        problems.extend(unreadable);
        settings.apply(variables, &mut problems);
        settings.apply(flags, &mut problems);
        problems.extend(settings.contradiction());
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    fn apply(&mut self, layer: Vec<Given>, problems: &mut Vec<Problem>) {
        let below = std::mem::replace(&mut self.gateway.memory, false);
        let (mut directory, mut memory) = (None, false);
        for Given { setting, text, origin } in layer {
            if let Err(what) = setting.set(self, &text) {
                problems.push(Problem::of(setting, origin, what));
                continue;
            }
            self.origins.0.insert(setting.name(), origin.clone());
            if setting.name() == options::DATA_DIR.name {
                directory = Some(origin);
            } else if setting.name() == options::MEMORY.name {
                memory = true;
            }
        }
        match directory {
            Some(origin) if self.gateway.memory => {
                problems.push(Problem::new(origin, "data_dir and memory exclude each other"));
            }
            // A directory asked for here is over a `memory` from further down.
            Some(_) => {}
            None if !memory => self.gateway.memory = below,
            None => {}
        }
    }

    /// A sentence for each option of the log that was given where there is none.
    fn without_effect(&self) -> Vec<String> {
        if !self.gateway.memory {
            return Vec::new();
        }
        let given = OF_THE_LOG.iter().filter_map(|option| self.origins.0.get(option).map(|origin| (option, origin)));
        given
            .map(|(option, origin)| format!("{origin}: {option} has no effect with memory, as nothing is kept on disk"))
            .collect()
    }

    /// Warns of each option that has no effect.
    pub(crate) fn warn_of_what_has_no_effect(&self) {
        for sentence in self.without_effect() {
            tracing::warn!("{sentence}");
        }
    }

    /// Values that are fine by themselves and not together.
    fn contradiction(&self) -> Option<Problem> {
        let limits = self.gateway.limits;
        let largest = u64::from(limits.max_event_bytes) + u64::from(limits.max_attribute_bytes);
        let frame = u64::from(self.gateway.max_frame_bytes);
        // What a frame holds beside its events: far less than this.
        let needed = largest + 4096;
        (frame < needed).then(|| {
            let what = format!(
                "a frame of {} cannot carry an event of max_event_bytes and max_attribute_bytes; at least {needed} is needed",
                show_size(frame)
            );
            Problem::new(options::MAX_FRAME_BYTES.name, what)
        })
    }
}

#[cfg(test)]
mod tests;
