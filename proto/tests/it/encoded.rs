//! What the gateway relies on when it does not validate what it encoded itself (`EventRun::is_encoded`).

use std::cell::Cell;

use meshwire_proto::{AttributeValue, Event, EventLimits, EventParts, EventRunBuilder, EventView, Identity};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Text as programs may set it, good or not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z/]{1,5}",
        1 => Just(String::new()),
        1 => "[\u{0}-\u{20}\u{7e}-\u{a0}\u{fdcf}-\u{fdf0}\u{fffd}-\u{10001}]{1,2}",
        1 => "\\PC{0,9}",
        1 => any::<String>(),
    ]
}

const DEFINED: &[&str] = &["time", "subject", "datacontenttype", "dataschema"];
const REQUIRED: &[&str] = &["id", "source", "type", "specversion", "data"];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => "[a-z0-9]{1,3}",
        4 => prop::sample::select(DEFINED).prop_map(str::to_owned),
        2 => Just("partitionkey".to_owned()),
        1 => prop::sample::select(REQUIRED).prop_map(str::to_owned),
        1 => "[a-zA-Z_]{0,3}",
        1 => text(),
    ]
}

fn value() -> impl Strategy<Value = AttributeValue<'static>> {
    let year = -70_000_000_000_i64..270_000_000_000;
    let nanos = prop_oneof![4 => 0..1_000_000_000, 1 => any::<i32>()];
    let seconds = prop_oneof![4 => year, 1 => any::<i64>()];
    prop_oneof![
        4 => text().prop_map(AttributeValue::from),
        1 => any::<bool>().prop_map(AttributeValue::Boolean),
        1 => any::<i32>().prop_map(AttributeValue::Integer),
        1 => proptest::collection::vec(any::<u8>(), 0..5).prop_map(|bytes| AttributeValue::Binary(bytes.into())),
        1 => text().prop_map(|text| AttributeValue::Uri(text.into())),
        1 => text().prop_map(|text| AttributeValue::UriReference(text.into())),
        1 => (seconds, nanos).prop_map(|(seconds, nanos)| AttributeValue::Timestamp(prost_types::Timestamp { seconds, nanos })),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let data = prop_oneof![
        Just(None),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Some(Ok(bytes))),
        any::<String>().prop_map(|text| Some(Err(text))),
    ];
    let attributes = proptest::collection::vec((name(), value()), 0..4);
    ([text(), text(), text()], attributes, data).prop_map(|([id, source, kind], attributes, data)| {
        let mut event = Event::new(kind).id(id).source(source);
        for (name, value) in attributes {
            event = event.attribute(name, value);
        }
        match data {
            None => event,
            Some(Ok(bytes)) => event.binary_data(bytes),
            Some(Err(text)) => event.text_data(text),
        }
    })
}

#[test]
fn whatever_can_be_encoded_is_valid_and_its_identity_is_found_the_same_within_any_limits() {
    let (encoded, refused, large) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let more = |count: &Cell<u32>| count.set(count.get() + 1);
    let limits = (0..300_u32, 0..100_u32);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(4000) });
    let ran = runner.run(&(event(), limits), |(event, (max_event_bytes, max_attribute_bytes))| {
        let Ok(bytes) = event.encode() else {
            more(&refused);
            return Ok(());
        };
        more(&encoded);
        let all = EventLimits { max_event_bytes: u32::MAX, max_attribute_bytes: u32::MAX };
        for limits in [all, EventLimits { max_event_bytes, max_attribute_bytes }] {
            let identity = Identity::of_encoded(&bytes, limits);
            prop_assert_eq!(&identity, &EventView::parse(&bytes, limits).map(Identity::from));
            if identity.is_err() {
                more(&large);
            }
        }
        prop_assert!(EventView::parse(&bytes, all).is_ok());
        let mut builder = EventRunBuilder::default();
        prop_assert_eq!(builder.encode(&EventParts::from(event)), Ok(()));
        let run = builder.take();
        prop_assert!(run.is_encoded() && run.iter().eq([bytes]));
        Ok(())
    });
    ran.unwrap();
    let counts = [encoded.get(), refused.get(), large.get()];
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}: the cases are of all kinds");
}
