//! `package` and `test bindings`: what users of other languages install, and its tests where they install it.
//!
//! A binding is packed into a folder, as a registry would have it, and installed from there into an environment that is empty but for what
//! a user of the language has. Nothing of the checkout is on its path; its suite is copied there. The demo and the conformance runner start
//! programs of that environment.

mod beside;
mod c;
mod gateway;
mod go;
mod launcher;
mod measured;
mod needs;
mod node;
mod programs;
mod python;
mod snippets;
mod stories;
mod suites;
mod users;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::process::Log;
use crate::test::Outcome;
use crate::workspace::Workspace;

use needs::{missing, provide};

pub(crate) use gateway::Gateway;
pub(crate) use measured::{Measured, Program, measured};
pub(crate) use programs::{Players, absent_testees, installed, plant, ready, testees};
pub(crate) use suites::{run, test};
pub(crate) use users::check as users;

/// How the native parts are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    /// For `test`: quick to build, and with the features that users get.
    Dev,
    /// To be measured: as fast as for users, and a profile names its functions.
    Release,
    /// For users: link-time optimised and stripped.
    Dist,
}

impl Quality {
    /// Cargo's profile.
    pub(crate) const fn profile(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }

    /// The folder below the target directory.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// Where a binding is packed, installed and tested.
pub(crate) struct Shop<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) log: &'a mut Log,
    pub(crate) quality: Quality,
    /// What was packed; a folder a language.
    pub(crate) dist: PathBuf,
    /// Also what takes long: under sanitizers and valgrind.
    pub(crate) all: bool,
    /// With the mistake that `MESHWIRE_PLANTED` names.
    pub(crate) planted: bool,
    /// C was packed of what cargo built.
    pub(crate) has_c: bool,
}

impl<'a> Shop<'a> {
    pub(crate) fn open(workspace: &'a Workspace, log: &'a mut Log, quality: Quality) -> Self {
        Self { workspace, log, quality, dist: dist(workspace, quality), all: false, planted: false, has_c: false }
    }

    /// An empty folder below the dist folder, for the package of this language.
    pub(crate) fn shelf(&self, language: &str) -> anyhow::Result<PathBuf> {
        empty(&self.dist.join(language))
    }

    /// An empty folder outside the checkout's sources, for an environment to install into.
    pub(crate) fn room(&self, language: &str) -> anyhow::Result<PathBuf> {
        empty(&self.installed(language)?)
    }

    /// The same folder when something was installed into it.
    pub(crate) fn installed(&self, language: &str) -> anyhow::Result<PathBuf> {
        Ok(self.workspace.scratch()?.join("bindings").join(language))
    }

    /// Where the program goes that starts the demo's player of a language.
    pub(crate) fn player(&self, language: &str) -> PathBuf {
        programs::player(self.workspace, language)
    }

    /// The same of a testee.
    pub(crate) fn testee(&self, name: &str) -> PathBuf {
        programs::testee(self.workspace, name)
    }

    /// A source of the demo's players.
    pub(crate) fn player_source(&self, ending: &str) -> PathBuf {
        self.workspace.root.join("examples/players/player").with_extension(ending)
    }

    /// A folder of testees.
    pub(crate) fn testee_sources(&self, language: &str) -> PathBuf {
        self.workspace.root.join("conformance-tests/testees").join(language)
    }

    /// Something that cargo built.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.workspace.target.join(self.quality.folder()).join(name)
    }

    /// Runs a program, which must end with 0.
    pub(crate) fn must(&mut self, command: &mut std::process::Command) -> anyhow::Result<Vec<String>> {
        let finished = self.log.run(command, None)?;
        let shown = finished.lines.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n");
        anyhow::ensure!(finished.success, "{} failed:\n{shown}", command.get_program().to_string_lossy());
        Ok(finished.lines)
    }
}

fn empty(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder.to_owned())
}

/// One language.
pub(crate) trait Binding: Sync {
    /// Its name, on the screen and behind `test bindings`.
    fn name(&self) -> &'static str;

