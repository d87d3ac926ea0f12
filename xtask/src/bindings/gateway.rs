//! A gateway for programs that do not start one themselves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use crate::workspace::{Profile, Workspace};

/// A gateway with an empty store in memory; dropped, it is killed.
pub(crate) struct Gateway {
    process: Child,
    address: String,
}

impl Gateway {
    pub(super) fn start(workspace: &Workspace) -> anyhow::Result<Self> {
        Self::start_as(&workspace.built(Profile::Dev, "meshwire"), &[])
    }

    /// The same of another build, with more options.
    pub(crate) fn start_as(program: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--memory", "--listen", "127.0.0.1:0"]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("the gateway cannot be started")?;
        let output = process.stdout.take().context("the gateway has no output")?;
        let mut gateway = Self { process, address: String::new() };
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("listening ") {
                address.trim().clone_into(&mut gateway.address);
                return Ok(gateway);
            }
        }
        anyhow::bail!("the gateway ended before it listened")
    }

    pub(crate) fn url(&self) -> String {
        format!("mesh://{}", self.address)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
