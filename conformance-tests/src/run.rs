//! Plays every cell with every testee, some at once, and marks each.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::case::Cell;
use crate::grid::{Mark, Row, read_known};
use crate::play::{Played, play};
use crate::testee::Program;
use crate::trace::first_difference;

/// What a host may be unable to do; every client can do all else. `cancel`: a call that blocks its thread is given up by nobody else.
const OF_HOSTS: [&str; 1] = ["cancel"];

/// Where the cases and what belongs to them is.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) cases: PathBuf,
    pub(crate) traces: PathBuf,
    pub(crate) known: PathBuf,
}

impl Folders {
    pub(crate) fn below(root: &Path) -> Self {
        Self { cases: root.join("cases"), traces: root.join("traces"), known: root.join("known") }
    }
}

/// How to run.
pub(crate) struct Run<'a> {
    pub(crate) folders: &'a Folders,
    pub(crate) testees: &'a [Program],
    /// Cells at once.
    pub(crate) jobs: usize,
    /// What a step may take that does not say.
    pub(crate) patience: Duration,
    /// Writes traces instead of comparing them.
    pub(crate) bless: bool,
}

impl Run<'_> {
    /// Plays all; rows by cell, then by testee.
    pub(crate) fn all(&self, cells: &[Cell<'_>]) -> anyhow::Result<Vec<Row>> {
        let known: Vec<_> =
            self.testees.iter().map(|t| read_known(&self.folders.known, &t.name)).collect::<anyhow::Result<_>>()?;
        let mut work: Vec<_> =
            cells.iter().flat_map(|cell| self.testees.iter().zip(&known).map(move |(t, k)| (*cell, t, k))).collect();
        // What waits longest begins first, so that nothing is waited for alone at the end.
        work.sort_by_key(|(cell, ..)| Reverse(cell.case.waits()));
        let next = AtomicUsize::new(0);
        let rows = Mutex::new(Vec::with_capacity(work.len()));
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while let Some((cell, program, known)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let row = self.row(*cell, program, known);
                        if let Ok(mut rows) = rows.lock() {
                            rows.push(row);
                        }
                    }
                });
            }
        });
        let mut rows = rows.into_inner().unwrap_or_default();
        rows.sort_by(|a, b| (&a.id, &a.testee).cmp(&(&b.id, &b.testee)));
        Ok(rows)
    }

    fn row(&self, cell: Cell<'_>, program: &Program, known: &[(String, String)]) -> Row {
        let began = Instant::now();
        let (mark, logs) = match play(cell, program, self.patience) {
            Played::Through(trace) => {
                let compared = self.compare(cell, &trace);
                (compared.unwrap_or_else(|problem| Mark::Fail(format!("{problem:#}"))), String::new())
            }
            Played::Failed { why, logs } => (Mark::Fail(why), logs),
            Played::Skipped { needs } if OF_HOSTS.contains(&needs.as_str()) => (Mark::Skip(needs), String::new()),
            Played::Skipped { needs } => {
                (Mark::Fail(format!("it says that it cannot do `{needs}`, which every client does")), String::new())
            }
        };
        let id = cell.id();
        let reason = known.iter().find(|(cell, _)| is_of(&id, cell)).map(|(_, r)| r.as_str());
        Row {
            name: cell.case.name.clone(),
            testee: program.name.clone(),
            mark: mark.with_known(reason),
            seconds: began.elapsed().as_secs_f64(),
            logs,
            id,
        }
    }

    /// One trace for a case, whatever the store, the transport and the language.
    fn compare(&self, cell: Cell<'_>, trace: &str) -> anyhow::Result<Mark> {
        let path = self.folders.traces.join(format!("{}.txt", cell.case.id));
        if self.bless {
            let folder = path.parent().context("a trace lies in a folder")?;
            std::fs::create_dir_all(folder)?;
            std::fs::write(&path, trace).with_context(|| format!("{} cannot be written", path.display()))?;
            return Ok(Mark::Pass);
        }
        let Ok(blessed) = std::fs::read_to_string(&path) else {
            return Ok(Mark::Differs("there is no blessed trace yet: look at it and use --bless".to_owned()));
        };
        Ok(if blessed == trace { Mark::Pass } else { Mark::Differs(first_difference(&blessed, trace)) })
    }
}

/// Whether a cell is that of a list, or one of its case or store.
fn is_of(id: &str, listed: &str) -> bool {
    id.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
