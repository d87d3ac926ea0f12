//! What there is by the catalogues: options of clients, errors, administrative commands.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// The catalogues.
#[derive(Clone, Debug)]
pub struct Catalogue {
    pub(crate) options: Vec<ClientOption>,
    /// Codes, as `TIMEOUT`.
    pub(crate) errors: Vec<String>,
    /// As `topics.list`.
    pub(crate) commands: Vec<String>,
}

/// An option of a client.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClientOption {
    pub(crate) name: String,
    kind: String,
    #[serde(rename = "where")]
    place: String,
}

#[derive(Deserialize)]
struct Options {
    option: Vec<ClientOption>,
}

#[derive(Deserialize)]
struct Errors {
    error: Vec<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: String,
}

impl Catalogue {
    /// Reads the catalogues below the root of the workspace: `proto/options.toml`, `proto/errors.toml`, and what the bindings' facade adds
    /// to them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let text =
            |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| format!("{path} cannot be read"));
        let table: Options = toml::from_str(&text("proto/options.toml")?)?;
        let mut options: Vec<ClientOption> =
            table.option.into_iter().filter(|option| option.place == "client").collect();
        // Those without a default that is a number or a text: the facade's lists have them all.
        let facade = text("bindings/embed/src/options.rs")?;
        for name in lists(&facade) {
            if !options.iter().any(|option| option.name == name) {
                options.push(ClientOption { name: name.to_owned(), kind: String::new(), place: "client".to_owned() });
            }
        }
        let errors: Errors = toml::from_str(&text("proto/errors.toml")?)?;
        let administration = text("bindings/embed/src/administration/mod.rs")?;
        let commands = administration.lines().filter_map(|line| {
            let line = line.trim();
            let command = line.strip_prefix("reads(\"").or_else(|| line.strip_prefix("changes(\""))?;
            command.split('"').next()
        });
        Ok(Self {
            options,
            errors: errors.error.into_iter().map(|error| error.code).collect(),
            commands: commands.map(str::to_owned).collect(),
        })
    }
}

/// The names in the lists of names of a source.
fn lists(source: &str) -> impl Iterator<Item = &str> {
    let lists = source.split("&[&str] = &[").skip(1).filter_map(|rest| rest.split(']').next());
    lists.flat_map(|list| list.split('"').skip(1).step_by(2))
}

impl ClientOption {
    /// As Node has it: without the part that says whose it is, and with its unit.
    pub(crate) fn in_camel_case(&self) -> String {
        let name = self.name.strip_prefix("client_").unwrap_or(&self.name);
        let pascal = pascal(name);
        let mut letters = pascal.chars();
        let camel: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
        if self.kind == "duration" { camel + "Ms" } else { camel }
    }

    pub(crate) fn in_pascal_case(&self) -> String {
        pascal(&self.name)
    }
}

fn pascal(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    };
    name.split('_').map(capital).collect()
}
