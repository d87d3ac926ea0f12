//! `check` and `gen`: is everything as it should be before a push.

use std::process::Command;
use std::time::Instant;

use crate::process::show;
use crate::tidy;
use crate::workspace::Workspace;

/// Format, lints, documentation, house rules, generated files. Goes through all of them and names what failed.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<bool> {
    let mut failed = Vec::new();
    let mut step = |name: &'static str, ran: anyhow::Result<bool>, began: Instant| -> anyhow::Result<()> {
        let passed = ran?;
        println!("{name:<10} {} {:>6.1} s", if passed { "ok    " } else { "FAILED" }, began.elapsed().as_secs_f64());
        if !passed {
            failed.push(name);
        }
        Ok(())
    };
    let commands: [(&'static str, Command); 5] = [
        ("format", workspace.cargo(&["fmt", "--all", "--check"])),
        ("clippy", workspace.cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        // What users read must not link to what they cannot see; the rest is read with its private items.
        ("docs", docs(workspace, &["-p", "meshwire", "-p", "meshwire-proto"], "-D warnings")),
        ("inner docs", {
            let rest =
                ["--workspace", "--exclude", "meshwire", "--exclude", "meshwire-proto", "--document-private-items"];
            docs(workspace, &rest, "-D warnings -A rustdoc::private-intra-doc-links")
        }),
        ("generated", generated(workspace, &["--workspace"])),
    ];
    let began = Instant::now();
    step("tidy", tidy::report(workspace), began)?;
    for (name, mut command) in commands {
        let began = Instant::now();
        step(name, show(&mut command), began)?;
    }
    let began = Instant::now();
    step("features", features(workspace), began)?;
    if failed.is_empty() {
        println!("all is well");
    } else {
        println!("failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// Writes every generated file anew: the tables first, of which the header of C is made, and last what is read of all languages.
pub(crate) fn generate(workspace: &Workspace) -> anyhow::Result<bool> {
    for package in ["meshwire-proto", "meshwire-c", "meshwire-parity"] {
        if !show(generated(workspace, &["-p", package]).env("MESHWIRE_GEN", "write"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The client with every transport alone, with TLS alone, and with nothing but TCP.
const FEATURES: [&str; 5] = ["", "grpc", "http", "tls", "websocket"];

/// Lints the client for each of [`FEATURES`]: with all of them it is linted beside everything else.
fn features(workspace: &Workspace) -> anyhow::Result<bool> {
    for features in FEATURES {
        let mut clippy = workspace.cargo(&["clippy", "--quiet", "-p", "meshwire", "--lib", "--no-default-features"]);
        clippy.args(["--features", features, "--", "-D", "warnings"]);
        if !show(&mut clippy)? {
            println!("crate meshwire with the features {features:?} alone");
            return Ok(false);
        }
    }
    Ok(true)
}

/// The test that makes each generated file and compares it with what is checked in.
fn generated(workspace: &Workspace, packages: &[&str]) -> Command {
    let mut command = workspace.cargo(&["test", "--quiet"]);
    command.args(packages).args(["--test", "it", "generated"]).env_remove("MESHWIRE_GEN");
    command
}

fn docs(workspace: &Workspace, packages: &[&str], lints: &str) -> Command {
    let mut command = workspace.cargo(&["doc", "--quiet", "--no-deps"]);
    command.args(packages).env("RUSTDOCFLAGS", lints);
    command
}
