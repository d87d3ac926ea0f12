//! The runner held against mistakes: each planted defect must be caught by the cases
//! that say so, which pass with the same programs without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, ensure};

/// Most runs wait in vain, as they should; the runs without a defect show that it is enough.
const PATIENCE_MS: &str = "4000";

/// The list of defects.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    defect: Vec<Defect>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Defect {
    /// As the planted programs know it.
    name: String,
    /// Cases that must fail while it is planted.
    caught_by: Vec<String>,
}

struct Programs {
    runner: PathBuf,
    gateway: PathBuf,
}

/// How one run of a case with planted programs ended.
#[derive(PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
    /// The runner itself could not go on.
    Broken(String),
}

impl Programs {
    /// One case in a runner of its own: the environment names the defect.
    fn play(&self, case: &str, defect: Option<&str>) -> anyhow::Result<Ended> {
        let mut command = Command::new(&self.runner);
        command.args(["--testee", "planted", "--filter", &format!("{case}/"), "--one-store"]);
        command.args(["--patience-ms", PATIENCE_MS]);
        command.env("MESHWIRE_BIN", &self.gateway).env_remove("MESHWIRE_PLANTED").stdin(Stdio::null());
        if let Some(defect) = defect {
            command.env("MESHWIRE_PLANTED", defect);
        }
        let output = command.output().context("the runner cannot be started")?;
        let said = || String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok(match output.status.code() {
            Some(0) => Ended::Passed,
            Some(1) => Ended::Failed,
            _ => Ended::Broken(said()),
        })
    }
}

/// Plants every defect and prints which case caught it.
pub(crate) fn check(folder: &Path, programs: &Path, jobs: usize) -> anyhow::Result<bool> {
    let path = folder.join("planted.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list: List = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    ensure!(list.defect.iter().all(|d| !d.caught_by.is_empty()), "a defect in {} has no case", path.display());
    let suffix = std::env::consts::EXE_SUFFIX;
    let gateway = programs.join(format!("meshwire-planted-gateway{suffix}"));
    let programs = Programs { runner: std::env::current_exe()?, gateway };
    let mut work: Vec<(&str, Option<&str>)> = Vec::new();
    for defect in &list.defect {
        for case in &defect.caught_by {
            work.push((case, Some(&defect.name)));
            if !work.contains(&(case, None)) {
                work.push((case, None));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(0_u32);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((case, defect)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = programs.play(case, *defect).unwrap_or_else(|e| Ended::Broken(format!("{e:#}")));
                    let bad = tell(case, *defect, &ended);
                    if let Ok(mut faults) = faults.lock() {
                        *faults += u32::from(bad);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap_or(1);
    let good = work.len() - usize::try_from(faults).unwrap_or_default();
    println!("{} defects; {good} passed, {faults} failed, 0 skipped", list.defect.len());
    Ok(faults == 0)
}

/// Prints a line; `true` when it is not as it should be.
fn tell(case: &str, defect: Option<&str>, ended: &Ended) -> bool {
    match (defect, ended) {
        (Some(defect), Ended::Failed) => println!("caught   {defect}: {case}"),
        (Some(defect), Ended::Passed) => println!("MISSED   {defect}: {case} passes"),
        (None, Ended::Passed) => println!("sound    {case}"),
        (None, Ended::Failed) => println!("UNSOUND  {case} fails without a defect"),
        (_, Ended::Broken(said)) => println!("BROKEN   {case}: {said}"),
    }
    *ended != if defect.is_some() { Ended::Failed } else { Ended::Passed }
}
