//! gRPC: services over the HTTP/2 of the one port.
//!
//! - [`session`]: a native session in one stream;
//! - [`mesh`]: events for plain stubs; [`subscribe`]: its stream of deliveries;
//! - [`admin`]: commands; [`health`]: whether the gateway serves;
//! - [`asking`]: reflection, whose calls have many messages;
//! - [`call`]: what calls have in common; [`fields`]: how many fields a message may have.

mod admin;
mod asking;
mod call;
mod fields;
mod health;
mod mesh;
#[rustfmt::skip]
#[allow(clippy::all, clippy::allow_attributes_without_reason, unreachable_pub, elided_lifetimes_in_paths, reason = "generated code")]
mod services;
mod session;
mod subscribe;

use std::sync::Arc;

use axum::routing::post;
use axum::{Router, middleware};
use meshwire_proto::wire::DESCRIPTORS;
use tonic::{Request, Status};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder;

use super::calls::Calls;
use super::web::{Door, status};
use crate::mesh::{Caller, Refusal};
use call::Deadline;
use services::admin_server::AdminServer;
use services::mesh_server::MeshServer;

/// Largest message to services whose messages hold no events.
const SMALL: usize = 64 * 1024;

/// The paths of gRPC, for whoever serves HTTP.
pub fn router(calls: &Arc<Calls>) -> Router {
    // How long a message may be is known before it comes to these.
    let mesh = MeshServer::new(mesh::Service(calls.clone())).max_decoding_message_size(usize::MAX);
    let admin = AdminServer::new(admin::Commands(calls.clone())).max_decoding_message_size(usize::MAX);
    let health = HealthServer::new(health::State(calls.mesh().failed())).max_decoding_message_size(usize::MAX);
    let calls = Router::new().route_service("/meshwire.v1.Mesh/{method}", mesh).layer(middleware::from_fn(call::run));
    let small = Router::new()
        .route_service("/meshwire.v1.Admin/{method}", admin)
        .route_service("/grpc.health.v1.Health/{method}", health)
        .layer(middleware::from_fn(call::run_small));
    Router::new()
        .route(meshwire_proto::codec::grpc::SESSION_PATH, post(session::open))
        .merge(small)
        .merge(reflection())
        .merge(calls)
}

fn reflection() -> Router {
    let mut router = Router::new();
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // What is built in is read without fault: a test lists the services by it.
    if let Ok(v1) = builder().build_v1() {
        router = router.route_service("/grpc.reflection.v1.ServerReflection/{method}", v1);
    }
    if let Ok(v1alpha) = builder().build_v1alpha() {
        router = router.route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha);
    }
    router.layer(middleware::from_fn(asking::run))
}

/// When a call ends.
fn deadline<T>(request: &Request<T>) -> Deadline {
    request.extensions().get::<Deadline>().copied().unwrap_or(Deadline(None))
}

/// Who calls.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let door = request.extensions().get::<Door>();
    let nobody = || status::status(Refusal::new(meshwire_proto::ErrorKind::Internal, "a call without a connection"));
    door.map(|door| door.caller("grpc")).ok_or_else(nobody)
}
