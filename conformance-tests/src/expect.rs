//! What a case expects of a value.
//!
//! Objects are compared by the fields that are named, arrays item by item. Texts that
//! begin with `>=`, `<=` or `contains ` are rules, `*` is anything that is there.

use serde_json::Value;

/// Why a value is not as expected; `None` when it is.
pub(crate) fn differs(expected: &Value, found: &Value) -> Option<String> {
    at("", expected, found)
}

fn at(place: &str, expected: &Value, found: &Value) -> Option<String> {
    let wrong = || Some(format!("{place}: {found} instead of {expected}"));
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected.iter().find_map(|(name, expected)| {
            let place = format!("{place}.{name}");
            match found.get(name) {
                Some(found) => at(&place, expected, found),
                None if expected == "absent" => None,
                None => Some(format!("{place} is absent instead of {expected}")),
            }
        }),
        (Value::Array(expected), Value::Array(items)) => {
            if expected.len() != items.len() {
                return Some(format!("{place}: {} items instead of {}: {found}", items.len(), expected.len()));
            }
            let mut pairs = expected.iter().zip(items).enumerate();
            pairs.find_map(|(index, (expected, found))| at(&format!("{place}[{index}]"), expected, found))
        }
        (Value::String(rule), found) if !follows(rule, found) => wrong(),
        (Value::String(_), _) => None,
        _ if expected != found => wrong(),
        _ => None,
    }
}

fn follows(rule: &str, found: &Value) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok().zip(found.as_f64());
    if rule == "*" {
        return !found.is_null();
    }
    if let Some(text) = rule.strip_prefix(">=") {
        return number(text).is_some_and(|(least, found)| found >= least);
    }
    if let Some(text) = rule.strip_prefix("<=") {
        return number(text).is_some_and(|(most, found)| found <= most);
    }
    if let Some(part) = rule.strip_prefix("contains ") {
        return found.as_str().is_some_and(|found| found.contains(part));
    }
    found.as_str() == Some(rule)
}

#[cfg(test)]
mod tests {
    use super::differs;
    use serde_json::json;

    #[test]
    fn only_what_is_named_is_compared() {
        assert_eq!(differs(&json!({"a": 1}), &json!({"a": 1, "b": 2})), None);
        let why = differs(&json!({"a": [{"b": 1}]}), &json!({"a": [{"b": 2}]}));
        assert_eq!(why.as_deref(), Some(".a[0].b: 2 instead of 1"));
        assert!(differs(&json!([1]), &json!([1, 2])).is_some());
        assert!(differs(&json!({"a": 1}), &json!({})).is_some());
    }

    #[test]
    fn rules_bound_numbers_and_name_parts() {
        assert_eq!(differs(&json!([">=2", "<=2", "contains b", "*", "x"]), &json!([2, 2, "abc", 0, "x"])), None);
        assert!(differs(&json!(">=3"), &json!(2)).is_some());
        assert!(differs(&json!("*"), &json!(null)).is_some());
        assert!(differs(&json!("x"), &json!("xy")).is_some());
    }
}
