//! What takes longer: the library for small devices, sizes, and the suite under tools that watch memory.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::programs::{Installed, Way};
use super::{Outcome, PROGRAMS, Shop, Skip, describe, libraries, play};
use crate::bindings::Binding as _;

/// Bytes that the shared libraries, stripped, should have at most. Neither does: without whole features, what is compiled for size instead
/// of speed gives a tenth.
const GOALS: [(&str, u64); 2] = [("meshwire", 5_000_000), ("meshwire-tcp", 2_000_000)];

/// Builds and packs `libmeshwire-tcp`: TCP and TLS alone, behind the same header.
pub(super) fn small(shop: &mut Shop<'_>, shelf: &Path) -> anyhow::Result<()> {
    let (built, kept) = (shop.built("libmeshwire_c.a"), shop.workspace.scratch()?.join("libmeshwire_c.full.a"));
    // Cargo builds both to the same place, and other bindings pack the whole one.
    std::fs::rename(&built, &kept).with_context(|| format!("{} cannot be moved", built.display()))?;
    let profile = shop.quality.profile();
    let mut build =
        shop.workspace.cargo(&["build", "--profile", profile, "--no-default-features", "--features", "tls"]);
    for name in super::C.crates() {
        build.args(["-p", name]);
    }
    let packed = shop.must(&mut build).and_then(|_| libraries(shop, "meshwire-tcp", &shelf.join("lib")));
    if built.exists() {
        std::fs::remove_file(&built)?;
    }
    std::fs::rename(&kept, &built)?;
    packed?;
    describe(shop.workspace, "meshwire-tcp", shelf)
}

/// Tells how large the libraries are.
pub(super) fn sizes(shelf: &Path) -> anyhow::Result<()> {
    for (name, most) in GOALS {
        let path = shelf.join(format!("lib/lib{name}.so"));
        let size = std::fs::metadata(&path).with_context(|| format!("{} is not there", path.display()))?.len();
        println!("lib{name}.so has {size} bytes; the goal is at most {most}");
    }
    Ok(())
}

/// The suite with the address sanitizer, which finds leaks too, and in valgrind.
pub(super) fn watched(shop: &mut Shop<'_>, installed: &Installed, suite: &Path) -> anyhow::Result<Outcome> {
    let mut sum = Outcome::default();
    for program in PROGRAMS {
        let built = Way::Sanitized.build(shop, installed, (suite, program))?;
        let mut run = Command::new(built);
        run.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1:handle_segv=0");
        sum.add(play(shop, &mut run, &format!("{program} with the address sanitizer"))?);
    }
    let Ok(_) = shop.must(Command::new("valgrind").arg("--version")) else {
        sum.skipped.push(Skip { needs: "valgrind".into(), test: "the suite in valgrind".into() });
        return Ok(sum);
    };
    let built = Way::Shared.build(shop, installed, (suite, "suite"))?;
    let mut run = Command::new("valgrind");
    // Leaks are the sanitizer's: in a child of fork, all that the parent has would be one here.
    run.args(["--quiet", "--error-exitcode=9", "--leak-check=no"]);
    run.arg(format!("--suppressions={}", suite.join("valgrind.supp").display()));
    sum.add(play(shop, run.arg(built), "suite in valgrind")?);
    Ok(sum)
}
