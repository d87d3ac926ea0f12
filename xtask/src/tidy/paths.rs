//! Paths that begin with `crate` or `super`, written out from the crate's root.

use super::source::{is_word, line_of, module_folder, starts_word};

/// One path: its line, and its words from the crate's root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CratePath {
    pub(crate) line: usize,
    pub(crate) words: Vec<String>,
}

/// Every such path of a file, groups of a `use` written out.
pub(crate) fn crate_paths(path: &str, code: &str) -> Vec<CratePath> {
    let module = module_of(path);
    let mut found = Vec::new();
    for (at, root) in roots(code) {
        let rest = code.get(at + root.len()..).unwrap_or_default();
        let (supers, rest) = if root == "super" { leading_supers(rest) } else { (0, rest) };
        let base = match root {
            // Inside an inline module `super` is the file itself; such paths then look one step too high and match no rule.
            "super" => module.get(..module.len().saturating_sub(1 + supers)).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        };
        let mut tree = Tree { rest, found: Vec::new() };
        tree.read(&base);
        let line = line_of(code, at);
        found.extend(tree.found.into_iter().map(|words| CratePath { line, words }));
    }
    found
}

/// The module that a file is, as words from the crate's root.
fn module_of(path: &str) -> Vec<String> {
    let inside = module_folder(path);
    let inside = inside.split_once("/src/").map_or("", |(_, inside)| inside);
    inside.split('/').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn roots(code: &str) -> Vec<(usize, &'static str)> {
    let mut found: Vec<(usize, &'static str)> = Vec::new();
    for root in ["crate", "super"] {
        for (at, _) in code.match_indices(root) {
            let behind_colons = code.get(..at).is_some_and(|before| before.ends_with("::"));
            let before_colons = code.get(at + root.len()..).is_some_and(|rest| rest.starts_with("::"));
            if starts_word(code, at) && before_colons && !behind_colons {
                found.push((at, root));
            }
        }
    }
    found.sort_unstable();
    found
}

fn leading_supers(mut rest: &str) -> (usize, &str) {
    let mut count = 0;
    while let Some(next) = rest.strip_prefix("::super") {
        count += 1;
        rest = next;
    }
    (count, rest)
}

/// Reads `::a::{b, c::d}` into `a::b` and `a::c::d`.
struct Tree<'a> {
    rest: &'a str,
    found: Vec<Vec<String>>,
}

impl Tree<'_> {
    fn read(&mut self, base: &[String]) {
        let mut words = base.to_vec();
        while let Some(rest) = self.rest.strip_prefix("::") {
            self.rest = rest;
            if let Some(rest) = rest.strip_prefix('{') {
                self.rest = rest;
                return self.group(&words);
            }
            match self.word() {
                Some(word) => words.push(word),
                None => {
                    self.rest = rest.strip_prefix('*').unwrap_or(rest);
                    break;
                }
            }
        }
        self.found.push(words);
    }

    fn group(&mut self, base: &[String]) {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return;
            }
            let mut words = base.to_vec();
            match self.word() {
                Some(word) => words.push(word),
                // A `*`, or something that is no `use` at all.
                None => match self.rest.strip_prefix('*') {
                    Some(rest) => self.rest = rest,
                    None => return,
                },
            }
            self.read(&words);
            self.rename();
        }
    }

    fn word(&mut self) -> Option<String> {
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
        self.rest = rest;
        Some(word.to_owned())
    }

    fn rename(&mut self) {
        if let Some(rest) = self.rest.trim_start().strip_prefix("as ") {
            self.rest = rest.trim_start();
            let _name = self.word();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::crate_paths;

    fn paths(path: &str, code: &str) -> Vec<String> {
        crate_paths(path, code).into_iter().map(|p| p.words.join("::")).collect()
    }

    #[test]
    fn groups_are_written_out() {
        let code = "use crate::store::{Op, log::{self, Disk as D}, memory::*};";
        assert_eq!(
            paths("gateway/src/engine/mod.rs", code),
            ["store::Op", "store::log::self", "store::log::Disk", "store::memory"]
        );
    }

    #[test]
    fn super_is_resolved_from_the_file() {
        assert_eq!(paths("gateway/src/engine/lease.rs", "use super::group::Group;"), ["engine::group::Group"]);
        assert_eq!(paths("gateway/src/engine/lease.rs", "super::super::store::log::X"), ["store::log::X"]);
        assert_eq!(paths("gateway/src/engine/mod.rs", "use super::mesh::Mesh;"), ["mesh::Mesh"]);
    }

    #[test]
    fn paths_inside_expressions_and_visibility_are_told_apart() {
        assert_eq!(paths("gateway/src/a.rs", "pub(crate) fn f() { crate::b::c(1) }"), ["b::c"]);
    }
}
