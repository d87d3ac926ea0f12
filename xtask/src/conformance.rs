//! `conformance`: every case with every client, against the real gateway.

use std::process::Command;

use crate::process::show;
use crate::workspace::{Profile, Workspace};

/// Builds what the runner starts, and hands over to it.
pub(crate) fn conformance(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    // The whole workspace, as `test` builds it, so that cargo keeps one set of features.
    if !show(&mut workspace.cargo(&["build", "--quiet", "--workspace", "--all-targets"]))? {
        return Ok(false);
    }
    if !arguments.is_empty() {
        return show(command(workspace).args(arguments));
    }
    let played = show(command(workspace).arg("--junit").arg(workspace.scratch()?.join("conformance.xml")))?;
    Ok(show(command(workspace).arg("--planted"))? && played)
}

/// The runner; it and what it starts are built already.
pub(crate) fn command(workspace: &Workspace) -> Command {
    let mut command = workspace.program(&workspace.built(Profile::Dev, "meshwire-conformance"));
    command.env("MESHWIRE_BIN", workspace.built(Profile::Dev, "meshwire"));
    command
}
