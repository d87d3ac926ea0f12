//! The public API of the client in each language, as the sources have it, and the table of who has what.
//!
//! `api/` keeps a snapshot of each, compared by the tests and written by `cargo xtask gen`. `parity.toml` says which of its items does what;
//! `table` holds it against the snapshots, and `page` makes docs/parity.md of it.

mod api;
mod c;
mod catalogue;
mod go;
mod node;
mod page;
mod python;
mod rust;
mod source;
mod table;

use std::path::Path;

pub use api::Api;
pub use catalogue::Catalogue;
pub use page::page;
pub use table::{LANGUAGES, Language, Parity};

/// Reads the API of a language from the sources below the root of the workspace. `None`: the program that reads it is not there.
///
/// # Errors
/// A file that cannot be read, or is not as its reader knows it.
pub fn read(root: &Path, language: Language) -> anyhow::Result<Option<Api>> {
    match language {
        Language::Rust => rust::read(root).map(Some),
        Language::Python => python::read(root),
        Language::Node => node::read(root).map(Some),
        Language::C => c::read(root).map(Some),
        Language::Go => go::read(root),
    }
}
