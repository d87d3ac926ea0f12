//! The gateway as the process that users run.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// How long a gateway may take until it listens.
const READY: Duration = Duration::from_secs(10);

/// A running `meshwire serve`. Ended when dropped, unless kept.
pub(crate) struct Gateway {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    address: String,
    /// From start to listening.
    pub(crate) ready: Duration,
    keep: bool,
}

impl Gateway {
    /// Starts one on a free port with its log in `folder`.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = std::env::var_os("MESHWIRE_BIN").unwrap_or_else(|| "meshwire".into());
        Self::serve(PathBuf::from(program), folder.to_path_buf(), "127.0.0.1:0").await
    }

    async fn serve(program: PathBuf, folder: PathBuf, listen: &str) -> anyhow::Result<Self> {
        let began = Instant::now();
        let log = File::options().create(true).append(true).open(folder.join("gateway.log"))?;
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", listen, "--data-dir"]).arg(folder.join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let stdout = child.stdout.take();
        let mut gateway = Self { child, program, folder, address: String::new(), ready: READY, keep: false };
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            stdout.map_or(Ok(0), |out| BufReader::new(out).read_line(&mut line)).map(|_| line)
        });
        let line = tokio::time::timeout(READY, line).await.context("the gateway did not get ready")???;
        let address = line.trim().strip_prefix("listening ");
        let address = address.with_context(|| format!("the gateway did not start:\n{}", gateway.log()))?;
        gateway.address = address.to_owned();
        gateway.ready = began.elapsed();
        Ok(gateway)
    }

    /// `kill -9`, and nothing else in between.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill -9 failed")?;
        self.child.wait().context("the gateway was lost")?;
        Ok(())
    }

    /// Starts it again on the same port and folder.
    pub(crate) async fn restart(self) -> anyhow::Result<Self> {
        Self::serve(self.program.clone(), self.folder.clone(), &self.address).await
    }

    pub(crate) fn url(&self) -> String {
        self.url_over("mesh")
    }

    /// By this scheme.
    pub(crate) fn url_over(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What recovery found, in the gateway's own words.
    pub(crate) fn recovery(&self) -> Option<String> {
        let log = self.log();
        let at = log.rfind("recovered ")?;
        log.get(at..)?.lines().next().map(str::to_owned)
    }

    /// Everything it logged.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default()
    }

    /// Lets it live on after this program.
    pub(crate) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.keep {
            // It may have ended by itself; there is nobody left to tell.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
