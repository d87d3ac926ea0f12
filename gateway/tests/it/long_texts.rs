//! What is wrong with a long text is told in few words: no answer repeats what was sent.

use meshwire_proto::wire::mesh as wire;

use crate::grpc::Stub;
use crate::hostile::frames::{event, field};
use crate::rig::Rig;

/// Most bytes of an answer.
const MOST: usize = 1024;

/// An event with these members beside the four that must be.
fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{members}}}"#)
}

#[tokio::test]
async fn what_is_wrong_with_a_mebibyte_of_json_is_told_in_less_than_1_kib() {
    let (rig, long) = (Rig::start().await, "x".repeat(1 << 20));
    let digits = "7".repeat(1 << 20);
    for body in [
        with(&format!(r#""time":"{long}""#)),
        with(&format!(r#""time":"{}""#, "\\u0001".repeat(100_000))),
        with(&format!(r#""{long}":{{}}"#)),
        with(&format!(r#""{}":1"#, long.to_uppercase())),
        with(&format!(r#""{long}":1,"{long}":1"#)),
        with(&format!(r#""{long}":"\u0001""#)),
        with(&format!(r#""n":{digits}"#)),
        with(&format!(r#""n":-1.{digits}"#)),
        with(&format!(r#""datacontenttype":"{long}","data":1"#)),
        with(&format!(r#""data_base64":"{long}!""#)),
        with("\"a\":1").replace("1.0", &long),
        format!("\"{long}\""),
        format!("{{\"{long}"),
        long.clone(),
    ] {
        let headers = "content-type: application/cloudevents+json\r\n";
        let answer = rig.with_headers("POST", "/v1/topics/t/events", headers, &body).await;
        assert!(answer.status >= 400 && answer.body.len() < MOST, "{:.100}: {:.2000}", body, answer.text());
        let headers = "content-type: application/cloudevents-batch+json\r\n";
        let answer = rig.with_headers("POST", "/v1/topics/t/events", headers, &format!("[{body}]")).await;
        assert!(answer.text().contains("\"code\""), "{:.100}", body);
        assert!(answer.body.len() < MOST, "{:.100}: {:.2000}", body, answer.text());
    }
}

#[tokio::test]
async fn what_is_wrong_with_long_headers_is_told_in_less_than_1_kib() {
    let (rig, long) = (Rig::start().await, "x".repeat(30_000));
    let least = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n";
    let (path, late) = ("/v1/topics/t/events", format!("/v1/topics/t/events?deliver_at={long}"));
    for (path, header) in [
        (path, format!("ce-time: {long}\r\n")),
        (path, format!("ce-{long}: %ff\r\n")),
        (path, format!("ce-{long}_: 1\r\n")),
        (path, format!("content-type: application/cloudevents{long}\r\n")),
        (&late, String::new()),
    ] {
        let answer = rig.with_headers("POST", path, &format!("{least}{header}"), "x").await;
        assert_eq!(answer.json()["title"], answer.problem().1);
        assert!(answer.status >= 400 && answer.body.len() < MOST, "{:.40}: {:.2000}", header, answer.text());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_long_attribute_in_protobuf_is_told_in_less_than_1_kib() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let attribute = |name: &[u8], value: &[u8]| field(5, &[field(1, name), field(2, value)].concat());
    for length in [60_000, 1 << 20] {
        let long = vec![b'x'; length];
        for more in [
            attribute(b"time", &field(3, &long)),
            attribute(b"a", &field(7, &field(1, &long))),
            attribute(&long, &field(3, b"\xff")),
            attribute(&long, &field(1, b"")),
            attribute(&long, b""),
            attribute(&long, &field(3, b"\x01")),
            attribute(&long, &[field(3, b"1"), field(3, b"1")].concat()),
            attribute(&long.to_ascii_uppercase(), &field(3, b"1")),
            attribute(&long[..20_000], &field(3, b"1")).repeat(2),
        ] {
            let event = event(&[], &more).into();
            let request = wire::PublishRequest { topic: "t".into(), event, ..wire::PublishRequest::default() };
            let status = stub.publish(request).await.unwrap_err();
            let told = status.message().len() + status.details().len();
            assert!(told < MOST && !status.details().is_empty(), "{told} bytes: {:.200}", status.message());
        }
    }
}
