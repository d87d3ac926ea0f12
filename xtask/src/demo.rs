//! `demo`: builds the gateway, the demo program and its players in every language, gets the payloads, hands over.

use std::process::Command;

use crate::bindings::{self, Players};
use crate::payloads;
use crate::process::show;
use crate::workspace::{Profile, Workspace};

/// Runs the demo with its output shown; `keep` leaves the gateway up at the end.
pub(crate) fn demo(workspace: &Workspace, keep: bool) -> anyhow::Result<bool> {
    println!("building the gateway and the demo (some minutes the first time)");
    if !show(&mut workspace.cargo(&["build", "--quiet", "-p", "meshwire-cli", "-p", "meshwire-examples"]))? {
        return Ok(false);
    }
    println!("building and installing the client for C, Python, Node and Go (some more, the first time)");
    let players = bindings::ready(workspace)?;
    let mut command = command(workspace, &players)?;
    if keep {
        command.arg("--keep");
    }
    show(&mut command)
}

/// The demo program with its payloads and players; it and the gateway are built already.
pub(crate) fn command(workspace: &Workspace, players: &Players) -> anyhow::Result<Command> {
    let payloads = payloads::fetch(workspace)?;
    let mut command = workspace.program(&workspace.built(Profile::Dev, "meshwire-demo"));
    command.env("MESHWIRE_BIN", workspace.built(Profile::Dev, "meshwire"));
    command.arg("--payloads").arg(payloads.file);
    let rust = ("rust", workspace.built(Profile::Dev, "player"));
    for (name, program) in std::iter::once(&rust).chain(&players.there) {
        command.arg("--player").arg(format!("{name}={}", program.display()));
    }
    for absent in &players.absent {
        command.arg("--absent").arg(absent);
    }
    if let Some(reason) = payloads.sample {
        command.arg("--sample-because").arg(reason);
    }
    Ok(command)
}
