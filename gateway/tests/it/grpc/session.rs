//! A native session in the messages of one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, FrameParser, PREFACE, ServerFrame, begin_frame, end_frame};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};

use super::{Raw, Stub, is};
use crate::rig::{PATIENCE, Rig, earliest, event, hello, memory, run_of};

/// Both directions of a call.
struct Call {
    out: mpsc::Sender<Bytes>,
    input: Streaming<Bytes>,
    buffer: BytesMut,
    /// The gateway's preface came.
    begun: bool,
}

impl Call {
    async fn open(stub: &Stub) -> Result<Self, Status> {
        let (out, mut queue) = mpsc::channel(4096);
        let messages = futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx));
        let path = "/meshwire.session.v1.Session/Open".parse().unwrap();
        let answered = stub.grpc().await.streaming(Request::new(messages), path, Raw).await?;
        Ok(Self { out, input: answered.into_inner(), buffer: BytesMut::new(), begun: false })
    }

    fn send(&self, frame: &ClientFrame, size: usize) {
        let mut bytes = BytesMut::new();
        if matches!(frame, ClientFrame::Hello(_)) {
            bytes.extend_from_slice(&PREFACE);
        }
        let start = begin_frame(&mut bytes);
        frame.encode(&mut bytes);
        end_frame(&mut bytes, start, 0);
        bytes.chunks(size).for_each(|chunk| self.out.try_send(Bytes::copy_from_slice(chunk)).unwrap());
    }

    async fn next(&mut self) -> Result<Option<ServerFrame>, Status> {
        let parser = FrameParser::new(1 << 26, "none");
        loop {
            if !self.begun && self.buffer.len() >= PREFACE.len() {
                assert_eq!(self.buffer.split_to(PREFACE.len()), PREFACE[..]);
                self.begun = true;
            }
            if self.begun
                && let Some(frame) = parser.next(&mut self.buffer).unwrap()
            {
                return Ok(Some(ServerFrame::decode(frame).unwrap()));
            }
            match timeout(PATIENCE, self.input.message()).await.expect("a message in time")? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    async fn login(stub: &Stub, size: usize) -> Self {
        let mut call = Self::open(stub).await.unwrap();
        call.send(&ClientFrame::Hello(hello()), size);
        let welcome = call.next().await.unwrap();
        assert!(matches!(welcome, Some(ServerFrame::Welcome(_))), "{welcome:?}");
        call
    }
}

#[tokio::test]
async fn a_session_may_come_byte_by_byte_or_whole() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    for size in [1, 7, 1 << 16] {
        let call = Call::login(&stub, size).await;
        // Messages without bytes say nothing.
        call.out.try_send(Bytes::new()).unwrap();
        call.send(&ClientFrame::Goodbye(meshwire_proto::wire::session::Goodbye::default()), size);
    }
}

#[tokio::test]
async fn a_call_is_answered_with_bytes_before_it_says_anything() {
    let rig = Rig::start().await;
    let mut call = Call::open(&Stub::of(&rig).await).await.unwrap();
    // nginx keeps the head of an answer until bytes follow it.
    let first = timeout(PATIENCE, call.input.message()).await.expect("a message in time").unwrap();
    assert!(first.expect("a message").is_empty(), "it says nothing");
}

#[tokio::test]
async fn a_call_without_a_session_ends_with_a_code() {
    let mut config = memory();
    config.login_timeout = Duration::from_millis(200);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let stub = Stub::of(&rig).await;
    for first in [Bytes::new(), Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")] {
        let mut call = Call::open(&stub).await.unwrap();
        call.out.try_send(first).unwrap();
        is(&call.next().await.unwrap_err(), Code::InvalidArgument, ErrorKind::Invalid);
    }
    let mut silent = Call::open(&stub).await.unwrap();
    is(&silent.next().await.unwrap_err(), Code::InvalidArgument, ErrorKind::Invalid);
    Call::login(&stub, 64).await;
}

#[tokio::test]
async fn a_session_that_reads_nothing_of_thousands_of_small_events_keeps_its_connection() {
    const EVENTS: u32 = 4000;
    let rig = Rig::start().await;
    let window = |endpoint: tonic::transport::Endpoint| {
        endpoint.initial_connection_window_size(1 << 20).initial_stream_window_size(1 << 20)
    };
    let stub = Stub::with(&rig, window).await;
    let mut call = Call::login(&stub, 1 << 16).await;
    let subscribe = meshwire_proto::wire::session::Subscribe { max_events: EVENTS, ..earliest(1, "t", "") };
    call.send(&ClientFrame::Subscribe(subscribe), 1 << 16);
    assert!(matches!(call.next().await.unwrap(), Some(ServerFrame::Subscribed(_))));
    let mut publisher = rig.session().await;
    for id in 0..EVENTS {
        publisher.publish("t", run_of(&[event(&id.to_string())])).await;
    }
    let mut came = 0;
    while came < EVENTS {
        if let Some(ServerFrame::Deliver(deliver)) = call.next().await.unwrap() {
            came += deliver.runs.iter().map(|run| run.events.count()).sum::<u32>();
        }
    }
}

#[tokio::test]
async fn each_session_of_a_connection_counts_as_a_connection() {
    let mut config = memory();
    config.max_connections = 3;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let stub = Stub::of(&rig).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(Call::login(&stub, 1 << 16).await);
    }
    let refused = Call::open(&stub).await.err().expect("no place for a fourth");
    is(&refused, Code::ResourceExhausted, ErrorKind::Busy);
    for call in &mut sessions {
        call.send(&ClientFrame::Ping(meshwire_proto::wire::session::Ping { nonce: 1, answer: false }), 1 << 16);
        assert!(matches!(call.next().await, Ok(Some(ServerFrame::Ping(_)))), "others go on");
    }
}

#[tokio::test]
async fn halves_of_hellos_in_one_connection_hold_no_more_than_there_is_for_what_is_not_whole() {
    let mut config = memory();
    config.memory_budget = 8 << 20;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let stub = Stub::of(&rig).await;
    let half = [&PREFACE[..], &65_536_u32.to_le_bytes(), &[0x0a; 60_000]].concat();
    let mut calls = Vec::new();
    for _ in 0..100 {
        let call = Call::open(&stub).await.unwrap();
        call.out.try_send(Bytes::copy_from_slice(&half)).unwrap();
        calls.push(call);
    }
    let ends = calls.iter_mut().map(|call| Box::pin(async { call.next().await.map(|frame| format!("{frame:?}")) }));
    let (first, ..) = futures_util::future::select_all(ends).await;
    let first = first.unwrap();
    assert!(first.contains("memory_budget"), "it is told why: {first}");
}

#[tokio::test]
async fn a_session_that_does_not_log_in_ends_with_its_call_after_the_login_timeout() {
    let mut config = memory();
    config.login_timeout = Duration::from_secs(1);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let stub = Stub::of(&rig).await;
    let beginnings = [&b""[..], &PREFACE[..3], &PREFACE, &[&PREFACE[..], &[100, 0, 0, 0, 1]].concat()];
    let ended = beginnings.map(async |sent| {
        let began = Instant::now();
        let mut call = Call::open(&stub).await.unwrap();
        call.out.try_send(Bytes::copy_from_slice(sent)).unwrap();
        while let Ok(Some(frame)) = call.next().await {
            assert!(matches!(frame, ServerFrame::Error(_)), "{frame:?}");
        }
        began.elapsed()
    });
    for took in futures_util::future::join_all(ended).await {
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
