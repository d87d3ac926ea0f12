//! Clients: made, asked how they are, and closed.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Ask, Client, Options, Result, State};

use crate::border::{self, done, invalid, millis, mw_error, mw_text, optional, place, put, quiet, run};
use crate::handler::may_wait;
use crate::queue::{begin, mw_operation, mw_queue};
use crate::values::{Held, Value, give, look, take};

/// The version of this header's functions. mw_connect checks that the library has it.
pub const MW_ABI_VERSION: u32 = 1;

/// A client of one gateway: publishes, subscribes, and stays connected. Any thread may use it. Made by mw_connect, ended by mw_close.
pub struct mw_client {
    _private: (),
}

/// Where a client stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_state {
    /// Not connected, and not trying yet.
    MW_STATE_DISCONNECTED = 0,
    /// Trying for the first time.
    MW_STATE_CONNECTING = 1,
    /// Logged in.
    MW_STATE_CONNECTED = 2,
    /// Was connected, and is trying again.
    MW_STATE_RECONNECTING = 3,
    /// The gateway is about to stop, or the client is draining.
    MW_STATE_DRAINING = 4,
    /// Ended for good, or no client.
    MW_STATE_CLOSED = 5,
}

impl From<State> for mw_state {
    fn from(state: State) -> Self {
        match state {
            State::Disconnected => Self::MW_STATE_DISCONNECTED,
            State::Connecting => Self::MW_STATE_CONNECTING,
            State::Connected => Self::MW_STATE_CONNECTED,
            State::Reconnecting => Self::MW_STATE_RECONNECTING,
            State::Draining => Self::MW_STATE_DRAINING,
            _ => Self::MW_STATE_CLOSED,
        }
    }
}

const fn state(number: c_int) -> Option<State> {
    match number {
        0 => Some(State::Disconnected),
        1 => Some(State::Connecting),
        2 => Some(State::Connected),
        3 => Some(State::Reconnecting),
        4 => Some(State::Draining),
        5 => Some(State::Closed),
        _ => None,
    }
}

impl Held {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, running: std::sync::Arc::default() }
    }
}

/// The client of a pointer.
pub(crate) fn held(operation: &'static str, mesh: *const mw_client) -> Result<Held> {
    look!(mesh, operation, "mw_client", Value::Client(held) => held.clone())
}

/// # Safety
/// As [`optional`].
unsafe fn options(url: *const c_char, options: *const c_char, abi: u32) -> Result<Options> {
    if abi != MW_ABI_VERSION {
        let text = format!(
            "the program was compiled with a header of version {abi}, this library is of version {MW_ABI_VERSION}: compile and link with the same one"
        );
        return Err(invalid("connect", text));
    }
    // SAFETY: as this function's.
    let (url, said) = unsafe { (optional("connect", "url", url)?, optional("connect", "options", options)?) };
    let options: Options = said.unwrap_or_default().parse()?;
    Ok(match url {
        Some(url) => options.with("url", url),
        None => options,
    })
}

/// The version of the library, such as "0.1.0": MW_VERSION is that of the header. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn mw_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of the library's functions: MW_ABI_VERSION is that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn mw_abi_version() -> u32 {
    MW_ABI_VERSION
}

/// As mw_connect, which calls it with the version of its header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_connect_version(
    abi: u32,
    mesh: *mut *mut mw_client,
    url: *const c_char,
    options: *const c_char,
    err: *mut *mut mw_error,
) -> c_int {
    done("connect", err, || {
        place("connect", "mesh", mesh)?;
        // SAFETY: texts of the program's.
        let options = unsafe { self::options(url, options, abi) }?;
        let client = Client::connect(&options)?;
        // SAFETY: the program's place for it.
        unsafe { put("connect", "mesh", mesh, give(Value::Client(Held::new(client)))?) }
    })
}

/// As mw_connect_start, which calls it with the version of its header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_connect_start_version(
    abi: u32,
    url: *const c_char,
    options: *const c_char,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("connect", err, || {
        // SAFETY: texts of the program's.
        let options = unsafe { self::options(url, options, abi) }?;
        // SAFETY: the program's place for it.
        unsafe { begin("connect", queue, tag, operation, |queue| Client::begin_connect(options, queue, tag)) }
    })
}

