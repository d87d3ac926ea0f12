//! Python: a wheel by maturin, and a virtual environment that has nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::beside::{Part, beside};
use super::{Binding, Quality, Shop, launcher};
use crate::test::{Outcome, Skip};

/// What packs the wheel, installed below the target directory.
const MATURIN: &str = "maturin==1.16.0";

/// Where it has cargo build, below the target directory: it tells build scripts more of Python than others do, and what is built with and
/// without would be built anew each time.
const BUILT: &str = "wheel";

/// What the suite runs with, installed below the target directory. All of it comes from the package index; none of it is needed by users.
const TOOLS: [&str; 1] = ["pytest>=8,<10"];

/// What more of it runs with, where that can be installed: a test that needs one says so.
const MORE: [&str; 4] = ["mypy>=1.18,<3", "uvloop>=0.21", "cloudevents>=1.12,<2", "fastapi>=0.115,<1"];

/// What looks whether the wheel keeps to the stable ABI, in `--all`.
const AUDIT: &str = "abi3audit>=0.0.20";

/// Minor versions of Python 3 that the wheel is for.
const MINORS: std::ops::RangeInclusive<u32> = 10..=15;

pub(super) struct Python;

impl Binding for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn crates(&self) -> &'static [&'static str] {
        &[]
    }

    fn needs(&self) -> &'static [&'static str] {
        &["python3"]
    }

    fn testees(&self) -> &'static [&'static str] {
        &["python", "python-sync"]
    }

    fn package(&self, shop: &mut Shop<'_>) -> anyhow::Result<()> {
        let tools = shop.workspace.scratch()?.join("maturin");
        let python = tools.join("bin/python");
        if !tools.join("bin/maturin").is_file() {
            shop.must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&tools))?;
            install(shop, &python, &[MATURIN])?;
        }
        let shelf = shop.shelf(self.name())?;
        let mut command = shop.workspace.program(&tools.join("bin/maturin"));
        command.args(["build", "--profile", shop.quality.profile(), "--strip", "--out"]).arg(shelf);
        command.arg("--manifest-path").arg(shop.workspace.root.join("bindings/python/Cargo.toml"));
        command.env("CARGO_TARGET_DIR", shop.workspace.target.join(BUILT));
        if shop.planted {
            command.args(["--features", "planted"]);
        }
        if shop.quality == Quality::Dev {
            // Installed here and nowhere else.
            command.args(["--compatibility", "linux"]);
        }
        shop.must(&mut command).map(|_| ())
    }

    fn install(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        shop.room(self.name())?;
        let found = interpreters(shop)?;
        let (minor, python) = found.first().context("no python3.10 or later with venv")?;
        let python = environment(shop, *minor, python)?;
        let testees = shop.testee_sources(self.name());
        launcher::write(&shop.player("python"), &[python.as_os_str(), shop.player_source("py").as_os_str()])?;
        let many = testees.join("many.py");
        for (name, script) in [("python", "testee.py"), ("python-sync", "testee_sync.py")] {
            let script = testees.join(script);
            launcher::write(&shop.testee(name), &[python.as_os_str(), many.as_os_str(), script.as_os_str()])?;
        }
        Ok(Outcome::default())
    }

    fn test(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let sources = shop.workspace.root.join("bindings/python");
        let mut suites = Vec::new();
        for (place, (minor, python)) in interpreters(shop)?.into_iter().enumerate() {
            let (root, sources) = (shop.workspace.root.clone(), &sources);
            let suite = move |shop: &mut Shop<'_>| {
                // The first one was installed.
                let env = if place == 0 { in_environment(shop, minor)? } else { environment(shop, minor, &python)? };
                lend(shop, minor, &python)?;
                let mut sum = Outcome::default();
                if place == 0 && shop.all {
                    let shelf = shop.dist.join("python");
                    sum.add(audited(shop, &env, &shelf)?);
                }
                let suite = shop.installed("python")?.join(format!("3.{minor}/suite"));
                copy(&sources.join("tests"), &suite)?;
                copy(&root.join("examples/python"), &suite.join("examples"))?;
                copy_file(&root.join("docs/python.md"), &suite.join("python.md"))?;
                copy_file(&sources.join("README.md"), &suite.join("README.md"))?;
                // Types are the same with each interpreter, and memory is looked at for long enough with one.
                for name in if place > 0 { &["test_types.py", "test_memory.py"][..] } else { &[] } {
                    std::fs::remove_file(suite.join(name)).with_context(|| format!("the suite has no {name}"))?;
                }
                sum.add(suite_run(shop, &env, &suite, minor)?);
                Ok(sum)
            };
            suites.push(Part::new(&format!("3.{minor}"), suite));
        }
        beside(shop, suites)
    }
}

