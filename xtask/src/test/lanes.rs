//! Steps that run beside one another, in lanes: those of one follow each other.

use std::sync::mpsc::sync_channel;
use std::thread;

use super::plan::{Lane, Step};
use super::state::Record;
use super::steps::Room;
use super::{Outcome, timed, told};
use crate::process::Log;

/// Runs these steps, each with a log of its own, which that of the run then has; gives what came of them in their order.
///
/// # Errors
/// A log that cannot be written.
pub(super) fn beside(room: &mut Room<'_>, steps: &[Step]) -> anyhow::Result<Vec<Record>> {
    let (workspace, commit, options) = (room.workspace, room.commit, room.options);
    let scratch = workspace.scratch()?;
    let log_of = |step: Step| scratch.join(format!("test-{}.log", step.name()));
    let run = |step: Step| {
        let log = Log::open(log_of(step), false)?;
        timed(&mut Room { workspace, log, commit, options }, step)
    };
    let mut records = Vec::new();
    thread::scope(|scope| {
        let (sender, ended) = sync_channel(steps.len());
        let lane = {
            let run = &run;
            move |lane: Lane| {
                for step in steps.iter().copied().filter(|step| step.lane() == Some(lane)) {
                    if sender.send((step, run(step))).is_err() {
                        return;
                    }
                }
            }
        };
        let (idle, rest) = (lane.clone(), lane.clone());
        scope.spawn(move || idle(Lane::Idle));
        scope.spawn(move || {
            lane(Lane::Undisturbed);
            scope.spawn(move || rest(Lane::Workspace));
            lane(Lane::Languages);
        });
        for (step, outcome) in ended {
            let failed = |error: anyhow::Error| (Outcome::one(false, vec![format!("{error:#}")]), 0.0);
            let (outcome, seconds) = outcome.unwrap_or_else(failed);
            print!("{:<13}", step.name());
            records.push((step, told(step, outcome, seconds)));
            room.log.append(&log_of(step))?;
        }
        anyhow::Ok(())
    })?;
    records.sort_by_key(|(step, _)| steps.iter().position(|known| known == step));
    Ok(records.into_iter().map(|(_, record)| record).collect())
}
