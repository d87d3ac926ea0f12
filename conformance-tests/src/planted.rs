//! The runner held against mistakes: each planted defect must be caught by the cases
//! that say so, which pass with the same programs without it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, ensure};

/// Most runs wait in vain, as they should; the runs without a defect show that it is enough.
const PATIENCE_MS: &str = "4000";
/// The testee that every defect of the client can be planted in.
const PLANTED: &str = "planted";

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
    /// Of the client, and caught whatever language it is used from.
    #[serde(default)]
    every_testee: bool,
    /// What a case that catches it must say.
    says: Option<String>,
}

struct Programs {
    runner: PathBuf,
    gateway: PathBuf,
    testees: PathBuf,
}

/// One run of a case.
struct Try<'a> {
    testee: &'a str,
    case: &'a str,
    defect: Option<&'a Defect>,
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
    fn play(&self, Try { testee, case, defect }: &Try<'_>) -> anyhow::Result<Ended> {
        let mut command = Command::new(&self.runner);
        command.args(["--testee", testee, "--filter", &format!("{case}/"), "--one-store"]);
        command.arg("--testees-in").arg(&self.testees);
        command.args(["--patience-ms", PATIENCE_MS]);
        command.env("MESHWIRE_BIN", &self.gateway).env_remove("MESHWIRE_PLANTED").stdin(Stdio::null());
        if let Some(defect) = defect {
            command.env("MESHWIRE_PLANTED", &defect.name);
        }
        let output = command.output().context("the runner cannot be started")?;
        let said = || String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok(match output.status.code() {
            Some(0) => Ended::Passed,
            Some(1) => match defect.and_then(|defect| defect.says.as_ref()) {
                Some(wanted) if !said().contains(wanted) => Ended::Broken(format!("without {wanted}: {}", said())),
                _ => Ended::Failed,
            },
            _ => Ended::Broken(said()),
        })
    }
}

/// Plants every defect and prints which case caught it; in `testees` those of every client, else all in the planted testee.
pub(crate) fn check(
    folder: &Path,
    (programs, testees_in): (&Path, &Path),
    testees: &[String],
    jobs: usize,
) -> anyhow::Result<bool> {
    let path = folder.join("planted.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list: List = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    ensure!(list.defect.iter().all(|d| !d.caught_by.is_empty()), "a defect in {} has no case", path.display());
    let suffix = std::env::consts::EXE_SUFFIX;
    let gateway = programs.join(format!("meshwire-planted-gateway{suffix}"));
    let programs = Programs { runner: std::env::current_exe()?, gateway, testees: testees_in.to_owned() };
    let planted = [PLANTED.to_owned()];
    let chosen: Vec<&Defect> = list.defect.iter().filter(|defect| testees.is_empty() || defect.every_testee).collect();
    let mut work: Vec<Try<'_>> = Vec::new();
    for testee in if testees.is_empty() { &planted[..] } else { testees } {
        let mut sound = BTreeSet::new();
        for defect in &chosen {
            for case in &defect.caught_by {
                work.push(Try { testee, case, defect: Some(defect) });
                if sound.insert(case) {
                    work.push(Try { testee, case, defect: None });
                }
            }
        }
    }
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(0_u32);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(run) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = programs.play(run).unwrap_or_else(|e| Ended::Broken(format!("{e:#}")));
                    let bad = tell(run, &ended);
                    if let Ok(mut faults) = faults.lock() {
                        *faults += u32::from(bad);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap_or(1);
    let good = work.len() - usize::try_from(faults).unwrap_or_default();
    println!("{} defects; {good} passed, {faults} failed, 0 skipped", chosen.len());
    Ok(faults == 0)
}

/// Prints a line; `true` when it is not as it should be.
fn tell(Try { testee, case, defect }: &Try<'_>, ended: &Ended) -> bool {
    match (defect, ended) {
        (Some(Defect { name, .. }), Ended::Failed) => println!("caught   {testee} {name}: {case}"),
        (Some(Defect { name, .. }), Ended::Passed) => println!("MISSED   {testee} {name}: {case} passes"),
        (None, Ended::Passed) => println!("sound    {testee} {case}"),
        (None, Ended::Failed) => println!("UNSOUND  {testee} {case} fails without a defect"),
        (_, Ended::Broken(said)) => println!("BROKEN   {testee} {case}: {said}"),
    }
    *ended != if defect.is_some() { Ended::Failed } else { Ended::Passed }
}
