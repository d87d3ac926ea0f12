//! C: header, libraries, pkg-config and CMake files in a tree as `make install` leaves it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::beside::{Part, beside};
use super::{Binding, Quality, Shop, stories};
use crate::test::{Outcome, Skip};
use crate::workspace::{Profile, Workspace};

mod extra;
pub(super) mod programs;
pub(super) mod sizes;

use programs::{Installed, Way};

pub(super) struct C;

/// What a shared library is found by.
const SONAME: &str = "libmeshwire.so.0";

/// What programs that link the archive link too; `rustc --print native-static-libs` says so.
const NATIVE: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

/// What cargo builds.
const ARCHIVE: &str = "libmeshwire_c.a";

/// Programs of the suite: the folders of what they are made of.
const PROGRAMS: [&str; 2] = ["suite", "hardship"];

/// Only functions of the header are seen from outside.
const SYMBOLS: &str = "MESHWIRE_0 { global: mw_*; local: *; };\n";

impl Binding for C {
    fn name(&self) -> &'static str {
        "c"
    }

    fn crates(&self) -> &'static [&'static str] {
        &["meshwire-c"]
    }

    fn needs(&self) -> &'static [&'static str] {
        &["cc", "c++", "ld", "objcopy", "ar", "nm", "cmake", "pkg-config"]
    }

    fn testees(&self) -> &'static [&'static str] {
        &["c"]
    }

    fn package(&self, shop: &mut Shop<'_>) -> anyhow::Result<()> {
        let shelf = shop.shelf("c")?;
        let source = shop.workspace.root.join("bindings/c");
        for folder in ["include", "lib/pkgconfig", "lib/cmake/meshwire"] {
            std::fs::create_dir_all(shelf.join(folder))?;
        }
        copy(&source.join("include/meshwire.h"), &shelf.join("include/meshwire.h"))?;
        copy(&shop.workspace.root.join("LICENSE"), &shelf.join("LICENSE"))?;
        libraries(shop, "meshwire", &shop.built(ARCHIVE), &shelf.join("lib"))?;
        describe(shop.workspace, "meshwire", &shelf)?;
        if shop.quality == Quality::Dist {
            sizes::small(shop, &shelf)?;
            sizes::tell(&shelf)?;
        }
        shop.has_c = true;
        Ok(())
    }

    fn install(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let room = shop.room("c")?;
        let installed = Installed(room.join("usr"));
        tree(&shop.dist.join("c"), &installed.0)?;
        let (source, player) = (shop.player_source("c"), shop.player("c"));
        programs::shared(shop, &installed, &[source], &player, &["meshwire"])?;
        programs::testee(shop, &installed)
    }

    fn test(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let room = shop.installed("c")?;
        let (installed, suite) = (Installed(room.join("usr")), room.join("suite"));
        tree(&shop.workspace.root.join("bindings/c/tests/c"), &suite)?;
        let mut sum =
            Outcome::one(exports(shop, &installed.0)?, vec!["the library shows other symbols than mw_*".into()]);
        sum.excerpt.clear();
        let (room, installed, suite) = (&room, &installed, &suite);
        let ways = Way::ALL.iter().map(|way| {
            Part::new(way.name(), move |shop: &mut Shop<'_>| {
                let mut sum = Outcome::default();
                for program in PROGRAMS {
                    let built = way.build(shop, installed, (suite, program))?;
                    sum.add(play(shop, &mut Command::new(built), &format!("{program} {}", way.name()))?);
                }
                Ok(sum)
            })
        });
        let more = Part::new("more", |shop: &mut Shop<'_>| more(shop, room, installed, suite));
        sum.add(beside(shop, ways.chain([more]).collect())?);
        if shop.all {
            sum.add(extra::watched(shop, installed, suite)?);
        }
        Ok(sum)
    }
}

/// What is tested beside the suite.
fn more(shop: &mut Shop<'_>, room: &Path, installed: &Installed, suite: &Path) -> anyhow::Result<Outcome> {
    let mut sum = programs::loaded(shop, installed, suite)?;
    let examples = room.join("examples");
    tree(&shop.workspace.root.join("examples/c"), &examples)?;
    programs::with_cmake(shop, installed, &examples)?;
    for program in stories::STORIES.iter().copied().flatten() {
        // As C++ too.
        Way::Static.build(shop, installed, (&examples, program))?;
    }
    sum.add(stories::compare(shop, "c", |name| Command::new(examples.join("build").join(name)))?);
    sum.add(programs::page(shop, installed, &room.join("page"))?);
    Ok(sum)
}

/// The files by which programs find a library.
fn describe(workspace: &Workspace, name: &str, shelf: &Path) -> anyhow::Result<()> {
    let version = version(workspace)?;
    let mut all = vec![("meshwire.pc.in", format!("lib/pkgconfig/{name}.pc"))];
    if name == "meshwire" {
        all.push(("meshwireConfig.cmake.in", "lib/cmake/meshwire/meshwireConfig.cmake".to_owned()));
        all.push(("meshwireConfigVersion.cmake.in", "lib/cmake/meshwire/meshwireConfigVersion.cmake".to_owned()));
    }
    for (template, place) in all {
        let text = std::fs::read_to_string(workspace.root.join("bindings/c/install").join(template))?;
        let text = text.replace("@VERSION@", &version).replace("@NATIVE@", NATIVE).replace("@NAME@", name);
        std::fs::write(shelf.join(place), text)?;
    }
    Ok(())
}

