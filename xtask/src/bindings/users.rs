//! What `package` leaves for users: every language's is packed so, installed, and moves events in the demo.

use anyhow::Context as _;

use super::{ALL, Binding as _, Quality, Shop, build, c, missing, programs};
use crate::demo;
use crate::process::Log;
use crate::test::{Outcome, Skip};
use crate::workspace::Workspace;

/// The step `sizes`.
///
/// # Errors
/// What failed before anything was looked at.
pub(crate) fn check(workspace: &Workspace, log: &mut Log) -> anyhow::Result<Outcome> {
    let skip = |needs: &str, test: &str| Skip { needs: needs.to_owned(), test: test.to_owned() };
    let mut sum = match missing(&c::C) {
        Some(needs) => Outcome { skipped: vec![skip(needs, "sizes")], ..Outcome::default() },
        None => c::sizes::check(workspace, log)?,
    };
    let mut shop = Shop::open(workspace, log, Quality::Dist);
    shop.dist = dist(workspace);
    for binding in ALL {
        let name = binding.name();
        if let Some(needs) = missing(binding) {
            sum.skipped.push(skip(needs, &format!("{name} as users get it")));
            continue;
        }
        if name != c::C.name() {
            build(&mut shop, &[binding]).with_context(|| format!("{name} as users get it"))?;
            binding.package(&mut shop)?;
        }
        programs::forget(&shop, binding)?;
        binding.install(&mut shop)?;
    }
    let finished = shop.log.run(&mut demo::command(workspace, &programs::installed(workspace))?, None)?;
    sum.add(Outcome::one(finished.success, finished.lines));
    Ok(sum)
}

/// Where these are packed: not where users look for theirs.
pub(super) fn dist(workspace: &Workspace) -> std::path::PathBuf {
    workspace.target.join("dist-checked")
}
