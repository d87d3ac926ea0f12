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
    Ok(command)
}

/// Who did not take part, and what it needs, of one line of the runner.
pub(crate) fn skip(line: &str) -> Option<(&str, &str)> {
    line.split_once(" skipped: needs ")
}

#[cfg(test)]
mod tests {
    use super::skip;

    #[test]
    fn who_is_left_out_and_why_stands_on_a_line() {
        assert_eq!(skip("go-cloudevents skipped: needs go"), Some(("go-cloudevents", "go")));
        assert_eq!(skip("48 passed, 0 failed, 1 skipped"), None);
    }
}
