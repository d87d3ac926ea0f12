//! `bench`: builds for speed, and measures side by side with peers.

mod bindings;
mod figures;
mod servers;
mod table;

use crate::process::show;
use crate::workspace::{Profile, Workspace};

pub(crate) use bindings::bindings;

/// Runs the smoke bench; its exit code says whether the bars were met.
pub(crate) fn smoke(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    // One build per package: a joint one would give the gateway the features of the others.
    for package in ["meshwire-cli", "meshwire-bench"] {
        if !show(&mut workspace.cargo(&["build", "--release", "-p", package]))? {
            return Ok(false);
        }
    }
    let mut bench = workspace.program(&workspace.built(Profile::Release, "meshwire-bench"));
    bench.arg("smoke").args(arguments).env("MESHWIRE_BIN", workspace.built(Profile::Release, "meshwire"));
    show(&mut bench)
}
