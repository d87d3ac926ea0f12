//! `meshwire`: serves a gateway, publishes, subscribes, looks after topics.
//!
//! No behaviour of its own: flags in, gateway or client calls out.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod allocator;
mod args;
mod config;
mod dead_letters;
mod events;
mod exit;
mod groups;
mod logs;
mod output;
mod publish;
mod reply;
mod request;
mod serve;
mod server;
mod stop;
mod subscribe;
mod timing;
mod topics;

use args::{Command, Program};
use exit::{Exit, Failure};
use stop::Stop;

fn main() -> ExitCode {
    allocator::keep_one_arena();
    let exit = run(Program::parse().command).unwrap_or_else(|failure| {
        // Nobody is left to tell when the error stream is closed.
        let _ = writeln!(std::io::stderr(), "error: {failure}");
        failure.exit
    });
    exit.into()
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
            Command::DeadLetters(letters) => letters.run(stop).await,
        }
    });
    // A write that nobody reads may still be stuck: do not wait for it.
    runtime.shutdown_background();
    result
}
