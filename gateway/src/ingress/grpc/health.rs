//! `grpc.health.v1.Health`: serving, until the gateway drains or its log has failed.

use std::pin::Pin;

use futures_util::{Stream, stream};
use meshwire_proto::ErrorKind;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::deadline;
use crate::ingress::Shutdown;
use crate::ingress::web::{Door, status};
use crate::mesh::Refusal;

/// What may be asked for; the first is the whole gateway.
const SERVICES: [&str; 4] = ["", "meshwire.v1.Mesh", "meshwire.v1.Admin", "meshwire.session.v1.Session"];

/// Becomes true when the log has failed.
pub(super) struct State(pub(super) watch::Receiver<bool>);

/// What a status depends on.
struct Watched {
    failed: watch::Receiver<bool>,
    shutdown: watch::Receiver<Shutdown>,
    known: bool,
    told: Option<ServingStatus>,
}

impl Watched {
    fn status(&self) -> ServingStatus {
        if !self.known {
            return ServingStatus::ServiceUnknown;
        }
        let serves = !*self.failed.borrow() && *self.shutdown.borrow() == Shutdown::Running;
        if serves { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    /// The next status that is another than the last one; `None` when there is none to come.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let status = self.status();
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(response(status)), self));
            }
            // A draining gateway closes what waits for nothing else.
            if *self.shutdown.borrow() != Shutdown::Running {
                return None;
            }
            let changed = tokio::select! {
                changed = self.failed.changed() => changed,
                changed = self.shutdown.changed() => changed,
            };
            changed.ok()?;
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

impl State {
    fn watched(&self, request: &Request<HealthCheckRequest>) -> Result<Watched, Status> {
        let nobody = || status::status(Refusal::new(ErrorKind::Internal, "a call without a connection"));
        let shutdown = request.extensions().get::<Door>().map(|door| door.shutdown.clone()).ok_or_else(nobody)?;
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        Ok(Watched { failed: self.0.clone(), shutdown, known, told: None })
    }
}

#[tonic::async_trait]
impl Health for State {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let watched = self.watched(&request)?;
        if !watched.known {
            let text = format!("there is no service {:?} here", request.get_ref().service);
            return Err(status::status(Refusal::new(ErrorKind::NotFound, text)));
        }
        Ok(Response::new(response(watched.status())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (watched, deadline) = (self.watched(&request)?, deadline(&request));
        let told = stream::unfold(Some(watched), move |watched| async move {
            match deadline.within(watched?.next()).await {
                Ok(told) => told.map(|(told, watched)| (told, Some(watched))),
                Err(late) => Some((Err(status::status(late)), None)),
            }
        });
        Ok(Response::new(Box::pin(told)))
    }
}
