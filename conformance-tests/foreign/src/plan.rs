//! `clients.toml`: who takes part, in which modes, and what is known of each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::plain::{Plain, PlainData};
use crate::seen::{Difference, Keeps};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// By name.
    pub(crate) mode: BTreeMap<String, Keeps>,
    pub(crate) error: Vec<Provoked>,
    #[serde(default)]
    pub(crate) route: Vec<Route>,
    pub(crate) client: Vec<Client>,
    /// Programs of `needs` that README asks for: where all is promised, no client may be left out for one of them.
    pub(crate) prerequisites: Vec<String>,
}

/// A publish that is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provoked {
    pub(crate) name: String,
    /// In place of the row's own topic.
    pub(crate) topic: Option<String>,
    pub(crate) data: Option<PlainData>,
    pub(crate) code: String,
}

impl Provoked {
    pub(crate) fn event(&self) -> anyhow::Result<Plain> {
        let attributes = [("id", self.name.as_str()), ("datacontenttype", "application/octet-stream")];
        let attributes = attributes.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        Plain { attributes, types: BTreeMap::new(), data: self.data.clone() }.complete()
    }
}

/// Another way to the gateway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) name: String,
    /// Clients speak TLS.
    #[serde(default)]
    pub(crate) tls: bool,
    /// A program between client and gateway.
    pub(crate) proxy: Option<Proxy>,
    /// Rows that go this way: clients, and modes of each.
    pub(crate) rows: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    pub(crate) needs: Vec<String>,
    pub(crate) apt: Vec<String>,
    /// Its configuration, below the folder of this crate. `{listen}`, `{gateway}`, `{folder}`,
    /// `{certificate}` and `{key}` are filled in.
    pub(crate) config: String,
    /// `{config}` is its path and `{folder}` a folder of its own.
    pub(crate) run: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    /// Also its folder.
    pub(crate) name: String,
    /// Programs on the search path; with arguments, commands that must succeed.
    pub(crate) needs: Vec<String>,
    /// Debian's packages that have them.
    #[serde(default)]
    pub(crate) apt: Vec<String>,
    /// Files outside its folder that it is built from, below the root.
    #[serde(default)]
    pub(crate) inputs: Vec<String>,
    /// Commands before `fetch` that need no network.
    #[serde(default)]
    pub(crate) prepare: Vec<Vec<String>>,
    /// Commands that succeed when the registry of `fetch` answers, whatever is locked.
    #[serde(default)]
    pub(crate) probe: Vec<Vec<String>>,
    /// Commands that ask a registry.
    #[serde(default)]
    pub(crate) fetch: Vec<Vec<String>>,
    /// Folders of what came that must have exactly the files of the list `FOLDER.sha256`.
    #[serde(default)]
    pub(crate) sums: Vec<String>,
    /// Commands that need no network.
    #[serde(default)]
    pub(crate) build: Vec<Vec<String>>,
    /// The program that takes tasks; not there without modes.
    #[serde(default)]
    pub(crate) run: Vec<String>,
    /// A program that plays cells of its own against `{address}`, and prints `ok` or `FAILED` and a name for each.
    #[serde(default)]
    pub(crate) own: Vec<String>,
    #[serde(default)]
    pub(crate) publish: Vec<String>,
    #[serde(default)]
    pub(crate) receive: Vec<String>,
    #[serde(default)]
    differs: Vec<Known>,
}

/// What a client is known not to keep.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    modes: Vec<String>,
    payloads: Vec<String>,
    how: Difference,
    /// For the reader.
    #[serde(rename = "why")]
    _why: String,
}

impl Client {
    pub(crate) fn difference(&self, mode: &str, payload: &str) -> Option<Difference> {
        let holds = |list: &[String], word: &str| list.iter().any(|w| w == word);
        let known = self.differs.iter().find(|k| holds(&k.modes, mode) && holds(&k.payloads, payload));
        known.map(|known| known.how)
    }
}

pub(crate) fn read(folder: &Path, set: &[Plain]) -> anyhow::Result<Plan> {
    let path = folder.join("clients.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let plan: Plan = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    for client in &plan.client {
        let modes = client.publish.len() + client.receive.len();
        ensure!(modes > 0 || !client.own.is_empty(), "{} plays no cell", client.name);
        ensure!((modes == 0) == client.run.is_empty(), "{}: a program takes tasks when there are modes", client.name);
        ensure!(client.fetch.is_empty() == client.probe.is_empty(), "{}: who fetches has a probe", client.name);
        for mode in client.publish.iter().chain(&client.receive) {
            ensure!(plan.mode.contains_key(mode), "{}: there is no mode {mode}", client.name);
        }
        for known in &client.differs {
            let modes = known.modes.iter().all(|m| client.publish.contains(m) || client.receive.contains(m));
            let is_error = |name: &String| plan.error.iter().any(|error| error.name == *name);
            let is_payload = |name: &String| set.iter().any(|event| event.id() == name);
            let payloads = known.payloads.iter().all(|name| is_payload(name) || is_error(name));
            ensure!(modes && payloads, "{}: a difference of no cell: {known:?}", client.name);
        }
    }
    for route in &plan.route {
        for (client, modes) in &route.rows {
            let has = |c: &Client| modes.iter().all(|m| c.publish.contains(m) || c.receive.contains(m));
            let there = plan.client.iter().any(|c| c.name == *client && has(c));
            ensure!(there, "route {}: {client} has not all of the modes {modes:?}", route.name);
        }
    }
    Ok(plan)
}
