//! Who has what: `parity.toml` held against the snapshots and the catalogues.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Context;
use serde::Deserialize;

use crate::api::Api;
use crate::catalogue::{Catalogue, ClientOption};

/// A language of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// The crate.
    Rust,
    /// The package, for asyncio and without.
    Python,
    /// The package of npm.
    Node,
    /// The library.
    C,
    /// The module.
    Go,
}

/// All, as the columns stand.
pub const LANGUAGES: [Language; 5] = [Language::Rust, Language::Python, Language::Node, Language::C, Language::Go];

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Node => "Node",
            Self::C => "C",
            Self::Go => "Go",
        })
    }
}

/// What stands in the table for each language.
///
/// Names of the snapshot with commas between them, `*` for any characters. `= words`: it is had without an item of its own. `- words`:
/// it is not there, and why. A name behind `!` belongs to it and is not shown.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cells {
    rust: String,
    python: String,
    node: String,
    c: String,
    go: String,
}

impl Cells {
    pub(crate) fn of(&self, language: Language) -> &str {
        match language {
            Language::Rust => &self.rust,
            Language::Python => &self.python,
            Language::Node => &self.node,
            Language::C => &self.c,
            Language::Go => &self.go,
        }
    }
}

/// A thing that a program can do.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) section: String,
    pub(crate) what: String,
    /// The administrative command that does it.
    pub(crate) command: Option<String>,
    #[serde(flatten)]
    pub(crate) cells: Cells,
}

/// A thing that tells several others, the same in every language.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) what: String,
    /// Names that mean one thing, with blanks between them.
    #[serde(default)]
    same: Vec<String>,
    /// What a language has or leaves out alone, and why.
    #[serde(default)]
    pub(crate) but: BTreeMap<Language, BTreeMap<String, String>>,
    #[serde(flatten)]
    pub(crate) cells: Cells,
}

/// How an option is said where its name alone does not tell.
#[derive(Clone, Debug, Default, Deserialize)]
struct Said {
    rust: Option<String>,
    python: Option<String>,
    node: Option<String>,
    c: Option<String>,
    go: Option<String>,
}

/// Public items that are in no row.
#[derive(Clone, Debug, Deserialize)]
struct Besides {
    language: Language,
    items: String,
    why: String,
}

/// Which items of each language do what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    row: Vec<Row>,
    record: Vec<Record>,
    option: BTreeMap<String, Said>,
    besides: Vec<Besides>,
}

