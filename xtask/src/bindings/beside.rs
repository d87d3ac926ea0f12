//! Parts of a suite that run beside one another: they wait more than they compute.

use std::thread;

use anyhow::Context as _;

use super::Shop;
use crate::process::Log;
use crate::test::Outcome;

type Run<'a> = Box<dyn FnOnce(&mut Shop<'_>) -> anyhow::Result<Outcome> + Send + 'a>;

/// A part of a suite, with a name for its log.
pub(super) struct Part<'a> {
    name: String,
    run: Run<'a>,
}

impl<'a> Part<'a> {
    pub(super) fn new(name: &str, run: impl FnOnce(&mut Shop<'_>) -> anyhow::Result<Outcome> + Send + 'a) -> Self {
        Self { name: name.to_owned(), run: Box::new(run) }
    }
}

/// Runs them at once, each with a log of its own, which that of the shop then has.
///
/// # Errors
/// What failed in one of them before a test ran.
pub(super) fn beside(shop: &mut Shop<'_>, parts: Vec<Part<'_>>) -> anyhow::Result<Outcome> {
    let Shop { workspace, quality, ref dist, all, planted, has_c, .. } = *shop;
    let path = shop.log.path().to_owned();
    let ended: Vec<_> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for Part { name, run } in parts {
            let path = path.with_extension(format!("{name}.log"));
            let log = path.clone();
            let thread = scope.spawn(move || {
                let mut log = Log::open(log, false)?;
                run(&mut Shop { workspace, log: &mut log, quality, dist: dist.clone(), all, planted, has_c })
            });
            threads.push((path, thread));
        }
        threads.into_iter().map(|(path, thread)| (path, thread.join())).collect()
    });
    let mut sum = Outcome::default();
    for (path, outcome) in ended {
        shop.log.append(&path)?;
        let outcome = outcome.ok().context("a part of the suite ended in the middle")?;
        sum.add(outcome.with_context(|| format!("in {}", workspace.shown(&path)))?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::process::Command;
    use std::sync::Barrier;

    use super::{Part, beside};
    use crate::bindings::{Quality, Shop};
    use crate::process::Log;
    use crate::test::Outcome;
    use crate::workspace::Workspace;

    #[test]
    fn parts_run_at_once_are_counted_together_and_what_they_ran_is_in_one_log() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: folder.path().to_owned(), target: folder.path().to_owned() };
        let mut log = Log::open(folder.path().join("suite.log"), false).unwrap();
        let mut shop = Shop::open(&workspace, &mut log, Quality::Dev);
        let both = Barrier::new(2);
        let part = |said: &'static str| {
            let both = &both;
            Part::new(said, move |shop: &mut Shop<'_>| {
                // Neither goes on before the other has begun.
                both.wait();
                let lines = shop.must(Command::new("echo").arg(said))?;
                Ok(Outcome::one(lines == [said], lines))
            })
        };
        let sum = beside(&mut shop, vec![part("one"), part("two")]).unwrap();
        assert_eq!((sum.passed, sum.failed), (2, 0));
        let text = std::fs::read_to_string(folder.path().join("suite.log")).unwrap();
        assert!(text.contains("$ echo one") && text.contains("$ echo two"), "{text}");
        let broken =
            Part::new("three", |shop: &mut Shop<'_>| shop.must(&mut Command::new("false")).map(|_| Outcome::default()));
        let error = format!("{:#}", beside(&mut shop, vec![broken]).unwrap_err());
        assert!(error.contains("suite.three.log") && error.contains("false failed"), "{error}");
    }
}
