//! A gateway for tests: a process of its own, on a free port, in memory.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use meshwire_proto::ErrorKind;

use crate::{Error, Result};

/// How long a gateway may take to say that it listens.
const READY: Duration = Duration::from_secs(10);

/// About how many bytes of what it logs are kept for the error of one that does not start.
const QUOTED: usize = 64 << 10;

/// A gateway that runs as long as this value, and never longer than the process
/// that made it.
///
/// ```no_run
/// # async fn example() -> meshwire::Result<()> {
/// let gateway = meshwire::testing::Gateway::start()?;
/// let mesh = meshwire::connect(&gateway.url()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    /// While it is open the gateway lives: its end reaches the watcher however
    /// this process ends.
    lifeline: Option<ChildStdin>,
    address: String,
}

/// Runs the gateway and kills it when standard input ends; a line on it asks the
/// gateway to stop. The shell gives background commands an empty input, so the
/// lifeline goes by another number.
const WATCHER: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & gateway=$!
(read -r stop <&3 && kill $gateway; cat <&3; kill -9 $gateway) >/dev/null 2>&1 & watch=$!
wait $gateway; code=$?
kill $watch 2>/dev/null
exit $code"#;

impl Gateway {
    /// Starts the program that the environment variable `MESHWIRE_BIN` names, else
    /// `meshwire` on the search path, with an empty store in memory. Blocks until
    /// it listens, a few milliseconds as a rule.
    ///
    /// # Errors
    /// `NOT_FOUND` naming both places when there is no such program; `UNAVAILABLE`
    /// with what it printed when it ends or says nothing within 10 s.
    pub fn start() -> Result<Self> {
        Self::with_args(&["--memory"])
    }

    /// As [`Gateway::start`], with these arguments of `meshwire serve` in place of `--memory`.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn with_args(args: &[&str]) -> Result<Self> {
        Self::with_log(args, |_| {})
    }

    /// As [`Gateway::with_args`], and gives each line that it logs to `log`, without its end. A thread of its own calls it, until the
    /// gateway has ended and its last line was read; while it does not return, the gateway may wait.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn with_log(args: &[&str], log: impl FnMut(&str) + Send + 'static) -> Result<Self> {
        let program = std::env::var("MESHWIRE_BIN").unwrap_or_else(|_| "meshwire".to_owned());
        Self::launch(&program, args, log)
    }

    fn launch(program: &str, args: &[&str], log: impl FnMut(&str) + Send + 'static) -> Result<Self> {
        let failed = |kind, message: String| Error::new(kind, "start gateway", message);
        if !exists(program) {
            let message = format!(
                "there is no program {program:?}; set MESHWIRE_BIN to the meshwire binary, or put meshwire on the PATH"
            );
            return Err(failed(ErrorKind::NotFound, message));
        }
        let mut command = Command::new("sh");
        command.args(["-c", WATCHER, "sh", program, "serve", "--listen", "127.0.0.1:0"]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|cause| failed(ErrorKind::Unavailable, format!("{program}: {cause}")).with_source(cause))?;
        let lifeline = process.stdin.take();
        let said = process.stderr.take().map(|from| collect(from, log));
        let address = process.stdout.take().and_then(first_address);
        let mut gateway = Self { process, lifeline, address: String::new() };
        let Some(address) = address else {
            gateway.end();
            let said = said.and_then(|said| said.recv_timeout(Duration::from_secs(1)).ok());
            let said = said.unwrap_or_default();
            let message = format!("{program} serve did not say that it listens; it said: {}", said.trim());
            return Err(failed(ErrorKind::Unavailable, message));
        };
        gateway.address = address;
        Ok(gateway)
    }

    /// Where it listens, for [`connect`](crate::connect).
    #[must_use]
    pub fn url(&self) -> String {
        format!("mesh://{}", self.address)
    }

    /// Where it listens, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills it at once, as `kill -9` does, and waits for its end.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop, as SIGTERM does, and waits for its end.
    ///
    /// # Errors
    /// `INTERNAL` when it ends with another code than 0.
    pub fn stop(mut self) -> Result<()> {
        let failed = |message: String| Error::new(ErrorKind::Internal, "stop gateway", message);
        if let Some(lifeline) = &mut self.lifeline {
            // One that has ended reads no more; its code says how.
            let _ = lifeline.write_all(b"stop\n");
        }
        let status = self.process.wait().map_err(|cause| failed(cause.to_string()).with_source(cause))?;
        if status.success() { Ok(()) } else { Err(failed(format!("the gateway ended with {status}"))) }
    }

    fn end(&mut self) {
        self.lifeline = None;
        // Whether it ended by itself before does not matter.
        let _ = self.process.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether the system would find this program.
fn exists(program: &str) -> bool {
    if program.contains('/') {
        return std::path::Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Reads on to the end, so that the gateway never waits for a reader; gives what came first.
fn collect(from: impl Read + Send + 'static, mut log: impl FnMut(&str) + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let (mut from, mut line, mut said) = (BufReader::new(from), Vec::new(), String::new());
        while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line);
            log(text.trim_end_matches(['\r', '\n']));
            if said.len() < QUOTED {
                said.push_str(&text);
            }
            line.clear();
        }
        sender.send(said)
    });
    receiver
}

