//! What a configuration file says: keys and values with their lines.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::table::{SETTINGS, Setting};
use super::{Given, Problem};

/// Reads a file: what it gives, and everything that is wrong with its form.
pub(super) fn read(path: &Path) -> (Vec<Given>, Vec<Problem>) {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text),
        Err(cause) => {
            let problem = format!("the configuration file cannot be read: {cause}");
            (Vec::new(), vec![Problem::new(name, problem)])
        }
    }
}

/// [`read`] for text that is there already.
pub(super) fn parse(file: &str, text: &str) -> (Vec<Given>, Vec<Problem>) {
    let place = |offset: usize| {
        let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
        format!("{file}:{line}")
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |e: &toml::de::Error| Problem::new(place(e.span().map_or(0, |s| s.start)), no_toml(e.message()));
        return (Vec::new(), errors.iter().map(problem).collect());
    }
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in table.into_inner() {
        let origin = place(key.span().start);
        let key = key.into_inner();
        let Some(setting) = SETTINGS.iter().find(|s| s.name() == key) else {
            problems.push(Problem::new(origin, unknown(&key)));
            continue;
        };
        match scalar(value.get_ref()) {
            Ok(text) => given.push(Given { setting, text, origin }),
            Err(kind) => {
                let wanted = setting.placeholder();
                problems.push(Problem::new(origin, format!("{key} is {kind}; {wanted} is accepted")));
            }
        }
    }
    (given, problems)
}

/// Why a line is not TOML, of what the parser says: what it found, and behind it what it knows and nobody who wrote the line does.
fn no_toml(said: &str) -> String {
    let found = said.split(", expected ").next().unwrap_or(said);
    let words = match found {
        "string values must be quoted" => "text stands in quotes, as in retention = \"7d\"",
        number if number.starts_with("invalid ") && NUMBERS.iter().any(|kind| number.contains(kind)) => {
            "the value begins like a number and is none; text stands in quotes, as in retention = \"7d\""
        }
        "key with no value" | "missing value" => "there is no value; write one behind =, as in memory = true",
        "duplicate key" => "the option is there twice",
        "unexpected key or value" => "something follows behind the value; each option has a line of its own",
        "invalid basic string" | "invalid literal string" => {
            "the quotes around the value are not closed, or it has a wrong escape"
        }
        other => other,
    };
    format!("not TOML: {words}")
}

/// Kinds of values whose forms the parser knows.
const NUMBERS: [&str; 4] = ["number", "float", "date-time", "boolean"];

/// A value as text, for the one reader of all layers; else what it is.
fn scalar(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(on) => Ok(on.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|n| n.to_string())
            .map_err(|_| "a number without end"),
        DeValue::Float(_) => Err("a fraction"),
        DeValue::Datetime(_) => Err("a date"),
        DeValue::Array(_) => Err("an array"),
        DeValue::Table(_) => Err("a table"),
    }
}

fn unknown(key: &str) -> String {
    match nearest(key, SETTINGS.iter().map(Setting::name)) {
        Some(name) => format!("{key:?} is not an option; did you mean {name:?}?"),
        None => format!("{key:?} is not an option; `meshwire serve --help` lists them, with - for _"),
    }
}
