//! Programs in other languages that the demo and the conformance runner start. They are made anew when something they are of has changed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{ALL, Binding, Quality, Shop, build, missing, provide};
use crate::process::Log;
use crate::test::Outcome;
use crate::workspace::{Profile, Workspace};

/// The demo's players.
pub(crate) struct Players {
    /// Name and program of each.
    pub(crate) there: Vec<(&'static str, PathBuf)>,
    /// Who cannot take part, and why.
    pub(crate) absent: Vec<String>,
}

/// Packs and installs the bindings that are not, or no longer, as their sources say.
pub(crate) fn ready(workspace: &Workspace) -> anyhow::Result<Players> {
    let mut log = Log::open(workspace.scratch()?.join("players.log"), false)?;
    make(workspace, &mut log, false)
}

/// The same with the client that makes the mistake which `MESHWIRE_PLANTED` names, in a folder of its own.
pub(crate) fn plant(workspace: &Workspace, log: &mut Log) -> anyhow::Result<Workspace> {
    let planted = Workspace { root: workspace.root.clone(), target: workspace.target.join("planted") };
    make(&planted, log, true)?;
    Ok(planted)
}

fn make(workspace: &Workspace, log: &mut Log, planted: bool) -> anyhow::Result<Players> {
    let mut shop = Shop::open(workspace, log, Quality::Dev);
    shop.planted = planted;
    provide(shop.log, &ALL)?;
    build(&mut shop, &ALL)?;
    let mut players = Players { there: Vec::new(), absent: Vec::new() };
    for binding in ALL {
        let name = binding.name();
        if let Some(needs) = missing(binding) {
            players.absent.push(format!("{name} needs {needs}"));
            continue;
        }
        if !is_current(&shop, binding)? {
            binding.package(&mut shop)?;
            install(&mut shop, binding)?;
        }
        players.there.push((name, shop.player(name)));
    }
    Ok(players)
}

/// Those whose programs were installed before, as they are.
pub(crate) fn installed(workspace: &Workspace) -> Players {
    let mut players = Players { there: Vec::new(), absent: Vec::new() };
    for binding in ALL {
        let (name, program) = (binding.name(), player(workspace, binding.name()));
        match missing(binding) {
            Some(needs) => players.absent.push(format!("{name} needs {needs}")),
            None => players.there.push((name, program)),
        }
    }
    players
}

/// Where the program lies that starts the demo's player of a language: beside what cargo built.
pub(super) fn player(workspace: &Workspace, language: &str) -> PathBuf {
    workspace.built(Profile::Dev, &format!("meshwire-player-{language}"))
}

/// The same of a testee, where the conformance runner looks for it.
pub(super) fn testee(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.built(Profile::Dev, &format!("meshwire-testee-{name}"))
}

/// Testees that were installed.
pub(crate) fn testees(workspace: &Workspace) -> Vec<&'static str> {
    let names = ALL.iter().flat_map(|binding| binding.testees());
    names.copied().filter(|name| testee(workspace, name).exists()).collect()
}

/// Testees that are not there.
pub(crate) fn absent_testees(workspace: &Workspace) -> Vec<&'static str> {
    let names = ALL.iter().flat_map(|binding| binding.testees());
    names.copied().filter(|name| !testee(workspace, name).exists()).collect()
}

/// Installs the package of a binding, and remembers of what it was.
pub(super) fn install(shop: &mut Shop<'_>, binding: &dyn Binding) -> anyhow::Result<Outcome> {
    forget(shop, binding)?;
    let sources = sources(shop, binding)?;
    let testees = binding.testees().iter().map(|name| shop.testee(name));
    for program in testees.chain([shop.player(binding.name())]) {
        // What is not made anew is not there.
        let _ = std::fs::remove_file(program);
    }
    let outcome = binding.install(shop)?;
    let record = record(shop, binding)?;
    std::fs::write(&record, sources).with_context(|| format!("{} cannot be written", record.display()))?;
    Ok(outcome)
}

/// What is installed of a binding is not taken for its package any more.
pub(super) fn forget(shop: &Shop<'_>, binding: &dyn Binding) -> anyhow::Result<()> {
    let record = record(shop, binding)?;
    if record.exists() {
        std::fs::remove_file(&record).with_context(|| format!("{} cannot be removed", record.display()))?;
    }
    Ok(())
}

fn is_current(shop: &Shop<'_>, binding: &dyn Binding) -> anyhow::Result<bool> {
    let sources = sources(shop, binding)?;
    Ok(std::fs::read_to_string(record(shop, binding)?).is_ok_and(|then| then == sources))
}

fn record(shop: &Shop<'_>, binding: &dyn Binding) -> anyhow::Result<PathBuf> {
    Ok(shop.workspace.scratch()?.join(format!("installed-{}", binding.name())))
}

/// All that the programs of a binding are made of, with sizes and times.
fn sources(shop: &Shop<'_>, binding: &dyn Binding) -> anyhow::Result<String> {
    let (root, name) = (&shop.workspace.root, binding.name());
    let mut text = String::new();
    // The wheel's is not built yet; of what it shares with the others these two tell.
    for library in ["libmeshwire_c.a", "libmeshwire_node.so"] {
        state(&shop.built(library), &mut text)?;
    }
    for folder in ["bindings/c/include", "bindings/c/install", "examples/players", "xtask/src/bindings"] {
        state(&root.join(folder), &mut text)?;
    }
    state(&root.join("bindings").join(name), &mut text)?;
    state(&shop.testee_sources(name), &mut text)?;
    Ok(text)
}

fn state(path: &Path, text: &mut String) -> anyhow::Result<()> {
    let is = std::fs::metadata(path).with_context(|| format!("{} is not there", path.display()))?;
    if !is.is_dir() {
        writeln!(text, "{} {} {:?}", path.display(), is.len(), is.modified()?)?;
        return Ok(());
    }
    let mut entries =
        std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| state(entry, text))
}
