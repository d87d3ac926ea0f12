//! What client and gateway share of TLS: they read the same files, and whatever is wrong with one of them, or with a handshake, both say it
//! in the same plain words.
//!
//! - [`certificates`], [`roots`], [`pair`]: PEM files, or a [`FileError`] that names the file, what is wrong and what would do;
//! - [`Flaw`]: what is wrong with a certificate; [`out_of_date`]: whether its time is over, or not there yet;
//! - [`ended`]: why a handshake came to nothing; [`Objection`]: what the other side has against a certificate.

mod dates;
mod files;
mod flaw;
mod handshake;

pub use dates::out_of_date;
pub use files::{FileError, PairError, certificates, pair, roots};
pub use flaw::Flaw;
pub use handshake::{Objection, ended};
