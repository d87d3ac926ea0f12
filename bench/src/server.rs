//! A server process: started, awaited, killed when dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a server may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where a server says that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Stdout,
    Stderr,
}

/// A running server. Dropping it kills it, as `kill -9` does.
#[derive(Debug)]
pub(crate) struct Server(Child);

/// A server that said it was ready.
#[derive(Debug)]
pub(crate) struct Ready<T> {
    pub(crate) server: Server,
    /// What its line said.
    pub(crate) said: T,
    /// From before the process was made until the line was read.
    pub(crate) after: Duration,
}

impl Server {
    /// Starts a server whose output goes to the file `log`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        spawn(command)
    }

    /// Starts a server and waits for the line in which `find` finds what it looks for.
    /// Its other output goes to the file `log`.
    ///
    /// # Errors
    /// The program cannot be started, ends, or says nothing of the kind in 30 s.
    pub(crate) fn start_and_wait<T>(
        mut command: Command,
        says: Says,
        log: &Path,
        find: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<Ready<T>> {
        let rest = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        command.stdin(Stdio::null());
        match says {
            Says::Stdout => command.stdout(Stdio::piped()).stderr(rest),
            Says::Stderr => command.stdout(rest).stderr(Stdio::piped()),
        };
        let began = Instant::now();
        let mut server = spawn(command)?;
        let (lines, said) = sync_channel(64);
        let stream: Option<Box<dyn Read + Send>> = match says {
            Says::Stdout => server.0.stdout.take().map(|s| Box::new(s) as _),
            Says::Stderr => server.0.stderr.take().map(|s| Box::new(s) as _),
        };
        let stream = stream.context("the server's output is not at hand")?;
        std::thread::spawn(move || forward(stream, &lines));
        loop {
            match said.recv_timeout(START_LIMIT.saturating_sub(began.elapsed())) {
                Ok((line, at)) => {
                    if let Some(said) = find(&line) {
                        return Ok(Ready { server, said, after: at - began });
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("the server was not ready within {START_LIMIT:?}{}", tail(log)),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the server ended before it was ready{}", tail(log))
                }
            }
        }
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        // An error means that it ended before, which the wait settles.
        let _ = self.0.kill();
        self.0.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(mut command: Command) -> anyhow::Result<Server> {
    let started = command.spawn();
    let child = started.with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    Ok(Server(child))
}

/// Reads for as long as the server writes, so that it never waits for a reader.
fn forward(stream: Box<dyn Read + Send>, lines: &SyncSender<(String, Instant)>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        // Nobody waits for lines once the server is ready.
        let _ = lines.try_send((line, Instant::now()));
    }
}

/// The last lines of a log, for an error's text.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.reverse();
    if lines.is_empty() { String::new() } else { format!("; it said: {}", lines.join(" | ")) }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn shell(script: &str, says: Says) -> anyhow::Result<Ready<u16>> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Server::start_and_wait(command, says, &folder.path().join("log"), |line| {
            line.strip_prefix("port ")?.parse().ok()
        })
    }

    #[test]
    fn a_server_is_ready_with_its_line_on_either_stream() {
        assert_eq!(shell("echo hello; echo port 7; exec tail -f /dev/null", Says::Stdout).unwrap().said, 7);
        assert_eq!(shell("echo port 8 >&2; exec tail -f /dev/null", Says::Stderr).unwrap().said, 8);
    }

    #[test]
    fn a_server_that_ends_early_is_reported_with_its_last_words() {
        let problem = shell("echo no disk >&2; exit 3", Says::Stdout).unwrap_err().to_string();
        assert!(problem.contains("ended before") && problem.contains("no disk"), "{problem}");
    }
}
