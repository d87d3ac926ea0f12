//! What programs publish to: a gateway, and NATS with JetStream, each new for each run.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bindings::Gateway;
use crate::workspace::{Profile, Workspace};

/// Room for all that is published before it is received: of a memory topic the newest events stay.
const ROOM: [&str; 6] = ["--memory-budget", "4GiB", "--memory-ring-bytes", "1GiB", "--memory-total-bytes", "2GiB"];

/// How long a server may take until it is ready.
const LIMIT: Duration = Duration::from_secs(10);

/// A gateway for measurements.
pub(super) fn gateway(workspace: &Workspace) -> anyhow::Result<Gateway> {
    Gateway::start_as(&workspace.built(Profile::Release, "meshwire"), &ROOM)
}

/// `nats-server` as it is found by `NATS_SERVER`, on the path, or where `bench smoke` keeps it.
pub(super) fn find_nats() -> Option<PathBuf> {
    let said = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join("nats-server")).collect();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    places.extend(cache.map(|cache| cache.join("meshwire/peers/nats-server")));
    said.into_iter().chain(places).find(|program| program.is_file())
}

/// A running one; dropped, it is killed, and its folder removed.
pub(super) struct Nats {
    process: Child,
    folder: PathBuf,
    pub(super) url: String,
}

impl Nats {
    pub(super) fn start(program: &Path, folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        // It takes no socket of ours, and tells the port that it chose in its log only.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-p", &address.port().to_string(), "-sd"]).arg(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let mut nats = Self { process, folder, url: format!("nats://{address}") };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = nats.process.try_wait()?;
            anyhow::ensure!(ended.is_none() && began.elapsed() < LIMIT, "nats-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nats)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