/// Runs a program of the suite, which prints a line for each test.
fn play(shop: &mut Shop<'_>, command: &mut Command, name: &str) -> anyhow::Result<Outcome> {
    command.env("MESHWIRE_BIN", shop.workspace.built(Profile::Dev, "meshwire"));
    let finished = shop.log.run(command, Some(std::time::Duration::from_secs(300)))?;
    let mut outcome = Outcome::default();
    for line in &finished.lines {
        match line.split_once(' ') {
            Some(("ok", _)) => outcome.passed += 1,
            Some(("FAILED", _)) => outcome.failed += 1,
            _ if line.starts_with("skipped: needs ") => {
                let needs = line.trim_start_matches("skipped: needs ").to_owned();
                outcome.skipped.push(Skip { needs, test: name.to_owned() });
            }
            _ => {}
        }
    }
    if !finished.success || outcome.passed == 0 {
        outcome.failed = outcome.failed.max(1);
        outcome.excerpt = finished.lines;
        outcome.excerpt.push(format!("({name} of C)"));
    }
    Ok(outcome)
}

/// Whether the shared library shows the header's functions and nothing else, and its name is as it should be.
fn exports(shop: &mut Shop<'_>, installed: &Path) -> anyhow::Result<bool> {
    let library = installed.join("lib/libmeshwire.so");
    let lines = shop.must(Command::new("nm").args(["-D", "--defined-only"]).arg(&library))?;
    let names = lines.iter().filter_map(|line| line.rsplit(' ').next());
    let ours = |name: &str| name.starts_with("mw_") || name.starts_with("MESHWIRE_");
    let soname = shop.must(Command::new("objdump").arg("-p").arg(&library))?;
    let is_named = soname.iter().any(|line| line.trim().starts_with("SONAME") && line.contains(SONAME));
    Ok(names.clone().count() > 50 && names.into_iter().all(ours) && is_named)
}

/// Makes the archive and the shared library of what cargo built, with nothing but the header's functions seen from outside: two archives
/// of Rust's can then be in one program.
fn libraries(shop: &mut Shop<'_>, name: &str, built: &Path, to: &Path) -> anyhow::Result<()> {
    let object = localised(shop, built, &to.join(format!("lib{name}.a")))?;
    let map = shop.workspace.scratch()?.join("symbols.map");
    std::fs::write(&map, SYMBOLS)?;
    let version = version(shop.workspace)?;
    let shared = to.join(format!("lib{name}.so.{version}"));
    let soname = SONAME.replacen("meshwire", name, 1);
    let mut link = Command::new("cc");
    link.args(["-shared", "-Wl,--gc-sections", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,nodelete", "-o"])
        .arg(&shared)
        .arg(&object);
    link.arg(format!("-Wl,-soname,{soname}")).arg(format!("-Wl,--version-script={}", map.display()));
    link.args(NATIVE.split(' '));
    if shop.quality == Quality::Dist {
        link.arg("-Wl,--strip-all");
    }
    shop.must(&mut link)?;
    for (link, target) in [(soname.clone(), format!("lib{name}.so.{version}")), (format!("lib{name}.so"), soname)] {
        symlink(&target, &to.join(link))?;
    }
    std::fs::remove_file(&object).with_context(|| format!("{} cannot be removed", object.display()))
}

/// Makes an archive of what cargo built, in which only the header's functions are global; gives its one object.
pub(super) fn archive(shop: &mut Shop<'_>, to: &Path) -> anyhow::Result<PathBuf> {
    localised(shop, &shop.built(ARCHIVE), to)
}

fn localised(shop: &mut Shop<'_>, built: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let object = shop.workspace.scratch()?.join("meshwire.o");
    let mut join = Command::new("ld");
    join.args(["-r", "--whole-archive", "-o"]).arg(&object).arg(built);
    shop.must(&mut join)?;
    let mut localise = Command::new("objcopy");
    localise.args(["--wildcard", "--keep-global-symbol=mw_*", "-R", ".llvmbc", "-R", ".llvmcmd"]);
    if shop.quality == Quality::Dist {
        localise.arg("--strip-unneeded");
    }
    shop.must(localise.arg(&object))?;
    if to.exists() {
        std::fs::remove_file(to)?;
    }
    shop.must(Command::new("ar").arg("rcsD").arg(to).arg(&object))?;
    Ok(object)
}

/// The version of the workspace.
pub(super) fn version(workspace: &Workspace) -> anyhow::Result<String> {
    let manifest = std::fs::read_to_string(workspace.root.join("Cargo.toml"))?;
    let manifest: toml::Table = manifest.parse().context("Cargo.toml cannot be read")?;
    let version = manifest.get("workspace").and_then(|w| w.get("package")).and_then(|p| p.get("version"));
    version.and_then(|version| version.as_str()).map(str::to_owned).context("Cargo.toml says no version")
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies a folder with all that is in it.
pub(super) fn tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_symlink() {
            symlink(&std::fs::read_link(&path)?.display().to_string(), &place)?;
        } else if path.is_dir() {
            tree(&path, &place)?;
        } else {
            copy(&path, &place)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> anyhow::Result<()> {
    std::os::unix::fs::symlink(target, link).with_context(|| format!("{} cannot be made", link.display()))
}

#[cfg(not(unix))]
fn symlink(target: &str, link: &Path) -> anyhow::Result<()> {
    anyhow::bail!("{} to {target}: this system has no such links", link.display())
}
