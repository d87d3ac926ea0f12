//! The programs of `bench/`, each where a user of its language would have it: with the installed package alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::c::programs::Installed;
use super::{Binding, Shop, c, go, node, python};

/// A program that takes what to do, a URL and a number of events, and prints names with numbers.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    program: PathBuf,
    before: Vec<OsString>,
}

impl Program {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, before: Vec::new() }
    }

    fn script(interpreter: PathBuf, script: &Path) -> Self {
        Self { program: interpreter, before: vec![script.into()] }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.before).env_remove("MESHWIRE_URL");
        command
    }
}

/// What is measured of a language.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) ours: Program,
    /// The same with the native client of NATS; else what it needs.
    pub(crate) theirs: Result<Program, String>,
}

/// Builds, packs and installs a binding with its programs; or what it needs and is not there.
pub(crate) fn measured(shop: &mut Shop<'_>, binding: &dyn Binding) -> anyhow::Result<Result<Measured, String>> {
    if let Some(needs) = super::missing(binding) {
        return Ok(Err(needs.to_owned()));
    }
    super::build(shop, &[binding])?;
    binding.package(shop)?;
    let sources = shop.workspace.root.join("bench").join(binding.name());
    match binding.name() {
        "c" => in_c(shop, &sources),
        "go" => in_go(shop, &sources),
        "node" => in_node(shop, &sources),
        "python" => in_python(shop, &sources),
        other => anyhow::bail!("bench/ has no program for {other}"),
    }
    .map(Ok)
}

fn in_c(shop: &mut Shop<'_>, sources: &Path) -> anyhow::Result<Measured> {
    let room = shop.room("bench-c")?;
    let (installed, folder) = (Installed(room.join("usr")), room.join("bench"));
    c::tree(&shop.dist.join("c"), &installed.0)?;
    c::tree(sources, &folder)?;
    c::programs::with_cmake(shop, &installed, &folder)?;
    Ok(Measured { ours: Program::new(folder.join("build/bench")), theirs: Err("a client of NATS in C".to_owned()) })
}

fn in_go(shop: &mut Shop<'_>, sources: &Path) -> anyhow::Result<Measured> {
    let room = shop.room("bench-go")?;
    let version = format!("{}@v{}", go::MODULE, c::version(shop.workspace)?);
    let (ours, theirs) = (room.join("ours"), room.join("theirs"));
    c::tree(&sources.join("ours"), &ours)?;
    c::tree(&sources.join("theirs"), &theirs)?;
    shop.must(go::go(shop, &room).args(["get", &version]).current_dir(&ours))?;
    shop.must(go::go(shop, &room).args(["build", "-o", "bench", "."]).current_dir(&ours))?;
    let mut peer = Command::new("go");
    peer.args(["build", "-o", "bench", "."]).env("GOWORK", "off").env("GOTOOLCHAIN", "local").current_dir(&theirs);
    Ok(Measured {
        ours: Program::new(ours.join("bench")),
        theirs: there(shop, &mut peer, "nats.go")?.map(|()| Program::new(theirs.join("bench"))),
    })
}

fn in_python(shop: &mut Shop<'_>, sources: &Path) -> anyhow::Result<Measured> {
    let room = shop.room("bench-python")?;
    let (env, scripts) = (room.join("env"), room.join("bench"));
    c::tree(sources, &scripts)?;
    shop.must(Command::new("python3").args(["-m", "venv"]).arg(&env))?;
    let python = env.join("bin/python");
    let shelf = shop.dist.join("python");
    shop.must(python::pip(&python).args(["--no-index", "--find-links"]).arg(&shelf).arg("meshwire"))?;
    let theirs = there(shop, python::pip(&python).arg("nats-py>=2.10,<3"), "nats-py")?;
    Ok(Measured {
        ours: Program::script(python.clone(), &scripts.join("ours.py")),
        theirs: theirs.map(|()| Program::script(python, &scripts.join("theirs.py"))),
    })
}

fn in_node(shop: &mut Shop<'_>, sources: &Path) -> anyhow::Result<Measured> {
    let room = shop.room("bench-node")?;
    let (ours, theirs) = (room.join("ours"), room.join("theirs"));
    for folder in [&ours, &theirs] {
        c::tree(sources, folder)?;
        std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    }
    let mut tarballs = Vec::new();
    for entry in std::fs::read_dir(shop.dist.join("node")).context("there is no package of Node")? {
        tarballs.push(entry?.path());
    }
    shop.must(node::npm(&ours).args(["install", "--offline"]).args(&tarballs))?;
    let mut peer = node::npm(&theirs);
    peer.args(["install", "@nats-io/transport-node@3", "@nats-io/jetstream@3"]);
    let peer = there(shop, &mut peer, "nats.js")?;
    let script = |folder: &Path, name: &str| Program::script(PathBuf::from("node"), &folder.join(name));
    Ok(Measured { ours: script(&ours, "ours.mjs"), theirs: peer.map(|()| script(&theirs, "theirs.mjs")) })
}

/// Whether a registry gave what a peer is made of; else what is missing.
fn there(shop: &mut Shop<'_>, fetch: &mut Command, needs: &str) -> anyhow::Result<Result<(), String>> {
    let limit = std::time::Duration::from_secs(240);
    Ok(if shop.log.run(fetch, Some(limit))?.success { Ok(()) } else { Err(needs.to_owned()) })
}
