//! Administration: a command, and its answer once it is kept.

use meshwire_proto::wire::admin;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;

use super::Calls;
use crate::ingress::access::{self, Waiting};
use crate::ingress::waiting;
use crate::mesh::{Caller, Refusal, SoFar};

impl Calls {
    /// Carries a command out, and waits until it is kept.
    ///
    /// # Errors
    /// Why it was not: `DENIED`, `INVALID`, or what the command's own message says; `UNAVAILABLE`: the gateway stops, and the command
    /// would change what is kept.
    pub async fn admin(&self, caller: &Caller, command: Command) -> Result<Option<Answer>, Refusal> {
        let command = admin::Command { command: Some(command) };
        let call = Waiting::begin(&self.mesh, caller, access::command(&command));
        let answered = self.carry_out(caller, &command).await;
        call.end(answered.as_ref().err().map(|refusal| refusal.kind));
        answered
    }

    async fn carry_out(&self, caller: &Caller, command: &admin::Command) -> Result<Option<Answer>, Refusal> {
        let mut so_far = SoFar::default();
        loop {
            let seen = self.mesh.fetches();
            if let Some(answered) = self.mesh.admin(caller, command, &mut so_far) {
                let (answer, ticket) = answered?;
                waiting::kept(&self.mesh, ticket).await?;
                return Ok(answer.answer);
            }
            // What it needs is being read from the disk.
            waiting::fetched(&self.mesh, seen).await;
        }
    }
}
