//! Programs that a user of a language has.

use std::process::Command;
use std::time::Duration;

use super::Binding;
use crate::process::Log;

/// How long Debian may take to bring them. A guess: it takes a minute or never ends.
const LIMIT: Duration = Duration::from_secs(300);

/// Packages of Debian that have more than their own name, or another one.
const PACKAGES: [(&str, &str); 10] = [
    ("cc", "gcc libc6-dev"),
    ("c++", "g++"),
    ("ld", "binutils"),
    ("objcopy", "binutils"),
    ("ar", "binutils"),
    ("nm", "binutils"),
    ("python3", "python3 python3-venv"),
    ("node", "nodejs"),
    ("go", "golang-go"),
    ("pkg-config", "pkg-config"),
];

/// What a binding needs and is not there.
pub(super) fn missing(binding: &dyn Binding) -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    binding.needs().iter().copied().find(|program| !is_there(program))
}

/// Installs what these need and is not there, as far as this user may: only root may, and only Debian's packages.
pub(super) fn provide(log: &mut Log, bindings: &[&dyn Binding]) -> anyhow::Result<()> {
    if bindings.iter().all(|binding| missing(*binding).is_none()) {
        return Ok(());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let mut packages: Vec<&str> = bindings
        .iter()
        .flat_map(|binding| binding.needs())
        .filter(|program| !is_there(program))
        .flat_map(|program| package(program).split(' '))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    let script = "test \"$(id -u)\" = 0 && command -v apt-get >/dev/null || exit 0; \
                  apt-get install -y --no-install-recommends \"$@\" || { apt-get update && apt-get install -y --no-install-recommends \"$@\"; }";
    let mut install = Command::new("sh");
    install.args(["-c", script, "sh"]).args(&packages).env("DEBIAN_FRONTEND", "noninteractive");
    // What still is not there says so itself.
    log.run(&mut install, Some(LIMIT)).map(|_| ())
}

fn package(program: &'static str) -> &'static str {
    PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package)
}

#[cfg(test)]
mod tests {
    use super::package;

    #[test]
    fn a_program_is_in_a_package_of_its_name_unless_it_is_listed() {
        assert_eq!((package("cmake"), package("node"), package("nm")), ("cmake", "nodejs", "binutils"));
    }
}
