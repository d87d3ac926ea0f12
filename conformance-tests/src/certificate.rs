//! One certificate for every gateway and peer of a run, at 127.0.0.1.

use std::sync::LazyLock;

use meshwire_certificates::SelfSigned;

/// The certificate of this run.
pub(crate) fn certificate() -> &'static SelfSigned {
    static MADE: LazyLock<SelfSigned> = LazyLock::new(|| SelfSigned::of("127.0.0.1"));
    &MADE
}
