//! Proxies of others between a client and the gateway.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::install::Folders;
use crate::plan::Proxy;

/// How long a proxy may take until it listens.
const READY: Duration = Duration::from_secs(10);
/// A free port may be taken before the proxy has it.
const TRIES: usize = 5;

/// A proxy that runs until this is dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

pub(crate) fn start(folders: &Folders, proxy: &Proxy, gateway: &str) -> anyhow::Result<Running> {
    for _ in 0..TRIES {
        if let Some(running) = attempt(folders, proxy, gateway)? {
            return Ok(running);
        }
    }
    bail!("{:?} did not listen, {TRIES} times", proxy.run)
}

fn attempt(folders: &Folders, proxy: &Proxy, gateway: &str) -> anyhow::Result<Option<Running>> {
    // These programs do not tell which port they were given, so one that is free is chosen for them.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let folder = tempfile::tempdir()?;
    let template = folders.source.join(&proxy.config);
    let text = std::fs::read_to_string(&template).with_context(|| format!("{} cannot be read", template.display()))?;
    let config = folder.path().join("config");
    let place = folder.path().to_string_lossy().into_owned();
    let text = text.replace("{listen}", &address.to_string()).replace("{gateway}", gateway).replace("{folder}", &place);
    let tls = [("{certificate}", &folders.tls.certificate), ("{key}", &folders.tls.key)];
    let text = tls.iter().fold(text, |text, (name, path)| text.replace(name, &path.to_string_lossy()));
    std::fs::write(&config, text)?;
    let fill = |word: &String| word.replace("{config}", &config.to_string_lossy()).replace("{folder}", &place);
    let words: Vec<String> = proxy.run.iter().map(fill).collect();
    let (name, arguments) = words.split_first().context("an empty command")?;
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
    let mut running = Running { process, address, _folder: folder };
    let until = Instant::now() + READY;
    while Instant::now() < until && running.process.try_wait()?.is_none() {
        if TcpStream::connect(address).is_ok() {
            return Ok(Some(running));
        }
        // Nothing tells when it listens.
        thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whether it ended by itself before does not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
