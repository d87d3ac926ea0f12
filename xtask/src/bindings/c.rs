//! C: headers, libraries, pkg-config and CMake files in a tree as `make install` leaves it.

use super::{Binding, Shop};
use crate::test::Outcome;

pub(super) struct C;

impl Binding for C {
    fn name(&self) -> &'static str {
        "c"
    }

    fn crates(&self) -> &'static [&'static str] {
        &["meshwire-c"]
    }

    fn needs(&self) -> &'static [&'static str] {
        &["cc", "c++", "cmake", "pkg-config"]
    }

    fn package(&self, _shop: &mut Shop<'_>) -> anyhow::Result<()> {
        anyhow::bail!("not there yet")
    }

    fn test(&self, _shop: &mut Shop<'_>) -> anyhow::Result<Outcome> {
        anyhow::bail!("not there yet")
    }
}
