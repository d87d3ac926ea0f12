//! Events from files: one a line, or a JSON array; and one from a command line.

mod data;
mod input;
mod split;

pub(crate) use data::{of_data, of_text};
pub(crate) use input::{Batch, Item, Place, read_in_background};
