//! Events: the view, the builder and the generated type agree; bad bytes get a typed error.

use std::collections::BTreeMap;

use meshwire_proto::codec::json;
use meshwire_proto::wire::cloudevents::CloudEvent;
use meshwire_proto::wire::cloudevents::cloud_event::{
    CloudEventAttributeValue, Data as WireData, cloud_event_attribute_value::Attr,
};
use meshwire_proto::{
    AttributeValue, Data, Event, EventError, EventLimits, EventParts, EventRun, EventRunBuilder, EventView, Identity,
    event_identity,
};
use proptest::prelude::*;
use prost::Message as _;

fn value() -> impl Strategy<Value = AttributeValue<'static>> {
    prop_oneof![
        any::<bool>().prop_map(AttributeValue::Boolean),
        any::<i32>().prop_map(AttributeValue::Integer),
        "[ -~é€]{0,20}".prop_map(|s| AttributeValue::String(s.into())),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|b| AttributeValue::Binary(b.into())),
        "[a-z:/]{0,20}".prop_map(|s| AttributeValue::Uri(s.into())),
        "[a-z:/]{0,20}".prop_map(|s| AttributeValue::UriReference(s.into())),
        (-62_135_596_800i64..253_402_300_799, 0i32..1_000_000_000)
            .prop_map(|(seconds, nanos)| { AttributeValue::Timestamp(prost_types::Timestamp { seconds, nanos }) }),
    ]
}

fn event() -> impl Strategy<Value = (Event, BTreeMap<String, AttributeValue<'static>>)> {
    let data = prop_oneof![
        Just(None),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|b| Some(Ok(b))),
        "\\PC{0,100}".prop_map(|s| Some(Err(s))),
    ];
    let names = "x[a-z0-9]{1,19}";
    ("[!-~]{1,30}", "[!-~]{1,30}", "[!-~]{1,30}", proptest::collection::btree_map(names, value(), 0..20), data)
        .prop_map(|(id, source, kind, attributes, data)| {
            let mut event = Event::new(kind).id(id).source(source);
            for (name, value) in &attributes {
                event = event.attribute(name.clone(), value.clone());
            }
            event = match data {
                None => event,
                Some(Ok(bytes)) => event.binary_data(bytes),
                Some(Err(text)) => event.text_data(text),
            };
            (event, attributes)
        })
}

