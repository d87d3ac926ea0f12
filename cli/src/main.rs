//! `meshwire`: serves a gateway, publishes, subscribes, looks after topics.
//!
//! No behaviour of its own: flags in, gateway or client calls out.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod allocator;
mod args;
mod complete;
mod config;
mod dead_letters;
mod events;
mod exit;
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
    allocator::keep_one_arena();
    let exit = start().unwrap_or_else(|failure| {
        // Nobody is left to tell when the error stream is closed.
        let _ = writeln!(std::io::stderr(), "error: {failure}");
        failure.exit
    });
    exit.into()
}

fn start() -> Result<Exit, Failure> {
    if complete::answer()? {
        return Ok(Exit::Done);
    }
    match Program::parse().command {
        Command::Completions(completions) => completions.run(),
        command => run(command),
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
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
