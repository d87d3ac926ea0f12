//! The examples: the same stories in every language, with the same output.

use std::process::Command;
use std::time::Duration;

use super::Shop;
use super::gateway::Gateway;
use crate::test::Outcome;
use crate::workspace::Profile;

/// The programs of each story, one after the other at one gateway.
pub(super) const STORIES: [&[&str]; 9] = [
    &["publisher", "consumer"],
    &["publish_subscribe"],
    &["consumer_group"],
    &["broadcast"],
    &["manual_ack"],
    &["batch"],
    &["dead_letter"],
    &["request_reply"],
    &["reply_stream"],
];

/// How long a program may take; none takes more than a few seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs every story in Rust, whose programs are built already, and in another language, whose programs `command` makes, and compares what
/// they print.
pub(super) fn compare(
    shop: &mut Shop<'_>,
    language: &str,
    command: impl Fn(&str) -> Command,
) -> anyhow::Result<Outcome> {
    let mut sum = Outcome::default();
    for story in STORIES {
        let (ours, theirs) = (Gateway::start(shop.workspace)?, Gateway::start(shop.workspace)?);
        for name in story {
            let rust = Command::new(shop.workspace.built(Profile::Dev, name));
            let wanted = printed(shop, rust, &ours)?;
            let found = printed(shop, command(name), &theirs)?;
            let mut shown = vec![
                format!("example {name} of {language} prints other lines than that of rust, which are"),
                String::new(),
            ];
            shown.extend(wanted.clone().unwrap_or_default());
            shown.extend(["but".to_owned(), String::new()]);
            shown.extend(found.clone().unwrap_or_default());
            let same = wanted.is_some() && wanted == found;
            sum.add(Outcome::one(same, if same { Vec::new() } else { shown }));
        }
    }
    Ok(sum)
}

/// What a program prints; `None`: it failed.
fn printed(shop: &mut Shop<'_>, mut command: Command, gateway: &Gateway) -> anyhow::Result<Option<Vec<String>>> {
    let finished = shop.log.run(command.arg(gateway.url()), Some(LIMIT))?;
    Ok(finished.success.then_some(finished.lines))
}
