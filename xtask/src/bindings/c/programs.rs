//! Programs that are compiled against the installed package: the suite, the examples, those of the documentation, the testee.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::{Outcome, Profile, Shop, Skip};
use crate::bindings::gateway::Gateway;
use crate::bindings::snippets::{Snippet, all_are_run, snippets};

/// Where the package is installed, as `/usr/local` would be.
pub(in crate::bindings) struct Installed(pub(in crate::bindings) PathBuf);

/// What programs in C must compile with.
const STRICT: [&str; 6] = ["-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-g"];

/// What a snippet that is no whole program stands in.
const AROUND: [&str; 2] = [
    "#include <meshwire.h>\n#include <stdio.h>\n#include <stdlib.h>\nint main(void) {\n  mw_client *mesh = NULL;\n  mw_error *err = NULL;\n  if (mw_connect(&mesh, NULL, NULL, &err)) goto fail;\n  {\n",
    "  }\n  mw_close(mesh, -1);\n  return 0;\nfail:\n  fprintf(stderr, \"%s: %s\\n\", mw_error_name(err), mw_error_text(err));\n  return 1;\n}\n",
];

/// What comes before the lines of the page in a CMakeLists.txt.
const CMAKE: &str = "cmake_minimum_required(VERSION 3.16)\nproject(start C)\nadd_executable(start ../start.c)\n";

/// How a program finds the library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// C99 against the shared one, by pkg-config.
    Shared,
    /// C++17 against the archive, by pkg-config.
    Static,
    /// By CMake, against the shared one.
    Cmake,
    /// C99 against the archive, with the address sanitizer.
    Sanitized,
}

impl Way {
    /// Those of every run.
    pub(super) const ALL: [Self; 3] = [Self::Shared, Self::Static, Self::Cmake];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Static => "static",
            Self::Cmake => "cmake",
            Self::Sanitized => "sanitized",
        }
    }

    /// Compiles a program of a folder, given without its ending; one of many files is a folder in it.
    pub(super) fn build(
        self,
        shop: &mut Shop<'_>,
        installed: &Installed,
        (folder, program): (&Path, &str),
    ) -> anyhow::Result<PathBuf> {
        let built = folder.join(format!("{program}-{}", self.name()));
        let sources = sources(folder, program)?;
        match self {
            Self::Shared => shared(shop, installed, &sources, &built, &["meshwire"])?,
            Self::Static => {
                let mut cxx = Command::new("c++");
                cxx.args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-x", "c++", "-g", "-o"]).arg(&built);
                cxx.args(&sources).args(["-x", "none"]);
                cxx.args(installed.archived(shop)?);
                shop.must(&mut cxx)?;
            }
            Self::Sanitized => {
                let mut cc = Command::new("cc");
                cc.args(STRICT)
                    .args(["-fsanitize=address", "-fno-omit-frame-pointer", "-o"])
                    .arg(&built)
                    .args(&sources);
                cc.args(installed.archived(shop)?).arg("-pthread");
                shop.must(&mut cc)?;
            }
            Self::Cmake => {
                // Configured for each program; nothing is built twice.
                with_cmake(shop, installed, folder)?;
                return Ok(folder.join("build").join(program));
            }
        }
        Ok(built)
    }
}

/// What a program is made of: one file, or all of its folder, and what the programs beside it share.
pub(super) fn sources(folder: &Path, program: &str) -> anyhow::Result<Vec<PathBuf>> {
    let own = folder.join(program);
    if !own.is_dir() {
        return Ok(vec![folder.join(format!("{program}.c"))]);
    }
    let mut sources = vec![folder.join("harness.c")];
    sources.extend(c_files(&own)?);
    Ok(sources)
}

/// The sources of a folder.
fn c_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "c") {
            sources.push(path);
        }
    }
    Ok(sources)
}

