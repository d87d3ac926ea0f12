//! The tables of errors and of options in the pages of the languages: one generator, and what is a language's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::{Table, Value};

use super::tables::{bounds, camel, lower_camel, number, rows, text};

/// What a language says in its own way.
pub(super) struct Language {
    /// Its page is `docs/NAME.md`, its cells in `parity.toml` are `NAME`.
    pub(super) name: &'static str,
    /// Columns before and behind the code, with a `|` behind each, and what an error has there.
    errors: (&'static str, fn(&Table) -> Vec<String>),
    /// A number of the kind `duration`, `bytes` or `count`.
    value: fn(&str, i64) -> String,
    /// A text, or `false`.
    word: fn(&str) -> String,
    /// An option of that name and kind, where `parity.toml` says nothing else.
    plain: fn(&str, &str) -> String,
    /// What stands for an item of the language's API in `parity.toml`.
    item: fn(&str) -> String,
    /// The calls that take options: of a client, subscriptions, consumers, responders, requests, streams of replies, the end.
    calls: [&'static str; 7],
    /// Those that take the concurrency of handlers, where not all that consume or serve do.
    several: Option<&'static str>,
    /// What the prefix `client_tls` is.
    tls: &'static str,
    /// What bounds a drain, and of what kind that is.
    drain: (&'static str, &'static str),
    /// Whether `Option(name, value)` is beside functions that may stand for several options.
    has_functions: bool,
}

pub(super) const LANGUAGES: [Language; 4] = [
    Language {
        name: "python",
        errors: ("class | code | is also | retry", |row| {
            let code = text(row, "code");
            let class = format!("`{}Error`", camel(code));
            vec![class, format!("`{code}`"), super::python::also(code), text(row, "retry").to_owned()]
        }),
        value: |kind, n| match kind {
            "duration" if n % 1000 == 0 => format!("`{}`", n / 1000),
            "duration" => format!("`{}`", seconds(n)),
            "bytes" => match size(n, "") {
                whole if whole.ends_with(char::is_alphabetic) => format!("`\"{whole}\"`"),
                whole => format!("`{whole}`"),
            },
            _ => format!("`{n}`"),
        },
        word: |word| if word == "false" { "False".to_owned() } else { quoted(word) },
        plain: |name, _| name.to_owned(),
        item: member,
        calls: ["connect", "subscribe", "consume", "serve", "request", "request_stream", "drain"],
        several: None,
        tls: "client_tls",
        drain: ("`deadline`", "duration"),
        has_functions: false,
    },
    Language {
        name: "node",
        errors: ("code | number | retry", |row| {
            let code = format!("`{}`", text(row, "code"));
            vec![code, number(row, "number").to_string(), text(row, "retry").to_owned()]
        }),
        value: |_, n| format!("`{}`", grouped(n)),
        word: quoted,
        plain: |name, kind| {
            let name = lower_camel(name.strip_prefix("client_").unwrap_or(name));
            if kind == "duration" { name + "Ms" } else { name }
        },
        item: member,
        calls: ["connect", "subscribe", "consume", "serve", "request", "requestStream", "drain"],
        several: None,
        tls: "tls",
        drain: ("`timeoutMs`", "duration"),
        has_functions: false,
    },
    Language {
        name: "c",
        errors: ("code | number | `mw_error_retry`", |row| {
            let code = format!("`MW_{}`", text(row, "code"));
            vec![code, number(row, "number").to_string(), format!("`MW_RETRY_{}`", text(row, "retry").to_uppercase())]
        }),
        value: |kind, n| match kind {
            "duration" => {
                format!("`{}`", whole(n, &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)], "ms"))
            }
            "bytes" => format!("`{}`", size(n, "")),
            _ => format!("`{n}`"),
        },
        word: str::to_owned,
        plain: |name, _| name.to_owned(),
        item: str::to_owned,
        calls: [
            "mw_connect",
            "mw_subscribe",
            "mw_consume",
            "mw_serve",
            "mw_request_reply",
            "mw_request_stream",
            "mw_drain",
        ],
        several: Some("`mw_consumer_new`, `mw_responder_new`"),
        tls: "client_tls",
        drain: ("`deadline_ms`", "millis"),
        has_functions: false,
    },
    Language {
        name: "go",
        errors: ("value | code | is also | retry", |row| {
            let code = text(row, "code");
            vec![
                format!("`Err{}`", camel(code)),
                format!("`{code}`"),
                super::go::also(code),
                text(row, "retry").to_owned(),
            ]
        }),
        value: |kind, n| match kind {
            "duration" => {
                let units = [("*time.Hour", 3_600_000), ("*time.Minute", 60_000), ("*time.Second", 1000)];
                let shown = whole(n, &units, "*time.Millisecond");
                format!("`{}`", shown.strip_prefix("1*").unwrap_or(&shown))
            }
            "bytes" => format!("`{}`", whole(n, &[("<<30", 1 << 30), ("<<20", 1 << 20), ("<<10", 1 << 10)], "")),
            _ => format!("`{n}`"),
        },
        word: quoted,
        plain: |name, _| super::go::function(&camel(&name.to_uppercase())),
        item: |item| super::go::function(&member(item)),
        calls: ["Connect", "Subscribe", "Consume", "Serve", "Request", "RequestStream", "Drain"],
        several: None,
        tls: "TLS",
        drain: ("the deadline of `ctx`", "duration"),
        has_functions: true,
    },
];

