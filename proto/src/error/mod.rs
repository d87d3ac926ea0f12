//! The error catalogue: a kind is a number, a name and a retry class.

#[rustfmt::skip]
mod table;

pub use table::ErrorKind;

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// The same call may succeed at once.
    Now,
    /// The same call may succeed after a while.
    After,
    /// It may have succeeded: repeat only what may happen twice.
    UnknownOutcome,
}

impl ErrorKind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The kind of a number from the wire; news from a newer peer is [`ErrorKind::Internal`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL.iter().copied().find(|kind| kind.number() == number).unwrap_or(Self::Internal)
    }

    /// The WebSocket close code.
    #[must_use]
    pub const fn ws_close(self) -> u16 {
        4000 + self as u16
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
