//! Frames: decode after encode is the identity, our reader agrees with the
//! generated types, and any bytes are a frame or a typed error.

use bytes::{Bytes, BytesMut};
use meshwire_proto::frame::{
    ClientFrame, Deliver, DeliverRun, FrameError, FrameParser, Publish, PublishRun, Receipt, Receipts, ServerFrame,
    Settle, SettleKind, SettleRange, SettleResult, Settled, begin_frame, end_frame,
};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{EventRun, EventRunBuilder};
use proptest::prelude::*;
use prost::Message as _;

fn run() -> impl Strategy<Value = EventRun> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6).prop_map(|events| {
        let mut builder = EventRunBuilder::default();
        events.iter().for_each(|e| builder.push(e));
        builder.take()
    })
}

prop_compose! {
    fn publish_run()(alias in any::<u32>(), topic in "[a-z]{0,9}", first_sequence in any::<u64>(), deliver_at_ms in any::<i64>(),
        expires_in_ms in any::<u64>(), expected_position in any::<Option<u64>>(), events in run()) -> PublishRun {
        PublishRun { alias, topic, first_sequence, deliver_at_ms, expires_in_ms, expected_position, events }
    }
}

prop_compose! {
    fn deliver_run()(subscription in any::<u32>(), first_delivery in any::<u64>(), attempt in any::<u32>(),
        first_position in any::<u64>(), gap in any::<u64>(), stored_unix_ms in any::<i64>(),
        expires_unix_ms in any::<i64>(), events in run()) -> DeliverRun {
        DeliverRun { subscription, first_delivery, attempt, first_position, gap, stored_unix_ms, expires_unix_ms, events }
    }
}

prop_compose! {
    fn receipt()(first_sequence in any::<u64>(), count in any::<u32>(), code in any::<u32>(), first_position in any::<u64>(),
        duplicate in any::<bool>(), message in "\\PC{0,20}", retry_after_ms in any::<u32>()) -> Receipt {
        Receipt { first_sequence, count, code, first_position, duplicate, message, retry_after_ms }
    }
}

prop_compose! {
    fn settle_range()(subscription in any::<u32>(), first_delivery in any::<u64>(), count in any::<u32>(),
        kind in prop_oneof![Just(SettleKind::Ack), Just(SettleKind::Nack), Just(SettleKind::Reject), Just(SettleKind::Extend), Just(SettleKind::Release)],
        delay_ms in any::<Option<u32>>(), reason in "\\PC{0,20}") -> SettleRange {
        SettleRange { subscription, first_delivery, count, kind, delay_ms, reason }
    }
}

prop_compose! {
    fn settle_result()(sequence in any::<u64>(), subscription in any::<u32>(), first_delivery in any::<u64>(),
        count in any::<u32>(), code in any::<u32>(), next_delivery in any::<u64>()) -> SettleResult {
        SettleResult { sequence, subscription, first_delivery, count, code, next_delivery }
    }
}

fn many<S: Strategy>(one: S) -> impl Strategy<Value = Vec<S::Value>> {
    proptest::collection::vec(one, 0..5)
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        (many(publish_run()), any::<u64>())
            .prop_map(|(runs, answered_through)| { ClientFrame::Publish(Publish { runs, answered_through }) }),
        (any::<u64>(), many(settle_range()), any::<bool>())
            .prop_map(|(sequence, ranges, confirm)| ClientFrame::Settle(Settle { sequence, ranges, confirm })),
        (any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(subscription, max_events, max_bytes)| {
            ClientFrame::Credit(wire::Credit { subscription, max_events, max_bytes })
        }),
        ("\\PC{0,20}", any::<u64>()).prop_map(|(client_name, first_unanswered)| {
            ClientFrame::Hello(wire::Hello { client_name, first_unanswered, ..wire::Hello::default() })
        }),
        (1000u32..9000).prop_map(ClientFrame::Optional),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        many(deliver_run()).prop_map(|runs| ServerFrame::Deliver(Deliver { runs })),
        many(receipt()).prop_map(|receipts| ServerFrame::Receipts(Receipts { receipts })),
        (any::<u64>(), many(settle_result()))
            .prop_map(|(through, results)| ServerFrame::Settled(Settled { through, results })),
        any::<u32>().prop_map(|n| ServerFrame::Drain(wire::Drain { deadline_ms: n, reason: n.to_string() })),
        (1000u32..9000).prop_map(ServerFrame::Optional),
    ]
}

fn encode(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    write(&mut out);
    out.freeze()
}

