//! The Rust testee: obeys the conformance runner, knows nothing but the public API.

use std::process::ExitCode;

fn main() -> ExitCode {
    meshwire_testee::main()
}