/// The address of the line `listening HOST:PORT`.
fn first_address(stdout: impl Read + Send + 'static) -> Option<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
            if let Some(address) = line.strip_prefix("listening ") {
                // Only the first is waited for.
                let _ = sender.try_send(address.trim().to_owned());
            }
        }
    });
    receiver.recv_timeout(READY).ok()
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    /// A program that does as `body` says.
    fn script(folder: &Path, body: &str) -> String {
        let path = folder.join("gateway");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_gateway_is_started_with_its_arguments_and_killed_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        let body = format!("echo $$ $* > {}; echo listening 127.0.0.1:7; exec cat /dev/zero", note.display());
        let gateway = Gateway::launch(&script(folder.path(), &body), &["--memory"], |_| {}).unwrap();
        assert_eq!(gateway.url(), "mesh://127.0.0.1:7");
        let note = std::fs::read_to_string(note).unwrap();
        let (process, args) = note.trim().split_once(' ').unwrap();
        assert_eq!(args, "serve --listen 127.0.0.1:0 --memory");
        let alive = |process: &str| Path::new("/proc").join(process).join("exe").exists();
        assert!(alive(process) || !Path::new("/proc/self").exists());
        drop(gateway);
        assert!(!alive(process));
    }

    #[test]
    fn a_gateway_that_is_stopped_ends_in_its_own_way() {
        let folder = tempfile::tempdir().unwrap();
        let body =
            |code| format!("trap 'kill $!; exit {code}' TERM; echo listening 127.0.0.1:7; tail -f /dev/null & wait");
        let launch = |code| Gateway::launch(&script(folder.path(), &body(code)), &[], |_| {}).unwrap();
        assert!(launch(0).stop().is_ok());
        let error = launch(3).stop().unwrap_err();
        assert!(error.message().contains('3'), "{error}");
    }

    #[test]
    fn a_gateway_that_ends_at_once_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "echo the port is in use >&2; exit 1");
        let error = Gateway::launch(&program, &[], |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("the port is in use"), "{error}");
    }

    #[test]
    fn each_line_that_a_gateway_logs_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "printf 'one\\r\\ntwo\\n' >&2; echo listening 127.0.0.1:7; cat");
        let (told, lines) = mpsc::sync_channel(2);
        let gateway = Gateway::launch(&program, &[], move |line| told.send(line.to_owned()).unwrap()).unwrap();
        drop(gateway);
        // The shell around it may say behind them that it was killed.
        assert_eq!(lines.iter().take(2).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn without_a_program_both_places_are_named() {
        let error = Gateway::launch("no-such-program", &[], |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("MESHWIRE_BIN") && error.message().contains("PATH"), "{error}");
    }
}
