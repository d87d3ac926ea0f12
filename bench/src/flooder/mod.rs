//! A flood of connections, by a process of its own, so that the clients that are measured share nothing with it but the machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use crate::server::{Says, Server};

mod storm;
mod waiting;

/// What it says once all connections have come.
const UP: &str = "all have come";
/// Behind the gateway and the good clients, which have 0.
const PRIORITY: i32 = 10;
/// Open files beside the connections.
const OTHER_FILES: u64 = 64;

/// What its connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// They send nothing, or the first bytes of a login, and wait.
    Silent,
    /// They send a login at a byte a second.
    Slow,
    /// They come all at once, log in, are gone, and come again.
    Storm,
    /// The same with a TLS handshake in place of the login.
    Tls,
}

/// What the process is told.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Told {
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    connections: u32,
    /// Of the gateway, which TLS trusts.
    #[arg(long)]
    certificate: Option<PathBuf>,
}

/// A flood, until it is dropped: then all its connections end at once.
#[derive(Debug)]
pub(crate) struct Flooder(#[expect(dead_code, reason = "it lives as long as this")] Server);

impl Flooder {
    /// Starts it and waits until all connections have come.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn start(
        kind: Kind,
        (address, certificate): (SocketAddr, Option<&Path>),
        connections: u32,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = kind.to_possible_value().context("it has a name")?;
        command.args(["flooder", "--kind", name.get_name(), "--address", &address.to_string()]);
        command.args(["--connections", &connections.to_string()]);
        if let Some(certificate) = certificate {
            command.arg("--certificate").arg(certificate);
        }
        let ready = Server::start_and_wait(command, Says::Stdout, log, |line| (line == UP).then_some(()))?;
        Ok(Self(ready.server))
    }
}

/// Lets this process have as many files open as the system allows it.
///
/// # Errors
/// Those are too few for so many connections.
pub(crate) fn make_room(connections: u32) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let needed = u64::from(connections) + OTHER_FILES;
    ensure!(
        limit.maximum.is_none_or(|most| most >= needed),
        "{connections} connections need {needed} open files, and the system allows {}: raise ulimit -Hn, or ask for fewer with --flood",
        limit.maximum.unwrap_or_default()
    );
    Ok(())
}

/// Is the flood, until it is killed.
///
/// # Errors
/// What the system refuses.
pub(crate) async fn run(told: &Told) -> anyhow::Result<()> {
    make_room(told.connections)?;
    // A flood comes from elsewhere: it has what processor time the measured leave, and does not take theirs.
    setpriority_process(None, PRIORITY)?;
    let (address, connections) = (told.address, told.connections);
    match told.kind {
        Kind::Silent => waiting::run(address, connections, waiting::silent).await,
        Kind::Slow => waiting::run(address, connections, waiting::slow).await,
        Kind::Storm => storm::run(connections, move |n| storm::log_in(address, n)).await,
        Kind::Tls => {
            let file = told.certificate.as_deref().context("TLS needs --certificate")?;
            let connector = storm::connector(file)?;
            storm::run(connections, move |_| storm::shake_hands(address, connector.clone())).await
        }
    }
}

fn all_have_come() {
    crate::report::say(UP);
}