/// Waits until the client is logged in at a gateway; at once when it is. Of use with option publish_offline.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_connected(mesh: *mut mw_client, err: *mut *mut mw_error) -> c_int {
    done("connect", err, || held("connect", mesh)?.client.wait(Ask::Connected).map(|_| ()))
}

/// Begins the same: its completion is MW_DONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_connected_start(
    mesh: *mut mw_client,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("connect", err, || {
        let client = held("connect", mesh)?.client;
        // SAFETY: the program's place for it.
        unsafe { begin("connect", queue, tag, operation, |queue| client.begin(Ask::Connected, queue, tag)) }
    })
}

/// Where the client stands now.
#[unsafe(no_mangle)]
pub extern "C" fn mw_client_state(mesh: *const mw_client) -> mw_state {
    quiet(mw_state::MW_STATE_CLOSED, || held("state", mesh)?.client.state().map(mw_state::from))
}

/// Begins to wait until the client is in another state than `before`, one of mw_state: its completion is MW_STATE, with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_state_start(
    mesh: *mut mw_client,
    before: c_int,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("state", err, || {
        let client = held("state", mesh)?.client;
        let before = state(before).ok_or_else(|| invalid("state", format!("{before} is no mw_state")))?;
        // SAFETY: the program's place for it.
        unsafe { begin("state", queue, tag, operation, |queue| client.begin(Ask::StateAfter(before), queue, tag)) }
    })
}

/// What the client did so far, as one JSON object of counts: pending publishes, reconnects, replays and more. Free it with mw_text_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_stats_json(
    mesh: *const mw_client,
    stats: *mut *mut mw_text,
    err: *mut *mut mw_error,
) -> c_int {
    done("stats", err, || {
        place("stats", "stats", stats)?;
        let text = border::c_text(held("stats", mesh)?.client.stats_json()?);
        // SAFETY: the program's place for it.
        unsafe { put("stats", "stats", stats, give(Value::Text(text))?) }
    })
}

/// Waits until all that was published so far has its answer. Fails with the first failure of a publish whose completion nobody gets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_flush(mesh: *mut mw_client, err: *mut *mut mw_error) -> c_int {
    done("flush", err, || held("flush", mesh)?.client.wait(Ask::Flush).map(|_| ()))
}

/// Begins the same: its completion is MW_DONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_flush_start(
    mesh: *mut mw_client,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("flush", err, || {
        let client = held("flush", mesh)?.client;
        // SAFETY: the program's place for it.
        unsafe { begin("flush", queue, tag, operation, |queue| client.begin(Ask::Flush, queue, tag)) }
    })
}

/// Finishes what is in flight, at the latest when the deadline has passed (negative: 30 s), and ends the client: publishes get their
/// answers, handlers end, settles are sent. MW_TIMEOUT: something was left, also deliveries in a queue that nobody took: free it before.
/// MW_INVALID in a handler of mw_consume or mw_serve, which would wait for itself. The pointer stays until mw_close.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_drain(mesh: *mut mw_client, deadline_ms: i64, err: *mut *mut mw_error) -> c_int {
    done("drain", err, || {
        may_wait("drain")?;
        let client = held("drain", mesh)?.client;
        client.wait(Ask::Drain { deadline: millis(deadline_ms) }).map(|_| ())
    })
}

/// Begins the same: its completion is MW_DONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_drain_start(
    mesh: *mut mw_client,
    deadline_ms: i64,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("drain", err, || {
        let client = held("drain", mesh)?.client;
        let ask = Ask::Drain { deadline: millis(deadline_ms) };
        // SAFETY: the program's place for it.
        unsafe { begin("drain", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}

/// Drains the client with a deadline (negative: 30 s), and frees it. NULL is fine, and so is a client that was drained before. What was
/// made of it, such as a subscription, is over; it is freed by its own function. Gives what mw_drain gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_close(mesh: *mut mw_client, deadline_ms: i64) -> c_int {
    if mesh.is_null() {
        return 0;
    }
    run("close", std::ptr::null_mut(), || {
        may_wait("close")?;
        let held = take!(mesh, "close", "mw_client", Value::Client(held) => held);
        let drained = held.client.wait(Ask::Drain { deadline: millis(deadline_ms) });
        // Here, and not where the last that is made of the client ends.
        held.client.detach();
        drained.map(|_| 0)
    })
}
