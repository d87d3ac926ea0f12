//! Compares with what is checked in. `MESHWIRE_GEN=write` (set by `cargo xtask gen`) writes instead.

use std::path::{Path, PathBuf};

use meshwire_parity::{Language, read};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn settle(path: &Path, content: &str) {
    if std::env::var_os("MESHWIRE_GEN").is_some_and(|value| value == "write") {
        std::fs::write(path, content).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let news: Vec<&str> = content.lines().filter(|line| !found.lines().any(|old| old == *line)).collect();
    let gone: Vec<&str> = found.lines().filter(|line| !content.lines().any(|new| new == *line)).collect();
    let path = path.display();
    assert!(found == content, "{path} is not what its source says: new {news:#?}, gone {gone:#?}; if it is meant, run `cargo xtask gen`");
}

fn snapshot(language: Language, name: &str, needs: &str) {
    match read(&root(), language).unwrap() {
        Some(api) => settle(&root().join("bindings/parity/api").join(name), &api.to_string()),
        None => println!("skipped: needs {needs}"),
    }
}

#[test]
fn the_public_api_of_rust_is_what_it_was() {
    snapshot(Language::Rust, "rust.txt", "");
}

#[test]
fn the_public_api_of_python_is_what_it_was() {
    snapshot(Language::Python, "python.txt", "python3");
}

#[test]
fn the_public_api_of_node_is_what_it_was() {
    snapshot(Language::Node, "node.txt", "");
}

#[test]
fn the_public_api_of_c_is_what_it_was() {
    snapshot(Language::C, "c.txt", "");
}

#[test]
fn the_public_api_of_go_is_what_it_was() {
    snapshot(Language::Go, "go.txt", "go");
}
