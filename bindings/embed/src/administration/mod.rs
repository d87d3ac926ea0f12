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
    changes: bool,
    run: Run,
}

const fn reads(name: &'static str, run: Run) -> Command {
    Command { name, changes: false, run }
}

const fn changes(name: &'static str, run: Run) -> Command {
    Command { name, changes: true, run }
}

static COMMANDS: [Command; 18] = [
    reads("topics.list", |asked| topics::list(asked).boxed()),
    reads("topics.get", |asked| topics::get(asked).boxed()),
    changes("topics.create", |asked| topics::create(asked).boxed()),
    changes("topics.update", |asked| topics::update(asked).boxed()),
    changes("topics.delete", |asked| topics::delete(asked).boxed()),
    reads("groups.list", |asked| groups::list(asked).boxed()),
    reads("groups.get", |asked| groups::get(asked).boxed()),
    changes("groups.create", |asked| groups::create(asked).boxed()),
    changes("groups.update", |asked| groups::update(asked).boxed()),
    changes("groups.seek", |asked| groups::seek(asked).boxed()),
    changes("groups.delete", |asked| groups::delete(asked).boxed()),
    changes("groups.delete_member", |asked| groups::delete_member(asked).boxed()),
    reads("dead_letters.list", |asked| dead_letters::list(asked).boxed()),
    reads("dead_letters.get", |asked| dead_letters::get(asked).boxed()),
    changes("dead_letters.redrive", |asked| dead_letters::redrive(asked).boxed()),
    changes("dead_letters.purge", |asked| dead_letters::purge(asked).boxed()),
    reads("limits.get", |asked| limits::get(asked).boxed()),
    changes("limits.set", |asked| limits::set(asked).boxed()),
];

fn known(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The name of a command, as errors have it.
pub(crate) fn operation(command: &str) -> &'static str {
    known(command).map_or("administer", |command| command.name)
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
    (known.run)(Asked::new(mesh, known.name, arguments)).await
}
