//! First bytes: of no protocol, of TLS where there is none, of none where there is TLS, garbage in a handshake.

use meshwire_proto::frame::PREFACE;

use super::answers::Got;
use super::table::{Case, Over};

/// A TLS record of a handshake around these bytes.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 1], &length[..], bytes].concat()
}

/// A ClientHello that offers this version only, and one suite.
fn client_hello(version: u16) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
    record(&[&[1, 0, 0, u8::try_from(body.len()).unwrap()], &body[..]].concat())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let foreign: [(&str, &[u8]); 15] = [
        ("a method in small letters", b"get / HTTP/1.1\r\n\r\n"),
        ("MQTT", b"\x10\x16\0\x04MQTT\x04\x02\0\x3c"),
        ("AMQP", b"AMQP\0\x01\0\0"),
        ("EventMesh", b"EventMesh\0\0\0\x01"),
        ("a wrong byte in our preface", b"\xf3mesX"),
        ("zeros", &[0; 64]),
        ("ones", &[0xff; 64]),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n"),
        ("PostgreSQL", b"\0\0\0\x08\x04\xd2\x16\x2f"),
        ("Kafka", b"\0\0\0\x14\0\x12\0\0\0\0\0\x01\0\x04test"),
        ("sixteen letters", b"AAAAAAAAAAAAAAAA"),
        ("the PROXY protocol, version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"),
        ("a BOM before a method", b"\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n"),
        ("an empty line before a method", b"\r\nGET / HTTP/1.1\r\n\r\n"),
    ];
    for (name, bytes) in foreign {
        cases.push(Case::new(format!("first bytes: {name}"), bytes, Got::Sentence));
    }
    for (name, bytes) in [
        ("SMTP", &b"EHLO mail.example\r\n\r\n"[..]),
        ("RTSP", b"OPTIONS rtsp://a/b RTSP/1.0\r\n\r\n"),
        ("the PROXY protocol, version 1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n"),
        ("HTTP/0.9", b"GET /\r\n\r\n"),
    ] {
        cases.push(Case::new(format!("first bytes: {name}"), bytes, Got::Http(400, "INVALID".to_owned())));
    }
    for (name, bytes) in [("half a method", &b"GE"[..]), ("half a preface", &PREFACE[..4])] {
        cases.push(Case::new(format!("first bytes: {name}"), bytes, Got::Closed).hangs_up());
    }
    cases.push(Case::new("first bytes: none", b"", Got::Closed).hangs_up());
    let hello = client_hello(0x0303);
    cases.push(Case::new("TLS where there is none", hello.clone(), Got::Sentence).over(Over::Plain));
    cases.extend(handshakes(&hello));
    cases.extend(plain_where_tls_is_asked_for());
    cases
}

fn handshakes(hello: &[u8]) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: &[u8], want: Got| {
        cases.push(Case::new(format!("handshake: {name}"), bytes, want).over(Over::NoTls));
    };
    add("no handshake message", &record(b"hello"), Got::Closed);
    add("a record of 65,535 bytes", b"\x16\x03\x01\xff\xff", Got::Alert(50));
    add("an empty record", b"\x16\x03\x01\0\0", Got::Alert(50));
    add("a message of 16 MiB", &record(&[1, 0xff, 0xff, 0xff, 0, 0]), Got::Closed);
    add("version 1.0", &client_hello(0x0301), Got::Alert(40));
    add("no suite in common", hello, Got::Alert(40));
    add("a ServerHello", &record(&[2, 0, 0, 0]), Got::Alert(50));
    add("application data first", b"\x17\x03\x03\0\x05hello", Got::Sentence);
    add("a heartbeat first", b"\x18\x03\x02\0\x03\x01\x40\0", Got::Sentence);
    add("an alert first", b"\x15\x03\x01\0\x02\x02\x28", Got::Sentence);
    add("SSL version 2", b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10", Got::Sentence);
    cases.push(Case::new("handshake: cut off", &hello[..20], Got::Closed).over(Over::NoTls).hangs_up());
    cases
}

fn plain_where_tls_is_asked_for() -> Vec<Case> {
    let required = |name: &str, bytes: &[u8], want: Got| {
        Case::new(format!("plain where TLS is asked for: {name}"), bytes, want).over(Over::NoTls)
    };
    vec![
        required("HTTP/1.1", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", Got::Http(426, "TLS_REQUIRED".to_owned())),
        required("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", Got::GoAway(0xc)),
        required("a session", &PREFACE, Got::Refused("TLS_REQUIRED")),
        required("nothing", b"\0\0\0\0", Got::Sentence),
    ]
}
