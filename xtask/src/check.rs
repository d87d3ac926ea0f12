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
    let commands: [(&'static str, Command); 4] = [
        ("format", workspace.cargo(&["fmt", "--all", "--check"])),
        ("clippy", { workspace.cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]) }),
        ("docs", {
            let mut command =
                workspace.cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
            command.env("RUSTDOCFLAGS", "-D warnings");
            command
        }),
        ("generated", generated(workspace, false)),
    ];
    let began = Instant::now();
    step("tidy", tidy::report(workspace), began)?;
    for (name, mut command) in commands {
        let began = Instant::now();
        step(name, show(&mut command), began)?;
    }
    if failed.is_empty() {
        println!("all is well");
    } else {
        println!("failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// Writes every generated file anew.
pub(crate) fn generate(workspace: &Workspace) -> anyhow::Result<bool> {
    show(&mut generated(workspace, true))
}

/// The test that makes each generated file and compares it with what is checked in, or writes it.
fn generated(workspace: &Workspace, write: bool) -> Command {
    let mut command = workspace.cargo(&["test", "--quiet", "-p", "meshwire-proto", "--test", "it", "generated"]);
    if write {
        command.env("MESHWIRE_GEN", "write");
    } else {
        command.env_remove("MESHWIRE_GEN");
    }
    command
}
