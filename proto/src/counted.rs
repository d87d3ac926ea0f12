//! Numbers of things in sentences for people.

use std::fmt;

/// A number of things: `1 member`, `2 members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted(u64, &'static str);

/// So many of a thing whose plural ends with an s.
#[must_use]
pub const fn counted(count: u64, thing: &'static str) -> Counted {
    Counted(count, thing)
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, thing) = self;
        write!(f, "{count} {thing}{}", if *count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_no_plural() {
        let all = [0, 1, 2].map(|count| counted(count, "dead letter").to_string());
        assert_eq!(all, ["0 dead letters", "1 dead letter", "2 dead letters"]);
    }
}
