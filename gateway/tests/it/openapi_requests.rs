//! What a request may say is in `/openapi.json`, and nothing else is: a gateway that is told a member, a word or a parameter which it does
//! not know names those that it does, and these are the document's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::http_client::Answer;
use crate::openapi::document;
use crate::rig::Rig;

/// No name of anything.
const UNKNOWN: &str = "zz";

/// The only path that takes any parameter: what it gives does not depend on it.
const STYLE: &str = "/page.css";

/// A body with something unknown in it, and the names that are known there.
type Probe = (Value, BTreeSet<String>);

/// The forms of a schema.
fn forms<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return forms(document, document.pointer(name.trim_start_matches('#')).unwrap());
    }
    match schema["oneOf"].as_array() {
        Some(all) => all.iter().flat_map(|schema| forms(document, schema)).collect(),
        None => vec![schema],
    }
}

/// The members of all forms of an object, with what each form says of them.
fn members<'a>(document: &'a Value, schema: &'a Value) -> BTreeMap<&'a str, Vec<&'a Value>> {
    let mut found: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for form in forms(document, schema) {
        for (name, member) in form["properties"].as_object().into_iter().flatten() {
            found.entry(name).or_default().push(member);
        }
    }
    found
}

fn probe(document: &Value, schema: &Value, around: &dyn Fn(Value) -> Value, probes: &mut Vec<Probe>) {
    let members = members(document, schema);
    probes.push((around(json!({ UNKNOWN: 1 })), members.keys().map(|name| (*name).to_owned()).collect()));
    for (name, said) in members {
        let with = |value: Value| around(Value::from_iter([(name, value)]));
        let words =
            said.iter().flat_map(|member| member["enum"].as_array().into_iter().flatten().chain(member.get("const")));
        let words: BTreeSet<String> = words.filter_map(Value::as_str).map(str::to_owned).collect();
        if !words.is_empty() {
            probes.push((with(UNKNOWN.into()), words));
        }
        let items = said.iter().filter_map(|member| member.get("items"));
        for items in items.filter(|items| !self::members(document, items).is_empty()) {
            probe(document, items, &|item| with(json!([item])), probes);
        }
    }
}

/// The names in a refusal: `...; there is a, b`, or each in quotes behind what is wrong.
fn known(detail: &str) -> BTreeSet<String> {
    if let Some((_, names)) = detail.split_once("; there is ") {
        return names.split(", ").filter(|name| *name != "none").map(str::to_owned).collect();
    }
    let (_, names) = detail.split_once("expected ").or_else(|| detail.split_once("; one of ")).expect(detail);
    names.split(['`', '"']).skip(1).step_by(2).map(str::to_owned).collect()
}

/// What is wrong with a body, or with the one item of it.
fn refusal(answer: &Answer) -> String {
    match answer.status {
        200 => {
            let json = answer.json();
            assert_eq!(json["results"][0]["code"], "INVALID", "{json}");
            json["results"][0]["detail"].as_str().unwrap().to_owned()
        }
        _ => {
            assert_eq!(answer.problem(), (400, "INVALID".to_owned()));
            answer.detail()
        }
    }
}

fn path(of: &str) -> String {
    of.replace("{topic}", "orders").replace("{group}", "billing").replace("{number}", "1")
}

#[tokio::test]
async fn a_body_may_say_what_is_documented_and_nothing_else() {
    let (rig, document, mut all) = (Rig::start().await, document(), 0);
    for (of, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut probes = Vec::new();
            if !schema.is_null() {
                probe(&document, schema, &|body| body, &mut probes);
            }
            for (body, documented) in probes {
                let answer = rig.ask(&method.to_uppercase(), &path(of), &body.to_string()).await;
                assert_eq!(known(&refusal(&answer)), documented, "{method} {of} {body}");
                all += 1;
            }
        }
    }
    assert!(all >= 15, "{all}");
}

#[tokio::test]
async fn a_query_may_have_the_documented_parameters_and_no_others() {
    let (rig, document) = (Rig::start().await, document());
    for (of, item) in document["paths"].as_object().unwrap().iter().filter(|(of, _)| *of != STYLE) {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let documented: BTreeSet<String> = parameters
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect();
            let answer = rig.ask(&method.to_uppercase(), &format!("{}?{UNKNOWN}=1", path(of)), "").await;
            assert_eq!(answer.problem(), (400, "INVALID".to_owned()), "{method} {of}");
            assert_eq!(known(&answer.detail()), documented, "{method} {of}");
        }
    }
}
