//! `foreign`: programs of other projects against a real gateway.

use std::process::Command;

use crate::process::show;
use crate::workspace::{Profile, Workspace};

/// Builds the runner and the gateway, and hands over.
pub(crate) fn foreign(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    // The whole workspace, as `test` builds it, so that cargo keeps one set of features.
    if !show(&mut workspace.cargo(&["build", "--quiet", "--workspace", "--all-targets"]))? {
        return Ok(false);
    }
    show(command(workspace)?.args(arguments))
}

/// The runner; it and the gateway are built already.
pub(crate) fn command(workspace: &Workspace) -> anyhow::Result<Command> {
    let mut command = workspace.program(&workspace.built(Profile::Dev, "meshwire-foreign"));
    command.env("MESHWIRE_BIN", workspace.built(Profile::Dev, "meshwire"));
    command.arg("--built").arg(workspace.scratch()?.join("foreign"));
    command.args(["--seed", &seed(&workspace.commit()).to_string()]);
    Ok(command)
}

/// Another one for every commit, the same one for the same commit.
fn seed(commit: &str) -> u32 {
    commit.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(1)
}

/// Who did not take part, and what it needs, of one line of the runner.
pub(crate) fn skip(line: &str) -> Option<(&str, &str)> {
    line.split_once(" skipped: needs ")
}

#[cfg(test)]
mod tests {
    use super::{seed, skip};

    #[test]
    fn a_commit_has_its_seed_and_no_commit_has_one_too() {
        assert_eq!(seed("0000002a99-dirty"), 42);
        assert_eq!(seed("none"), 1);
    }

    #[test]
    fn who_is_left_out_and_why_stands_on_a_line() {
        assert_eq!(skip("go-cloudevents skipped: needs go"), Some(("go-cloudevents", "go")));
        assert_eq!(skip("48 passed, 0 failed, 1 skipped"), None);
    }
}
