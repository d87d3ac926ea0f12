//! Events from files: one a line, or a JSON array.

mod input;
mod split;

pub(crate) use input::{Batch, Item, Place, read_in_background};
