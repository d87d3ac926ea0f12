//! Compares with what is checked in. `MESHWIRE_GEN=write` (set by `cargo xtask gen`) writes instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Once;

use meshwire_parity::{Api, Catalogue, LANGUAGES, Language, Parity, page, read};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn is_writing() -> bool {
    std::env::var_os("MESHWIRE_GEN").is_some_and(|value| value == "write")
}

fn settle(path: &Path, content: &str) {
    if is_writing() {
        std::fs::write(path, content).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let news: Vec<&str> = content.lines().filter(|line| !found.lines().any(|old| old == *line)).collect();
    let gone: Vec<&str> = found.lines().filter(|line| !content.lines().any(|new| new == *line)).collect();
    let path = path.display();
    assert!(
        found == content,
        "{path} is not what its source says: new {news:#?}, gone {gone:#?}; if it is meant, run `cargo xtask gen`"
    );
}

fn kept(language: Language) -> PathBuf {
    root().join("bindings/parity/api").join(format!("{language}.txt").to_lowercase())
}

/// Compares the snapshot of a language.
fn snapshot(language: Language, needs: &str) {
    if is_writing() {
        // Each is written once, before the page that is made of them.
        static WRITTEN: Once = Once::new();
        WRITTEN.call_once(|| {
            for language in LANGUAGES {
                let api = read(&root(), language).unwrap();
                settle(&kept(language), &api.unwrap_or_else(|| panic!("{language} is not here")).to_string());
            }
        });
        return;
    }
    match read(&root(), language).unwrap() {
        Some(api) => settle(&kept(language), &api.to_string()),
        None => println!("skipped: needs {needs}"),
    }
}

#[test]
fn the_public_api_of_rust_is_what_it_was() {
    snapshot(Language::Rust, "");
}

#[test]
fn the_public_api_of_python_is_what_it_was() {
    snapshot(Language::Python, "python3");
}

#[test]
fn the_public_api_of_node_is_what_it_was() {
    snapshot(Language::Node, "");
}

#[test]
fn the_public_api_of_c_is_what_it_was() {
    snapshot(Language::C, "");
}

#[test]
fn the_public_api_of_go_is_what_it_was() {
    snapshot(Language::Go, "go");
}

/// Of what is checked in, so that it can be made where a language is not.
fn parity() -> Parity {
    if is_writing() {
        snapshot(Language::Rust, "");
    }
    let api = |language| {
        let text = std::fs::read_to_string(kept(language)).unwrap();
        (language, Api::parse(&text).unwrap())
    };
    let apis: BTreeMap<Language, Api> = LANGUAGES.into_iter().map(api).collect();
    let mapping = std::fs::read_to_string(root().join("bindings/parity/parity.toml")).unwrap();
    Parity::new(&mapping, &apis, &Catalogue::read(&root()).unwrap()).unwrap()
}

#[test]
fn the_page_of_who_has_what_is_what_the_snapshots_say() {
    settle(&root().join("docs/parity.md"), &page(&parity()));
}

#[test]
fn every_public_item_is_in_the_table_and_no_cell_is_empty_without_a_reason() {
    let problems = parity().problems;
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
