//! How the program ends: a code for scripts, a line for people.

use std::fmt;
use std::process::ExitCode;

use meshwire_proto::ErrorKind;
use serde::Serialize;

use crate::output;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done = 0,
    /// Something failed that fits no other code, or a part of many.
    Failed = 1,
    /// Arguments, environment, configuration, a file that they name, or all of the input
    /// are wrong: nothing was sent. Also clap's own code.
    Usage = 2,
    /// No gateway could be reached, or none that is trusted.
    Unreachable = 3,
    /// The gateway said no.
    Refused = 4,
    /// The gateway's log failed: `EX_IOERR` of sysexits.h.
    StoreFailed = 74,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What the gateway or the client calls it, if it comes from them.
    pub(crate) kind: Option<ErrorKind>,
    /// Whether the same may go well later.
    pub(crate) passes: bool,
    message: String,
}

/// A failure as it is told with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    code: Option<&'static str>,
    message: &'a str,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, kind: None, passes: false, message: message.into() }
    }

    /// The failure that an error is, with an exit code of its own.
    pub(crate) fn of(exit: Exit, error: &meshwire::Error) -> Self {
        Self { kind: Some(error.kind()), passes: error.retryable(), ..Self::new(exit, error.to_string()) }
    }

    /// Its last words, for people or for a program that asked for JSON.
    pub(crate) fn tell(&self, json: bool) {
        if !json {
            return output::note(format_args!("error: {self}"));
        }
        let mut line = String::new();
        output::object(&Line { code: self.kind.map(ErrorKind::code), message: &self.message }, &mut line);
        output::note(line.trim_end());
    }

    /// With what may help, behind it.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.message += "; ";
        self.message += hint;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<meshwire::Error> for Failure {
    fn from(error: meshwire::Error) -> Self {
        let exit = if is_usage(&error) { Exit::Usage } else { of(error.kind()) };
        Self::of(exit, &error)
    }
}

/// Whether what was typed for the way to the gateway is wrong, or a file that it names. Of what is not supported, only URLs and
/// proxies have themselves as context.
fn is_usage(error: &meshwire::Error) -> bool {
    let typed = |(key, _): &(&str, String)| matches!(*key, "url" | "proxy");
    error.operation() == "connect" && (error.kind() == ErrorKind::Invalid || error.context().iter().any(typed))
}

/// The code of a call that failed as a whole.
pub(crate) const fn of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::ProxyRefused => Exit::Unreachable,
        // What became of the call is not known, or it was ended from our side.
        ErrorKind::StoreFailed | ErrorKind::Internal | ErrorKind::Closed | ErrorKind::Cancelled => Exit::Failed,
        _ => Exit::Refused,
    }
}
