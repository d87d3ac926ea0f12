//! A program that runs another with its first arguments.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context as _;

/// Writes it: a script of the shell.
pub(super) fn write(program: &Path, words: &[&OsStr]) -> anyhow::Result<()> {
    let quoted = |word: &&OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let words: Vec<String> = words.iter().map(quoted).collect();
    // What lies there may be a program of another kind, which must not be written into.
    let _ = std::fs::remove_file(program);
    std::fs::write(program, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))
        .with_context(|| format!("{} cannot be written", program.display()))?;
    executable(program).with_context(|| format!("{} cannot be made a program", program.display()))
}

#[cfg(unix)]
fn executable(program: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_program: &Path) -> std::io::Result<()> {
    Err(std::io::Error::other("it is a script, which this system does not run"))
}
