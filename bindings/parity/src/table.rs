//! Who has what.

/// A language of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// The crate.
    Rust,
    /// The package, for asyncio and without.
    Python,
    /// The package of npm.
    Node,
    /// The library.
    C,
    /// The module.
    Go,
}

/// All, as the columns stand.
pub const LANGUAGES: [Language; 5] = [Language::Rust, Language::Python, Language::Node, Language::C, Language::Go];
