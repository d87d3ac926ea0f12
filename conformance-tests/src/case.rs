//! Cases as data: one TOML file each.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::transport::{CONNECTION, REQUESTS, Transport};

/// One step: `op` says what, the rest is the op's.
pub(crate) type Step = Map<String, Value>;

/// Where the gateway of a cell keeps events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Store {
    Memory,
    Log,
}

impl Store {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Log => "log",
        }
    }
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Folder and file name.
    #[serde(skip)]
    pub(crate) id: String,
    /// What it promises, as a sentence.
    pub(crate) name: String,
    /// Where the promise stands.
    pub(crate) source: String,
    /// What the testee must be able to do.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// The gateways it is played with; none with a scripted peer.
    #[serde(default = "both")]
    pub(crate) stores: Vec<Store>,
    /// Options of the gateway, as its flags.
    #[serde(default)]
    pub(crate) gateway: Vec<String>,
    /// The testee talks to a script instead of a gateway.
    #[serde(default)]
    pub(crate) peer: bool,
    /// The transports it is played over, by name; all if absent.
    #[serde(default)]
    pub(crate) transports: Vec<String>,
    /// Why it is not played over every one.
    #[serde(default)]
    pub(crate) transports_why: String,
    /// Lanes whose order is left to chance: they are not compared with the blessed trace.
    #[serde(default)]
    pub(crate) by_chance: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

fn both() -> Vec<Store> {
    vec![Store::Memory, Store::Log]
}

/// A case with one store and one transport: what is played at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) case: &'a Case,
    /// `None` with a scripted peer.
    pub(crate) store: Option<Store>,
    pub(crate) transport: Transport,
}

impl Cell<'_> {
    /// As the grid and the lists name it.
    pub(crate) fn id(&self) -> String {
        let store = self.store.map_or("peer", Store::name);
        match self.transport {
            Transport::Tcp => format!("{}/{store}", self.case.id),
            transport => format!("{}/{store}/{}", self.case.id, transport.name()),
        }
    }
}

impl Case {
    /// The cells of a case over a transport.
    pub(crate) fn cells(&self, transport: Transport) -> Vec<Cell<'_>> {
        let named = self.transports.is_empty() || self.transports.iter().any(|name| name == transport.name());
        if !named {
            return Vec::new();
        }
        let cell = |store| Cell { case: self, store, transport };
        if self.peer { vec![cell(None)] } else { self.stores.iter().map(|s| cell(Some(*s))).collect() }
    }

    /// The milliseconds that its steps speak of: about how long it may wait.
    pub(crate) fn waits(&self) -> u64 {
        let times = |step: &Step| -> u64 {
            ["for_ms", "not_before_ms", "within_ms"].iter().filter_map(|name| step.get(*name)?.as_u64()).sum()
        };
        self.steps.iter().map(times).sum()
    }

    fn read(root: &Path, path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut case: Self = toml::from_str(&text)?;
        let relative = path.strip_prefix(root)?.with_extension("");
        let words: Vec<_> = relative.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        case.id = words.join("/");
        ensure!(!case.steps.is_empty(), "it has no steps");
        ensure!(!case.source.is_empty(), "it does not say where its promise stands (source)");
        ensure!(
            case.transports.is_empty() == case.transports_why.is_empty(),
            "transports and transports_why stand together"
        );
        for name in &case.transports {
            Transport::parse(name)?;
        }
        for (at, step) in case.steps.iter().enumerate() {
            ensure!(step.get("op").is_some_and(Value::is_string), "step {} has no op", at + 1);
            let over = step.get("over").is_none_or(|over| over == CONNECTION || over == REQUESTS);
            ensure!(over, "step {} is over what is neither {CONNECTION} nor {REQUESTS}", at + 1);
        }
        Ok(case)
    }
}

/// Every case below a folder, by id.
pub(crate) fn read_all(root: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    walk(root, root, &mut cases)?;
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(cases)
}

fn walk(root: &Path, folder: &Path, cases: &mut Vec<Case>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, cases)?;
        } else if path.extension().is_some_and(|e| e == "toml") {
            cases.push(Case::read(root, &path).with_context(|| format!("case {}", path.display()))?);
        }
    }
    Ok(())
}
