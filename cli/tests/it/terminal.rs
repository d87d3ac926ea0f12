//! The program on a terminal: a pair of ends, of which the test holds one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Longest a step may take. Generous: only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What begins a picture.
const HOME: &str = "\x1b[H";

/// What no program says.
const LAST: &str = "\0the end\0";

/// The program, with a terminal of its own.
pub(crate) struct Terminal {
    process: Child,
    ours: File,
    theirs: File,
    said: mpsc::Receiver<Vec<u8>>,
    pub(crate) seen: String,
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// Starts the program on a terminal of so many columns and lines; `None`, and a line
    /// that says so, where no program gives it one of its own.
    pub(crate) fn start(args: &[&str], (columns, lines): (u16, u16)) -> Option<Self> {
        if Command::new("setsid").arg("--version").output().is_err() {
            println!("skipped: needs setsid");
            return None;
        };
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&ours, size(columns, lines)).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let process = Command::new("setsid")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(["--ctty", env!("CARGO_BIN_EXE_meshwire")])
            .args(args)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let ours = File::from(ours);
        let mut reader = ours.try_clone().unwrap();
        let (sender, said) = mpsc::sync_channel(1 << 16);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Some(Self { process, ours, theirs, said, seen: String::new() })
    }

    pub(crate) fn type_in(&mut self, keys: &[u8]) {
        self.ours.write_all(keys).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        tcsetwinsize(&self.ours, size(columns, lines)).unwrap();
    }

    /// Whether each key is given at once, and none is shown.
    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.theirs).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits until what was said is so.
    pub(crate) fn wait_for(&mut self, what: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !what(&self.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.said.recv_timeout(left).unwrap_or_else(|_| panic!("not seen in {:?}", self.seen));
            self.seen.push_str(std::str::from_utf8(&bytes).expect("what is drawn is ASCII in these tests"));
        }
    }

    /// Waits for a whole picture that is so; its lines.
    pub(crate) fn picture(&mut self, what: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.wait_for(|seen| last_picture(seen).is_some_and(|lines| what(&lines)));
        last_picture(&self.seen).unwrap()
    }

    /// Waits for the end; the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                // Behind its last words on the terminal stands ours: then all of them were read.
                self.theirs.write_all(LAST.as_bytes()).unwrap();
                while !self.seen.ends_with(LAST) {
                    let bytes = self.said.recv_timeout(DEADLINE).unwrap();
                    self.seen.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                self.seen.truncate(self.seen.len() - LAST.len());
                return status.code();
            }
            // What it says must be read, or it never ends.
            if let Ok(bytes) = self.said.recv_timeout(Duration::from_millis(10)) {
                self.seen.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.seen);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The lines of the last picture that is whole.
fn last_picture(seen: &str) -> Option<Vec<String>> {
    let whole = &seen[..seen.rfind("\x1b[J")?];
    let picture = &whole[whole.rfind(HOME)? + HOME.len()..];
    Some(
        picture
            .split("\r\n")
            .map(|line| line.trim_end_matches(['\r', '\n']).trim_end_matches("\x1b[K").to_owned())
            .collect(),
    )
}
