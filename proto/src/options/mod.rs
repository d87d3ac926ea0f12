//! Defaults and bounds of every option, from `options.toml`.

use std::time::Duration;

#[rustfmt::skip]
mod table;
mod value;

pub use table::*;
pub use value::{parse_count, parse_duration, parse_duration_within, parse_size, show_duration, show_size};

/// An option that is a number: milliseconds, bytes or a count.
#[derive(Clone, Copy, Debug)]
pub struct Bounded {
    /// As in files, environment (`MESHWIRE_` and upper case) and flags (with `-`).
    pub name: &'static str,
    /// What holds when nothing is said.
    pub default: u64,
    /// Least accepted value.
    pub min: u64,
    /// Greatest accepted value.
    pub max: u64,
    /// One line for people.
    pub meaning: &'static str,
}

impl Bounded {
    /// The default of a duration option.
    #[must_use]
    pub const fn default_duration(&self) -> Duration {
        Duration::from_millis(self.default)
    }

    /// The value if it is within bounds, else a sentence naming option, value and bounds.
    ///
    /// # Errors
    /// The sentence, ready for an error message.
    pub fn check(&self, value: u64) -> Result<u64, String> {
        self.within(value, |number| number.to_string())
    }

    fn within(&self, value: u64, show: impl Fn(u64) -> String) -> Result<u64, String> {
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(format!("{} is {}; from {} to {} is accepted", self.name, show(value), show(self.min), show(self.max)))
    }

    /// [`Bounded::check`] for a duration, in whole milliseconds, which the sentence says with its unit.
    ///
    /// # Errors
    /// As [`Bounded::check`].
    pub fn check_duration(&self, value: Duration) -> Result<Duration, String> {
        self.within(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), show_duration).map(|_| value)
    }
}

/// An option that is on or off.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// As in files, environment and flags.
    pub name: &'static str,
    /// What holds when nothing is said.
    pub default: bool,
    /// One line for people.
    pub meaning: &'static str,
}

/// An option that is text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// As in files, environment and flags.
    pub name: &'static str,
    /// What holds when nothing is said.
    pub default: &'static str,
    /// One line for people.
    pub meaning: &'static str,
}