/// The interpreter of the environment for a version.
fn in_environment(shop: &Shop<'_>, minor: u32) -> anyhow::Result<PathBuf> {
    Ok(shop.installed("python")?.join(format!("3.{minor}/env/bin/python")))
}

/// An environment with the package alone; gives its interpreter.
fn environment(shop: &mut Shop<'_>, minor: u32, python: &Path) -> anyhow::Result<PathBuf> {
    let environment = shop.installed("python")?.join(format!("3.{minor}/env"));
    let keeper = kept(shop, minor, python)?;
    shop.must(Command::new(python).args(["-m", "venv", "--without-pip"]).arg(&environment))?;
    let python = in_environment(shop, minor)?;
    let shelf = shop.dist.join("python");
    let mut pip = Command::new(keeper);
    pip.args(["-m", "pip", "--python"]).arg(&python).args(QUIETLY).args(["--no-index", "--find-links"]).arg(&shelf);
    shop.must(pip.arg("meshwire"))?;
    Ok(python)
}

/// Where the tools for a version are.
fn place_of_tools(shop: &Shop<'_>, minor: u32) -> anyhow::Result<PathBuf> {
    Ok(shop.workspace.scratch()?.join(format!("python-tools/3.{minor}")))
}

/// The interpreter of an environment for a version that is kept: it has pip, which takes seconds to come into each, and the tools.
fn kept(shop: &mut Shop<'_>, minor: u32, python: &Path) -> anyhow::Result<PathBuf> {
    let place = place_of_tools(shop, minor)?;
    let (of, kept) = (place.join("of"), place.join("bin/python"));
    let of_it = python.display().to_string();
    if !std::fs::read_to_string(&of).is_ok_and(|text| text == of_it) {
        shop.must(Command::new(python).args(["-m", "venv", "--clear"]).arg(&place))?;
        std::fs::write(&of, of_it).with_context(|| format!("{} cannot be written", of.display()))?;
    }
    Ok(kept)
}

/// Lets the environment of a version find the tools too, behind what it has itself.
fn lend(shop: &mut Shop<'_>, minor: u32, python: &Path) -> anyhow::Result<()> {
    let kept = kept(shop, minor, python)?;
    let place = place_of_tools(shop, minor)?;
    let (list, wanted) = (place.join("list"), [&TOOLS[..], &MORE[..]].concat().join("\n"));
    if !std::fs::read_to_string(&list).is_ok_and(|have| have == wanted) {
        install(shop, &kept, &TOOLS)?;
        let mut all = true;
        for tool in MORE {
            all &= install(shop, &kept, &[tool]).is_ok();
        }
        if all {
            std::fs::write(&list, wanted).with_context(|| format!("{} cannot be written", list.display()))?;
        }
    }
    let packages = format!("lib/python3.{minor}/site-packages");
    let path = shop.installed("python")?.join(format!("3.{minor}/env")).join(&packages).join("tools.pth");
    let text = format!("{}\n", place.join(packages).display());
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Whether the wheel keeps to the stable ABI of the oldest version.
fn audited(shop: &mut Shop<'_>, python: &Path, shelf: &Path) -> anyhow::Result<Outcome> {
    let place = shop.workspace.scratch()?.join("abi3audit");
    shop.must(Command::new(python).args(["-m", "venv", "--clear"]).arg(&place))?;
    let python = place.join("bin/python");
    install(shop, &python, &[AUDIT])?;
    let mut sum = Outcome::default();
    for wheel in std::fs::read_dir(shelf).context("there is no wheel")? {
        let mut command = Command::new(&python);
        command.args(["-m", "abi3audit", "--strict", "--verbose"]).arg(wheel?.path());
        let finished = shop.log.run(&mut command, None)?;
        sum.add(Outcome::one(finished.success, finished.lines));
    }
    Ok(sum)
}

const QUIETLY: [&str; 3] = ["install", "--quiet", "--disable-pip-version-check"];

pub(super) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip"]).args(QUIETLY);
    command
}

