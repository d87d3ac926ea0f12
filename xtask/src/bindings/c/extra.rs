//! What takes longer: the suite under tools that watch memory.

use std::path::Path;
use std::process::Command;

use super::programs::{Installed, Way};
use super::{Outcome, PROGRAMS, Shop, Skip, play};

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
