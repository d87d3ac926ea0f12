//! Keys, one by one.

use std::io::{self, IsTerminal as _, Read as _};
use std::thread;

use tokio::sync::mpsc;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Up,
    Down,
}

/// Keys that nobody took yet; more are dropped.
const AHEAD: usize = 16;

/// Keys from now on. A thread waits for them, which the process does not wait for.
/// Without a terminal, or a thread, there are none.
pub(super) fn read() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    if !io::stdin().is_terminal() {
        return receiver;
    }
    let read = move || {
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = io::stdin().read(&mut bytes) {
            for key in keys(bytes.get(..count).unwrap_or_default()) {
                if sender.try_send(key).is_err() && sender.is_closed() {
                    return;
                }
            }
        }
    };
    // Without keys, signals still end it.
    let _ = thread::Builder::new().name("keys".to_owned()).spawn(read);
    receiver
}

/// The keys in what was read at once; a terminal sends an arrow as three bytes.
fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = match bytes {
            [b'\x1b', b'[' | b'O', b'A', rest @ ..] => (Some(Key::Up), rest),
            [b'\x1b', b'[' | b'O', b'B', rest @ ..] => (Some(Key::Down), rest),
            [b'k', rest @ ..] => (Some(Key::Up), rest),
            [b'j', rest @ ..] => (Some(Key::Down), rest),
            [b'q' | b'Q' | b'\x04', rest @ ..] => (Some(Key::Quit), rest),
            [_, rest @ ..] => (None, rest),
            [] => (None, bytes),
        };
        keys.extend(key);
        bytes = rest;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_come_together_are_told_apart_and_others_mean_nothing() {
        assert_eq!(keys(b"x\x1b[Bj\x1bOAk\x1b[C"), [Key::Down, Key::Down, Key::Up, Key::Up]);
        assert_eq!(keys(b"q"), [Key::Quit]);
        assert_eq!(keys(b"\x1b"), []);
    }
}