proptest! {
    #[test]
    fn what_is_encoded_is_what_the_view_and_the_generated_type_read((event, attributes) in event()) {
        let bytes = event.encode().unwrap();
        let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
        let read: BTreeMap<String, AttributeValue<'_>> = view.attributes().map(|(n, v)| (n.to_owned(), v)).collect();
        prop_assert_eq!(&read, &attributes);
        let other = CloudEvent::decode(bytes.clone()).unwrap();
        prop_assert_eq!((view.id(), view.source(), view.kind()), (&*other.id, &*other.source, &*other.r#type));
        prop_assert_eq!(other.spec_version, "1.0");
        prop_assert_eq!(other.attributes.len(), attributes.len());
        let data = match &other.data {
            None => Data::Absent,
            Some(WireData::BinaryData(b)) => Data::Binary(b),
            Some(WireData::TextData(t)) => Data::Text(t),
            Some(WireData::ProtoData(_)) => panic!("never written here"),
        };
        prop_assert_eq!(view.data(), data);
        prop_assert_eq!(Event::from_view(&view).encode().unwrap(), bytes.clone());
        prop_assert_eq!(Identity::of_encoded(&bytes, EventLimits::default()), Ok(Identity::from(view)));
    }

    #[test]
    fn what_another_encoder_writes_is_read_alike((event, _) in event()) {
        let ours = event.encode().unwrap();
        let theirs = CloudEvent::decode(ours.clone()).unwrap().encode_to_vec();
        let (ours, theirs) = (EventView::parse(&ours, EventLimits::default()).unwrap(), EventView::parse(&theirs, EventLimits::default()).unwrap());
        let strings = |v: &EventView<'_>| v.attributes().map(|(n, v)| (n.to_owned(), v.to_string())).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(strings(&ours), strings(&theirs));
        prop_assert_eq!(ours.data(), theirs.data());
    }

    #[test]
    fn what_another_encoder_adds_hides_nothing_of_an_event((event, _) in event(), wire in 0..4_usize, number in 9..300_u32, front in any::<bool>()) {
        let ours = event.encode().unwrap();
        let mut field = Vec::new();
        let (kind, body): (u32, &[u8]) = [(0, &b"\x81\x01"[..]), (1, b"12345678"), (2, b"\x03abc"), (5, b"1234")][wire];
        prost::encoding::encode_varint(u64::from(number << 3 | kind), &mut field);
        field.extend_from_slice(body);
        let theirs = if front { [&field[..], &ours[..]].concat() } else { [&ours[..], &field[..]].concat() };
        let limits = EventLimits::default();
        prop_assert_eq!(Identity::of_encoded(&theirs, limits), EventView::parse(&theirs, limits).map(Identity::from));
        prop_assert_eq!(Identity::of_encoded(&theirs, limits), Identity::of_encoded(&ours, limits));
    }

    #[test]
    fn json_and_back_keeps_every_canonical_string_and_the_data((event, _) in event()) {
        let bytes = event.encode().unwrap();
        let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
        let mut text = String::new();
        json::write(&view, &mut text).unwrap();
        let mut line = String::new();
        json::write_line(&view, &mut line).unwrap();
        prop_assert!(!line.contains(['\n', '\r']));
        let again = json::parse(&text).unwrap().encode().unwrap();
        let back = EventView::parse(&again, EventLimits::default()).unwrap();
        prop_assert_eq!((view.id(), view.source(), view.kind()), (back.id(), back.source(), back.kind()));
        for (name, value) in view.attributes() {
            prop_assert_eq!(Some(value.to_string()), back.attribute(name).map(|v| v.to_string()), "{}", name);
        }
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(view.data().bytes()).is_ok();
        // Blanks around JSON are no part of it.
        let (sent, came) = (view.data().bytes(), back.data().bytes());
        prop_assert!(sent == came || (is_json && sent.trim_ascii() == came));
    }

    #[test]
    fn any_bytes_are_an_event_or_a_typed_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = EventView::parse(&bytes, EventLimits::default());
        let _ = EventRun::from_wire(bytes.into(), 3);
    }

    #[test]
    fn a_damaged_event_never_panics((event, _) in event(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = event.encode().unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(view) = EventView::parse(&bytes, EventLimits::default()) {
            view.attributes().for_each(drop);
        }
        bytes.truncate(at);
        let _ = EventView::parse(&bytes, EventLimits::default());
    }

    #[test]
    fn any_text_is_an_event_or_a_typed_error(text in "\\PC{0,200}") {
        let _ = json::parse(&text);
    }
}

fn wire() -> CloudEvent {
    CloudEvent {
        id: "1".into(),
        source: "/s".into(),
        spec_version: "1.0".into(),
        r#type: "t".into(),
        ..CloudEvent::default()
    }
}

fn with(name: &str, attr: Attr) -> CloudEvent {
    let mut event = wire();
    event.attributes.insert(name.into(), CloudEventAttributeValue { attr: Some(attr) });
    event
}

fn at(name: &str, seconds: i64, nanos: i32) -> Vec<u8> {
    with(name, Attr::CeTimestamp(prost_types::Timestamp { seconds, nanos })).encode_to_vec()
}

fn refused(bytes: &[u8]) -> EventError {
    EventView::parse(bytes, EventLimits { max_event_bytes: 1000, max_attribute_bytes: 500 }).unwrap_err()
}

#[test]
fn each_broken_rule_is_named() {
    let string = |s: &str| Attr::CeString(s.into());
    let doubled = [wire().encode_to_vec(), vec![0x0a, 1, b'2']].concat();
    let twice_name = {
        let one = with("a", string("x")).encode_to_vec();
        let mut entry = one[wire().encoded_len()..].to_vec();
        entry.splice(0..0, one.clone());
        entry
    };
    let two_data = [wire().encode_to_vec(), vec![0x32, 1, 0, 0x3a, 1, b'x']].concat();
    for (bytes, expected) in [
        (CloudEvent { id: String::new(), ..wire() }.encode_to_vec(), "has no id"),
        (CloudEvent { source: String::new(), ..wire() }.encode_to_vec(), "has no source"),
        (CloudEvent { r#type: String::new(), ..wire() }.encode_to_vec(), "has no type"),
        (CloudEvent { spec_version: String::new(), ..wire() }.encode_to_vec(), "has no specversion"),
        (CloudEvent { spec_version: "0.3".into(), ..wire() }.encode_to_vec(), "specversion is \"0.3\""),
        (CloudEvent { id: "a\u{1}".into(), ..wire() }.encode_to_vec(), "control character"),
        (doubled, "id more than once"),
        (twice_name, "a more than once"),
        (two_data, "data more than once"),
        (with("Bad", string("x")).encode_to_vec(), "\"Bad\" is not an attribute name"),
        (with("a-b", string("x")).encode_to_vec(), "not an attribute name"),
        (with("data", string("x")).encode_to_vec(), "not an attribute name"),
        (with("time", string("now")).encode_to_vec(), "time is of type String; it must be Timestamp"),
        (at("time", 253_402_300_800, 0), "time is outside the years 1 to 9999"),
        (at("a", 10_000_000_000_000, 0), "a is outside the years 1 to 9999"),
        (at("a", -62_135_596_801, 0), "a is outside the years 1 to 9999"),
        (at("a", 0, -1), "a has -1 nanoseconds"),
        (at("a", 0, 1_000_000_000), "a has 1000000000 nanoseconds"),
        (with("subject", Attr::CeInteger(1)).encode_to_vec(), "subject is of type Integer"),
        (with("partitionkey", Attr::CeBoolean(true)).encode_to_vec(), "partitionkey is of type Boolean"),
        (with("subject", string("")).encode_to_vec(), "subject is empty"),
        (with("a", string("x\ny")).encode_to_vec(), "control character"),
        (with("a", string(&"x".repeat(600))).encode_to_vec(), "max_attribute_bytes"),
        (
            CloudEvent { data: Some(WireData::BinaryData(vec![0; 1001].into())), ..wire() }.encode_to_vec(),
            "max_event_bytes",
        ),
        (vec![0x0a, 2, 0xff, 0xfe], "id is not UTF-8"),
        (vec![0x08, 1], "wrong wire type"),
        (vec![0x0a, 200], "cut short"),
        (vec![], "has no specversion"),
    ] {
        let text = refused(&bytes).to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn unknown_fields_pass_and_are_kept() {
    let mut bytes = wire().encode_to_vec();
    bytes.extend([0xf8, 0x3f, 7]);
    let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
    assert_eq!(view.as_bytes(), bytes);
}

#[test]
fn proto_data_has_no_form_in_json_and_says_so() {
    let any = prost_types::Any { type_url: "type.example/x".into(), value: vec![1] };
    let bytes = CloudEvent { data: Some(WireData::ProtoData(any)), ..wire() }.encode_to_vec();
    let view = EventView::parse(&bytes, EventLimits::default()).unwrap();
    assert_eq!(json::write(&view, &mut String::new()).unwrap_err().kind(), meshwire_proto::ErrorKind::Unsupported);
}

#[test]
fn only_a_run_whose_events_were_all_encoded_here_says_so_and_its_events_are_held_against_the_limits_too() {
    let event = Event::text("t", "text").id("7").source("/s").key("k");
    let bytes = event.clone().encode().unwrap();
    let mut builder = EventRunBuilder::default();
    builder.encode(&event.clone().into()).unwrap();
    assert!(builder.encode(&EventParts::default()).is_err(), "nothing of it stays");
    builder.encode(&event.into()).unwrap();
    let mut run = builder.take();
    assert_eq!((run.count(), run.is_encoded()), (2, true));
    assert!(run.split_front(1, u64::MAX).is_encoded() && run.is_encoded());
    builder.push(&bytes);
    assert!(!builder.take().is_encoded(), "encoded elsewhere");
    assert!(!EventRun::from_wire(run.as_bytes().clone(), 1).unwrap().is_encoded(), "from a peer");
    let identity = |max_event_bytes, max_attribute_bytes| {
        Identity::of_encoded(&bytes, EventLimits { max_event_bytes, max_attribute_bytes })
    };
    assert_eq!(identity(4, 100), Ok(Identity { source: b"/s", id: b"7", key: Some(b"k") }));
    for (found, limits) in [(identity(3, 100), (3, 100)), (identity(4, 10), (4, 10))] {
        let limits = EventLimits { max_event_bytes: limits.0, max_attribute_bytes: limits.1 };
        assert!(matches!(found, Err(EventError::TooLarge { .. })));
        assert_eq!(found.map(drop), EventView::parse(&bytes, limits).map(drop));
    }
}

#[test]
fn the_identity_of_an_event_is_found_wherever_its_fields_stand() {
    let event = Event::text("t", "x").id("7").source("/s").attribute("n", 7).encode().unwrap();
    assert_eq!(event_identity(&event), Some(("/s", "7")));
    let swapped = [&b"\x22\x01t"[..], b"\x12\x02/s", b"\x0a\x017"].concat();
    assert_eq!(event_identity(&swapped), Some(("/s", "7")));
    assert_eq!(event_identity(b"\x0a\x017"), None, "no source");
    assert_eq!(event_identity(b"\x0a\x097"), None, "cut short");
}
