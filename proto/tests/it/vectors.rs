//! The examples of the CloudEvents specification, read and written by each codec: one event, whatever it came as.

#[path = "../vectors/examples.rs"]
mod examples;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use meshwire_proto::codec::{http, json};
use meshwire_proto::wire::cloudevents::CloudEvent;
use meshwire_proto::{Defaults, EventLimits, EventParts, EventView};
use prost::Message as _;

use examples::{Vector, meaning, vectors};

fn encoded(parts: &EventParts<'_>) -> Bytes {
    let mut out = BytesMut::new();
    parts.encode_with(Defaults::default(), &mut out).unwrap();
    out.freeze()
}

fn from_headers(headers: &BTreeMap<String, String>, body: &Bytes) -> Bytes {
    let attributes =
        headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(http::PREFIX)?, value.as_bytes())));
    encoded(&http::parse(attributes, headers.get("content-type").map(String::as_str), body.clone()).unwrap())
}

fn as_json(bytes: &[u8]) -> String {
    let mut text = String::new();
    json::write(&EventView::parse(bytes, EventLimits::default()).unwrap(), &mut text).unwrap();
    text
}

fn as_headers(bytes: &[u8]) -> (BTreeMap<String, String>, Bytes) {
    let view = EventView::parse(bytes, EventLimits::default()).unwrap();
    let mut headers = BTreeMap::new();
    let (content_type, body) = http::write(&view, |name, value| drop(headers.insert(name.to_owned(), value))).unwrap();
    headers.extend(content_type.map(|kind| ("content-type".to_owned(), kind)));
    (headers, Bytes::copy_from_slice(body))
}

#[test]
fn each_example_is_the_same_event_in_every_format_and_comes_out_as_it_went_in() {
    for Vector { name, json, headers, body, protobuf } in vectors() {
        let expected = meaning(&protobuf);
        // Ours reads what other implementations of protobuf do.
        let other = CloudEvent::decode(protobuf.clone()).unwrap();
        assert_eq!((&other.id, &other.source), (&expected.0["id"], &expected.0["source"]), "{name}");
        let Some(json) = json else { continue };
        let events = [encoded(&json::read(&json).unwrap()), from_headers(&headers, &body), protobuf];
        for (event, of) in events.iter().zip(["JSON", "headers", "protobuf"]) {
            assert_eq!(meaning(event), expected, "{name}, read from {of}");
            assert_eq!(as_headers(event), (headers.clone(), body.clone()), "{name}, read from {of}, as headers");
            let again = encoded(&json::read(&as_json(event)).unwrap());
            assert_eq!(meaning(&again), expected, "{name}, read from {of}, as JSON");
        }
    }
}

#[test]
fn an_event_that_is_a_message_has_no_form_but_protobuf() {
    let message = vectors().into_iter().find(|vector| vector.json.is_none()).unwrap().protobuf;
    let view = EventView::parse(&message, EventLimits::default()).unwrap();
    assert!(json::write(&view, &mut String::new()).is_err());
    assert!(http::write(&view, |_, _| ()).is_err());
}

#[test]
fn a_batch_of_all_examples_is_read_in_order_and_an_empty_one_is_none() {
    let texts: Vec<String> = vectors().into_iter().filter_map(|vector| vector.json).collect();
    let batch = format!("[{}]", texts.join(","));
    let mut meanings = Vec::new();
    json::parse_batch(&batch, usize::MAX, |event| meanings.push(meaning(&encoded(event.unwrap())))).unwrap();
    let alone = texts.iter().map(|text| meaning(&encoded(&json::read(text).unwrap())));
    assert!(meanings.into_iter().eq(alone));
    json::parse_batch("[]", usize::MAX, |event| panic!("{event:?}")).unwrap();
}
