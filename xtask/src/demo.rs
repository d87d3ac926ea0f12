//! `demo`: builds the gateway and the demo program, gets the payloads, hands over.

use std::process::Command;

use crate::payloads;
use crate::process::show;
use crate::workspace::{Profile, Workspace};

/// Runs the demo with its output shown; `keep` leaves the gateway up at the end.
pub(crate) fn demo(workspace: &Workspace, keep: bool) -> anyhow::Result<bool> {
    println!("building the gateway and the demo (some minutes the first time)");
    if !show(&mut workspace.cargo(&["build", "--quiet", "-p", "meshwire-cli", "-p", "meshwire-examples"]))? {
        return Ok(false);
    }
    let mut command = command(workspace)?;
    if keep {
        command.arg("--keep");
    }
    show(&mut command)
}

/// The demo program with its payloads; it and the gateway are built already.
pub(crate) fn command(workspace: &Workspace) -> anyhow::Result<Command> {
    let payloads = payloads::fetch(workspace)?;
    let mut command = workspace.program(&workspace.built(Profile::Dev, "meshwire-demo"));
    command.env("MESHWIRE_BIN", workspace.built(Profile::Dev, "meshwire"));
    command.arg("--payloads").arg(payloads.file);
    if let Some(reason) = payloads.sample {
        command.arg("--sample-because").arg(reason);
    }
    Ok(command)
}
