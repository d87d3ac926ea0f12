//! Running other programs: with their output shown, or kept in a log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Lines in flight between a program and the log; the program waits when there are more.
const LINES: usize = 1024;
/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long output of left-over grandchildren is waited for once the program has ended.
const LEFT_OVER: Duration = Duration::from_secs(3);

/// Runs a program with its output shown as it comes. `false`: it ended with another code than 0.
pub(crate) fn show(command: &mut Command) -> anyhow::Result<bool> {
    let status = command.status().with_context(|| format!("{} cannot be started", name(command)))?;
    Ok(status.success())
}

/// Everything that the programs of a run printed.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
}

/// What a logged program printed and how it ended.
pub(crate) struct Finished {
    /// It ended in time with code 0.
    pub(crate) success: bool,
    /// Both of its streams, line by line.
    pub(crate) lines: Vec<String>,
}

impl Log {
    /// An empty log; with `append` an existing one goes on.
    pub(crate) fn open(path: PathBuf, append: bool) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(append).write(true).truncate(!append).open(&path);
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { file, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn line(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.file, "{line}").with_context(|| format!("{} cannot be written", self.path.display()))
    }

    /// All of another log.
    pub(crate) fn append(&mut self, other: &Path) -> anyhow::Result<()> {
        let mut other = File::open(other).with_context(|| format!("{} cannot be read", other.display()))?;
        std::io::copy(&mut other, &mut self.file)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        Ok(())
    }

    /// Runs a program to its end, or ends it once `limit` has passed.
    pub(crate) fn run(&mut self, command: &mut Command, limit: Option<Duration>) -> anyhow::Result<Finished> {
        self.line(&format!("$ {}", shown(command)))?;
        let began = Instant::now();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", name(command)))?;
        let (sender, receiver) = sync_channel(LINES);
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            forward(out, sender.clone());
            forward(err, sender);
        }
        let mut lines = Vec::new();
        let in_time = self.collect(&mut child, &receiver, &mut lines, limit.map(|l| began + l))?;
        let status = child.wait().with_context(|| format!("{} was lost", name(command)))?;
        self.line(&format!("({status}, {:.1} s)", began.elapsed().as_secs_f64()))?;
        Ok(Finished { success: in_time && status.success(), lines })
    }

    fn collect(
        &mut self,
        child: &mut Child,
        lines: &Receiver<String>,
        kept: &mut Vec<String>,
        deadline: Option<Instant>,
    ) -> anyhow::Result<bool> {
        let mut ended: Option<Instant> = None;
        loop {
            // Looked at for a program that never falls silent too.
            if ended.is_none() && deadline.is_some_and(|at| Instant::now() > at) {
                child.kill()?;
                self.line("(out of time)")?;
                return Ok(false);
            }
            match lines.recv_timeout(LOOK) {
                Ok(line) => {
                    self.line(&line)?;
                    kept.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
                Err(RecvTimeoutError::Timeout) => {
                    if ended.is_none() && child.try_wait()?.is_some() {
                        ended = Some(Instant::now());
                    }
                    if ended.is_some_and(|at| at.elapsed() > LEFT_OVER) {
                        self.line("(a process it started still holds its output)")?;
                        return Ok(true);
                    }
                }
            }
        }
    }
}

fn forward(stream: impl Read + Send + 'static, lines: SyncSender<String>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            line.clear();
            if lines.send(text).is_err() {
                return;
            }
        }
    });
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn shown(command: &Command) -> String {
    let arguments = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(name(command)).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::process::Command;
    use std::time::Duration;

    use super::{Finished, Log};

    fn run(script: &str, limit: Option<Duration>) -> (Finished, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path().join("log"), false).unwrap();
        let finished = log.run(Command::new("sh").args(["-c", script]), limit).unwrap();
        (finished, std::fs::read_to_string(log.path()).unwrap())
    }

    #[test]
    fn both_streams_of_a_program_are_kept_and_logged() {
        let (finished, log) = run("echo out; echo err >&2; exit 3", None);
        assert!(!finished.success);
        let mut lines = finished.lines;
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
        assert!(log.contains("out\n") && log.contains("err\n"), "{log}");
    }

    #[test]
    fn a_program_over_its_limit_is_ended_whether_it_is_silent_or_talks() {
        for script in ["exec cat /dev/zero >/dev/null", "exec yes"] {
            let (finished, log) = run(script, Some(Duration::from_millis(50)));
            assert!(!finished.success && log.contains("(out of time)"), "{script}: {}", log.len());
        }
    }
}
