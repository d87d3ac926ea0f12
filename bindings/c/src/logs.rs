//! What the library logs.

use std::ffi::{c_char, c_int, c_void};
use std::time::{Duration, SystemTime};

use meshwire_embed::{Level, Result, close_logs, keep_logs, keep_logs_from, take_logs};

use crate::border::{c_text, done, invalid, millis, mw_error, quiet};
use crate::subscription::MW_ENDED;

/// How grave something is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_level {
    /// Of use to whoever works on the library.
    MW_LEVEL_TRACE = 0,
    /// Of use when something is looked for.
    MW_LEVEL_DEBUG = 1,
    /// As it should be.
    MW_LEVEL_INFO = 2,
    /// Something went wrong, and goes on.
    MW_LEVEL_WARN = 3,
    /// Something went wrong for good.
    MW_LEVEL_ERROR = 4,
}

/// One thing that was logged. Its texts live until the function that gets it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_record {
    /// One of mw_level.
    pub level: c_int,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// The part of the library.
    pub target: *const c_char,
    /// What happened, with " name=value" behind it for each field.
    pub text: *const c_char,
    /// What happened alone.
    pub sentence: *const c_char,
    /// The fields.
    pub fields: *const mw_log_field,
    /// How many there are.
    pub field_count: usize,
}

/// What a record is about, such as a topic.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_log_field {
    /// What it is called.
    pub name: *const c_char,
    /// What it is.
    pub value: *const c_char,
}

/// Keeps from now on what the library logs at one of mw_level and above, for mw_logs_dispatch: for the whole process, and once; mw_logs_level
/// changes the level. At most
/// 1,024 records wait; more push out the oldest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_logs_keep(level: c_int, err: *mut *mut mw_error) -> c_int {
    done("logs", err, || keep_logs(least(level)?))
}

/// Keeps what the library logs from another level on, as often as you like: what is kept already stays. MW_INVALID before mw_logs_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_logs_level(level: c_int, err: *mut *mut mw_error) -> c_int {
    done("logs", err, || keep_logs_from(least(level)?))
}

fn least(level: c_int) -> Result<Level> {
    Ok(match level {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Info,
        3 => Level::Warn,
        4 => Level::Error,
        other => return Err(invalid("logs", format!("{other} is no mw_level"))),
    })
}

/// Waits for records, for at most `timeout_ms` (MW_FOREVER: as long as it takes), and calls `call` for each on this thread. `dropped` (may be
/// NULL) gets how many were pushed out since the last time. MW_ENDED: no more are kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_logs_dispatch(
    timeout_ms: i64,
    call: Option<unsafe extern "C" fn(ctx: *mut c_void, record: *const mw_record)>,
    ctx: *mut c_void,
    dropped: *mut u64,
) -> c_int {
    quiet(MW_ENDED, || {
        let Some((records, pushed_out)) = take_logs(millis(timeout_ms)) else { return Ok(MW_ENDED) };
        if !dropped.is_null() {
            // SAFETY: the program's place for it.
            unsafe { dropped.write(pushed_out) };
        }
        let Some(call) = call else { return Ok(0) };
        for record in records {
            let (target, text, sentence) = (c_text(&*record.target), c_text(&*record.text), c_text(record.sentence()));
            let texts: Vec<_> =
                record.fields.iter().map(|(name, value)| (c_text(*name), c_text(value.as_str()))).collect();
            let fields: Vec<_> =
                texts.iter().map(|(name, value)| mw_log_field { name: name.as_ptr(), value: value.as_ptr() }).collect();
            let since = record.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let time_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            let level = record.level as c_int;
            let record = mw_record {
                level,
                time_ms,
                target: target.as_ptr(),
                text: text.as_ptr(),
                sentence: sentence.as_ptr(),
                fields: fields.as_ptr(),
                field_count: fields.len(),
            };
            // SAFETY: the program's function for it; no lock is held.
            unsafe { call(ctx, &raw const record) };
        }
        Ok(0)
    })
}

/// Keeps no more records: mw_logs_dispatch gives those that are there, and then MW_ENDED.
#[unsafe(no_mangle)]
pub extern "C" fn mw_logs_close() {
    quiet((), || {
        close_logs();
        Ok(())
    });
}
