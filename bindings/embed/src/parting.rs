//! The end of the process, with clients that nobody has closed.

use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use crate::client::{Client, LINGER, WeakClient};
use crate::process::PerProcess;
use crate::signals;

static CLIENTS: PerProcess<Mutex<Vec<WeakClient>>> = PerProcess::new();

/// A client is open.
pub(crate) fn note(client: WeakClient) {
    static HEAR: Once = Once::new();
    HEAR.call_once(hear_of_the_end);
    let mut clients = CLIENTS.here(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner);
    clients.retain(|client| !client.is_gone());
    clients.push(client);
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "there is no safe way to hear of the end of the process")]
fn hear_of_the_end() {
    // SAFETY: the function stays, as this library is never unloaded.
    unsafe { libc::atexit(part) };
}

#[cfg(not(unix))]
fn hear_of_the_end() {}

/// Gives all clients together [`LINGER`] for publishes without a receipt, and says how many have none then.
#[cfg_attr(not(unix), allow(dead_code, reason = "nothing calls it there"))]
#[expect(clippy::print_stderr, reason = "no logger of the host can be called any more")]
extern "C" fn part() {
    let parted = std::panic::catch_unwind(|| {
        let clients = CLIENTS.here(|_| Mutex::default()).lock();
        let clients = std::mem::take(&mut *clients.unwrap_or_else(PoisonError::into_inner));
        if clients.iter().all(WeakClient::is_gone) {
            return 0;
        }
        // On a thread of its own: what this one had of its own, as the runtime needs it to wait, is gone when the process ends.
        let part = move || part_from(&clients);
        let parting = signals::apart(|| std::thread::Builder::new().name("meshwire-end".to_owned()).spawn(part));
        parting.map_or(0, |parting| parting.join().unwrap_or(0))
    });
    if let Ok(left @ 1..) = parted {
        eprintln!(
            "meshwire: the process ends with {left} publishes that have no receipt; they may or may not be kept. Close clients before"
        );
    }
}

fn part_from(clients: &[WeakClient]) -> u64 {
    let until = Instant::now() + LINGER;
    let clients = clients.iter().filter_map(WeakClient::upgrade);
    clients.map(|client: Client| client.part(until.saturating_duration_since(Instant::now()))).sum()
}
