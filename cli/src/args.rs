//! What can be typed.

use std::str::FromStr;

use clap::{Parser, Subcommand};
use meshwire_proto::{GroupName, MemberName, TopicName};

use crate::complete::Completions;
use crate::dead_letters::DeadLetters;
use crate::groups::Groups;
use crate::limits::Limits;
use crate::publish::Publish;
use crate::reply::Reply;
use crate::request::Request;
use crate::serve::Serve;
use crate::subscribe::Subscribe;
use crate::topics::Topics;
use crate::watch::Watch;

/// Keep CloudEvents in one small gateway, publish and consume them.
#[derive(Parser)]
#[command(name = "meshwire", version, propagate_version = true, after_help = PROGRAM)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const PROGRAM: &str = "\
Examples:
  meshwire serve --memory
  meshwire pub orders --data '{\"id\": 1}' --type order.created
  meshwire sub orders --group billing
  meshwire reply quote --exec ./quote &
  meshwire request quote --data '{\"sku\": 1}'

Exit codes: 0 done, 1 some failed, 2 wrong arguments, or a file that they name, or all input is wrong,
3 gateway unreachable, or its certificate not trusted, 4 refused by the gateway; `meshwire pub --help` and `meshwire sub --help` say what counts when failures are mixed.
An error that ends a command with --json is a JSON object on the error stream: message, and code if it has one";

#[derive(Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Pub(Publish),
    Sub(Subscribe),
    Request(Request),
    Reply(Reply),
    Topics(Topics),
    Groups(Groups),
    Limits(Limits),
    DeadLetters(DeadLetters),
    Watch(Watch),
    Completions(Completions),
}

/// A valid topic name, else the rule.
pub(crate) fn topic(text: &str) -> Result<TopicName, String> {
    TopicName::parse(text).map_err(|e| e.to_string())
}

/// A valid group name, else the rule.
pub(crate) fn group(text: &str) -> Result<GroupName, String> {
    GroupName::parse(text).map_err(|e| e.to_string())
}

/// A valid name of a durable member, else the rule.
pub(crate) fn member(text: &str) -> Result<MemberName, String> {
    MemberName::parse(text).map_err(|e| e.to_string())
}

/// Text that is not empty: an empty attribute is none, and would be filled in.
pub(crate) fn attribute(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty; leave the flag out".to_owned()) } else { Ok(text.to_owned()) }
}

/// A whole number.
pub(crate) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = || if digits { "it is too large" } else { "it is not a whole number" };
    text.parse().map_err(|_| problem().to_owned())
}

/// A whole number that is not 0.
pub(crate) fn some(text: &str) -> Result<u64, String> {
    match whole(text)? {
        0 => Err("it is at least 1".to_owned()),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_of_the_arguments_holds_together() {
        Program::command().debug_assert();
    }
}