fn install(shop: &mut Shop<'_>, python: &Path, packages: &[&str]) -> anyhow::Result<()> {
    shop.must(pip(python).args(packages)).map(|_| ())
}

/// Interpreters to test with: the newest and the oldest; all of them in `--all`.
fn interpreters(shop: &mut Shop<'_>) -> anyhow::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for minor in MINORS {
        let name = format!("python3.{minor}");
        let mut places = vec![PathBuf::from(&name)];
        // Versions that a version manager keeps are not all on the path.
        if let Some(home) = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(pyenv) {
            let versions = std::fs::read_dir(home.join("versions")).into_iter().flatten().flatten();
            places.extend(versions.map(|version| version.path().join("bin").join(&name)));
        }
        let runs = |place: &PathBuf| {
            let mut command = Command::new(place);
            command.args(["-c", "import venv, ensurepip"]).stdout(std::process::Stdio::null());
            command.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
        };
        found.extend(places.into_iter().find(runs).map(|place| (minor, place)));
    }
    anyhow::ensure!(!found.is_empty(), "no python3.10 or later with venv");
    shop.log.line(&format!("interpreters: {found:?}"))?;
    found.reverse();
    if !shop.all && found.len() > 2 {
        found.drain(1..found.len() - 1);
    }
    Ok(found)
}

fn pyenv() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv"))
}

/// Runs the suite, which must not see the checkout.
fn suite_run(shop: &mut Shop<'_>, python: &Path, suite: &Path, minor: u32) -> anyhow::Result<Outcome> {
    let mut command = Command::new(python);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--tb=short", "--color=no"]);
    command.current_dir(suite).env_remove("PYTHONPATH").env("MESHWIRE_BIN", shop.built("meshwire"));
    command.env("MESHWIRE_FULL", if shop.all { "1" } else { "0" });
    let finished = shop.log.run(&mut command, None)?;
    let mut outcome = Outcome::default();
    for line in &finished.lines {
        match line.split_once(' ') {
            Some(("PASSED", _)) => outcome.passed += 1,
            // What a program logged may begin with such a word too.
            Some(("FAILED" | "ERROR", test)) if test.starts_with("test_") => {
                outcome.failed += 1;
                outcome.excerpt.push(format!("python3.{minor} {test}"));
            }
            Some(("SKIPPED", test)) => outcome.skipped.push(skip(test)),
            _ => {}
        }
    }
    if !finished.success && outcome.failed == 0 {
        outcome.failed += 1;
        outcome.excerpt.extend(finished.lines.iter().rev().take(20).rev().cloned());
    }
    Ok(outcome)
}

/// `[1] test_types.py:17: needs mypy`
fn skip(line: &str) -> Skip {
    let (test, needs) = line.rsplit_once("needs ").unwrap_or((line, "what it did not say"));
    let test = test.split_once("] ").map_or(test, |(_, test)| test);
    Skip { needs: needs.to_owned(), test: format!("python {}", test.trim_end_matches([':', ' '])) }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "__pycache__" {
                copy(&from, &to)?;
            }
        } else {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display())).map(|_| ())
}
