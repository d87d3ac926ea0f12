//! `meshwire completions`: what a shell puts into its start file; and the answers to
//! what it asks then, at every tab.
//!
//! Names of topics and groups are asked of the gateway, for as long as a person does not
//! notice; without one there are none.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use meshwire::{Connect, Topic};

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
        _ => arg,
    });
    command.mut_subcommands(named)
}

fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, listed().into_iter().map(|topic| topic.name))
}

/// Groups of the topics on the line; without any, all.
fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    let (topics, words) = (listed(), words());
    let is_named = |topic: &Topic| words.iter().any(|word| word == topic.name.as_str());
    let any = topics.iter().any(is_named);
    let of = topics.iter().filter(|topic| !any || is_named(topic));
    let mut names: Vec<String> = of.flat_map(|topic| topic.groups.iter().map(|group| group.name.clone())).collect();
    names.sort_unstable();
    names.dedup();
    candidates(current, names.into_iter())
}

fn candidates(current: &OsStr, names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    names.filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

/// The words of the line that is completed.
fn words() -> Vec<OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1).collect()
}

/// The URL on the line; empty: the environment's, or the default.
fn server(words: &[OsString]) -> String {
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        if word == "--server" {
            return words.next().unwrap_or_default().to_owned();
        }
        if let Some(url) = word.strip_prefix("--server=") {
            return url.to_owned();
        }
    }
    String::new()
}

/// What topics there are; none when that cannot be found out soon.
fn listed() -> Vec<Topic> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let topics = runtime.block_on(async {
        let ask = async {
            let mesh = Connect::new(&server(&words())).await?;
            mesh.topics().list().await
        };
        tokio::time::timeout(PATIENCE, ask).await.ok()?.ok()
    });
    runtime.shutdown_background();
    topics.unwrap_or_default()
}
