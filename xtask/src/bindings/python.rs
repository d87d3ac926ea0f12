//! Python: a wheel by maturin, and a virtual environment that has nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Binding, Quality, Shop, launcher};
use crate::test::{Outcome, Skip};

/// What packs the wheel, installed below the target directory.
const MATURIN: &str = "maturin==1.16.0";

/// What the suite runs with. All of it comes from the package index; none of it is needed by users.
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
        &["meshwire-python"]
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
        command.env("CARGO_TARGET_DIR", &shop.workspace.target);
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
        let programs = [
            (shop.player("python"), shop.player_source("py")),
            (shop.testee("python"), testees.join("testee.py")),
            (shop.testee("python-sync"), testees.join("testee_sync.py")),
        ];
        for (program, script) in programs {
            launcher::write(&program, &[python.as_os_str(), script.as_os_str()])?;
        }
        Ok(Outcome::default())
    }

    fn test(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let sources = shop.workspace.root.join("bindings/python");
        let mut sum = Outcome::default();
        for (place, (minor, python)) in interpreters(shop)?.into_iter().enumerate() {
            // The first one was installed.
            let python = if place == 0 { in_environment(shop, minor)? } else { environment(shop, minor, &python)? };
            install(shop, &python, &TOOLS)?;
            for tool in MORE {
                let _ = install(shop, &python, &[tool]);
            }
            if place == 0 && shop.all {
                let shelf = shop.dist.join(self.name());
                sum.add(audited(shop, &python, &shelf)?);
            }
            let suite = shop.installed(self.name())?.join(format!("3.{minor}/suite"));
            copy(&sources.join("tests"), &suite)?;
            copy(&shop.workspace.root.join("examples/python"), &suite.join("examples"))?;
            copy_file(&shop.workspace.root.join("docs/python.md"), &suite.join("python.md"))?;
            // Types are the same with each interpreter.
            if place > 0 {
                std::fs::remove_file(suite.join("test_types.py")).context("the suite has no test_types.py")?;
            }
            sum.add(suite_run(shop, &python, &suite, minor)?);
        }
        Ok(sum)
    }
}

/// The interpreter of the environment for a version.
fn in_environment(shop: &Shop<'_>, minor: u32) -> anyhow::Result<PathBuf> {
    Ok(shop.installed("python")?.join(format!("3.{minor}/env/bin/python")))
}

/// An environment with the package alone; gives its interpreter.
fn environment(shop: &mut Shop<'_>, minor: u32, python: &Path) -> anyhow::Result<PathBuf> {
    let environment = shop.installed("python")?.join(format!("3.{minor}/env"));
    shop.must(Command::new(python).args(["-m", "venv"]).arg(&environment))?;
    let python = in_environment(shop, minor)?;
    let shelf = shop.dist.join("python");
    shop.must(pip(&python).args(["--no-index", "--find-links"]).arg(&shelf).arg("meshwire"))?;
    Ok(python)
}

/// Whether the wheel keeps to the stable ABI of the oldest version.
fn audited(shop: &mut Shop<'_>, python: &Path, shelf: &Path) -> anyhow::Result<Outcome> {
    install(shop, python, &[AUDIT])?;
    let mut sum = Outcome::default();
    for wheel in std::fs::read_dir(shelf).context("there is no wheel")? {
        let mut command = Command::new(python);
        command.args(["-m", "abi3audit", "--strict", "--verbose"]).arg(wheel?.path());
        let finished = shop.log.run(&mut command, None)?;
        sum.add(Outcome::one(finished.success, finished.lines));
    }
    Ok(sum)
}

pub(super) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
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
