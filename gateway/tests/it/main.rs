//! The gateway from outside: a real listener on a free port, real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod access;
mod admin_http;
mod authorize;
mod batches;
mod bodies;
mod broadcast;
mod browsers;
mod calls;
mod carrier;
mod certificates;
mod codes;
mod cold;
mod dead_letters;
mod delayed;
mod delete;
mod deny_all;
mod disk_full;
mod doors;
mod grpc;
mod health;
mod hostile;
mod http_client;
mod http_deadlines;
mod http_fetch;
mod http_inputs;
mod http_pages;
mod http_publish;
mod http_receive;
mod http_request;
mod http_settle;
mod http_verbatim;
mod http_websocket;
mod kept;
mod lag;
mod large_frames;
mod leaving;
mod limits;
mod listeners;
mod long_texts;
mod lost_streams;
mod machine;
mod many_groups;
mod memory;
mod metrics;
mod openapi;
mod openapi_requests;
mod page;
mod places;
mod proto_data;
mod publish;
mod rates;
mod requests;
mod retention;
mod rig;
mod room;
mod sessions;
mod since;
mod slow_sockets;
mod stopping;
mod subscribe;
mod threads;
mod tls;
mod told;
mod vectors;
mod websocket;
mod websocket_rfc;
