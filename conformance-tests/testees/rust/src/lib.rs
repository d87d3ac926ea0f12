//! The Rust client behind the testee protocol (`conformance-tests/README.md`): one
//! JSON object a line in, one a line out.
//!
//! - [`command`]: what the runner can ask for;
//! - [`room`]: clients and subscriptions by the names the runner gave them;
//! - [`deliveries`]: a subscription's loop, and what was not settled yet;
//! - [`verbs`], [`requests`], [`admin`]: each command as one call of the crate `meshwire`.

mod admin;
mod command;
mod deliveries;
mod event;
mod requests;
mod room;
mod verbs;

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;

use command::Envelope;
use room::Room;

/// Lines on their way to the runner; over it the testee waits.
const LINES: usize = 1024;

/// Obeys standard input until it says `exit` or ends.
#[must_use]
pub fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    // One thread, so that a defect planted in it is planted everywhere.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let code = tokio::task::LocalSet::new().block_on(&runtime, obey());
    // A read of standard input may still be stuck: do not wait for it.
    runtime.shutdown_background();
    code
}

async fn obey() -> ExitCode {
    let (lines, queue) = mpsc::channel(LINES);
    let writing = tokio::spawn(write(queue));
    let room = Arc::new(Room::new(lines.clone()));
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut last = None;
    while let Ok(Some(line)) = input.next_line().await {
        let envelope: Envelope = match serde_json::from_str(&line) {
            Ok(envelope) => envelope,
            Err(problem) => {
                let id = serde_json::from_str::<Value>(&line).ok().and_then(|v| v.get("id").cloned());
                let text = problem.to_string();
                let _ = lines.send(json!({"id": id, "err": {"code": "UNKNOWN_COMMAND", "message": text}})).await;
                continue;
            }
        };
        if envelope.is_exit() {
            last = Some(envelope.id);
            break;
        }
        let (room, lines) = (Arc::clone(&room), lines.clone());
        // The runner waits for each answer that it needs; unfinished ones end with the process.
        tokio::task::spawn_local(async move {
            let id = envelope.id;
            let answer = match room.obey(envelope.command).await {
                Ok(ok) => json!({"id": id, "ok": ok}),
                Err(error) => json!({"id": id, "err": event::error(&error)}),
            };
            let _ = lines.send(answer).await;
        });
    }
    room.clear();
    if let Some(id) = last {
        let _ = lines.send(json!({"id": id, "ok": {}})).await;
    }
    let _ = lines.send(Value::Null).await;
    let _ = writing.await;
    ExitCode::SUCCESS
}

/// Writes lines until the one that is null.
async fn write(mut queue: mpsc::Receiver<Value>) {
    let mut output = tokio::io::stdout();
    while let Some(line) = queue.recv().await.filter(|line| !line.is_null()) {
        let line = format!("{line}\n");
        if output.write_all(line.as_bytes()).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}
