//! What C programs compile against. Their own tests are in `tests/c`, and run where the package is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

/// The header is generated, and checked in. `MESHWIRE_GEN=write` (set by `cargo xtask gen`) writes instead of comparing.
#[test]
fn the_generated_header_is_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml can be read");
    let head = config.after_includes.take().unwrap_or_default();
    config.after_includes = Some(head.replace("@VERSION@", env!("CARGO_PKG_VERSION")));
    let mut header = Vec::new();
    cbindgen::generate_with_config(root, config).expect("the source can be read").write(&mut header);
    // The module of Go has a copy: it is built where nothing else of ours is.
    for path in [root.join("include/meshwire.h"), root.join("../go/internal/native/meshwire.h")] {
        if std::env::var_os("MESHWIRE_GEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &header).unwrap();
            continue;
        }
        let found = std::fs::read(&path).unwrap_or_default();
        assert!(found == header, "{} is not what its source generates: run `cargo xtask gen`", path.display());
    }
}
