//! Go: a module proxy of files, with the module and one for the archive of this platform.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::beside::{Part, beside};
use super::{Binding, Quality, Shop, c, stories};
use crate::test::{Outcome, Skip};
use crate::workspace::Profile;

pub(super) struct Go;

/// The module, which is named in its go.mod too.
pub(super) const MODULE: &str = "github.com/meshwire/meshwire-go";

/// The module of the archive.
const NATIVE: &str = "native/linux_amd64";

/// What a program says that is built without cgo.
const WITHOUT_CGO: &str = "meshwire_needs_cgo";

impl Binding for Go {
    fn name(&self) -> &'static str {
        "go"
    }

    fn crates(&self) -> &'static [&'static str] {
        &["meshwire-c"]
    }

    fn needs(&self) -> &'static [&'static str] {
        &["go", "cc", "ld", "objcopy", "ar", "pkg-config"]
    }

    fn testees(&self) -> &'static [&'static str] {
        &["go"]
    }

    fn package(&self, shop: &mut Shop<'_>) -> anyhow::Result<()> {
        let source = shop.workspace.root.join("bindings/go");
        let header = std::fs::read(shop.workspace.root.join("bindings/c/include/meshwire.h"))?;
        let copied = std::fs::read(source.join("internal/native/meshwire.h"))?;
        anyhow::ensure!(
            header == copied,
            "bindings/go/internal/native/meshwire.h is not bindings/c/include/meshwire.h: copy it"
        );
        let (shelf, built) = (shop.shelf("go")?, shop.room("go-modules")?);
        let (module, native) = (built.join("module"), built.join("native"));
        c::tree(&source, &module)?;
        c::tree(&source.join(NATIVE), &native)?;
        let license = shop.workspace.root.join("LICENSE");
        for folder in [&module, &native] {
            std::fs::copy(&license, folder.join("LICENSE")).context("LICENSE cannot be copied")?;
        }
        let archive = native.join("libmeshwire.a");
        if shop.quality == Quality::Dev {
            // The suite links the shared library of the C package too, which must be of the same build as the archive.
            if !shop.has_c {
                c::C.package(shop)?;
            }
            // Nobody debugs into it, and it is zipped, copied and linked for each test.
            let of_c = shop.dist.join("c/lib/libmeshwire.a");
            shop.must(Command::new("objcopy").arg("--strip-debug").arg(of_c).arg(&archive))?;
        } else {
            let object = c::archive(shop, &archive)?;
            std::fs::remove_file(&object).with_context(|| format!("{} cannot be removed", object.display()))?;
        }
        let version = format!("v{}", c::version(shop.workspace)?);
        for folder in [&module, &native] {
            let mut pack = Command::new("go");
            pack.args(["run", "pack.go"]).arg(folder).arg(&version).arg(&shelf).current_dir(source.join("pack"));
            shop.must(pack.env("GOWORK", "off").env("GOFLAGS", "-mod=mod"))?;
        }
        Ok(())
    }

    fn install(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let room = shop.room("go")?;
        c::tree(&shop.testee_sources("go"), &room.join("testee"))?;
        let player = room.join("player");
        std::fs::create_dir_all(&player).context("no folder for the player can be made")?;
        std::fs::write(player.join("go.mod"), "module player\n\ngo 1.24\n")?;
        let source = shop.player_source("go");
        std::fs::copy(&source, player.join("player.go"))
            .with_context(|| format!("{} cannot be copied", source.display()))?;
        for (folder, program) in [("player", shop.player("go")), ("testee", shop.testee("go"))] {
            let inside = room.join(folder);
            get(shop, &room, &inside)?;
            let mut build = go(shop, &room);
            shop.must(build.arg("build").arg("-o").arg(program).arg(".").current_dir(inside))?;
        }
        Ok(Outcome::default())
    }

    fn test(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let room = shop.installed("go")?;
        let root = shop.workspace.root.clone();
        c::tree(&root.join("bindings/go/tests"), &room.join("suite"))?;
        std::fs::write(room.join("suite/go.mod"), "module suite\n\ngo 1.24\n")?;
        c::tree(&root.join("examples/go"), &room.join("examples"))?;
        std::fs::copy(root.join("docs/go.md"), room.join("go.md")).context("docs/go.md cannot be copied")?;
        for folder in ["suite", "examples"] {
            get(shop, &room, &room.join(folder))?;
        }
        let room = &room;
        let suite = |shop: &mut Shop<'_>| play(shop, room, &[], "suite");
        let race = |shop: &mut Shop<'_>| play(shop, room, &["-race", "-skip=Page"], "suite with the race detector");
        let more = |shop: &mut Shop<'_>| more(shop, room);
        beside(shop, vec![Part::new("suite", suite), Part::new("race", race), Part::new("more", more)])
    }
}

