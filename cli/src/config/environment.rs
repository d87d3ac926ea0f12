//! What the environment says: a variable for each option.

use std::ffi::OsString;

use super::nearest::nearest;
use super::table::SETTINGS;
use super::{Given, Problem};

/// How each variable of ours begins.
pub(super) const PREFIX: &str = "MESHWIRE_";

/// Variables, without the prefix, that are no option of a gateway: its file, and what
/// clients and the test helper read. They may be set in the shell that starts a gateway.
const OTHERS: [&str; 10] = [
    "CONFIG",
    "URL",
    "BIN",
    "COMPLETE",
    "PROXY",
    "TOKEN_FILE",
    "CLIENT_TLS_ROOTS",
    "CLIENT_TLS_CERTIFICATE",
    "CLIENT_TLS_KEY",
    "CLIENT_TLS_SERVER_NAME",
];

/// An empty variable counts as absent.
pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>) -> (Vec<Given>, Vec<Problem>) {
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for setting in SETTINGS {
        let origin = setting.variable();
        let Some(value) = variable(&origin).filter(|v| !v.is_empty()) else {
            continue;
        };
        match value.into_string() {
            Ok(text) => given.push(Given { setting, text, origin }),
            Err(_) => problems.push(Problem::new(origin, "is not UTF-8")),
        }
    }
    (given, problems)
}

/// Warns of each variable that looks like ours and that nobody reads.
pub(crate) fn warn_of_unknown_variables() {
    for problem in unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!("{problem}");
    }
}

/// A sentence for each variable that looks like ours and that nobody reads.
///
/// No error: container platforms set variables of their own that begin with a
/// service's name, such as `MESHWIRE_PORT`.
pub(super) fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let known: Vec<String> =
        SETTINGS.iter().map(|s| s.name().to_ascii_uppercase()).chain(OTHERS.map(str::to_owned)).collect();
    let mut unknown: Vec<String> = names
        .filter_map(|name| name.into_string().ok()?.strip_prefix(PREFIX).map(str::to_owned))
        .filter(|name| !known.contains(name))
        .collect();
    unknown.sort_unstable();
    let tell = |name: String| {
        let advice = match nearest(&name, known.iter()) {
            Some(near) => format!("did you mean {PREFIX}{near}?"),
            None => "`meshwire serve --help` lists them, in lower case and with - for _".to_owned(),
        };
        format!("the variable {PREFIX}{name} is not an option and is ignored; {advice}")
    };
    unknown.into_iter().map(tell).collect()
}
