//! Getting what a stranger needs: Debian's packages when we may, and its own locked dependencies below one folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::certificate::Files;
use crate::plan::Client;
use crate::sums;

/// The environment of installing commands: their caches lie with what they install, never at home.
const CACHES: [(&str, &str); 5] = [
    ("GOPATH", "go"),
    ("GOCACHE", "go-build"),
    ("PIP_CACHE_DIR", "pip"),
    ("npm_config_cache", "npm"),
    ("PYTHONPYCACHEPREFIX", "pycache"),
];

/// Why a stranger does not take part: what it lacks.
#[derive(Debug, PartialEq)]
pub(crate) struct Missing(pub(crate) String);

impl Missing {
    /// What stands before the name of whoever could not ask its registry.
    const REGISTRY: &'static str = "a registry for ";

    fn registry(client: &str) -> Self {
        Self(format!("{}{client}", Self::REGISTRY))
    }

    /// Whether a registry would have given it.
    pub(crate) fn is_of_a_registry(what: &str) -> bool {
        what.starts_with(Self::REGISTRY)
    }
}

/// Where things are.
pub(crate) struct Folders {
    /// This crate's.
    pub(crate) source: PathBuf,
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What is installed and built.
    pub(crate) built: PathBuf,
    /// For those that speak TLS.
    pub(crate) tls: Files,
    /// Of clients that choose at random.
    pub(crate) seed: u32,
}

impl Folders {
    /// Words of a command with `{client}`, `{root}`, `{caches}`, `{authority}` and `{seed}` filled in.
    pub(crate) fn filled(&self, words: &[String], client: &Path) -> Vec<String> {
        let caches = self.built.join("caches");
        let seed = self.seed.to_string();
        let places = [
            ("{client}", client),
            ("{root}", &self.root),
            ("{caches}", &caches),
            ("{authority}", &self.tls.authority),
            ("{seed}", Path::new(&seed)),
        ];
        let fill = |word: &String| {
            places.iter().fold(word.clone(), |word, (name, path)| word.replace(name, &path.to_string_lossy()))
        };
        words.iter().map(fill).collect()
    }

    fn run(&self, words: &[String], client: &Path) -> anyhow::Result<()> {
        let words = self.filled(words, client);
        let (name, arguments) = words.split_first().context("an empty command")?;
        let mut command = Command::new(name);
        command.args(arguments).current_dir(client);
        for (variable, folder) in CACHES {
            command.env(variable, self.built.join("caches").join(folder));
        }
        command.env("GOFLAGS", "-modcacherw -buildvcs=false").env("GOTOOLCHAIN", "local");
        succeed(command).with_context(|| words.join(" "))
    }
}

/// Programs that are on the search path, or are brought there from Debian when we are root.
pub(crate) fn require(needs: &[String], packages: &[String]) -> Result<(), Missing> {
    let Some(absent) = needs.iter().find(|name| !is_there(name)) else { return Ok(()) };
    if packages.is_empty() || !rustix::process::geteuid().is_root() || !is_there("apt-get") {
        return Err(Missing(absent.clone()));
    }
    // An old list of packages is as good as none.
    let lock = "DPkg::Lock::Timeout=120";
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        // At run level 1 no service that comes with a package is started.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command.args(["-qq", "-o", lock]).args(arguments);
        succeed(command)
    };
    let install = || {
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(packages.iter().map(String::as_str));
        apt(&["update"])?;
        apt(&arguments)
    };
    if let Err(error) = install() {
        eprintln!("{error:#}");
    }
    match needs.iter().find(|name| !is_there(name)) {
        None => Ok(()),
        Some(absent) => Err(Missing(absent.clone())),
    }
}

/// Installs and builds a client unless what is there was made of the same.
///
/// # Errors
/// A build that fails, and a fetch that fails although its registry answers: a broken lock, a file that is not the locked one.
/// A registry that does not answer is [`Missing`].
pub(crate) fn client(folders: &Folders, client: &Client) -> anyhow::Result<Result<PathBuf, Missing>> {
    if let Err(missing) = require(&client.needs, &client.apt) {
        return Ok(Err(missing));
    }
    let (source, built) = (folders.source.join(&client.name), folders.built.join(&client.name));
    let stamp = stamp(folders, client, &source)?;
    let stamped = built.join(".made-of");
    if std::fs::read_to_string(&stamped).is_ok_and(|made_of| made_of == stamp) {
        return Ok(Ok(built));
    }
    if built.exists() {
        std::fs::remove_dir_all(&built).with_context(|| format!("{} cannot be removed", built.display()))?;
    }
    copy(&source, &built)?;
    client.prepare.iter().try_for_each(|command| folders.run(command, &built))?;
    if let Err(error) = fetch(folders, client, &built) {
        eprintln!("{}: {error:#}", client.name);
        if let Err(silent) = client.probe.iter().try_for_each(|command| folders.run(command, &built)) {
            eprintln!("{}: {silent:#}", client.name);
            return Ok(Err(Missing::registry(&client.name)));
        }
        // It may have been away for a moment only.
        fetch(folders, client, &built).context("its registry answers, but what is locked did not come")?;
    }
    client.sums.iter().try_for_each(|folder| sums::check(&built, folder))?;
    for command in &client.build {
        folders.run(command, &built)?;
    }
    std::fs::write(&stamped, stamp)?;
    Ok(Ok(built))
}

