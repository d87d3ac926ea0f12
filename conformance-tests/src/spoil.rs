//! Cases with one expectation that is wrong: each must fail, else it proves nothing.

use serde_json::{Map, Value, json};

use crate::case::{Case, Step};

/// How long a spoiled step waits for what does not come.
const WITHIN_MS: u64 = 300;
/// A field that nothing has.
const NOWHERE: &str = "spoiled";

/// Makes the last step that expects something expect too much; `false` when none does.
pub(crate) fn spoil(case: &mut Case) -> bool {
    // Some transports do not play the others.
    let played = |step: &&mut Step| !step.contains_key("over");
    case.steps.iter_mut().rev().filter(played).any(spoil_step)
        || case.steps.iter_mut().rev().filter(played).any(spoil_success)
}

/// What is only expected to go well is expected to fail.
fn spoil_success(step: &mut Step) -> bool {
    let op = step.get("op").and_then(Value::as_str).unwrap_or_default();
    let answered =
        !op.contains('.') && !["receive", "silence", "told", "unanswered"].contains(&op) && !step.contains_key("begin");
    if answered {
        step.insert("error".to_owned(), json!({ "code": "NO_SUCH_CODE" }));
    }
    answered
}

fn spoil_step(step: &mut Step) -> bool {
    if let Some(error) = step.get_mut("error") {
        *error = json!({ "code": "NO_SUCH_CODE" });
        return true;
    }
    let Some(spoiled) = ["expect", "until"].iter().find(|name| step.contains_key(**name)) else {
        return spoil_fill(step);
    };
    let longer = *spoiled == "until" || step.get("op").is_some_and(|op| op == "told");
    match step.get_mut(*spoiled) {
        Some(Value::Object(fields)) => drop(fields.insert(NOWHERE.to_owned(), true.into())),
        Some(Value::Array(items)) => {
            let Some(first) = items.first_mut().and_then(Value::as_object_mut) else {
                return false;
            };
            first.insert(NOWHERE.to_owned(), true.into());
        }
        _ => return false,
    }
    if longer {
        step.insert("within_ms".to_owned(), WITHIN_MS.into());
    }
    true
}

/// The events of a `receive` get an attribute that nobody published.
fn spoil_fill(step: &mut Step) -> bool {
    if step.get("op").is_none_or(|op| op != "receive") {
        return false;
    }
    let event =
        step.get_mut("fill").and_then(Value::as_object_mut).map(|fill| fill.entry("event").or_insert(json!({})));
    let fields: Option<&mut Map<String, Value>> = event.and_then(Value::as_object_mut);
    fields.is_some_and(|fields| fields.insert(NOWHERE.to_owned(), true.into()).is_none())
}

#[cfg(test)]
mod tests {
    use super::{NOWHERE, spoil_step};
    use serde_json::{Value, json};

    fn spoiled(step: &Value) -> Option<Value> {
        let mut step = step.as_object().cloned().unwrap_or_default();
        spoil_step(&mut step).then_some(step.into())
    }

    #[test]
    fn a_step_that_expects_something_then_expects_what_cannot_be() {
        let step = spoiled(&json!({"op": "publish", "error": "BUSY"}));
        assert_eq!(step, Some(json!({"op": "publish", "error": {"code": "NO_SUCH_CODE"}})));
        let step = spoiled(&json!({"op": "receive", "expect": [{"id": "1"}]}));
        assert_eq!(step, Some(json!({"op": "receive", "expect": [{"id": "1", NOWHERE: true}]})));
        assert!(spoiled(&json!({"op": "receive", "fill": {"count": 2}})).is_some());
        assert_eq!(spoiled(&json!({"op": "ack", "of": ["1"]})), None);
    }
}
