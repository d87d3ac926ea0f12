//! Which of our crates may depend on which, read from the manifests.

use anyhow::Context;

use super::Finding;
use super::files::Files;

/// Each crate and those of ours that it may depend on. A new arrow is an edit here.
const ARROWS: &[(&str, &[&str])] = &[
    ("meshwire-proto", &[]),
    ("meshwire-tls", &["meshwire-proto", "meshwire-certificates"]),
    ("meshwire", &["meshwire-proto", "meshwire-tls", "meshwire-certificates"]),
    ("meshwire-embed", &["meshwire-proto", "meshwire"]),
    ("meshwire-embed-model", &[]),
    ("meshwire-c", &["meshwire-embed"]),
    ("meshwire-node", &["meshwire-embed"]),
    ("meshwire-python", &["meshwire-embed"]),
    // Reads sources, and uses none of them.
    ("meshwire-parity", &[]),
    ("meshwire-gateway", &["meshwire-proto", "meshwire-tls", "meshwire-certificates"]),
    (
        "meshwire-cli",
        &[
            "meshwire-proto",
            "meshwire",
            "meshwire-gateway",
            "meshwire-history",
            "meshwire-certificates",
            // For the fidelity set, in tests.
            "meshwire-foreign",
        ],
    ),
    ("meshwire-history", &[]),
    // For tests alone.
    ("meshwire-certificates", &[]),
    ("meshwire-simulation", &["meshwire-proto", "meshwire", "meshwire-gateway", "meshwire-history"]),
    ("meshwire-examples", &["meshwire"]),
    ("meshwire-bench", &["meshwire-proto", "meshwire"]),
    // A peer that lies is written from the frame table by hand: no proto here.
    ("meshwire-conformance", &["meshwire", "meshwire-history", "meshwire-certificates"]),
    ("meshwire-testee", &["meshwire"]),
    ("meshwire-foreign", &["meshwire"]),
    ("meshwire-planted", &["meshwire", "meshwire-gateway", "meshwire-testee"]),
    ("xtask", &[]),
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(crate) fn check(files: &Files) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for text in files.texts.iter().filter(|t| t.path.ends_with("/Cargo.toml")) {
        let manifest: toml::Table = text.content.parse().with_context(|| format!("{} is not a manifest", text.path))?;
        findings.extend(check_manifest(&text.path, &manifest));
    }
    Ok(findings)
}

fn check_manifest(path: &str, manifest: &toml::Table) -> Vec<Finding> {
    let finding = |text| Finding { path: path.to_owned(), line: 0, rule: "crate-arrow", text };
    let name = manifest.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()).unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        return vec![finding(format!("crate `{name}` is not in the table of xtask/src/tidy/manifests.rs"))];
    };
    let targets = manifest.get("target").and_then(|t| t.as_table());
    let tables =
        std::iter::once(manifest).chain(targets.into_iter().flat_map(|t| t.values()).filter_map(|t| t.as_table()));
    let mut findings = Vec::new();
    for dependency in tables.flat_map(dependencies) {
        let ours = ARROWS.iter().any(|(of, _)| *of == dependency);
        if ours && dependency != name && !allowed.contains(&dependency.as_str()) {
            findings.push(finding(format!("`{name}` must not depend on `{dependency}`")));
        }
    }
    findings
}

/// Names of the packages behind every dependency of a table.
fn dependencies(table: &toml::Table) -> Vec<String> {
    let sections = SECTIONS.iter().filter_map(|section| table.get(*section)?.as_table());
    let package = |(name, value): (&String, &toml::Value)| {
        value.get("package").and_then(|p| p.as_str()).unwrap_or(name).to_owned()
    };
    sections.flat_map(|section| section.iter().map(package)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::check_manifest;

    fn check(manifest: &str) -> Vec<String> {
        check_manifest("x/Cargo.toml", &manifest.parse().unwrap()).into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn client_and_gateway_never_meet() {
        let found = check("[package]\nname = \"meshwire\"\n[dev-dependencies]\nmeshwire-gateway.workspace = true\n");
        assert_eq!(found, ["`meshwire` must not depend on `meshwire-gateway`"]);
        let found = check(
            "[package]\nname = \"meshwire-gateway\"\n[target.'cfg(unix)'.dependencies]\nx = { package = \"meshwire\" }\n",
        );
        assert_eq!(found, ["`meshwire-gateway` must not depend on `meshwire`"]);
    }

    #[test]
    fn an_allowed_arrow_is_no_finding() {
        assert!(check("[package]\nname = \"meshwire-cli\"\n[dependencies]\nmeshwire.workspace = true\n").is_empty());
    }

    #[test]
    fn a_crate_that_nobody_placed_is_found() {
        assert_eq!(check("[package]\nname = \"meshwire-new\"\n").len(), 1);
    }
}