fn fetch(folders: &Folders, client: &Client, built: &Path) -> anyhow::Result<()> {
    client.fetch.iter().try_for_each(|command| folders.run(command, built))
}

/// A digest of all that a client is built from.
fn stamp(folders: &Folders, client: &Client, source: &Path) -> anyhow::Result<String> {
    let mut digest = Sha256::new();
    digest.update(format!("{:?}{:?}{:?}{:?}", client.prepare, client.fetch, client.sums, client.build));
    let inputs = client.inputs.iter().map(|input| folders.root.join(input));
    for folder in std::iter::once(source.to_path_buf()).chain(inputs) {
        for file in files(&folder)? {
            let content = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let name = file.strip_prefix(&folder).unwrap_or(&file);
            digest.update(format!("{}\n{}\n", name.display(), content.len()));
            digest.update(content);
        }
    }
    Ok(hex(&digest.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file at or below a path, in order.
pub(crate) fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let entries = std::fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
    for entry in entries {
        let entry = entry?;
        // What tools leave behind in the source is not of it.
        let left = ["__pycache__", "node_modules", "target"].iter().any(|name| entry.file_name() == OsStr::new(name));
        if !left {
            found.extend(files(&entry.path())?);
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(&file, &target).with_context(|| format!("{} cannot be written", target.display()))?;
    }
    Ok(())
}

/// A need of several words is a command that must succeed: a part of a program that comes apart from it.
fn is_there(need: &str) -> bool {
    let mut words = need.split(' ');
    let Some(name) = words.next().filter(|name| is_on_path(name)) else { return false };
    let arguments: Vec<&str> = words.collect();
    arguments.is_empty() || {
        let mut command = Command::new(name);
        command.args(arguments);
        succeed(command).is_ok()
    }
}

fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).any(|folder| folder.join(name).is_file())
}

fn succeed(mut command: Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().context("it cannot be started")?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    bail!("{}\n{said}", output.status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{Client, Files, Folders, Missing, client, is_there};

    /// Installs a client of these lines.
    fn installed(lines: &str) -> anyhow::Result<Result<(), Missing>> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        std::fs::create_dir_all(path("source/c")).unwrap();
        let (tls, seed) = (Files::new().unwrap(), 1);
        let folders = Folders { source: path("source"), root: path("."), built: path("built"), tls, seed };
        let stranger: Client = toml::from_str(&format!("name = 'c'\nneeds = []\n{lines}")).unwrap();
        Ok(client(&folders, &stranger)?.map(|_| ()))
    }

    #[test]
    fn a_fetch_that_fails_although_the_registry_answers_is_a_failure() {
        let error = installed("fetch = [['false']]\nprobe = [['true']]").unwrap_err();
        assert!(error.to_string().contains("its registry answers"), "{error:#}");
        installed("prepare = [['false']]\nprobe = [['false']]").unwrap_err();
    }

    #[test]
    fn who_cannot_ask_its_registry_is_left_out() {
        let missing = installed("fetch = [['false']]\nprobe = [['false']]").unwrap().unwrap_err();
        assert_eq!(missing, Missing("a registry for c".to_owned()));
        assert!(Missing::is_of_a_registry(&missing.0));
    }

    #[test]
    fn a_registry_that_was_away_for_a_moment_is_asked_again() {
        let lines = "fetch = [['test', '-e', 'back']]\nprobe = [['touch', 'back']]";
        assert_eq!(installed(lines).unwrap(), Ok(()));
    }

    #[test]
    fn what_came_must_have_the_locked_sums() {
        let lines = "fetch = [['sh', '-c', 'mkdir jars; echo > jars.sha256']]\nprobe = [['true']]\nsums = ['jars']";
        assert!(installed(lines).unwrap_err().to_string().contains("is no sum"));
        assert_eq!(installed(&lines.replace("echo", ":")).unwrap(), Ok(()));
    }

    #[test]
    fn a_need_of_several_words_is_a_command_that_must_succeed() {
        assert!(is_there("test -d .") && is_there("test"));
        assert!(!is_there("test -d nowhere") && !is_there("no-such-program -d ."));
    }
}
