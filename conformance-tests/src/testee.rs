//! A testee: a process that obeys lines of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// How long a testee may take to end once it was told to.
const EXIT: Duration = Duration::from_secs(10);
/// Lines that wait for the runner; over it the testee waits.
const LINES: usize = 4096;

/// How a testee is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// As the grid names it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// One line of a testee, and when it came.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) value: Value,
}

/// A running testee.
pub(crate) struct Testee {
    process: Child,
    input: ChildStdin,
    lines: Receiver<Result<Line, String>>,
    logs: thread::JoinHandle<String>,
}

impl Testee {
    pub(crate) fn start(program: &Program) -> anyhow::Result<Self> {
        let mut command = Command::new(&program.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("{} cannot be started", program.path.display()))?;
        let input = process.stdin.take().context("no standard input")?;
        let output = process.stdout.take().context("no standard output")?;
        let errors = process.stderr.take().context("no standard error")?;
        let (sender, lines) = sync_channel(LINES);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).map_err(|_| format!("it printed what is not JSON: {line}"));
                if sender.send(parsed.map(|value| Line { at: Instant::now(), value })).is_err() {
                    return;
                }
            }
        });
        let logs = thread::spawn(move || {
            let lines = BufReader::new(errors).lines().map_while(Result::ok);
            lines.fold(String::new(), |text, line| text + &line + "\n")
        });
        Ok(Self { process, input, lines, logs })
    }

    pub(crate) fn send(&mut self, command: &Value) -> anyhow::Result<()> {
        self.input.write_all(format!("{command}\n").as_bytes()).context("the testee reads no more")
    }

    /// The next line that comes before `until`; `None` when none does.
    pub(crate) fn next(&self, until: Instant) -> anyhow::Result<Option<Line>> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(line)) => Ok(Some(line)),
            Ok(Err(problem)) => bail!(problem),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the testee died"),
        }
    }

    /// Ends it in order: it says yes and exits with 0 in time. Gives the lines that
    /// were still under way.
    pub(crate) fn exit(&mut self, id: u64) -> anyhow::Result<Vec<Value>> {
        self.send(&json!({"id": id, "op": "exit"}))?;
        let until = Instant::now() + EXIT;
        let mut left = Vec::new();
        loop {
            match self.next(until)? {
                Some(line) if line.value.get("id") == Some(&id.into()) => break,
                Some(line) => left.push(line.value),
                None => bail!("the testee did not answer exit within {EXIT:?}"),
            }
        }
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "the testee ended with {status}");
                return Ok(left);
            }
            // There is no portable wait with a limit.
            thread::sleep(Duration::from_millis(2));
        }
        bail!("the testee did not end within {EXIT:?}")
    }

    /// Ends it however it is; gives what it said on the error stream.
    pub(crate) fn kill(mut self) -> String {
        // Whether it ended by itself before does not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.logs.join().unwrap_or_default()
    }
}