/// Compiles the program that loads the shared library by itself, and runs it.
pub(super) fn loaded(shop: &mut Shop<'_>, installed: &Installed, suite: &Path) -> anyhow::Result<Outcome> {
    let built = suite.join("loaded-by-itself");
    let mut cc = Command::new("cc");
    cc.args(STRICT).arg("-o").arg(&built).arg(suite.join("loaded.c"));
    cc.arg(format!("-I{}", installed.0.join("include").display()));
    shop.must(cc.args(["-pthread", "-ldl"]))?;
    super::play(shop, Command::new(built).arg(installed.0.join("lib/libmeshwire.so.0")), "loaded by itself")
}

impl Installed {
    /// What pkg-config says of packages.
    pub(super) fn flags(&self, shop: &mut Shop<'_>, what: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut ask = Command::new("pkg-config");
        ask.env("PKG_CONFIG_PATH", self.0.join("lib/pkgconfig")).args(["--cflags", "--libs"]).args(what);
        let lines = shop.must(&mut ask)?;
        Ok(lines.join(" ").split_whitespace().map(str::to_owned).collect())
    }

    /// The same for the archive. The shared one stands beside it: the archive is named.
    fn archived(&self, shop: &mut Shop<'_>) -> anyhow::Result<Vec<String>> {
        let archive = self.0.join("lib/libmeshwire.a").display().to_string();
        let flags = self.flags(shop, &["--static", "meshwire"])?;
        Ok(flags.into_iter().map(|flag| if flag == "-lmeshwire" { archive.clone() } else { flag }).collect())
    }

    /// Where a program finds the shared one when it runs.
    pub(super) fn rpath(&self) -> String {
        format!("-Wl,-rpath,{}", self.0.join("lib").display())
    }
}

/// Builds a folder with CMake, into `build` in it.
pub(in crate::bindings) fn with_cmake(shop: &mut Shop<'_>, installed: &Installed, folder: &Path) -> anyhow::Result<()> {
    let to = folder.join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(folder).arg("-B").arg(&to);
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed.0.display()));
    shop.must(&mut configure)?;
    shop.must(Command::new("cmake").arg("--build").arg(&to))?;
    Ok(())
}

/// Compiles and runs the code of the documentation.
pub(super) fn page(shop: &mut Shop<'_>, installed: &Installed, folder: &Path) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(folder)?;
    let page = std::fs::read_to_string(shop.workspace.root.join("docs/c.md")).context("docs/c.md cannot be read")?;
    let mut sum = all_are_run(&page, "docs/c.md", &["c", "text", "sh", "cmake"]);
    for snippet in snippets(&page, "c") {
        let name = format!("line{}", snippet.line);
        let [before, behind] = AROUND;
        let code = if snippet.code.contains("int main(") {
            snippet.code.clone()
        } else {
            format!("{before}#line {} \"docs/c.md\"\n{}{behind}", snippet.line, snippet.code)
        };
        std::fs::write(folder.join(format!("{name}.c")), code)?;
        let built = Way::Shared.build(shop, installed, (folder, &name))?;
        sum.add(printed(shop, folder, &built, &snippet)?);
    }
    sum.add(as_told(shop, installed, folder, &page)?);
    Ok(sum)
}