proptest! {
    #[test]
    fn a_client_frame_comes_back_as_it_was(frame in client_frame()) {
        let bytes = encode(|out| frame.encode(out));
        prop_assert_eq!(ClientFrame::decode(bytes), Ok(frame));
    }

    #[test]
    fn a_server_frame_comes_back_as_it_was(frame in server_frame()) {
        let bytes = encode(|out| frame.encode(out));
        prop_assert_eq!(ServerFrame::decode(bytes), Ok(frame));
    }

    #[test]
    fn the_generated_types_read_what_we_write_and_we_what_they_write(client in client_frame(), server in server_frame()) {
        if !matches!(client, ClientFrame::Optional(_)) {
            let ours = encode(|out| client.encode(out));
            let theirs = wire::ClientFrame::decode(ours).unwrap();
            prop_assert!(theirs.frame.is_some());
            prop_assert_eq!(ClientFrame::decode(theirs.encode_to_vec().into()), Ok(client));
        }
        if !matches!(server, ServerFrame::Optional(_)) {
            let ours = encode(|out| server.encode(out));
            let theirs = wire::ServerFrame::decode(ours).unwrap();
            prop_assert!(theirs.frame.is_some());
            prop_assert_eq!(ServerFrame::decode(theirs.encode_to_vec().into()), Ok(server));
        }
    }

    #[test]
    fn a_header_with_a_stored_block_behind_it_is_a_deliver_frame(run in deliver_run()) {
        let bytes = encode(|out| {
            run.encode_frame_head(out);
            out.extend_from_slice(run.events.as_bytes());
        });
        prop_assert_eq!(ServerFrame::decode(bytes), Ok(ServerFrame::Deliver(Deliver { runs: vec![run] })));
    }

    #[test]
    fn any_bytes_are_a_frame_or_a_typed_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = ClientFrame::decode(bytes.clone().into());
        let _ = ServerFrame::decode(bytes.into());
    }

    #[test]
    fn a_damaged_frame_never_panics(frame in server_frame(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = encode(|out| frame.encode(out)).to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = ServerFrame::decode(bytes.clone().into());
            bytes.truncate(at);
            let _ = ServerFrame::decode(bytes.into());
        }
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut(frames in many(client_frame()), cuts in many(1usize..30)) {
        let mut stream = BytesMut::new();
        for frame in &frames {
            let start = begin_frame(&mut stream);
            frame.encode(&mut stream);
            end_frame(&mut stream, start, 0);
        }
        let parser = FrameParser::new(1 << 20, "max_frame_bytes");
        let (mut buffer, mut found, mut cuts) = (BytesMut::new(), Vec::new(), cuts.into_iter().chain(std::iter::repeat(17)));
        while !stream.is_empty() {
            let part = stream.split_to(cuts.next().unwrap().min(stream.len()));
            buffer.extend_from_slice(&part);
            while let Some(frame) = parser.next(&mut buffer).unwrap() {
                found.push(ClientFrame::decode(frame).unwrap());
            }
        }
        prop_assert_eq!(found, frames);
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
    let parser = FrameParser::new(100, "login_frame_bytes");
    let refused = parser.next(&mut BytesMut::from(&[101, 0, 0, 0][..])).unwrap_err();
    assert_eq!(refused, FrameError::TooLong { length: 101, limit: 100, option: "login_frame_bytes" });
}

#[test]
fn unknown_fields_are_skipped_and_unknown_frames_told_apart() {
    let mut ping = encode(|out| ServerFrame::Ping(wire::Ping { nonce: 7, answer: false }).encode(out)).to_vec();
    ping.extend([0xf8, 0x01, 9]);
    ping[1] += 3;
    let ServerFrame::Ping(read) = ServerFrame::decode(ping.into()).unwrap() else { panic!("a ping") };
    assert_eq!(read.nonce, 7);
    assert_eq!(ClientFrame::decode(Bytes::from_static(&[0xf2, 0x06, 0])), Err(FrameError::Unknown(110)));
    assert_eq!(ClientFrame::decode(Bytes::from_static(&[0xc2, 0x3e, 0])), Ok(ClientFrame::Optional(1000)));
}

#[test]
fn a_run_that_lies_about_its_count_is_refused() {
    let events = EventRun::from_iter([Bytes::from_static(b"a")]);
    let honest =
        Publish { runs: vec![PublishRun { events: events.clone(), ..PublishRun::default() }], answered_through: 0 };
    let mut bytes = encode(|out| ClientFrame::Publish(honest).encode(out)).to_vec();
    let count = bytes.iter().position(|b| *b == 4 << 3).unwrap() + 1;
    bytes[count] = 9;
    assert!(ClientFrame::decode(bytes.into()).unwrap_err().to_string().contains("count is not that of its events"));
}

#[test]
fn the_events_of_a_delivery_stand_in_one_place_and_what_is_behind_them_is_read() {
    let decode = |fields: &[&[u8]]| {
        let run = fields.concat();
        let runs = [&[0x0A, run.len() as u8][..], &run].concat();
        ServerFrame::decode([&[0x2A, runs.len() as u8][..], &runs].concat().into())
    };
    let (two, event, expires) = ([5 << 3, 2], [0x7A, 1, b'a'], [0xF0, 1, 7]);
    let Ok(ServerFrame::Deliver(read)) = decode(&[&two, &event, &event, &expires]) else { panic!("a delivery") };
    assert_eq!((read.runs[0].events.count(), read.runs[0].expires_unix_ms), (2, 7));
    let wrong = [
        vec![&two[..], &event, &expires, &event],
        vec![&two, &event, &event, &expires, &event],
        vec![&two, &event, &event, &event],
        vec![&two, &event],
        vec![&event],
    ];
    for fields in wrong {
        assert!(matches!(decode(&fields), Err(FrameError::Malformed { .. })), "{fields:?}");
    }
}
