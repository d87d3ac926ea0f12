//! A command that runs in a shell, with all that it starts.

use std::io;
use std::ops::{Deref, DerefMut};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A command with both ends of a pipe. Dropped before it was waited for, it is killed with whatever it started: a shell
/// that is killed alone leaves its commands behind.
pub(crate) struct Running(Child);

impl Running {
    /// Runs a line of the shell in a process group of its own, which a Ctrl-C on the terminal does not reach.
    pub(crate) fn start(line: &str) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).process_group(0).kill_on_drop(true);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map(Self)
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Until it is waited for, its number belongs to no other process, and afterwards there is none here.
        let id = self.0.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = id {
            // All of them may have ended by themselves.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