/// The whole table.
#[derive(Clone, Debug)]
pub struct Parity {
    pub(crate) rows: Vec<Row>,
    pub(crate) records: Vec<Record>,
    /// Fields of each record.
    pub(crate) fields: Vec<BTreeSet<String>>,
    pub(crate) options: Vec<(String, Cells)>,
    pub(crate) errors: Vec<(String, Cells)>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

impl Parity {
    /// Holds the mapping against the snapshots and the catalogues.
    ///
    /// # Errors
    /// A text that cannot be read. What is wrong with the table is among its problems.
    pub fn new(mapping: &str, apis: &BTreeMap<Language, Api>, catalogue: &Catalogue) -> anyhow::Result<Self> {
        let file: File = toml::from_str(mapping).context("parity.toml cannot be read")?;
        let mut check = Check { apis, covered: BTreeMap::new(), problems: Vec::new() };
        for row in &file.row {
            check.cells(&row.what, &row.cells);
        }
        let commands: BTreeSet<&str> = file.row.iter().filter_map(|row| row.command.as_deref()).collect();
        check.same_names("administrative command", &commands, &catalogue.commands.iter().map(String::as_str).collect());
        let fields = file.record.iter().map(|record| check.record(record)).collect();
        let known: BTreeSet<&str> = catalogue.options.iter().map(|option| option.name.as_str()).collect();
        check.same_names("option", &file.option.keys().map(String::as_str).collect(), &known);
        let mut options = Vec::new();
        for option in &catalogue.options {
            let cells = check.option(option, file.option.get(&option.name).cloned().unwrap_or_default());
            options.push((option.name.clone(), cells));
        }
        let errors = catalogue.errors.iter().map(|code| (code.clone(), check.error(code))).collect();
        check.besides(&file.besides);
        check.left_over();
        Ok(Self { rows: file.row, records: file.record, fields, options, errors, problems: check.problems })
    }
}

/// What problems of items that are in no row are about.
const BESIDES: &str = "besides";

/// What a cell says.
pub(crate) enum Cell<'a> {
    /// Names of items.
    Items(Vec<&'a str>),
    /// It is had in another way.
    Otherwise(&'a str),
    /// It is not there.
    Absent(&'a str),
}

impl<'a> Cell<'a> {
    /// `None`: an empty cell, or a reason that says nothing.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let words = |rest: &'a str| Some(rest.trim()).filter(|words| !words.is_empty());
        if let Some(rest) = text.strip_prefix('=') {
            return words(rest).map(Self::Otherwise);
        }
        if let Some(rest) = text.strip_prefix("- ") {
            return words(rest).map(Self::Absent);
        }
        let items: Vec<&str> = text.split(", ").map(str::trim).filter(|one| !one.is_empty()).collect();
        (!items.is_empty() && text.trim() != "-").then_some(Self::Items(items))
    }
}

struct Check<'a> {
    apis: &'a BTreeMap<Language, Api>,
    covered: BTreeMap<Language, BTreeSet<String>>,
    problems: Vec<String>,
}

/// Whether a name is meant: `*` is any characters, and `Type.*` the type too.
fn is_meant(pattern: &str, name: &str) -> bool {
    if pattern.strip_suffix("::*").or_else(|| pattern.strip_suffix(".*")) == Some(name) {
        return true;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
        last = part;
    }
    rest.is_empty() || (pattern.contains('*') && (last.is_empty() || name.ends_with(last)))
}

/// How `meshwire.sync` calls what asyncio has.
fn without_await(name: &str) -> String {
    let plain =
        name.replace("__aenter__", "__enter__").replace("__aiter__", "__iter__").replace("__anext__", "__next__");
    format!("sync.{plain}")
}

/// A name as all languages would have it: `Stats.replaysById` and `Stats.ReplaysByID` are `replays_by_id`.
fn plain(name: &str) -> String {
    let last = name.rsplit(['.', ':', '(']).next().unwrap_or_default().trim_end_matches(')');
    let mut out = String::new();
    let mut before = '_';
    for c in last.chars() {
        if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
        before = c;
    }
    // Durations say their unit where the language has no type for them.
    out.strip_suffix("_ms").unwrap_or(&out).to_owned()
}

impl Check<'_> {
    fn cells(&mut self, what: &str, cells: &Cells) {
        for language in LANGUAGES {
            match Cell::read(cells.of(language)) {
                None => self
                    .problems
                    .push(format!("{what:?} says nothing for {language}: name an item, or say why there is none")),
                Some(Cell::Items(items)) => {
                    for item in items {
                        self.cover(language, item.trim_start_matches('!'), what);
                    }
                }
                Some(Cell::Otherwise(_) | Cell::Absent(_)) => {}
            }
        }
    }

    /// The names of the snapshot that a name or pattern means, which are then in the table.
    fn cover(&mut self, language: Language, pattern: &str, what: &str) -> Vec<String> {
        let Some(api) = self.apis.get(&language) else { return Vec::new() };
        let of_sync = |name: &str| name.starts_with("sync.") && !pattern.starts_with("sync.");
        let found: Vec<String> =
            api.names().filter(|name| is_meant(pattern, name) && !of_sync(name)).map(str::to_owned).collect();
        if found.is_empty() {
            self.problems.push(format!("{what:?}: {language} has no {pattern}"));
        }
        let covered = self.covered.entry(language).or_default();
        covered.extend(found.iter().cloned());
        for name in found.iter().filter(|_| language == Language::Python) {
            let twin = without_await(name);
            let of = twin.split(['.', '(']).nth(1).unwrap_or_default();
            if api.has(&twin) {
                covered.insert(twin);
            } else if what != BESIDES
                && api.has(&format!("sync.{of}"))
                && !name.starts_with("sync.")
                && !name.contains("__")
            {
                self.problems.push(format!("{what:?}: meshwire has {name}, and meshwire.sync has not"));
            }
        }
        found
    }

    fn same_names(&mut self, what: &str, said: &BTreeSet<&str>, known: &BTreeSet<&str>) {
        for name in known.difference(said) {
            self.problems.push(format!("parity.toml does not have the {what} {name}"));
        }
        for name in said.difference(known) {
            self.problems.push(format!("there is no {what} {name}, which parity.toml has"));
        }
    }

