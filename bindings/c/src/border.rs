//! Errors, texts and buffers across the border.

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use meshwire_embed::{Error, ErrorKind, Result, Retry};

use crate::code::mw_code;
use crate::values::{Value, give, values};

/// Why a call failed. Free it with mw_error_free.
pub struct mw_error {
    _private: (),
}

/// A text of the library's. Read it with mw_text_chars, free it with mw_text_free.
pub struct mw_text {
    _private: (),
}

/// Whether the call that failed may be made again.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_retry {
    /// It fails again.
    MW_RETRY_NEVER = 0,
    /// At once.
    MW_RETRY_NOW = 1,
    /// After mw_error_retry_after_ms, or a while.
    MW_RETRY_AFTER = 2,
    /// It may have succeeded: repeat only what may happen twice.
    MW_RETRY_UNKNOWN_OUTCOME = 3,
}

/// Characters that something else owns, not ended by a zero: for printf as `"%.*s"` with MW_STR(s).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_string {
    /// The first; NULL: there is no such text.
    pub ptr: *const c_char,
    /// How many bytes of UTF-8.
    pub len: usize,
}

impl mw_string {
    pub(crate) const NONE: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Text that was checked before.
    pub(crate) const fn of(text: &[u8]) -> Self {
        Self { ptr: text.as_ptr().cast(), len: text.len() }
    }
}

/// What `mw_error_*` show.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Error,
    text: CString,
    operation: CString,
    context: Vec<(CString, CString)>,
}

/// A text with its zero.
pub(crate) type Text = CString;

/// A text as C wants it, without any NUL that is in it.
pub(crate) fn c_text(text: impl Into<Vec<u8>>) -> CString {
    let mut text: Vec<u8> = text.into();
    text.retain(|byte| *byte != 0);
    CString::new(text).unwrap_or_default()
}

impl Failure {
    fn new(error: Error) -> Self {
        let context = error.context().iter().map(|(name, value)| (c_text(*name), c_text(value.as_str()))).collect();
        Self { text: c_text(error.message()), operation: c_text(error.operation()), context, error }
    }
}

/// Of a call: what it came to as a number, with its error in `err`, if that is not NULL. A panic is `MW_INTERNAL`.
pub(crate) fn run(operation: &'static str, err: *mut *mut mw_error, call: impl FnOnce() -> Result<c_int>) -> c_int {
    match meshwire_embed::guarded(operation, call) {
        Ok(code) => code,
        Err(error) => fail(error.of_call(operation), err),
    }
}

/// As [`run`], of a call that is only done or not.
pub(crate) fn done(operation: &'static str, err: *mut *mut mw_error, call: impl FnOnce() -> Result<()>) -> c_int {
    run(operation, err, || call().map(|()| 0))
}

/// As [`run`], of a call that cannot fail in a way worth telling: else `absent`.
pub(crate) fn quiet<T>(absent: T, call: impl FnOnce() -> Result<T>) -> T {
    meshwire_embed::guarded("call", call).unwrap_or(absent)
}

fn fail(error: Error, err: *mut *mut mw_error) -> c_int {
    let code = number(error.kind());
    if !err.is_null() {
        let failure = give(Value::Error(Box::new(Failure::new(error)))).unwrap_or(std::ptr::null_mut());
        // SAFETY: not NULL, and the program says that an error may be put there.
        unsafe { err.write(failure) };
    }
    code
}

/// An error for the program to hold.
pub(crate) fn give_error(error: Error) -> *mut mw_error {
    give(Value::Error(Box::new(Failure::new(error)))).unwrap_or(std::ptr::null_mut())
}

pub(crate) fn number(kind: ErrorKind) -> c_int {
    c_int::try_from(kind.number()).unwrap_or(mw_code::MW_INTERNAL as c_int)
}

pub(crate) fn invalid(operation: &'static str, text: impl Into<String>) -> Error {
    Error::of_host(ErrorKind::Invalid, operation, text)
}

/// A text of the program's, if it is not NULL.
///
/// # Safety
/// `text` is NULL or ends with a zero, and stays while the result is used.
pub(crate) unsafe fn optional<'a>(operation: &'static str, name: &str, text: *const c_char) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as this function's.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| invalid(operation, format!("{name} is not UTF-8")))
}

/// A text of the program's that says why something failed, if it is not NULL: what is not UTF-8 in it is replaced. A program has its reasons
/// from elsewhere, and what they are of is to end.
///
/// # Safety
/// As [`optional`].
pub(crate) unsafe fn reason(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as this function's.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A text of the program's that must be there.
///
/// # Safety
/// As [`optional`].
pub(crate) unsafe fn text<'a>(operation: &'static str, name: &str, text: *const c_char) -> Result<&'a str> {
    // SAFETY: as this function's.
    let text = unsafe { optional(operation, name, text) }?;
    text.ok_or_else(|| invalid(operation, format!("{name} is NULL")))
}

/// Bytes of the program's.
///
/// # Safety
/// `data` has `len` bytes, which stay while the result is used; NULL with 0.
pub(crate) unsafe fn bytes<'a>(operation: &'static str, data: *const u8, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(invalid(operation, format!("data is NULL and has {len} bytes")));
    }
    if isize::try_from(len).is_err() {
        return Err(invalid(operation, format!("{len} bytes are more than can be")));
    }
    // SAFETY: as this function's.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Whether the program can have an array of so many: asked before it is read, or anything is made for as many.
pub(crate) fn array<T>(operation: &'static str, name: &str, count: usize) -> Result<()> {
    let most = isize::MAX.unsigned_abs() / size_of::<T>();
    if count <= most {
        return Ok(());
    }
    Err(invalid(operation, format!("{name} is {count}, and no array has more than {most} of these")))
}