/// What is tested beside the suite.
fn more(shop: &mut Shop<'_>, room: &Path) -> anyhow::Result<Outcome> {
    let programs = room.join("programs");
    std::fs::create_dir_all(&programs).context("no folder for the examples can be made")?;
    let mut build = go(shop, room);
    shop.must(build.arg("build").arg("-o").arg(&programs).arg("./...").current_dir(room.join("examples")))?;
    let mut sum = stories::compare(shop, "go", |name| Command::new(programs.join(name)))?;
    sum.add(vetted(shop, room)?);
    sum.add(vendored(shop, room)?);
    sum.add(without_cgo(shop, room)?);
    sum.add(dynamic(shop, room)?);
    Ok(sum)
}

/// Gives the module in a folder the packed client, and looks at it.
fn get(shop: &mut Shop<'_>, room: &Path, module: &Path) -> anyhow::Result<()> {
    let version = format!("{MODULE}@v{}", c::version(shop.workspace)?);
    shop.must(go(shop, room).args(["get", &version]).current_dir(module))?;
    shop.must(go(shop, room).args(["vet", "./..."]).current_dir(module)).map(|_| ())
}

/// Go in the suite's folder, with nothing but the packed modules.
pub(super) fn go(shop: &Shop<'_>, room: &Path) -> Command {
    let mut go = Command::new("go");
    go.env("GOPROXY", format!("file://{}", shop.dist.join("go").display()));
    go.env("GONOSUMDB", MODULE.to_owned() + "," + MODULE + "/*").env("GOMODCACHE", modules(shop, room));
    go.env("GOFLAGS", "-mod=mod -modcacherw").env("GOWORK", "off").env("GOTOOLCHAIN", "local").env_remove("GOPRIVATE");
    go.env("MESHWIRE_EXAMPLES", room.join("examples")).env("MESHWIRE_PAGE", room.join("go.md"));
    go.env("MESHWIRE_BIN", shop.workspace.built(Profile::Dev, "meshwire")).env_remove("MESHWIRE_URL");
    go.env_remove("MESHWIRE_FULL");
    go
}

