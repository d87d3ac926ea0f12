//! `meshwire`: serves a gateway, publishes, subscribes, looks after topics.
//!
//! No behaviour of its own: flags in, gateway or client calls out.

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

mod access;
mod allocator;
mod args;
mod complete;
mod config;
mod dead_letters;
mod events;
mod exit;
mod floods;
mod groups;
mod limits;
mod logs;
mod meant;
mod output;
mod place;
mod progress;
mod publish;
mod reply;
mod request;
mod running;
mod serve;
mod server;
mod short;
mod shown;
mod stop;
mod subscribe;
mod table;
mod timing;
mod topics;
mod watch;

use args::{Command, Program};
use exit::{Exit, Failure};
use stop::Stop;

fn main() -> ExitCode {
    allocator::keep_few_arenas();
    let mut json = false;
    let exit = start(&mut json).unwrap_or_else(|failure| {
        failure.tell(json);
        failure.exit
    });
    exit.into()
}

fn start(json: &mut bool) -> Result<Exit, Failure> {
    if complete::answer()? {
        return Ok(Exit::Done);
    }
    let matches = Program::command().get_matches();
    *json = prints_json(&matches);
    match Program::from_arg_matches(&matches).unwrap_or_else(|e| e.exit()).command {
        Command::Completions(completions) => completions.run(),
        command => run(command),
    }
}

/// Whether what was typed asks for JSON on standard output; of `reply` the flag is about its command.
fn prints_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some(("reply", _)) => false,
        Some((_, below)) => prints_json(below),
        None => matches.try_get_one("json").ok().flatten().copied().unwrap_or(false),
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_stop(allocator::give_back)
        .build()
        .map_err(|cause| Failure::new(Exit::Failed, format!("the system gives no threads: {cause}")))?;
    let result = runtime.block_on(async {
        let stop = Stop::listen()?;
        match command {
            Command::Serve(serve) => serve.run(stop).await,
            Command::Pub(publish) => publish.run(stop).await,
            Command::Sub(subscribe) => subscribe.run(stop).await,
            Command::Request(request) => request.run(stop).await,
            Command::Reply(reply) => reply.run(stop).await,
            Command::Topics(topics) => topics.run(stop).await,
            Command::Groups(groups) => groups.run(stop).await,
            Command::Limits(limits) => limits.run(stop).await,
            Command::DeadLetters(letters) => letters.run(stop).await,
            Command::Watch(watch) => watch.run(stop).await,
            Command::Completions(completions) => completions.run(),
        }
    });
    // A write that nobody reads may still be stuck: do not wait for it.
    runtime.shutdown_background();
    result
}
