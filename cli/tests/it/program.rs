//! Starting the program, and waiting for it with a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest a step may take. Generous: only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The lines of standard output.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// The lines of the error stream without log lines.
    pub(crate) fn notes(&self) -> Vec<&str> {
        self.err.lines().filter(|line| !is_log(line)).collect()
    }
}

/// Log lines begin with a time.
fn is_log(line: &str) -> bool {
    line.get(..5).is_some_and(|start| start.ends_with('-') && start.starts_with("20"))
}

/// The program, running. Killed when it is dropped.
pub(crate) struct Program {
    process: Child,
    pub(crate) input: Option<ChildStdin>,
    out: Lines,
    err: Lines,
}

/// What a stream says, line by line.
struct Lines {
    receiver: mpsc::Receiver<String>,
    seen: String,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1 << 20);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8(std::mem::take(&mut line)).expect("output is UTF-8");
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self { receiver, seen: String::new() }
    }

    fn next(&mut self, wait: Duration) -> Option<String> {
        let line = self.receiver.recv_timeout(wait).ok()?;
        self.seen.push_str(&line);
        Some(line.trim_end().to_owned())
    }

    fn rest(mut self) -> String {
        while self.next(DEADLINE).is_some() {}
        self.seen
    }
}

/// The program with these arguments and nothing of the tests' environment.
pub(crate) fn meshwire(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshwire"));
    command.env_clear().args(args);
    command
}

/// Runs to the end with nothing on standard input.
pub(crate) fn run(args: &[&str]) -> Ended {
    run_with(args, "")
}

/// Runs to the end with this on standard input.
pub(crate) fn run_with(args: &[&str], input: &str) -> Ended {
    let mut program = Program::start(args);
    let mut stdin = program.input.take().unwrap();
    // A program that ends early does not read it all.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    program.end()
}

impl Program {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(meshwire(args))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program starts");
        let input = process.stdin.take();
        let out = Lines::of(process.stdout.take().unwrap());
        let err = Lines::of(process.stderr.take().unwrap());
        Self { process, input, out, err }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        self.out.next(DEADLINE).unwrap_or_else(|| panic!("no line on standard output; errors: {}", self.err.seen))
    }

    /// The next line of standard output, if one comes so soon.
    pub(crate) fn line_within(&mut self, wait: Duration) -> Option<String> {
        self.out.next(wait)
    }

    /// Waits for a line of the error stream that holds this.
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        loop {
            let Some(line) = self.err.next(DEADLINE) else {
                panic!("no line with {part:?}, only: {}; ended: {:?}", self.err.seen, self.process.try_wait());
            };
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Whether it stays alive and says nothing on standard output for so long.
    pub(crate) fn stays_quiet(&mut self, span: Duration) -> bool {
        self.out.receiver.recv_timeout(span) == Err(mpsc::RecvTimeoutError::Timeout)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).expect("the process takes signals");
    }

    /// Stops it as SIGSTOP does, and waits until none of its threads runs.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + DEADLINE;
        while !self.is_paused() {
            assert!(Instant::now() < deadline, "it does not stop");
            thread::yield_now();
        }
    }

    fn is_paused(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap()).all(|stat| {
            // The state stands behind the name in parentheses.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.input.take());
        let status = self.wait();
        let out = std::mem::replace(&mut self.out, Lines::of(std::io::empty()));
        let err = std::mem::replace(&mut self.err, Lines::of(std::io::empty()));
        Ended { code: status.code(), out: out.rest(), err: err.rest() }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            // The error stream ends with the process: waiting for it is waiting for the end.
            let _ = self.err.next(Duration::from_millis(10));
            assert!(Instant::now() < deadline, "it does not end; errors: {}", self.err.seen);
        }
    }

    /// Ends it as `kill -9` does; gives what it had said and nobody had read.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.out.next(DEADLINE)).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gateway that is ready.
pub(crate) struct Gateway {
    pub(crate) program: Program,
    pub(crate) address: String,
    pub(crate) url: String,
}

impl Gateway {
    /// In memory, on a free port.
    pub(crate) fn start() -> Self {
        Self::with(&["--memory"])
    }

    /// With a directory, on a free port.
    pub(crate) fn on(directory: &Path) -> Self {
        Self::with(&["--data-dir", directory.to_str().unwrap()])
    }

    /// With these arguments, on a free port.
    pub(crate) fn with(args: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(args);
        Self::spawn(meshwire(&all))
    }

    pub(crate) fn spawn(command: Command) -> Self {
        let mut program = Program::spawn(command);
        let line = program.line();
        let address = line.strip_prefix("listening ").unwrap_or_else(|| panic!("{line}")).to_owned();
        let url = format!("mesh://{address}");
        Self { program, address, url }
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--server", &self.url]].concat()
    }

    /// Runs a client command against it.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        run(&self.args(args))
    }

    /// Runs a client command against it, with this on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ended {
        run_with(&self.args(args), input)
    }

    /// Starts a client command against it.
    pub(crate) fn begin(&self, args: &[&str]) -> Program {
        Program::start(&self.args(args))
    }

    /// Publishes events of these ids; all must be acknowledged.
    pub(crate) fn publish(&self, topic: &str, ids: &[&str]) {
        let input: String = ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"data\":{{\"n\":\"{id}\"}}}}\n")).collect();
        let ended = self.run_with(&["pub", topic, "--file", "-"], &input);
        assert_eq!((ended.code, ended.out), (Some(0), format!("published {}\n", ids.len())), "{}", ended.err);
    }

    /// Ids that a new reader without a group gets from the start.
    pub(crate) fn all_ids(&self, topic: &str) -> Vec<String> {
        let listed = self.run(&["topics", "list", "--json"]);
        let topics = listed.lines();
        let object = topics.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let events = object.filter(|t| t["name"] == topic).map(|t| t["events"].to_string()).next();
        let events = events.unwrap_or_else(|| panic!("no topic {topic}: {listed:?}"));
        self.ids(&["sub", topic, "--start", "earliest", "--count", &events, "--json"])
    }

    /// Ids that a group has still to get.
    pub(crate) fn group_ids(&self, topic: &str, group: &str) -> Vec<String> {
        self.ids(&["sub", topic, "--group", group, "--until-idle", "1s", "--json"])
    }

    pub(crate) fn ids(&self, args: &[&str]) -> Vec<String> {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.lines().iter().map(|line| id(line)).collect()
    }
}

/// The id of an event in JSON.
pub(crate) fn id(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    event["id"].as_str().unwrap().to_owned()
}

/// Memory that a process has now, in bytes.
pub(crate) fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