/// Where Go keeps modules: elsewhere for each build, since it takes what lies in such a folder for the same as long as the version is.
fn modules(shop: &Shop<'_>, room: &Path) -> PathBuf {
    let packed = shop.dist.join("go").join(MODULE).join("@v");
    let when = std::fs::metadata(packed).and_then(|folder| folder.modified()).ok();
    let since = when.and_then(|when| when.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    room.join("cache").join(since.as_nanos().to_string())
}

/// Runs the suite and counts its tests.
fn play(shop: &mut Shop<'_>, room: &Path, flags: &[&str], name: &str) -> anyhow::Result<Outcome> {
    let mut command = go(shop, room);
    // The module has tests of what only shows from inside.
    command.args(["test", "-v", "-count=1", "-timeout=6m"]).args(flags).args(["./...", MODULE]);
    command.current_dir(room.join("suite"));
    // With the race detector the full size takes several times as long, and tells no more.
    if shop.all && flags.is_empty() {
        command.env("MESHWIRE_FULL", "1");
    }
    counted(shop, &mut command, name)
}

fn counted(shop: &mut Shop<'_>, command: &mut Command, name: &str) -> anyhow::Result<Outcome> {
    let finished = shop.log.run(command, Some(Duration::from_secs(420)))?;
    let mut outcome = Outcome::default();
    for line in &finished.lines {
        if line.starts_with("--- PASS") {
            outcome.passed += 1;
        } else if line.starts_with("--- FAIL") {
            outcome.failed += 1;
        } else if let Some((_, needs)) = line.split_once("skipped: needs ") {
            outcome.skipped.push(Skip { needs: needs.to_owned(), test: name.to_owned() });
        }
    }
    if !finished.success || outcome.passed == 0 {
        outcome.failed = outcome.failed.max(1);
        outcome.excerpt = finished.lines.into_iter().filter(|line| !line.starts_with("=== ")).collect();
        outcome.excerpt.push(format!("({name} of Go)"));
    }
    Ok(outcome)
}

/// `go vet` of a program leaves out what it depends on, so the client and its tests are named.
fn vetted(shop: &mut Shop<'_>, room: &Path) -> anyhow::Result<Outcome> {
    let mut vet = go(shop, room);
    vet.args(["vet", &format!("{MODULE}/...")]).current_dir(room.join("suite"));
    built(shop, &mut vet, "vet of the module")
}

/// What a program keeps a copy of builds without the module cache.
fn vendored(shop: &mut Shop<'_>, room: &Path) -> anyhow::Result<Outcome> {
    // Where the suite runs meanwhile no such copy may be.
    let suite = room.join("vendored");
    c::tree(&room.join("suite"), &suite)?;
    shop.must(go(shop, room).args(["mod", "vendor"]).current_dir(&suite))?;
    let mut build = go(shop, room);
    build
        .current_dir(&suite)
        .args(["test", "-c", "-o", "vendored.test", "-mod=vendor", "."])
        .env("GOMODCACHE", room.join("none"));
    built(shop, build.env("GOFLAGS", "").env("GOPROXY", "off"), "a vendored build")
}

/// Without cgo the compiler says in one line what is missing.
fn without_cgo(shop: &mut Shop<'_>, room: &Path) -> anyhow::Result<Outcome> {
    let mut build = go(shop, room);
    build.args(["build", MODULE]).env("CGO_ENABLED", "0").current_dir(room.join("suite"));
    let finished = shop.log.run(&mut build, Some(Duration::from_secs(180)))?;
    let said: Vec<&String> = finished.lines.iter().filter(|line| line.contains(".go:")).collect();
    let is_told = !finished.success && said.len() == 1 && said.iter().all(|line| line.contains(WITHOUT_CGO));
    let mut outcome = Outcome::one(is_told, finished.lines);
    if is_told {
        outcome.excerpt.clear();
    }
    Ok(outcome)
}

/// The same against the shared library of the C package.
fn dynamic(shop: &mut Shop<'_>, room: &Path) -> anyhow::Result<Outcome> {
    let installed = room.join("usr");
    c::tree(&shop.dist.join("c"), &installed)?;
    let mut command = go(shop, room);
    command.args(["test", "-v", "-count=1", "-tags=meshwire_dynamic", "-run=Linked|Received", "."]);
    command.current_dir(room.join("suite"));
    command.env("PKG_CONFIG_PATH", installed.join("lib/pkgconfig")).env("LD_LIBRARY_PATH", installed.join("lib"));
    counted(shop, command.env("MESHWIRE_LINK", "shared"), "suite with the shared library")
}

fn built(shop: &mut Shop<'_>, command: &mut Command, name: &str) -> anyhow::Result<Outcome> {
    let finished = shop.log.run(command, Some(Duration::from_secs(300)))?;
    let mut outcome = Outcome::one(finished.success, finished.lines);
    if finished.success {
        outcome.excerpt.clear();
    } else {
        outcome.excerpt.push(format!("({name} of Go)"));
    }
    Ok(outcome)
}
