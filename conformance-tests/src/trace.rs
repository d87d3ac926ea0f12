//! What happened in a cell, without what differs from run to run.
//!
//! A lane holds what one party did, in its order; between lanes there is no order.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Fields that hold a time, a place of this machine or words for people.
const LEFT_OUT: [&str; 7] = ["message", "n", "on", "ev", "client_version", "language", "producer_id"];

/// The lanes of a cell.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lanes: BTreeMap<String, Vec<String>>,
    names: HashMap<String, String>,
}

impl Trace {
    /// Adds a line to a lane.
    pub(crate) fn add(&mut self, lane: &str, what: &str, value: &Value) {
        let value = self.normal(value);
        let line =
            if value.as_object().is_some_and(Map::is_empty) { what.to_owned() } else { format!("{what} {value}") };
        self.lanes.entry(lane.to_owned()).or_default().push(line);
    }

    fn normal(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(name, value)| {
                    let empty = value.is_null()
                        || **value == Value::Bool(false)
                        || value.as_object().is_some_and(Map::is_empty);
                    !LEFT_OUT.contains(&name.as_str()) && !empty
                });
                let kept: Vec<_> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
                let normal = |(name, value): (String, Value)| match name.as_str() {
                    // In a frame a time is a message.
                    "timestamp" => (name, "$time".into()),
                    _ => {
                        let value = self.normal(&value);
                        (name, value)
                    }
                };
                kept.into_iter().map(normal).collect::<Map<_, _>>().into()
            }
            Value::Array(items) => items.iter().map(|item| self.normal(item)).collect(),
            Value::String(text) => self.text(text).into(),
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        if is_uuid(text) {
            let next = format!("$id{}", self.names.len() + 1);
            return self.names.entry(text.to_owned()).or_insert(next).clone();
        }
        if is_time(text) {
            return "$time".to_owned();
        }
        // The source that a client fills in names the machine.
        match text.strip_prefix("//").and_then(|rest| rest.split_once('/')) {
            Some((_, name)) => format!("//$host/{name}"),
            None => text.to_owned(),
        }
    }

    /// The whole trace as text, without lanes whose order is chance.
    pub(crate) fn text_without(&self, by_chance: &[String]) -> String {
        let mut text = String::new();
        for (lane, lines) in self.lanes.iter().filter(|(lane, _)| !by_chance.contains(lane)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[{lane}]");
            for line in lines {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn is_time(text: &str) -> bool {
    let digits = |at: std::ops::Range<usize>| text.get(at).is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()));
    digits(0..4) && digits(5..7) && text.get(10..11) == Some("T") && text.ends_with('Z')
}

/// The first lines in which two traces differ.
pub(crate) fn first_difference(blessed: &str, found: &str) -> String {
    let (mut old, mut new) = (blessed.lines(), found.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (old.next(), new.next()) {
            (None, None) => return "they differ in their ends of lines".to_owned(),
            (old, new) if old != new => {
                let shown = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return format!("line {number}\n  - {}\n  + {}", shown(old), shown(new));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Trace, first_difference};
    use serde_json::json;

    #[test]
    fn ids_times_and_machines_are_named_in_the_order_of_their_coming() {
        let mut trace = Trace::default();
        let id = "0193b2a0-7d11-7000-8000-0123456789ab";
        let time = "2026-01-02T03:04:05.678Z";
        trace.add(
            "s",
            "msg",
            &json!({"id": id, "again": id, "time": time, "source": "//some-host/testee", "gap": null}),
        );
        trace.add("t", "msg", &json!({"message": "words", "code": "BUSY"}));
        let text = trace.text_without(&["t".to_owned()]);
        let fields = r#"{"again":"$id1","id":"$id1","source":"//$host/testee","time":"$time"}"#;
        assert_eq!(text, format!("[s]\nmsg {fields}\n"));
    }

    #[test]
    fn a_difference_is_shown_with_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), "line 2\n  - b\n  + c");
        assert_eq!(first_difference("a\n", "a\nc\n"), "line 2\n  - (the end)\n  + c");
    }
}
