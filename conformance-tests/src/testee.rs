//! A testee: a process that obeys lines of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

/// How long a testee may take to end once it was told to.
const EXIT: Duration = Duration::from_secs(10);
/// What is told of a process that was made for one case, when it has ended: its code. On the error stream too, behind what the case said there.
const EXITED: &str = "exited";
/// Lines that wait for the runner; over it the testee waits.
const LINES: usize = 4096;

/// How a testee is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// As the grid names it.
    pub(crate) name: String,
    path: PathBuf,
    /// Those that play case after case, and are in none now; absent where each case has a start of its own.
    waiting: Option<Arc<Mutex<Vec<Process>>>>,
}

/// One line of a testee, and when it came.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) value: Value,
}

/// A testee in a case.
pub(crate) struct Testee {
    process: Process,
    program: Program,
    /// It was told to end, and said yes.
    ending: bool,
    /// It has ended.
    over: bool,
}

/// What was started.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Result<Line, String>>,
    /// What it said on the error stream since its case began.
    logs: Arc<Mutex<String>>,
    /// The error stream has come to the end of a case.
    ends: Receiver<()>,
    logging: thread::JoinHandle<()>,
}

impl Program {
    /// With `many` one that knows `--many`: it makes a process for each case, and tells when that has ended.
    pub(crate) fn new(name: &str, path: PathBuf, many: bool) -> Self {
        Self { name: name.to_owned(), path, waiting: many.then(Arc::default) }
    }

    /// Ends what waits for another case: there is none.
    pub(crate) fn end(&self) {
        for Process { mut child, input, .. } in
            self.waiting.iter().flat_map(|waiting| std::mem::take(&mut *locked(waiting)))
        {
            drop(input);
            // Each of its cases was judged; how it ends itself does not matter.
            let _ = child.wait();
        }
    }

    fn spawn(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.waiting.is_some() {
            // The processes that it makes are killed with it.
            command.arg("--many").process_group(0);
        }
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", self.path.display()))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let errors = child.stderr.take().context("no standard error")?;
        let (sender, lines) = sync_channel(LINES);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).map_err(|_| format!("it printed what is not JSON: {line}"));
                if sender.send(parsed.map(|value| Line { at: Instant::now(), value })).is_err() {
                    return;
                }
            }
        });
        let logs = Arc::<Mutex<String>>::default();
        let said = Arc::clone(&logs);
        let (sender, ends) = sync_channel(LINES);
        let logging = thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if !is_end(&line) {
                    *locked(&said) += &(line + "\n");
                } else if sender.send(()).is_err() {
                    return;
                }
            }
        });
        Ok(Process { child, input, lines, logs, ends, logging })
    }

    /// A process that has no case yet.
    fn process(&self) -> anyhow::Result<Process> {
        let Some(waiting) = &self.waiting else {
            return self.spawn();
        };
        let found = locked(waiting).pop();
        let mut process = found.map_or_else(|| self.spawn(), Ok)?;
        locked(&process.logs).clear();
        process.input.write_all(b"\n").context("the testee that plays many cases has ended")?;
        Ok(process)
    }
}

fn is_end(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|line| line.get(EXITED).is_some())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Testee {
    pub(crate) fn start(program: &Program) -> anyhow::Result<Self> {
        Ok(Self { process: program.process()?, program: program.clone(), ending: false, over: false })
    }

    pub(crate) fn send(&mut self, command: &Value) -> anyhow::Result<()> {
        self.process.input.write_all(format!("{command}\n").as_bytes()).context("the testee reads no more")
    }

    /// The next line that comes before `until`; `None` when none does.
    pub(crate) fn next(&self, until: Instant) -> anyhow::Result<Option<Line>> {
        match self.process.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(Line { value, .. })) if !self.ending && value.get(EXITED).is_some() => {
                bail!("the testee died: {value}")
            }
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
        self.until(until, &mut left, |line| (line.get("id") == Some(&id.into())).then_some(()))
            .context("when it was told to exit")?;
        self.ending = true;
        if self.program.waiting.is_some() {
            let status = self.until(until, &mut left, |line| line.get(EXITED).cloned()).context("at its end")?;
            ensure!(status == 0, "the testee ended with {status}");
            let rest = until.saturating_duration_since(Instant::now());
            self.process.ends.recv_timeout(rest).context("the end of the case did not come on the error stream")?;
        } else {
            self.ended(until)?;
        }
        self.over = true;
        Ok(left)
    }

    /// Takes lines up to the one that is waited for.
    fn until<T>(&self, until: Instant, left: &mut Vec<Value>, is: impl Fn(&Value) -> Option<T>) -> anyhow::Result<T> {
        loop {
            let line = self.next(until)?.with_context(|| format!("the testee was silent for {EXIT:?}"))?.value;
            match is(&line) {
                Some(found) => return Ok(found),
                None => left.push(line),
            }
        }
    }

    fn ended(&mut self, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            if let Some(status) = self.process.child.try_wait()? {
                ensure!(status.success(), "the testee ended with {status}");
                return Ok(());
            }
            // There is no portable wait with a limit.
            thread::sleep(Duration::from_millis(2));
        }
        bail!("the testee did not end within {EXIT:?}")
    }

    /// Ends it however it is; gives what it said on the error stream. One that has ended in order and can play more cases waits for the next.
    pub(crate) fn kill(self) -> String {
        let Self { mut process, program, over, .. } = self;
        match &program.waiting {
            Some(waiting) if over => {
                let logs = locked(&process.logs).clone();
                locked(waiting).push(process);
                return logs;
            }
            Some(_) => {
                // Whether it ended by itself before does not matter, here and below.
                let group = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw);
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            }
            None => {
                let _ = process.child.kill();
            }
        }
        let _ = process.child.wait();
        let _ = process.logging.join();
        std::mem::take(&mut locked(&process.logs))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::{Program, Testee};

    /// Says which process it is of, what it was asked as, and obeys `exit` alone.
    const MANY: &str = r#"#!/bin/sh
[ "$1" = --many ] || exit 9
while read -r begin; do
  (echo "{\"of\":$$}"; echo noise >&2; while read -r line; do case $line in *exit*) echo '{"id":7}'; exit 0;; *die*) exit 3;; esac; done)
  exited="{\"exited\":$?}"
  echo "$exited"
  echo "$exited" >&2
done
"#;

    #[test]
    fn one_that_plays_many_cases_is_started_once_and_again_after_a_case_that_went_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many");
        std::fs::write(&path, MANY).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = Program::new("many", path, true);
        let begin = || {
            let testee = Testee::start(&program).unwrap();
            let of = testee.next(Instant::now() + Duration::from_secs(10)).unwrap().unwrap().value;
            (testee, of)
        };
        let (mut first, of_first) = begin();
        assert!(first.exit(7).unwrap().is_empty());
        assert_eq!(first.kill(), "noise\n");
        let (mut second, of_second) = begin();
        assert_eq!(of_first, of_second);
        second.send(&json!({"op": "die"})).unwrap();
        let died = second.next(Instant::now() + Duration::from_secs(10)).unwrap_err().to_string();
        assert_eq!(died, "the testee died: {\"exited\":3}");
        assert_eq!(second.kill(), "noise\n");
        let (third, of_third) = begin();
        assert_ne!(of_second, of_third);
        third.kill();
    }
}
