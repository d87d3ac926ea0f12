//! Administration as text: a command's name and its arguments in, its answer out, both as JSON with the names and units of
//! docs/http-admin.md. So that every language has all of it, and says the same of a wrong argument.

mod arguments;
mod dead_letters;
mod groups;
mod limits;
mod topics;
mod values;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use meshwire::{Error, ErrorKind, Mesh, Result};
use meshwire_proto::excerpt;
use serde::Serialize;

use arguments::Asked;

/// A list, or a page of one.
#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
    /// The cursor of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

type Run = fn(Asked) -> BoxFuture<'static, Result<String>>;

struct Command {
    name: &'static str,
    /// As the client's own errors have it.
    operation: &'static str,
    changes: bool,
    run: Run,
}

const fn reads(name: &'static str, operation: &'static str, run: Run) -> Command {
    Command { name, operation, changes: false, run }
}

const fn changes(name: &'static str, operation: &'static str, run: Run) -> Command {
    Command { name, operation, changes: true, run }
}

static COMMANDS: [Command; 18] = [
    reads("topics.list", "list topics", |asked| topics::list(asked).boxed()),
    reads("topics.get", "show topic", |asked| topics::get(asked).boxed()),
    changes("topics.create", "create topic", |asked| topics::create(asked).boxed()),
    changes("topics.update", "update topic", |asked| topics::update(asked).boxed()),
    changes("topics.delete", "delete topic", |asked| topics::delete(asked).boxed()),
    reads("groups.list", "list groups", |asked| groups::list(asked).boxed()),
    reads("groups.get", "show group", |asked| groups::get(asked).boxed()),
    changes("groups.create", "create group", |asked| groups::create(asked).boxed()),
    changes("groups.update", "update group", |asked| groups::update(asked).boxed()),
    changes("groups.seek", "seek group", |asked| groups::seek(asked).boxed()),
    changes("groups.delete", "delete group", |asked| groups::delete(asked).boxed()),
    changes("groups.delete_member", "delete group", |asked| groups::delete_member(asked).boxed()),
    reads("dead_letters.list", "list dead letters", |asked| dead_letters::list(asked).boxed()),
    reads("dead_letters.get", "get dead letter", |asked| dead_letters::get(asked).boxed()),
    changes("dead_letters.redrive", "redrive", |asked| dead_letters::redrive(asked).boxed()),
    changes("dead_letters.purge", "purge", |asked| dead_letters::purge(asked).boxed()),
    reads("limits.get", "get limits", |asked| limits::get(asked).boxed()),
    changes("limits.set", "set limits", |asked| limits::set(asked).boxed()),
];

fn known(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// What a command does, as errors have it.
pub(crate) fn operation(command: &str) -> &'static str {
    known(command).map_or("administer", |command| command.operation)
}

/// Whether a command may have changed something when it is cancelled.
pub(crate) fn leaves(command: &str) -> bool {
    known(command).is_some_and(|command| command.changes)
}

/// Carries out a command.
///
/// # Errors
/// `INVALID`: there is no such command, or an argument is wrong; and as the gateway answers.
pub(crate) async fn carry_out(mesh: Mesh, command: &str, arguments: String) -> Result<String> {
    let Some(known) = known(command) else {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        let text = format!("there is no command {:?}; there is {}", excerpt(command, 40), names.join(", "));
        return Err(Error::of_host(ErrorKind::Invalid, operation(command), text));
    };
    (known.run)(Asked::new(mesh, known.operation, arguments)).await
}
