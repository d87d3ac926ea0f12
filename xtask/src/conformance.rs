//! `conformance`: every case with every client, against the real gateway.

use std::process::Command;

use crate::bindings;
use crate::process::show;
use crate::workspace::{Profile, Workspace};

/// What carries sessions beside TCP.
const OTHERS: [&str; 7] = ["tcps", "grpc", "grpcs", "ws", "wss", "http", "https"];

/// What is run when nothing else is asked for: the cases with every testee, over TCP and one other transport or `all`; the cases with
/// a wrong expectation each, and every planted defect with the cases that must catch it, both with the client of this workspace. Other
/// languages have the same core: they play with one store, and interpreters that start slowly are started once, but for `all`.
pub(crate) fn runs(commit: &str, all: bool, testees: &[&'static str]) -> Vec<Vec<&'static str>> {
    let over = if all { vec!["--transport", "all"] } else { vec!["--transport", "tcp", "--transport", other(commit)] };
    let mut runs = Vec::new();
    if all {
        runs.push([over, everyone(testees).collect()].concat());
    } else {
        runs.push([over.clone(), vec!["--testee", "rust"]].concat());
        if !testees.is_empty() {
            let others = testees.iter().flat_map(|name| ["--testee", *name]).collect();
            runs.push([over, vec!["--one-store", "--quickly"], others].concat());
        }
    }
    runs.extend([vec!["--spoil"], vec!["--planted"]]);
    runs
}

fn everyone<'a>(testees: &[&'a str]) -> impl Iterator<Item = &'a str> {
    ["rust"].into_iter().chain(testees.to_vec()).flat_map(|name| ["--testee", name])
}

/// Whom arguments for the runner are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// They name nobody.
    Everyone,
    /// They name testees that must be installed.
    Others,
    /// The client of this workspace alone.
    Rust,
}

impl Asks {
    fn of(arguments: &[&str]) -> Self {
        let named = |pair: &[&str]| pair.first() == Some(&"--testee") && pair.get(1) != Some(&"rust");
        let alone = |word: &&str| ["--testee", "--bless", "--spoil", "--planted", "--help", "-h"].contains(word);
        if arguments.windows(2).any(named) {
            Self::Others
        } else if arguments.iter().any(alone) {
            Self::Rust
        } else {
            Self::Everyone
        }
    }
}

/// Another one for every commit.
fn other(commit: &str) -> &'static str {
    let prefix = commit.get(..8).and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or_default();
    OTHERS.get(prefix % OTHERS.len()).unwrap_or(&"tcps")
}

/// Builds and installs what the runner starts, and hands over to it.
pub(crate) fn conformance(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    // The whole workspace, as `test` builds it, so that cargo keeps one set of features.
    if !show(&mut workspace.cargo(&["build", "--quiet", "--workspace", "--all-targets"]))? {
        return Ok(false);
    }
    let asks = Asks::of(arguments);
    if asks != Asks::Rust {
        for absent in bindings::ready(workspace)?.absent {
            println!("left out: {absent}");
        }
        for name in bindings::absent_testees(workspace) {
            println!("left out: the testee {name}, which is not installed (C's needs cJSON, libcjson-dev in Debian)");
        }
    }
    if !arguments.is_empty() {
        let mut command = command(workspace);
        if asks == Asks::Everyone {
            command.args(everyone(&bindings::testees(workspace)));
        }
        return show(command.args(arguments));
    }
    let mut good = true;
    for arguments in runs(&workspace.commit(), false, &bindings::testees(workspace)) {
        good &= show(command(workspace).args(arguments))?;
    }
    Ok(good)
}

/// The runner; it and what it starts are built already.
pub(crate) fn command(workspace: &Workspace) -> Command {
    let mut command = workspace.program(&workspace.built(Profile::Dev, "meshwire-conformance"));
    command.env("MESHWIRE_BIN", workspace.built(Profile::Dev, "meshwire"));
    command
}

/// The runner with testees whose client makes the mistakes that each of them must be caught with.
pub(crate) fn planted(workspace: &Workspace, planted: &Workspace, testees: &[&str]) -> Command {
    let mut command = command(workspace);
    command.arg("--planted").arg("--testees-in").arg(planted.built(Profile::Dev, ""));
    command.args(testees.iter().flat_map(|name| ["--testee", name]));
    command
}

/// Passed, failed and skipped of a runner's last line.
pub(crate) fn totals(line: &str) -> Option<(u32, u32, u32)> {
    let number = |word: &str| {
        let (before, _) = line.split_once(word)?;
        before.rsplit([' ', ',']).next()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?, number(" skipped")?))
}

#[cfg(test)]
mod tests {
    use super::{Asks, OTHERS, other, runs, totals};

    #[test]
    fn a_commit_plays_tcp_and_one_other_transport_and_all_plays_every_one() {
        let played = |all| runs("00000001", all, &["c"]).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
        let first = |all, number| played(all).into_iter().nth(number);
        let wanted = |text: &str| Some(text.to_owned());
        assert_eq!(first(false, 0), wanted("--transport tcp --transport grpc --testee rust"));
        assert_eq!(first(false, 1), wanted("--transport tcp --transport grpc --one-store --quickly --testee c"));
        assert_eq!(first(true, 0), wanted("--transport all --testee rust --testee c"));
        let seen: Vec<_> = (0..7).map(|n| other(&format!("{n:08x}"))).collect();
        assert_eq!(seen, OTHERS);
        assert_eq!(other("unknown"), "tcps");
    }

    #[test]
    fn a_case_is_played_with_everyone_unless_somebody_is_named_or_it_is_about_the_cases() {
        assert_eq!(Asks::of(&["--filter", "settle/"]), Asks::Everyone);
        assert_eq!(Asks::of(&["--testee", "go", "--testee", "rust"]), Asks::Others);
        assert_eq!(Asks::of(&["--testee", "rust"]), Asks::Rust);
        assert_eq!(Asks::of(&["--bless", "--filter", "settle/"]), Asks::Rust);
    }

    #[test]
    fn the_last_line_of_the_runner_is_counted() {
        assert_eq!(totals("97 cases; 155 passed, 2 failed, 1 skipped"), Some((155, 2, 1)));
        assert_eq!(totals("conformance: no case has such a name"), None);
    }
}
