//! `conformance`: every case with every client, against the real gateway.

use std::process::Command;

use crate::process::show;
use crate::workspace::{Profile, Workspace};

/// What is run when nothing else is asked for: the cases, the cases with a wrong
/// expectation each, and every planted defect with the cases that must catch it.
pub(crate) const RUNS: [&[&str]; 3] = [&[], &["--spoil"], &["--planted"]];

/// Builds what the runner starts, and hands over to it.
pub(crate) fn conformance(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    // The whole workspace, as `test` builds it, so that cargo keeps one set of features.
    if !show(&mut workspace.cargo(&["build", "--quiet", "--workspace", "--all-targets"]))? {
        return Ok(false);
    }
    if !arguments.is_empty() {
        return show(command(workspace).args(arguments));
    }
    let mut good = true;
    for arguments in RUNS {
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

/// Passed and failed of the runner's last line.
pub(crate) fn totals(line: &str) -> Option<(u32, u32)> {
    let number = |word: &str| {
        let (before, _) = line.split_once(word)?;
        before.rsplit([' ', ',']).next()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::totals;

    #[test]
    fn the_last_line_of_the_runner_is_counted() {
        assert_eq!(totals("97 cases; 155 passed, 2 failed, 1 skipped"), Some((155, 2)));
        assert_eq!(totals("conformance: no case has such a name"), None);
    }
}