/// At most for so many is room made at once, whatever a program says: the rest comes as it is needed.
pub(crate) const ROOM: usize = 4_096;

/// Puts something where the program wants it.
///
/// # Safety
/// `place` is NULL, or such a value may be put there.
pub(crate) unsafe fn put<T>(operation: &'static str, name: &str, place: *mut T, value: T) -> Result<()> {
    if place.is_null() {
        return Err(invalid(operation, format!("{name} is NULL")));
    }
    // SAFETY: as this function's.
    unsafe { place.write(value) };
    Ok(())
}

/// Whether there is a place for what a call comes to: asked before it is made, so that nothing is lost.
pub(crate) fn place<T>(operation: &'static str, name: &str, place: *mut T) -> Result<()> {
    if place.is_null() { Err(invalid(operation, format!("{name} is NULL"))) } else { Ok(()) }
}

/// Reads a struct of the program's that may be of an older header, and that is to begin with something: what it does not have is as `absent`.
///
/// # Safety
/// `said` is NULL, or begins with its own size, and has so many bytes.
pub(crate) unsafe fn sized<T: Copy>(operation: &'static str, said: *const T, absent: T, begin: &str) -> Result<T> {
    if said.is_null() {
        return Ok(absent);
    }
    // SAFETY: its first field is its size.
    let size = unsafe { said.cast::<usize>().read() };
    check_size::<T>(operation, size, begin)?;
    let mut whole = absent;
    // SAFETY: both have so many bytes, and any bytes of the program's are values of its fields.
    unsafe { std::ptr::copy_nonoverlapping(said.cast::<u8>(), (&raw mut whole).cast::<u8>(), size) };
    Ok(whole)
}

/// Whether a struct of the program's has a size that there was in some header; else it is told what to begin with.
pub(crate) fn check_size<T>(operation: &'static str, size: usize, begin: &str) -> Result<()> {
    if (size_of::<usize>() * 2..=size_of::<T>()).contains(&size) && size.is_multiple_of(align_of::<T>()) {
        return Ok(());
    }
    let most = size_of::<T>();
    let text = format!("a struct says that it has {size} bytes, at most {most} are known: begin with {begin}");
    Err(invalid(operation, text))
}

/// A time that the program says in milliseconds; negative: none.
pub(crate) fn millis(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

fn failure<T>(err: *const mw_error, absent: T, show: impl FnOnce(&Failure) -> T) -> T {
    quiet(absent, || {
        values().with(err.addr(), "error", |value| match value {
            Value::Error(failure) => Ok(show(failure)),
            other => Err(crate::values::other("error", "mw_error", other)),
        })?
    })
}

/// The number of an error, one of mw_code; MW_INVALID of what is no mw_error.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_code(err: *const mw_error) -> c_int {
    failure(err, mw_code::MW_INVALID as c_int, |failure| number(failure.error.kind()))
}

/// The name of an error, such as "BUFFER_FULL". Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_name(err: *const mw_error) -> *const c_char {
    failure(err, c"INVALID".as_ptr(), |failure| crate::code::name(number(failure.error.kind())).as_ptr())
}

/// What went wrong, where, and what to do, in a sentence. Lives as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_text(err: *const mw_error) -> *const c_char {
    failure(err, c"no error".as_ptr(), |failure| failure.text.as_ptr())
}

/// The call that failed, such as "publish". Lives as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_operation(err: *const mw_error) -> *const c_char {
    failure(err, c"".as_ptr(), |failure| failure.operation.as_ptr())
}

/// Whether the call may be made again.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_retry(err: *const mw_error) -> mw_retry {
    failure(err, mw_retry::MW_RETRY_NEVER, |failure| match failure.error.retry() {
        Retry::Never => mw_retry::MW_RETRY_NEVER,
        Retry::Now => mw_retry::MW_RETRY_NOW,
        Retry::After => mw_retry::MW_RETRY_AFTER,
        Retry::UnknownOutcome => mw_retry::MW_RETRY_UNKNOWN_OUTCOME,
    })
}

/// After how long it may be made again, in milliseconds; -1: the gateway said nothing.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_retry_after_ms(err: *const mw_error) -> i64 {
    failure(err, -1, |failure| {
        failure.error.retry_after().map_or(-1, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
    })
}

/// The name and value of one thing that is known about the error, such as its topic, by number from 0; false: there are no more. They live
/// as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_error_context(
    err: *const mw_error,
    index: usize,
    name: *mut *const c_char,
    value: *mut *const c_char,
) -> bool {
    let found =
        failure(err, None, |failure| failure.context.get(index).map(|(name, value)| (name.as_ptr(), value.as_ptr())));
    let Some((of, is)) = found else { return false };
    if !name.is_null() {
        // SAFETY: the program's place for it.
        unsafe { name.write(of) };
    }
    if !value.is_null() {
        // SAFETY: likewise.
        unsafe { value.write(is) };
    }
    true
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_error_free(err: *mut mw_error) {
    quiet((), || {
        drop(crate::values::take!(err, "error", "mw_error", Value::Error(failure) => failure));
        Ok(())
    });
}

/// The characters of a text, ended by a zero. They live until it is freed. "" of what is no mw_text.
#[unsafe(no_mangle)]
pub extern "C" fn mw_text_chars(text: *const mw_text) -> *const c_char {
    quiet(c"".as_ptr(), || crate::values::look!(text, "text", "mw_text", Value::Text(text) => text.as_ptr()))
}

/// Frees a text. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_text_free(text: *mut mw_text) {
    quiet((), || {
        drop(crate::values::take!(text, "text", "mw_text", Value::Text(text) => text));
        Ok(())
    });
}
