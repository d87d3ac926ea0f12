//! Python: what the package names as public, read by Python itself.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::api::Api;

const READER: &str = include_str!("python.py");

/// Reads the package. `None`: there is no `python3`.
pub(crate) fn read(root: &Path) -> anyhow::Result<Option<Api>> {
    let mut python = Command::new("python3");
    python.args(["-I", "-c", READER]).arg(root.join("bindings/python/python"));
    let said = match python.output() {
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        said => said.context("python3 cannot be run")?,
    };
    anyhow::ensure!(said.status.success(), "python3 failed: {}", String::from_utf8_lossy(&said.stderr));
    Api::parse(&String::from_utf8_lossy(&said.stdout)).map(Some)
}