/// The table of errors.
pub(super) fn errors(language: &Language, source: &str) -> String {
    let (head, cells) = language.errors;
    let mut out = String::new();
    let _ = writeln!(out, "| {head} | meaning |\n|{}", "---|".repeat(head.split('|').count() + 1));
    for row in rows(source, "error") {
        let _ = writeln!(out, "| {} | {} |", cells(&row).join(" | "), text(&row, "meaning"));
    }
    out
}

/// What is known of the options of clients.
pub(super) struct Options {
    rows: Vec<Table>,
    parity: Table,
    /// Which of [`Language::calls`] take an option.
    takers: BTreeMap<String, Vec<usize>>,
}

/// The lists of `bindings/embed/src/options.rs`, and the calls that read them.
const LISTS: [(&str, &[usize]); 6] = [
    ("CLIENT", &[0]),
    ("SUBSCRIPTION", &[1, 2]),
    ("CONSUMER", &[2]),
    ("RESPONDER", &[3]),
    ("REQUEST", &[4, 5]),
    ("REQUEST_STREAM", &[5]),
];

impl Options {
    /// Of `options.toml`, `parity.toml`, and the source of what reads options of all languages.
    pub(super) fn new(source: &str, parity: &str, facade: &str) -> Self {
        let mut all = rows(source, "option");
        all.retain(|row| text(row, "where") == "client");
        all.extend(rows(source, "worded"));
        let mut takers: BTreeMap<String, Vec<usize>> = BTreeMap::from([("drain_timeout".to_owned(), vec![6])]);
        for (list, calls) in LISTS {
            let (_, rest) = facade.split_once(&format!("const {list}: &[&str] = &[")).expect("a list of options");
            let names = rest.split(']').next().expect("a list ends").split('"').skip(1).step_by(2);
            names.for_each(|name| takers.entry(name.to_owned()).or_default().extend(calls));
        }
        let parity: Table = parity.parse().expect("the mapping is TOML");
        let parity = parity["option"].as_table().expect("its options").clone();
        let names: Vec<&str> = all.iter().map(|row| text(row, "name")).collect();
        let missing: Vec<&String> =
            takers.keys().chain(parity.keys()).filter(|name| !names.contains(&name.as_str())).collect();
        assert!(missing.is_empty(), "no option of options.toml: {missing:?}");
        takers.values_mut().for_each(|calls| {
            calls.sort_unstable();
            calls.dedup();
        });
        Self { rows: all, parity, takers }
    }

    /// What the language calls it.
    fn names(&self, language: &Language, row: &Table) -> Vec<String> {
        let name = text(row, "name");
        match self.parity.get(name).and_then(|said| said.get(language.name)).and_then(Value::as_str) {
            // Arguments of their own.
            _ if name == "url" || name == "drain_timeout" => vec![name.to_owned()],
            None => vec![(language.plain)(name, text(row, "kind"))],
            Some(items) => {
                let mut names: Vec<String> = items.split(',').map(|item| (language.item)(item.trim())).collect();
                names.dedup();
                names
            }
        }
    }

