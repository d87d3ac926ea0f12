//! A stranger's program: it takes tasks and gives answers, a line of JSON each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::plain::Plain;

/// Lines in flight; over it the program waits.
const LINES: usize = 16;
/// How long a program may take to end once its input has.
const ENDING: Duration = Duration::from_secs(3);

/// A program that runs until this is dropped.
pub(crate) struct Program {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Option<thread::JoinHandle<String>>,
}

/// What a program says of one task.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// Of a publish: one for each event.
    #[serde(default)]
    pub(crate) results: Vec<Taken>,
    /// Of a receive.
    #[serde(default)]
    pub(crate) events: Vec<Plain>,
    /// It could not carry the task out.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// Whether the gateway took an event.
#[derive(Debug, Deserialize)]
pub(crate) struct Taken {
    #[serde(default)]
    pub(crate) ok: bool,
    /// Our code, wherever the protocol has it.
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) detail: Option<String>,
}

impl Program {
    pub(crate) fn start(command: &[String], folder: &Path) -> anyhow::Result<Self> {
        let (name, arguments) = command.split_first().context("an empty command")?;
        let mut command = Command::new(name);
        command.args(arguments).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let input = process.stdin.take();
        let (output, errors) = (process.stdout.take(), process.stderr.take());
        let (sender, lines) = sync_channel(LINES);
        let output = output.context("no standard output")?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = errors.context("no standard error")?;
        let said = thread::spawn(move || {
            let lines = BufReader::new(errors).lines().map_while(Result::ok);
            lines.fold(String::new(), |text, line| text + &line + "\n")
        });
        Ok(Self { process, input, lines, said: Some(said) })
    }

    /// Gives it a task and waits for the answer.
    pub(crate) fn ask(&mut self, task: &Value, patience: Duration) -> anyhow::Result<Answer> {
        let input = self.input.as_mut().context("it was ended")?;
        input.write_all(format!("{task}\n").as_bytes()).context("it reads no more")?;
        input.flush().context("it reads no more")?;
        let line = match self.lines.recv_timeout(patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("it gave no answer within {patience:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("it ended"),
        };
        let answer: Answer = serde_json::from_str(&line).with_context(|| format!("it said {line:.200}"))?;
        match answer.error {
            Some(error) => bail!("it could not: {error}"),
            None => Ok(answer),
        }
    }

    /// Ends it; gives what it said on its error stream.
    pub(crate) fn end(mut self) -> String {
        self.kill();
        self.said.take().and_then(|said| said.join().ok()).unwrap_or_default()
    }

    /// The end of its input tells it to end what it started too.
    fn kill(&mut self) {
        self.input = None;
        let until = Instant::now() + ENDING;
        while Instant::now() < until && self.process.try_wait().is_ok_and(|status| status.is_none()) {
            // There is no portable wait with a limit.
            thread::sleep(Duration::from_millis(2));
        }
        // Whether it ended by itself before does not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a program prints that needs no task, to its end, or until nothing came for so long.
pub(crate) fn printed(command: &[String], folder: &Path, patience: Duration) -> anyhow::Result<String> {
    let program = Program::start(command, folder)?;
    let mut text = String::new();
    loop {
        match program.lines.recv_timeout(patience) {
            Ok(line) => {
                text += &line;
                text.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(text),
            Err(RecvTimeoutError::Timeout) => return Ok(format!("{text}FAILED  it does not end: {}", program.end())),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