    /// All fields that any language has; what one has not must be told.
    fn record(&mut self, record: &Record) -> BTreeSet<String> {
        let one_name = |name: &str| {
            let name = plain(name);
            let alias = record.same.iter().find(|names| names.split(' ').any(|one| one == name));
            alias.and_then(|names| names.split(' ').next()).unwrap_or(&name).to_owned()
        };
        let mut of: BTreeMap<Language, BTreeSet<String>> = BTreeMap::new();
        self.cells(&record.what, &record.cells);
        for language in LANGUAGES {
            let Some(Cell::Items(items)) = Cell::read(record.cells.of(language)) else { continue };
            let (besides, items): (Vec<&str>, Vec<&str>) = items.iter().partition(|item| item.starts_with('!'));
            let is_besides = |name: &str| besides.iter().any(|one| is_meant(one.trim_start_matches('!'), name));
            // The type itself is no field of it, nor what is embedded in it.
            let is_field = |name: &str| !name.contains("__") && !name.contains(".(");
            let mut fields = BTreeSet::new();
            for item in items {
                for name in
                    self.cover(language, item, &record.what).iter().filter(|name| is_field(name) && !is_besides(name))
                {
                    if name.contains(['.', ':', '(']) {
                        fields.insert(one_name(name));
                    } else if let Some(rest) = item
                        .strip_suffix('*')
                        .and_then(|prefix| name.strip_prefix(prefix))
                        .filter(|rest| !rest.is_empty())
                    {
                        // A constant for each, all of one prefix.
                        fields.insert(one_name(rest));
                    }
                }
            }
            of.insert(language, fields);
        }
        let everybody: BTreeSet<String> = of.values().flatten().cloned().collect();
        let mut all = everybody.clone();
        for (language, excused) in &record.but {
            for (field, why) in excused {
                let has = of.get(language).is_some_and(|fields| fields.contains(field));
                let alone = has && of.iter().all(|(other, fields)| other == language || !fields.contains(field));
                if why.trim().is_empty() || (has && !alone) || !everybody.contains(field) {
                    self.problems.push(format!("{:?}: what is said of {field} of {language} is not so", record.what));
                }
                if alone {
                    all.remove(field);
                }
            }
        }
        for (language, fields) in &of {
            let excused = record.but.get(language);
            for field in all.difference(fields).filter(|field| excused.is_none_or(|but| !but.contains_key(*field))) {
                self.problems.push(format!("{:?}: {language} has no {field}, and no reason why", record.what));
            }
        }
        all
    }

    fn option(&mut self, option: &ClientOption, said: Said) -> Cells {
        let name = &option.name;
        let cells = Cells {
            rust: said.rust.unwrap_or_else(|| format!("Connect::{name}")),
            python: said.python.unwrap_or_else(|| format!("*({name})")),
            node: said.node.unwrap_or_else(|| format!("*.{}", option.in_camel_case())),
            c: said.c.unwrap_or_else(|| format!("= `\"{name}=...\"`")),
            go: said.go.unwrap_or_else(|| option.in_pascal_case()),
        };
        self.cells(&format!("option {name}"), &cells);
        cells
    }

    fn error(&mut self, code: &str) -> Cells {
        let camel: String = code.split('_').map(capital).collect();
        let cells = Cells {
            rust: format!("ErrorKind::{camel}"),
            python: format!("{camel}Error"),
            node: format!("ErrorCode.{code}"),
            c: format!("MW_{code}"),
            go: format!("Err{camel}, Code{camel}"),
        };
        self.cells(&format!("error {code}"), &cells);
        cells
    }

    fn besides(&mut self, besides: &[Besides]) {
        for Besides { language, items, why } in besides {
            if why.trim().is_empty() {
                self.problems.push(format!("{items} of {language} are in no row, without a reason"));
            }
            for item in items.split(", ") {
                let before = self.covered.get(language).map_or(0, BTreeSet::len);
                let found = self.cover(*language, item, BESIDES);
                if !found.is_empty() && self.covered.get(language).map_or(0, BTreeSet::len) == before {
                    self.problems.push(format!("besides: {item} of {language} is in rows, all of it"));
                }
            }
        }
    }

    fn left_over(&mut self) {
        for (language, api) in self.apis {
            // What a type implements is of that type.
            for name in api.names().filter(|name| !name.starts_with('<')) {
                if !self.covered.get(language).is_some_and(|covered| covered.contains(name)) {
                    self.problems.push(format!("{name} of {language} is in no row of parity.toml"));
                }
            }
        }
    }
}

fn capital(word: &str) -> String {
    let lower = word.to_lowercase();
    let mut letters = lower.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