    /// The cargo packages whose build it packs, all built by one command; none where the tool that packs builds too.
    fn crates(&self) -> &'static [&'static str];

    /// Programs that a user of the language has. Without one of them it is skipped.
    fn needs(&self) -> &'static [&'static str];

    /// Conformance testees that its programs are.
    fn testees(&self) -> &'static [&'static str];

    /// Packs what cargo built into its shelf.
    ///
    /// # Errors
    /// Whatever failed, in the words of the tool.
    fn package(&self, shop: &mut Shop<'_>) -> anyhow::Result<()>;

    /// Installs the package into an empty environment, and makes there what others start: the demo's player and the testees, with what was
    /// found out on the way.
    ///
    /// # Errors
    /// Whatever failed, in the words of the tool.
    fn install(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome>;

    /// Runs the suite in that environment.
    ///
    /// # Errors
    /// What failed before a test ran.
    fn test(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome>;
}

const ALL: [&dyn Binding; 4] = [&c::C, &python::Python, &node::Node, &go::Go];

/// The bindings of these names; all without a name.
pub(crate) fn named(names: &[&str]) -> anyhow::Result<Vec<&'static dyn Binding>> {
    let known = || ALL.iter().map(|binding| binding.name()).collect::<Vec<_>>().join(", ");
    let find = |name: &&str| {
        let found = ALL.iter().find(|binding| binding.name() == *name);
        found.copied().with_context(|| format!("no binding `{name}`; there are {}", known()))
    };
    if names.is_empty() { Ok(ALL.to_vec()) } else { names.iter().map(find).collect() }
}

/// Builds what these bindings pack. For tests always all of it at once, so that cargo keeps one set of features; for users one after the
/// other, so that none has the features of another.
fn build(shop: &mut Shop<'_>, bindings: &[&dyn Binding]) -> anyhow::Result<()> {
    let all = || ALL.iter().flat_map(|binding| binding.crates()).copied().collect();
    let sets: Vec<Vec<&str>> = match shop.quality {
        Quality::Dev => vec![all()],
        Quality::Release | Quality::Dist => bindings.iter().map(|binding| binding.crates().to_vec()).collect(),
    };
    for names in sets.into_iter().filter(|names| !names.is_empty()) {
        let mut command = shop.workspace.cargo(&["build", "--profile", shop.quality.profile()]);
        for name in names {
            command.args(["-p", name]);
            if shop.planted {
                command.args(["--features", &format!("{name}/planted")]);
            }
        }
        shop.must(command.env("CARGO_TARGET_DIR", &shop.workspace.target))?;
    }
    Ok(())
}

/// `package`: packs these bindings, all without a name.
pub(crate) fn package(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<bool> {
    let (mut quality, mut names) = (Quality::Dist, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match (*word, words.as_slice().first()) {
            ("--profile", Some(&"dev")) => quality = Quality::Dev,
            ("--profile", Some(&"dist")) => quality = Quality::Dist,
            ("--profile", _) => anyhow::bail!("--profile is dev or dist"),
            (flag, _) if flag.starts_with('-') => anyhow::bail!("`cargo xtask package` has no option `{flag}`"),
            (name, _) => {
                names.push(name);
                continue;
            }
        }
        words.next();
    }
    let mut log = Log::open(workspace.scratch()?.join("package.log"), false)?;
    let bindings = named(&names)?;
    let mut shop = Shop::open(workspace, &mut log, quality);
    provide(shop.log, &bindings)?;
    build(&mut shop, &bindings)?;
    for binding in bindings {
        if let Some(needs) = missing(binding) {
            println!("{} skipped: needs {needs}", binding.name());
            continue;
        }
        binding.package(&mut shop)?;
        println!("{} is in {}", binding.name(), workspace.shown(&shop.dist.join(binding.name())));
    }
    Ok(true)
}

/// Users' packages are in `dist/`; others stay with what cargo builds.
fn dist(workspace: &Workspace, quality: Quality) -> PathBuf {
    match quality {
        Quality::Dist => workspace.root.join("dist"),
        Quality::Dev => workspace.target.join("dist-dev"),
        Quality::Release => workspace.target.join("dist-release"),
    }
}
