//! One administrative command and its answer.

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin as wire;
use prost::Message as _;
use tokio::sync::oneshot;

use crate::client::Mesh;
use crate::outbox::Command;
use crate::{Error, Result};

pub(crate) fn unexpected(operation: &'static str, what: &str) -> Error {
    Error::new(ErrorKind::Internal, operation, format!("the gateway answered with {what}"))
}

pub(crate) async fn ask(
    mesh: &Mesh,
    operation: &'static str,
    command: wire::command::Command,
) -> Result<wire::answer::Answer> {
    let command = wire::Command { command: Some(command) }.encode_to_vec().into();
    let (reply, answer) = oneshot::channel();
    mesh.outbox().command(Command::Admin { command, reply })?;
    let answer = answer.await.map_err(|_| Error::closed(operation))?;
    let answer = answer.map_err(|failure| Error::from_failure(operation, &failure))?;
    let answer =
        wire::Answer::decode(answer).map_err(|e| unexpected(operation, "what cannot be read").with_source(e))?;
    answer.answer.ok_or_else(|| unexpected(operation, "nothing"))
}
