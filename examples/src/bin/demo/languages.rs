//! Players in all languages at once, each over a transport of its own, and who got what of whom.
//!
//! A player is a program that is told `URL NAME EVENTS ALL`: it publishes so many events, receives all that all players publish, and prints
//! one line of JSON: what it is (`language`, from its own runtime), and how many it received from which.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::gateway::Gateway;

/// Events of each player.
const EVENTS: usize = 40;
/// Spoken on the one port, in turn.
const TRANSPORTS: [&str; 4] = ["tcp", "grpc", "ws", "http"];

/// A program, as it was told on the command line: `name=program argument...`.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    name: String,
    words: Vec<String>,
}

/// What one of them printed.
#[derive(Debug, serde::Deserialize)]
struct Said {
    language: String,
    received: BTreeMap<String, usize>,
}

/// Who received how much from whom.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// What each said, and over what, in the order in which they were told.
    players: Vec<(Said, &'static str)>,
    /// What is not here, and what it needs.
    absent: Vec<String>,
}

impl Player {
    /// Reads `name=program argument...`; between the words is a tab.
    pub(crate) fn parse(said: &str) -> anyhow::Result<Self> {
        let (name, words) = said.split_once('=').context("a player is name=program")?;
        Ok(Self { name: name.to_owned(), words: words.split('\t').map(str::to_owned).collect() })
    }

    async fn play(self, url: String, all: usize) -> anyhow::Result<Said> {
        let (program, arguments) = self.words.split_first().context("a player without a program")?;
        let mut command = Command::new(program);
        command.args(arguments).args([url, self.name.clone(), EVENTS.to_string(), all.to_string()]);
        command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("{program} cannot be started"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "the player {} ended with {}: {errors}", self.name, output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("the player {} said no such line", self.name))
    }
}

/// Plays all of them at once.
pub(crate) async fn play(gateway: &Gateway, players: &[Player], absent: &[String]) -> anyhow::Result<Table> {
    let all = EVENTS * players.len();
    let mut playing = JoinSet::new();
    for (at, (player, over)) in players.iter().zip(TRANSPORTS.into_iter().cycle()).enumerate() {
        let (player, url) = (player.clone(), gateway.url_over(over));
        playing.spawn(async move { player.play(url, all).await.map(|said| (at, said, over)) });
    }
    let mut played = Vec::with_capacity(players.len());
    while let Some(player) = playing.join_next().await {
        played.push(player??);
    }
    played.sort_by_key(|(at, ..)| *at);
    let players = played.into_iter().map(|(_, said, over)| (said, over)).collect();
    Ok(Table { players, absent: absent.to_vec() })
}

impl Table {
    fn received(from: &Said, by: &Said) -> usize {
        by.received.get(&from.language).copied().unwrap_or_default()
    }

    /// What is not as promised; empty when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (from, _) in &self.players {
            for (by, _) in &self.players {
                let came = Self::received(from, by);
                if came != EVENTS {
                    faults.push(format!("{came} of {EVENTS} events came from {} to {}", from.language, by.language));
                }
            }
        }
        faults
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for absent in &self.absent {
            writeln!(f, "  left out: {absent}")?;
        }
        if self.players.is_empty() {
            return Ok(());
        }
        writeln!(f, "  events received, of {EVENTS} published by a program in each language, all at once:")?;
        write!(f, "  {:<30}", "published \\ received")?;
        for at in 1..=self.players.len() {
            write!(f, "{at:>6}")?;
        }
        writeln!(f)?;
        for (at, (from, over)) in (1..).zip(&self.players) {
            write!(f, "  {:<30}", format!("{at} {} over {over}", from.language))?;
            for (by, _) in &self.players {
                write!(f, "{:>6}", Self::received(from, by))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
