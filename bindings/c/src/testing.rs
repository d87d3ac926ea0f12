//! A gateway for tests.

use std::ffi::{c_char, c_int};

use meshwire_embed::testing::Gateway;

use crate::border::{Text, array, c_text, done, mw_error, place, put, quiet, text};
use crate::values::{Value, give, look, take};

/// A gateway that runs as long as this, and never longer than the process that made it. Ended by mw_gateway_stop or mw_gateway_kill.
pub struct mw_gateway {
    _private: (),
}

/// A gateway and its address.
#[derive(Debug)]
pub(crate) struct Local {
    gateway: Gateway,
    url: Text,
}

/// Starts the program that the environment variable MESHWIRE_BIN names, else `meshwire` on the search path, on a free port with an empty
/// store in memory, or with these arguments of `meshwire serve` in place of --memory. Waits until it listens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_gateway_start(
    gateway: *mut *mut mw_gateway,
    arguments: *const *const c_char,
    count: usize,
    err: *mut *mut mw_error,
) -> c_int {
    done("start gateway", err, || {
        place("start gateway", "gateway", gateway)?;
        array::<*const c_char>("start gateway", "count", count)?;
        let mut said = Vec::new();
        for at in 0..if arguments.is_null() { 0 } else { count } {
            // SAFETY: the program says that there are so many texts.
            said.push(unsafe { text("start gateway", "an argument", arguments.add(at).read()) }?);
        }
        let started = if arguments.is_null() { Gateway::start()? } else { Gateway::with_args(&said)? };
        let url = c_text(started.url());
        // SAFETY: the program's place for it.
        unsafe { put("start gateway", "gateway", gateway, give(Value::Gateway(Local { gateway: started, url }))?) }
    })
}

/// Where it listens, for mw_connect. Lives as long as the gateway.
#[unsafe(no_mangle)]
pub extern "C" fn mw_gateway_url(gateway: *const mw_gateway) -> *const c_char {
    quiet(c"".as_ptr(), || look!(gateway, "gateway", "mw_gateway", Value::Gateway(running) => running.url.as_ptr()))
}

/// Asks it to stop, as SIGTERM does, waits for its end, and frees it. MW_INTERNAL: it ended with something else than 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_gateway_stop(gateway: *mut mw_gateway, err: *mut *mut mw_error) -> c_int {
    done("stop gateway", err, || {
        take!(gateway, "stop gateway", "mw_gateway", Value::Gateway(running) => running).gateway.stop()
    })
}

/// Kills it, as `kill -9` does, waits for its end, and frees it. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_gateway_kill(gateway: *mut mw_gateway) {
    quiet((), || {
        take!(gateway, "stop gateway", "mw_gateway", Value::Gateway(running) => running).gateway.kill();
        Ok(())
    });
}
