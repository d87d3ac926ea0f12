//! `meshwire.v1.Admin`: each command as a call.

use std::sync::Arc;

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use tonic::{Request, Response, Status};

use super::caller;
use super::services::admin_server::Admin;
use crate::ingress::calls::Calls;
use crate::ingress::web::status;
use crate::mesh::Refusal;

/// Carries commands out.
pub(super) struct Commands(pub(super) Arc<Calls>);

/// The calls: name, command, which answer it has, and its type.
macro_rules! calls {
    ($($call:ident: $command:ident -> $answer:ident($kind:ident)),+ $(,)?) => {
        #[tonic::async_trait]
        impl Admin for Commands {
            $(async fn $call(&self, request: Request<admin::$command>) -> Result<Response<admin::$kind>, Status> {
                let caller = caller(&request)?;
                match self.0.admin(&caller, Command::$command(request.into_inner())).await {
                    Ok(Some(Answer::$answer(answer))) => Ok(Response::new(answer)),
                    Ok(_) => Err(status::status(Refusal::new(ErrorKind::Internal, "the answer of another command"))),
                    Err(refusal) => Err(status::status(refusal)),
                }
            })+
        }
    };
}

calls! {
    create_topic: CreateTopic -> Topic(Topic),
    list_topics: ListTopics -> Topics(TopicList),
    update_topic: UpdateTopic -> Topic(Topic),
    delete_topic: DeleteTopic -> Topic(Topic),
    create_group: CreateGroup -> Group(GroupSummary),
    get_group: GetGroup -> Group(GroupSummary),
    update_group: UpdateGroup -> Group(GroupSummary),
    seek_group: SeekGroup -> Group(GroupSummary),
    delete_group: DeleteGroup -> Group(GroupSummary),
    list_dead_letters: ListDeadLetters -> DeadLetters(DeadLetterList),
    redrive_dead_letters: RedriveDeadLetters -> DeadLettersChanged(DeadLettersChanged),
    purge_dead_letters: PurgeDeadLetters -> DeadLettersChanged(DeadLettersChanged),
    get_limits: GetLimits -> Limits(LimitsInForce),
    set_limits: SetLimits -> Limits(LimitsInForce),
}
