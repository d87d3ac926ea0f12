use super::*;
use crate::EventLimits;
use crate::event::MOST_ATTRIBUTES;

type Write = fn(&EventView<'_>, &mut String) -> Result<(), EventError>;

fn round(text: &str) -> Result<String, EventError> {
    written(text, write)
}

fn written(text: &str, write: Write) -> Result<String, EventError> {
    let bytes = parse(text)?.encode()?;
    let view = EventView::parse(&bytes, EventLimits::default())?;
    let mut out = String::new();
    write(&view, &mut out)?;
    Ok(out)
}

const HEAD: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

#[test]
fn an_empty_id_source_or_type_is_refused_by_name() {
    for name in ["id", "source", "type"] {
        let parsed = parse(&format!(r#"{{"specversion":"1.0","{name}":""}}"#));
        assert_eq!(parsed.map(|_| ()), Err(EventError::value(name, "must not be empty")));
    }
}

#[test]
fn an_object_that_is_only_the_data_of_an_event_is_refused_and_a_person_may_leave_specversion_out() {
    let refused = parse(r#"{"item":42,"price":7}"#).map(|_| ());
    assert!(refused.is_err_and(|e| e.to_string().contains("write {\"specversion\":\"1.0\",\"data\":...} around it")));
    assert_eq!(parse(r#"{"data":{"item":42}}"#), parse(r#"{"specversion":"1.0","data":{"item":42}}"#));
    assert_eq!(parse("{}"), Ok(Event::default()));
    assert_eq!(parse_versioned(r#"{"data":{"item":42}}"#), Err(EventError::Missing("specversion")));
}

#[test]
fn data_keeps_its_exact_text_and_attributes_their_types() {
    for (given, expected) in [
        (r#","data":{"a": 1.50,  "b":[ ]}"#, r#","datacontenttype":"application/json","data":{"a": 1.50,  "b":[ ]}"#),
        (r#","datacontenttype":"text/plain","data":"a\nb""#, r#","datacontenttype":"text/plain","data":"a\nb""#),
        (r#","data_base64":"AP8=""#, r#","data_base64":"AP8=""#),
        (
            r#","datacontenttype":"text/plain","data_base64":"YQA=""#,
            r#","datacontenttype":"text/plain","data":"a\u0000""#,
        ),
        (r#","flag":true,"n":-7,"word":"x""#, r#","flag":true,"n":-7,"word":"x""#),
        (r#","time":"2020-01-02T03:04:05.5Z""#, r#","time":"2020-01-02T03:04:05.500Z""#),
        (r#","gone":null"#, ""),
        (",\"data\":[1,\r\n2 ]", ",\"datacontenttype\":\"application/json\",\"data\":[1,\r\n2 ]"),
    ] {
        assert_eq!(round(&format!("{{{HEAD}{given}}}")), Ok(format!("{{{HEAD}{expected}}}")), "{given}");
    }
}

#[test]
fn on_a_line_only_line_breaks_between_tokens_are_others() {
    for (data, line) in [
        ("[1,\n 2,\r\n\t3\r]", "[1,  2,  \t3 ]"),
        (r#"{"a\n":"\r\u000a"}"#, r#"{"a\n":"\r\u000a"}"#),
        (r#""\n""#, r#""\n""#),
    ] {
        let text = format!("{{{HEAD},\"data\":{data}}}");
        let expected = format!("{{{HEAD},\"datacontenttype\":\"application/json\",\"data\":{line}}}");
        assert_eq!(written(&text, write_line), Ok(expected), "{data}");
    }
    let text = format!("{{{HEAD},\"datacontenttype\":\"text/plain\",\"data\":\"a\\nb\"}}");
    assert_eq!(written(&text, write_line), written(&text, write));
}

#[test]
fn json_data_that_came_as_bytes_goes_out_verbatim_with_the_blanks_around_it() {
    let text = " {\n  \"a\" : 1.0\r\n}\n";
    let event = Event::new("t").id("1").source("/s").data_content_type("application/json").binary_data(text);
    let bytes = event.encode().unwrap_or_default();
    let view = EventView::parse(&bytes, EventLimits::default());
    let mut out = String::new();
    assert_eq!(view.and_then(|view| write(&view, &mut out)), Ok(()));
    assert!(out.contains(text), "{out}");
}

fn batch(text: &str) -> Result<Vec<Result<Event, EventError>>, EventError> {
    let mut events = Vec::new();
    let count = parse_batch(text, usize::MAX, |event| events.push(event.cloned().map(EventParts::into_event)))?;
    assert_eq!(count, events.len());
    Ok(events)
}

#[test]
fn of_a_batch_so_many_are_given_and_all_are_counted_whatever_they_are() {
    let good = format!("{{{HEAD}}}");
    let of = |item: &str, count| format!("[{}]", vec![item; count].join(","));
    for item in [&*good, "1", "{}", "[[]]"] {
        for (count, most) in [(0, 0), (1, 0), (3, 3), (4, 3), (5, 1)] {
            let mut given = 0;
            let found = parse_batch(&of(item, count), most, |event| {
                assert_eq!(event.is_ok(), item == good);
                given += 1;
            });
            assert_eq!((found, given), (Ok(count), count.min(most)), "{count} times {item}, at most {most}");
        }
    }
    let mixed = format!("[{good},1,{good},{good}]");
    for most in 0..5 {
        let mut given = Vec::new();
        assert_eq!(parse_batch(&mixed, most, |event| given.push(event.is_ok())), Ok(4));
        assert!(given.iter().eq([true, false, true, true].iter().take(most)), "{given:?}");
    }
    assert!(parse_batch(&mixed.replace("]", "x"), 1, |_| ()).is_err(), "what is beyond is read all the same");
}

#[test]
fn names_may_come_in_any_order_and_more_than_fit_into_any_limit_are_told_by_their_number() {
    let members = |count: usize| (0..count).rev().map(|n| format!(r#","a{n:06}":true"#)).collect::<String>();
    let of = |count, more: &str| format!("{{{HEAD}{}{more}}}", members(count));
    let attributes = |text: &str| parse_versioned(text).map(|event| EventParts::from(event).attributes.len());
    let most = MOST_ATTRIBUTES - 4;
    let read = read(&of(most, "")).map(EventParts::into_event);
    assert_eq!((read, attributes(&of(most, ""))), (parse_versioned(&of(most, "")), Ok(most)));
    assert!(fast::parse(&of(most, "")).is_some() && fast::parse(&of(most + 1, "")).is_none());
    assert_eq!(attributes(&of(most + 1, "")), Err(EventError::TooMany(MOST_ATTRIBUTES + 1)));
    let twice = attributes(&of(1000, r#","a000500":1"#)).map_err(|e| e.to_string());
    assert_eq!(twice, Err("not a CloudEvent in JSON: member \"a000500\" occurs twice".to_owned()));
}

#[test]
fn what_travels_says_its_version() {
    assert_eq!(parse_versioned(&format!("{{{HEAD}}}")), parse(&format!("{{{HEAD}}}")));
    let without = r#"{"id":"1","source":"/s","type":"t"}"#;
    assert!(parse_versioned(without).is_err_and(|e| e.to_string().contains("specversion")));
    let text = format!("[{{{HEAD}}},{without}]");
    assert_eq!(batch(&text).unwrap_or_default().iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn bad_json_says_what_and_where() {
    for (given, problem) in [
        ("[]".to_owned(), "an object is accepted, and this is an array"),
        ("7".to_owned(), "an object is accepted, and this is a number"),
        ("{".to_owned(), "it ends inside an object at line 1 column 1"),
        (format!("{{{HEAD},\"id\":\"2\"}}"), "occurs twice"),
        (format!("{{{HEAD},\"x\":1.5}}"), "attribute x 1.5 is not an integer"),
        (format!("{{{HEAD},\"x\":{{}}}}"), "attribute x must be"),
        (format!("{{{HEAD},\"Bad\":1}}"), "\"Bad\" is not an attribute name"),
        (format!("{{{HEAD},\"data\":1,\"data_base64\":\"AA==\"}}"), "exclude each other"),
        (format!("{{{HEAD},\"data_base64\":\"!\"}}"), "data_base64 is not base64"),
        (format!("{{{HEAD},\"time\":\"yesterday\"}}"), "RFC 3339"),
        (format!("{{{HEAD},\"datacontenttype\":\"text/plain\",\"data\":{{}}}}"), "must be a string"),
        (r#"{"specversion":"0.3"}"#.to_owned(), "specversion is \"0.3\""),
        (r#"{"specversion":"1.0","source":"/s","type":"t"}"#.to_owned(), "has no id"),
    ] {
        let refused = round(&given).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains(problem), "{given}: {refused}");
    }
}

#[test]
fn what_is_no_batch_says_what_is() {
    for (given, problem) in
        [("{}", "an array of events is accepted, and this is an object"), ("[{}", "it ends inside an array")]
    {
        assert!(batch(given).is_err_and(|e| e.to_string().contains(problem)), "{given}");
    }
}

#[test]
fn the_quick_way_reads_what_the_careful_one_reads_and_nothing_more() {
    let ends = [
        "",
        r#","data":{"a": 1.50,  "b":[ ]}"#,
        r#","datacontenttype":"Application/Vnd.x+JSON; a=b","data":"text""#,
        r#","datacontenttype":"text/plain","data":"a\nb \u00e9""#,
        r#","data":"x","datacontenttype":"text/plain""#,
        r#","datacontenttype":"text/plain","data":{}"#,
        r#","data":null"#,
        r#","data_base64":"AP8=""#,
        r#","data_base64":"!""#,
        r#","data":1,"data_base64":"AA==""#,
        r#","flag":true,"n":-7,"m":2147483647,"word":"\u00e9 \"x\"""#,
        r#","n":2147483648"#,
        r#","n":1.0"#,
        r#","n":1e999"#,
        r#","word":"\ud800""#,
        r#","gone":null"#,
        r#","x":{"a":1}"#,
        r#","x":[1]"#,
        r#","time":"2020-01-02T03:04:05.5+01:00","subject":"s","dataschema":"https://s""#,
        r#","time":"2020-01-02T03:04:05.5Z","time":"2020-01-02T03:04:05.5Z""#,
        r#","time":"yesterday""#,
        r#","id":"2""#,
        r#","x":1,"x":1"#,
        r#","Bad":1"#,
    ];
    let heads = [
        HEAD,
        r#""id":"1","source":"/s","type":"t""#,
        r#""specversion":"1.0","id":"","id":"1","source":"/s","type":"t""#,
    ];
    let (mut quick, mut all) = (0, 0);
    for text in heads.iter().flat_map(|head| ends.iter().map(move |end| format!("{{{head}{end}}}"))) {
        assert_eq!(read(&text).map(EventParts::into_event), parse_versioned(&text), "{text}");
        let both = format!("[{text},{text}]");
        assert_eq!(batch(&both), Ok(vec![parse_versioned(&text), parse_versioned(&text)]), "{text}");
        let between = format!("[{{{HEAD}}},{text},{{{HEAD}}}]");
        let plain = || parse_versioned(&format!("{{{HEAD}}}"));
        assert_eq!(batch(&between), Ok(vec![plain(), parse_versioned(&text), plain()]), "{text}");
        (quick, all) = (quick + usize::from(fast::parse(&text).is_some()), all + 1);
    }
    assert_eq!((quick, all), (10, 72));
    for text in ["", "1", "[1]", "[{}]", "[", "[{\"id\":\"1\"}] x"] {
        assert_eq!(read(text).map(EventParts::into_event), parse_versioned(text), "{text}");
    }
    assert!(batch("{}").is_err() && batch("[1] 2").is_err() && batch(&format!("[{{{HEAD}}}")).is_err());
    assert_eq!(batch("[]"), Ok(Vec::new()));
}

/// Events with everything that the quick way knows, and some that it does not.
const WHOLE: [&str; 4] = [
    r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"a\n\u00e9"}"#,
    r#"{ "specversion" : "1.0" , "type":"t","id":"\u0031","source":"/s" ,"n":-12,"flag":true , "data_base64":"AP8="}"#,
    r#"{"data":{"a":[1.50,"\\\""],"b":null},"id":"1","specversion":"1.0","source":"/s","type":"t","off":false,"m":0}"#,
    r#"{"time":"2020-01-02T03:04:05.5Z","subject":"é","specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
];

/// What is put between, or in the place of others.
const PIECES: [&str; 24] = [
    "\"", "\\", "{", "}", "[", "]", ":", ",", " ", "\n", "\u{1}", "0", "7", "-", ".", "e1", "true", "fals", "null",
    "\\u", "\\\"", "\"id\"", "é", "",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]
    #[test]
    fn whatever_is_changed_in_an_event_both_ways_read_the_same(
        whole in proptest::sample::select(&WHOLE[..]),
        changes in proptest::collection::vec(
            (0..120_usize, 0..3_usize, proptest::sample::select(&PIECES[..])), 1..4
        ),
    ) {
        let mut text: Vec<char> = whole.chars().collect();
        for (at, removed, piece) in changes {
            let at = at.min(text.len());
            text.splice(at..(at + removed).min(text.len()), piece.chars());
        }
        let text: String = text.into_iter().collect();
        proptest::prop_assert_eq!(read(&text).map(EventParts::into_event), parse_versioned(&text), "{}", text);
        if parse_versioned(&text).is_ok() {
            let both = batch(&format!("[{text} , {whole}]"));
            proptest::prop_assert_eq!(both, Ok(vec![parse_versioned(&text), parse_versioned(whole)]));
        }
        // Behind an event that is nearly the same, and before it.
        let three = format!("[{whole},{text},{whole}]");
        let expected = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(&three)
            .map(|items| items.into_iter().map(|item| parse_versioned(item.get())).collect());
        match expected {
            Ok(expected) => proptest::prop_assert_eq!(batch(&three), Ok(expected)),
            Err(_) => proptest::prop_assert!(batch(&three).is_err(), "{}", three),
        }
    }
}
