//! `/openapi.json` says what is there: the routes of the router, the errors of the catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use meshwire_proto::ErrorKind;
use serde_json::Value;

use crate::rig::Rig;

/// Only clients of their own speak these, whose frames are no operations.
const CARRIERS: [&str; 2] = ["/v1/ws", "/v1/session"];

pub(crate) fn document() -> Value {
    serde_json::from_str(include_str!("../../src/ingress/http/openapi.json")).unwrap()
}

fn operations(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect())).collect()
}

/// Paths of all routes in the source.
fn routes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for part in text.split(".route(").skip(1) {
                found.extend(
                    part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()).map(str::to_owned),
                );
            }
        }
    }
}

#[test]
fn every_route_is_documented_and_nothing_else_is() {
    let mut found = BTreeSet::new();
    routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ingress/http"), &mut found);
    found.retain(|path| !CARRIERS.iter().any(|carrier| path.starts_with(carrier)));
    let documented: BTreeSet<String> = operations(&document()).into_keys().collect();
    assert_eq!(documented, found);
}

#[tokio::test]
async fn a_path_takes_the_methods_that_are_documented_and_no_others() {
    let rig = Rig::start().await;
    for (path, methods) in operations(&document()) {
        let path =
            path.replace("{topic}", "a b").replace("{group}", "a b").replace("{number}", "x").replace(' ', "%20");
        let allowed = rig.ask("TRACE", &path, "").await;
        assert_eq!(allowed.status, 405, "{path}");
        let allow = allowed.header("allow").unwrap().to_ascii_lowercase();
        let allow: BTreeSet<String> = allow.split(',').filter(|method| *method != "head").map(str::to_owned).collect();
        assert_eq!(allow, methods, "{path}");
    }
}

#[tokio::test]
async fn the_document_is_served_and_knows_every_error() {
    let rig = Rig::start().await;
    let served = rig.get("/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    let document = served.json();
    assert_eq!(document, self::document());
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes: BTreeSet<&str> = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(codes, ErrorKind::ALL.iter().map(|kind| kind.code()).collect());
}

#[test]
fn nothing_is_left_open_every_object_has_members_and_every_answer_a_status() {
    fn objects(value: &Value, at: &str) {
        match value {
            Value::Object(members) => {
                if members.get("type") == Some(&Value::from("object")) {
                    assert!(members.contains_key("properties") || members.contains_key("additionalProperties"), "{at}");
                }
                members.iter().for_each(|(name, value)| objects(value, &format!("{at}/{name}")));
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| objects(value, &format!("{at}/{n}"))),
            _ => {}
        }
    }
    let document = document();
    objects(&document, "");
    let (mut names, known) = (BTreeSet::new(), document["components"]["responses"].as_object().unwrap());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{path} {method}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(!answers.contains_key("default"), "{path} {method}");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{path} {method}");
            for (status, answer) in answers.iter().filter(|(status, _)| !status.starts_with('2')) {
                assert_eq!(answer["$ref"], format!("#/components/responses/{status}"), "{path} {method}");
                assert!(known.contains_key(status), "{path} {method} {status}");
            }
        }
    }
}
