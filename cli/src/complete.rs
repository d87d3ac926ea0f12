//! `meshwire completions`: what a shell puts into its start file; and the answers to
//! what it asks then, at every tab.
//!
//! Names of topics and groups, and numbers of dead letters, are asked of the gateway, for as long as a person does not
//! notice; without one there are none.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use meshwire::{Connect, Group, Mesh, Topic};

use crate::args::Program;
use crate::exit::{Exit, Failure};
use crate::output;

/// The variable by which a shell says that it asks, and which shell it is.
const VARIABLE: &str = "MESHWIRE_COMPLETE";

/// How long a gateway may take to name its topics. A guess: a tab that takes longer is
/// felt to hang.
const PATIENCE: Duration = Duration::from_millis(700);

/// Print what makes a shell complete commands, flags, topics and groups.
#[derive(Args)]
#[command(after_help = "\
Examples:
  source <(meshwire completions bash)        in ~/.bashrc; for zsh likewise in ~/.zshrc
  meshwire completions fish | source         in ~/.config/fish/config.fish

What is printed calls this program at every tab. It belongs into the shell's start file, where it
is made anew with every new version; names come from the gateway of --server or MESHWIRE_URL.")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

impl Shell {
    const fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Elvish => "elvish",
            Self::Powershell => "powershell",
        }
    }
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let failed = |cause: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("completions: {cause}"));
        let shells = Shells::builtins();
        let shell = shells.completer(self.shell.name()).ok_or_else(|| failed(&"the shell is not known"))?;
        let mut script = Vec::new();
        shell.write_registration(VARIABLE, "meshwire", "meshwire", &program(), &mut script).map_err(|e| failed(&e))?;
        output::write_bytes(&script).map_or(Ok(Exit::Failed), |()| Ok(Exit::Done))
    }
}

/// This program as it was called: by its name where that is found on the path.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_else(|| "meshwire".into());
    let path = Path::new(&called);
    let path = if path.components().count() > 1 { std::path::absolute(path).ok() } else { None };
    path.map_or(called, Into::into).to_string_lossy().into_owned()
}

/// Answers a shell that asks; `false` when none does. Call it before anything else: no
/// other thread may run.
pub(crate) fn answer() -> Result<bool, Failure> {
    let completer = CompleteEnv::with_factory(definition).var(VARIABLE);
    let here = std::env::current_dir().ok();
    completer.try_complete(std::env::args_os(), here.as_deref()).map_err(|e| Failure::new(Exit::Usage, e.to_string()))
}

/// The arguments, with who completes them: an argument's id says what it is.
fn definition() -> Command {
    named(Program::command())
}

fn named(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "topic" | "topics" => arg.add(ArgValueCompleter::new(topics)),
        "group" => arg.add(ArgValueCompleter::new(groups)),
        "member" => arg.add(ArgValueCompleter::new(members)),
        "start" | "to" => arg.add(ArgValueCompleter::new(places)),
        "number" | "numbers" => arg.add(ArgValueCompleter::new(letters)),
        _ => arg,
    });
    command.mut_subcommands(named)
}

fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, listed(&Line::read()).into_iter().map(|topic| topic.name))
}

/// Groups of the topic on the line; without one, all.
fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::read();
    let mut names: Vec<String> = groups_of(&line).map(|group| group.name).collect();
    names.sort_unstable();
    names.dedup();
    candidates(current, names.into_iter())
}

/// Durable members of the group on the line.
fn members(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::read();
    let of = groups_of(&line).filter(|group| line.is("group", &group.name));
    candidates(current, of.flat_map(|group| group.durable_members).map(|member| member.name))
}

fn places(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, ["earliest", "latest"].map(str::to_owned).into_iter())
}

/// Numbers of the first dead letters of the topic on the line, and of the group if one is there.
fn letters(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::read();
    let Some(topic) = line.said("topic") else { return Vec::new() };
    let page = asked(&line, async |mesh| {
        let letters = mesh.dead_letters(topic);
        let letters = line.said("group").map_or(letters.clone(), |group| letters.group(group));
        letters.pages(false).next().await
    });
    candidates(current, page.flatten().into_iter().flatten().map(|letter| letter.number.to_string()))
}

fn groups_of(line: &Line) -> impl Iterator<Item = Group> {
    let of = listed(line).into_iter().filter(|topic| line.is("topic", &topic.name));
    of.flat_map(|topic| topic.groups)
}

fn candidates(current: &OsStr, names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    names.filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

/// What the line that is completed says: values by the id of their argument, the first of each.
struct Line(BTreeMap<String, String>);

impl Line {
    fn read() -> Self {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.skip_while(|word| word != "--").skip(2).collect();
        Self::of(&Program::command(), &words)
    }

    fn of(program: &Command, words: &[String]) -> Self {
        let (mut command, mut place, mut said) = (program, 0, BTreeMap::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (arg, value) = if let Some(flag) = word.strip_prefix("--") {
                let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
                let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
                let arg = arg.filter(|arg| arg.get_action().takes_values());
                (arg, value.or_else(|| arg.and_then(|_| words.next()).map(String::as_str)))
            } else if let Some(below) = command.find_subcommand(word).filter(|_| place == 0) {
                command = below;
                continue;
            } else {
                place += 1;
                (command.get_positionals().nth(place - 1), Some(word.as_str()))
            };
            if let (Some(arg), Some(value)) = (arg, value) {
                said.entry(arg.get_id().to_string()).or_insert_with(|| value.to_owned());
            }
        }
        Self(said)
    }

    fn said(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// Whether an argument is this, or is not there.
    fn is(&self, id: &str, value: &str) -> bool {
        self.said(id).is_none_or(|said| said == value)
    }
}

/// What topics there are; none when that cannot be found out soon.
fn listed(line: &Line) -> Vec<Topic> {
    asked(line, async |mesh| mesh.topics().list().await).unwrap_or_default()
}

/// What the gateway of the line answers, if it does so soon.
fn asked<T>(line: &Line, ask: impl AsyncFnOnce(&Mesh) -> meshwire::Result<T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(async {
        let ask = async {
            let mesh = Connect::new(line.said("server").unwrap_or_default()).await?;
            ask(&mesh).await
        };
        tokio::time::timeout(PATIENCE, ask).await.ok()?.ok()
    });
    runtime.shutdown_background();
    answer
}
