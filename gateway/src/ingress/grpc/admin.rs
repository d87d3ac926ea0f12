//! `meshwire.v1.Admin`: each command as a call.

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{self};
use tonic::{Request, Response, Status};

use super::services::admin_server::Admin;
use super::{caller, status};
use crate::ingress::native::access::{self, Waiting};
use crate::ingress::waiting;
use crate::mesh::{Caller, Mesh, Refusal};

/// Carries commands out.
pub(super) struct Commands(pub(super) Mesh);

impl Commands {
    async fn carry_out(&self, caller: &Caller, command: admin::Command) -> Result<Option<Answer>, Refusal> {
        let call = Waiting::begin(&self.0, caller, access::command(&command));
        let answered = self.answer(caller, &command).await;
        call.end(answered.as_ref().err().map(|refusal| refusal.kind));
        answered
    }

    async fn answer(&self, caller: &Caller, command: &admin::Command) -> Result<Option<Answer>, Refusal> {
        loop {
            let seen = self.0.fetches();
            if let Some(answered) = self.0.admin(caller, command) {
                let (answer, ticket) = answered?;
                waiting::kept(&self.0, ticket).await?;
                return Ok(answer.answer);
            }
            // What it needs is being read from the disk.
            waiting::fetched(&self.0, seen).await;
        }
    }
}

/// The calls: name, command, which answer it has, and its type.
macro_rules! calls {
    ($($call:ident: $command:ident -> $answer:ident($kind:ident)),+ $(,)?) => {
        #[tonic::async_trait]
        impl Admin for Commands {
            $(async fn $call(&self, request: Request<admin::$command>) -> Result<Response<admin::$kind>, Status> {
                let caller = caller(&request)?;
                let command = admin::Command { command: Some(Command::$command(request.into_inner())) };
                match self.carry_out(&caller, command).await {
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
