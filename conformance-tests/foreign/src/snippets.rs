//! The snippets of docs/foreign-clients.md are parts of the programs here.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

/// In a program: `snippet: NAME` in a comment, the lines, `snippet end` in a comment.
fn of_program(text: &str, found: &mut BTreeMap<String, String>) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((_, name)) = line.split_once("snippet: ") {
            let snippet: Vec<&str> = lines.by_ref().take_while(|line| !line.contains("snippet end")).collect();
            let blanks = |line: &&str| line.len() - line.trim_start().len();
            let least = snippet.iter().filter(|line| !line.is_empty()).map(blanks).min().unwrap_or_default();
            let snippet: Vec<&str> = snippet.iter().map(|line| line.get(least..).unwrap_or_default()).collect();
            found.insert(name.trim().to_owned(), snippet.join("\n").trim().to_owned());
        }
    }
}

/// On the page: `<!-- snippet: NAME -->` and a block of code.
fn of_page(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in text.split("<!-- snippet: ").skip(1) {
        let (name, rest) = part.split_once(" -->\n```").unwrap();
        let block = rest.split_once('\n').unwrap().1.split_once("\n```").unwrap().0;
        found.insert(name.to_owned(), block.to_owned());
    }
    found
}

fn programs(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            programs(&path, found);
        } else if path.extension().is_some_and(|end| ["py", "js", "mjs", "go", "java", "sh"].iter().any(|e| end == *e))
        {
            of_program(&std::fs::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn the_page_shows_what_the_programs_do() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../../docs/foreign-clients.md")).unwrap();
    let mut expected = BTreeMap::new();
    programs(here, &mut expected);
    let shown = of_page(&page);
    for (name, snippet) in &expected {
        assert_eq!(shown.get(name), Some(snippet), "docs/foreign-clients.md has another snippet {name}");
    }
    assert_eq!(shown.len(), expected.len(), "docs/foreign-clients.md shows a snippet of no program");
    assert!(expected.len() >= 8, "snippets are found at all");
}
