//! Where things are: the root, the target directory, the programs we build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

/// The workspace this program belongs to.
pub(crate) struct Workspace {
    /// Folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
}

/// A way to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// `target/debug`.
    Dev,
    /// `target/release`.
    Release,
}

/// Whether this is a machine that tests every commit, as its environment says.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|text| !["", "0", "false"].contains(&text.as_str()))
}

impl Workspace {
    /// Finds the root from where cargo says this crate is, else from the current folder upwards.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => std::env::current_dir().context("the current folder cannot be read")?,
        };
        let root = start
            .ancestors()
            .find(|folder| folder.join("xtask/Cargo.toml").is_file())
            .with_context(|| format!("no workspace at or above {}", start.display()))?
            .to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// A cargo command in the root. Incremental files are not kept in CI: they cost more than they save there.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments);
        if is_ci() {
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }

    /// A command in the root that reads nothing, and knows nothing of what cargo tells this program of itself: build scripts that look at it
    /// would run anew, and all behind them be built again, also where it is the command that starts cargo.
    pub(crate) fn program(&self, name: &(impl AsRef<std::ffi::OsStr> + ?Sized)) -> Command {
        let mut command = Command::new(name);
        command.current_dir(&self.root).stdin(std::process::Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }

    /// A program that cargo built.
    pub(crate) fn built(&self, profile: Profile, name: &str) -> PathBuf {
        let folder = match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        };
        self.target.join(folder).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Our own folder below the target directory; made if absent.
    pub(crate) fn scratch(&self) -> anyhow::Result<PathBuf> {
        let folder = self.target.join("xtask");
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder)
    }

    /// A path as people should read it: below the root without the root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// The commit, with `-dirty` behind it when files differ from it; `none` without git.
    pub(crate) fn commit(&self) -> String {
        let git = |arguments: &[&str]| {
            let output = self.program("git").args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        match (git(&["rev-parse", "--verify", "HEAD"]), git(&["status", "--porcelain"])) {
            (Some(commit), Some(changes)) if changes.is_empty() => commit,
            (Some(commit), _) => format!("{commit}-dirty"),
            (None, _) => "none".to_owned(),
        }
    }
}
