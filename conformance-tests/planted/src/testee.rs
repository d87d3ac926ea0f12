//! The Rust testee with the mistake that `MESHWIRE_PLANTED` names, if it is the client's.

use std::process::ExitCode;

use meshwire::session::defect::{Defect, set};

fn main() -> ExitCode {
    // The testee has one thread.
    set(std::env::var("MESHWIRE_PLANTED").ok().as_deref().and_then(Defect::named));
    meshwire_testee::main()
}