    /// The first cell.
    fn name(&self, language: &Language, row: &Table) -> String {
        let name = text(row, "name");
        if name == "drain_timeout" {
            return language.drain.0.to_owned();
        }
        let names: Vec<String> = self.names(language, row).iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        if language.has_functions && name != "url" { format!("{names}: `{name}`") } else { names }
    }

    /// How another one is spoken of.
    fn mention(&self, language: &Language, row: &Table) -> String {
        let names = self.names(language, row);
        let same = self.rows.iter().filter(|other| self.names(language, other) == names).count();
        match names.as_slice() {
            [name] if same == 1 => name.clone(),
            _ => text(row, "name").to_owned(),
        }
    }

    /// What it means, with the language's names for other options.
    fn meaning(&self, language: &Language, row: &Table) -> String {
        let meaning = text(row, "meaning");
        let meaning = meaning.split_once(" Commands: ").map_or(meaning, |(meaning, _)| meaning);
        let named = |word: &str| {
            let other = self.rows.iter().find(|row| text(row, "name") == word && word.contains('_'));
            other.map_or_else(|| word.to_owned(), |row| self.mention(language, row))
        };
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let mut out = String::new();
        let mut word = String::new();
        for letter in meaning.chars().chain(['\n']) {
            if is_word(letter) {
                word.push(letter);
                continue;
            }
            out += &if word == "client_tls" { language.tls.to_owned() } else { named(&word) };
            out.push(letter);
            word.clear();
        }
        out.trim_end().to_owned()
    }

    /// The table of options.
    pub(super) fn table(&self, language: &Language) -> String {
        let mut out = String::from("| option | of | default | bounds | meaning |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let name = text(row, "name");
            let kind = if name == "drain_timeout" { language.drain.1 } else { text(row, "kind") };
            let value = |n| (language.value)(kind, n);
            let default = match &row["default"] {
                Value::Integer(n) => value(*n),
                Value::String(words) if words.is_empty() => "none".to_owned(),
                Value::String(words) if row.contains_key("where") => format!("`{}`", (language.word)(words)),
                Value::String(words) if words == "false" => format!("`{}`", (language.word)(words)),
                Value::String(words) => words.parse().map_or_else(|_| words.clone(), value),
                other => other.to_string(),
            };
            let range = bounds(row).map_or(String::new(), |(min, max)| format!("{} to {}", value(min), value(max)));
            let calls: Vec<String> =
                self.takers[name].iter().map(|call| format!("`{}`", language.calls[*call])).collect();
            let calls = match language.several {
                Some(several) if name == "handler_concurrency" => several.to_owned(),
                _ => calls.join(", "),
            };
            let (name, meaning) = (self.name(language, row), self.meaning(language, row));
            let _ = writeln!(out, "| {name} | {calls} | {default} | {range} | {meaning} |");
        }
        out
    }
}

/// `Mesh.subscribe(group)` is `group`, `RequestOptions.timeoutMs` is `timeoutMs`, `Client.Drain` is `Drain`.
fn member(item: &str) -> String {
    let argument = item.split_once('(').map(|(_, argument)| argument.trim_end_matches(')'));
    argument.unwrap_or_else(|| item.rsplit('.').next().unwrap_or(item)).to_owned()
}

/// `false` is no text.
fn quoted(word: &str) -> String {
    if word == "false" { word.to_owned() } else { format!("\"{word}\"") }
}

/// With the largest unit of which it is a whole number.
fn whole(n: i64, units: &[(&str, i64)], smallest: &str) -> String {
    let fits = units.iter().find(|(_, unit)| n >= *unit && n % unit == 0);
    match fits {
        Some((name, unit)) => format!("{}{name}", n / unit),
        None if n == 0 => "0".to_owned(),
        None => format!("{n}{smallest}"),
    }
}

fn size(n: i64, smallest: &str) -> String {
    whole(n, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)], smallest)
}

/// Milliseconds as seconds.
fn seconds(n: i64) -> String {
    format!("{}.{:03}", n / 1000, n % 1000).trim_end_matches('0').to_owned()
}

/// `67108864` as `67_108_864`.
fn grouped(n: i64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}
