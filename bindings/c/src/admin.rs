//! Administration: topics, groups, dead letters, limits.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Ask, Outcome, Result};

use crate::border::{c_text, done, invalid, mw_error, mw_text, optional, place, put, text};
use crate::client::{held, mw_client};
use crate::queue::{begin, mw_operation, mw_queue};
use crate::values::{Value, give};

/// # Safety
/// The texts are the program's.
unsafe fn ask(command: *const c_char, arguments: *const c_char) -> Result<Ask> {
    // SAFETY: as this function's.
    let (command, arguments) =
        unsafe { (text("administer", "command", command)?, optional("administer", "arguments", arguments)?) };
    Ok(Ask::Administer { command: command.to_owned(), arguments: arguments.unwrap_or_default().to_owned() })
}

/// Gives an administrative command to the gateway, such as "topics.create" with the arguments {"topic": "orders"} as JSON (NULL: none), and
/// waits for its answer, JSON too. Free it with mw_text_free. The names are those of the documentation of administration over HTTP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_admin(
    mesh: *mut mw_client,
    command: *const c_char,
    arguments: *const c_char,
    answer: *mut *mut mw_text,
    err: *mut *mut mw_error,
) -> c_int {
    done("administer", err, || {
        place("administer", "answer", answer)?;
        let client = held("administer", mesh)?.client;
        // SAFETY: texts of the program's.
        let Outcome::Text(said) = client.wait(unsafe { ask(command, arguments) }?)? else {
            return Err(invalid("administer", "the client answered with something else"));
        };
        // SAFETY: the program's place for it.
        unsafe { put("administer", "answer", answer, give(Value::Text(c_text(said)))?) }
    })
}

/// Begins the same: its completion is MW_TEXT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_admin_start(
    mesh: *mut mw_client,
    command: *const c_char,
    arguments: *const c_char,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("administer", err, || {
        let client = held("administer", mesh)?.client;
        // SAFETY: texts of the program's.
        let ask = unsafe { ask(command, arguments) }?;
        // SAFETY: the program's place for it.
        unsafe { begin("administer", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}