/// Builds the program that the page begins with in each way that the page tells, and runs it.
fn as_told(shop: &mut Shop<'_>, installed: &Installed, folder: &Path, page: &str) -> anyhow::Result<Outcome> {
    let start = snippets(page, "c").into_iter().next().context("docs/c.md has no program")?;
    std::fs::write(folder.join("start.c"), &start.code)?;
    for commands in snippets(page, "sh") {
        let mut run = Command::new("sh");
        shop.must(run.args(["-ec", commands.code.as_str()]).current_dir(folder).env("P", &installed.0))?;
    }
    for (library, place) in [("meshwire::meshwire", "by-cmake"), ("meshwire::static", "by-cmake-static")] {
        std::fs::create_dir_all(folder.join(place))?;
        let lines: String = snippets(page, "cmake").into_iter().map(|lines| lines.code).collect();
        let lines = lines.replace("meshwire::meshwire", library);
        std::fs::write(folder.join(place).join("CMakeLists.txt"), format!("{CMAKE}{lines}"))?;
        with_cmake(shop, installed, &folder.join(place))?;
    }
    let mut sum = Outcome::default();
    for name in ["start", "start-static", "by-cmake/build/start", "by-cmake-static/build/start"] {
        let program = folder.join(name);
        sum.add(printed(shop, folder, &program, &start)?);
        let needed = shop.must(Command::new("objdump").arg("-p").arg(&program))?;
        let is_shared = needed.iter().any(|line| line.contains(super::SONAME));
        let good = is_shared != name.contains("static");
        let shown = vec![format!("docs/c.md: {name} is linked with the other library than the page says")];
        sum.add(Outcome::one(good, if good { Vec::new() } else { shown }));
    }
    Ok(sum)
}

/// Runs a program of the page at a gateway of its own, and compares what it prints.
fn printed(shop: &mut Shop<'_>, folder: &Path, program: &Path, snippet: &Snippet) -> anyhow::Result<Outcome> {
    let gateway = Gateway::start(shop.workspace)?;
    let mut run = Command::new(program);
    run.env("MESHWIRE_URL", gateway.url()).env("MESHWIRE_BIN", shop.workspace.built(Profile::Dev, "meshwire"));
    let finished = shop.log.run(run.current_dir(folder), Some(Duration::from_secs(60)))?;
    let printed: String = finished.lines.iter().flat_map(|line| [line, "\n"]).collect();
    let good = finished.success && snippet.prints.as_ref().is_none_or(|prints| *prints == printed);
    let shown = vec![format!("docs/c.md, line {}: {} printed", snippet.line, program.display()), printed];
    Ok(Outcome::one(good, if good { Vec::new() } else { shown }))
}

/// Compiles a program against the shared library and what else pkg-config knows by these names.
pub(super) fn shared(
    shop: &mut Shop<'_>,
    installed: &Installed,
    sources: &[PathBuf],
    program: &Path,
    libraries: &[&str],
) -> anyhow::Result<()> {
    let mut cc = Command::new("cc");
    cc.args(STRICT).arg("-o").arg(program).args(sources).args(installed.flags(shop, libraries)?);
    shop.must(cc.arg("-pthread").arg(installed.rpath())).map(|_| ())
}

/// Compiles the conformance testee.
pub(super) fn testee(shop: &mut Shop<'_>, installed: &Installed) -> anyhow::Result<Outcome> {
    if !has_cjson(shop)? {
        return Ok(Outcome {
            skipped: vec![Skip { needs: "libcjson-dev".into(), test: "the testee in C".into() }],
            ..Outcome::default()
        });
    }
    let sources = c_files(&shop.testee_sources("c"))?;
    shared(shop, installed, &sources, &shop.testee("c"), &["meshwire", "libcjson"])?;
    Ok(Outcome::one(true, Vec::new()))
}

/// Whether there is cJSON, which Debian has; only root may install it.
fn has_cjson(shop: &mut Shop<'_>) -> anyhow::Result<bool> {
    let mut found = || {
        Ok::<_, anyhow::Error>(shop.log.run(Command::new("pkg-config").args(["--exists", "libcjson"]), None)?.success)
    };
    if found()? {
        return Ok(true);
    }
    let script = "test \"$(id -u)\" = 0 && command -v apt-get >/dev/null && apt-get install -y --no-install-recommends libcjson-dev";
    let installed = shop.log.run(Command::new("sh").args(["-c", script]), Some(Duration::from_secs(120)))?.success;
    Ok(installed && shop.log.run(Command::new("pkg-config").args(["--exists", "libcjson"]), None)?.success)
}
