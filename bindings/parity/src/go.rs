//! Go: what `go doc` shows of the packages.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::api::Api;
use crate::source::{body, depth, without_comments};

/// The packages, and what stands before the names of each.
const PACKAGES: [(&str, &str); 2] = [("", ""), ("meshwiretest", "meshwiretest.")];

/// Reads the packages. `None`: there is no `go`.
pub(crate) fn read(root: &Path) -> anyhow::Result<Option<Api>> {
    let mut api = Api::default();
    for (folder, prefix) in PACKAGES {
        let mut doc = Command::new("go");
        doc.args(["doc", "-all", "."]).current_dir(root.join("bindings/go").join(folder));
        // Nothing is fetched: the sources are here. Files that need cgo count, whether there is a compiler or not.
        doc.env("GOPROXY", "off").env("GOWORK", "off").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "1");
        let said = match doc.output() {
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            said => said.context("go cannot be run")?,
        };
        let problem = || String::from_utf8_lossy(&said.stderr).into_owned();
        anyhow::ensure!(said.status.success(), "go doc failed: {}", problem());
        documented(&mut api, &String::from_utf8_lossy(&said.stdout), prefix).with_context(problem)?;
    }
    Ok(Some(api))
}

fn documented(api: &mut Api, text: &str, prefix: &str) -> anyhow::Result<()> {
    // What is said of a declaration is indented by blanks, what belongs to it by tabs.
    let (_, text) = ["\nVARIABLES\n", "\nCONSTANTS\n", "\nFUNCTIONS\n", "\nTYPES\n"]
        .iter()
        .filter_map(|head| text.split_once(head))
        .max_by_key(|(_, rest)| rest.len())
        .context("go doc shows no section")?;
    let mut whole = String::new();
    for line in text.lines().filter(|line| !line.starts_with("    ")) {
        let line = without_comments(line);
        if whole.is_empty() && !["const ", "func ", "type ", "var "].iter().any(|word| line.starts_with(word)) {
            continue;
        }
        whole.push_str(&line);
        whole.push('\n');
        if depth(&whole) == 0 {
            declaration(api, std::mem::take(&mut whole).trim(), prefix).with_context(|| format!("in {line:?}"))?;
        }
    }
    anyhow::ensure!(whole.is_empty(), "{whole:?} has no end");
    Ok(())
}

fn declaration(api: &mut Api, whole: &str, prefix: &str) -> anyhow::Result<()> {
    let (kind, rest) = whole.split_once(' ').context("it has no name")?;
    match kind {
        "var" | "const" => {
            let lines = rest.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(rest);
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                api.add(format!("{prefix}{}", word(line)), format!("{kind} {line}"));
            }
        }
        "func" => {
            let name = match rest.strip_prefix('(') {
                Some(method) => {
                    let (receiver, method) = method.split_once(") ").context("its receiver has no end")?;
                    let of = receiver.rsplit([' ', '*']).next().context("its receiver has no type")?;
                    format!("{prefix}{of}.{}", word(method))
                }
                None => format!("{prefix}{}", word(rest)),
            };
            api.add(name, whole);
        }
        _ => {
            let name = format!("{prefix}{}", word(rest));
            let Some((head, inner)) = body(whole).filter(|(head, _)| !head.contains('(')) else {
                api.add(name, whole);
                return Ok(());
            };
            api.add(&*name, head);
            fields(api, &name, inner);
        }
    }
    Ok(())
}

fn fields(api: &mut Api, of: &str, inner: &str) {
    let mut whole = String::new();
    for line in inner.lines() {
        // Tags are how it travels, which the core decides.
        whole.push_str(line.split('`').next().unwrap_or_default());
        whole.push(' ');
        if depth(&whole) != 0 {
            continue;
        }
        let field = std::mem::take(&mut whole).trim().to_owned();
        let name = word(&field);
        let is_method = field.get(name.len()..).is_some_and(|rest| rest.starts_with('('));
        match field.split_once(' ') {
            None if field.is_empty() => {}
            _ if is_method => api.add(format!("{of}.{name}"), &field),
            // What is embedded has no name of its own.
            None => api.add(format!("{of}.({})", field.trim_start_matches('*')), &field),
            Some(_) => {
                // The last of several names has the type behind it.
                let mut rest = field.as_str();
                let mut names = vec![];
                while let Some((name, more)) = rest.split_once(", ").filter(|(name, _)| !name.contains(' ')) {
                    names.push(name);
                    rest = more;
                }
                let (name, ty) = rest.split_once(' ').unwrap_or((rest, ""));
                names.push(name);
                names.iter().for_each(|name| api.add(format!("{of}.{name}"), format!("{name} {}", ty.trim())));
            }
        }
    }
}

fn word(text: &str) -> &str {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default()
}
