//! Makes every generated file anew and compares it with what is checked in.
//! `MESHWIRE_GEN=write` (set by `cargo xtask gen`) writes instead of comparing.

mod go;
mod pages;
mod protobuf;
mod python;
mod tables;

use std::path::{Path, PathBuf};

use meshwire_proto::ErrorKind;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Compares `content` with the file, or writes it.
fn settle(path: &Path, content: impl AsRef<[u8]>) {
    let content = content.as_ref();
    if std::env::var_os("MESHWIRE_GEN").is_some_and(|v| v == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        return;
    }
    let found = std::fs::read(path).unwrap_or_default();
    assert!(found == content, "{} is not what its source generates: run `cargo xtask gen`", path.display());
}

#[test]
fn checked_in_protobuf_types_are_what_the_schemas_generate() {
    for (name, content) in protobuf::generate(&root().join("proto")) {
        settle(&root().join("src/wire").join(name), content);
    }
    settle(&root().join("src/wire/descriptors.bin"), protobuf::descriptors(&root().join("proto")));
    settle(&root().join("../gateway/src/ingress/grpc/services.rs"), protobuf::services(&root().join("proto")));
}

#[test]
fn checked_in_tables_are_what_the_catalogues_generate() {
    let errors = std::fs::read_to_string(root().join("errors.toml")).unwrap();
    let options = std::fs::read_to_string(root().join("options.toml")).unwrap();
    let docs = root().join("../docs");
    settle(&root().join("src/error/table.rs"), tables::error_table(&errors));
    settle(&root().join("src/options/table.rs"), tables::option_table(&options));
    settle(&root().join("../bindings/c/src/code.rs"), tables::c_codes(&errors));
    settle(&root().join("../bindings/go/codes.go"), go::codes(&errors));
    settle(&docs.join("errors.md"), tables::error_page(&errors));
    settle(&docs.join("options.md"), tables::option_page(&options));
    let node = root().join("../bindings/node/package/lib");
    settle(&node.join("codes.cjs"), tables::node_codes(&errors));
    settle(&node.join("codes.d.cts"), tables::node_code_types(&errors));
    settle(&node.join("options.cjs"), tables::node_options(&options));
}

#[test]
fn checked_in_tables_of_python_are_what_the_catalogues_generate() {
    let errors = std::fs::read_to_string(root().join("errors.toml")).unwrap();
    let options = std::fs::read_to_string(root().join("options.toml")).unwrap();
    let package = root().join("../bindings/python/python/meshwire");
    settle(&package.join("errors.py"), python::errors(&errors));
    settle(&package.join("_kinds.py"), python::options(&options));
}

/// The same for what stands in a page between two marks.
fn settle_part(path: &Path, name: &str, content: &str) {
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (format!("<!-- begin generated {name} -->\n"), format!("<!-- end generated {name} -->\n"));
    let Some((before, rest)) = page.split_once(&begin) else { panic!("{} has no {begin}", path.display()) };
    let Some((_, after)) = rest.split_once(&end) else { panic!("{} has no {end}", path.display()) };
    settle(path, format!("{before}{begin}{content}{end}{after}"));
}

#[test]
fn the_page_of_each_language_has_the_errors_and_options_that_the_catalogues_generate() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let errors = read("errors.toml");
    let (parity, facade) = (read("../bindings/parity/parity.toml"), read("../bindings/embed/src/options.rs"));
    let options = pages::Options::new(&read("options.toml"), &parity, &facade);
    for language in &pages::LANGUAGES {
        let page = root().join("../docs").join(format!("{}.md", language.name));
        settle_part(&page, "errors", &pages::errors(language, &errors));
        settle_part(&page, "options", &options.table(language));
    }
}

#[test]
fn the_page_of_errors_says_what_each_door_says_of_each_kind() {
    let page = std::fs::read_to_string(root().join("../docs/errors.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let found: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    let (found, others) = found.split_at(ErrorKind::ALL.len());
    for (row, kind) in found.iter().zip(ErrorKind::ALL) {
        let (number, code) = (kind.number().to_string(), format!("`{kind}`"));
        assert_eq!((row[1], row[2]), (number.as_str(), code.as_str()));
        let statuses = std::iter::once(kind.http_status()).chain(kind.other_http().iter().copied());
        let statuses = statuses.map(|status| status.to_string());
        let (http, close) = (statuses.collect::<Vec<_>>().join(", "), kind.ws_close().to_string());
        assert_eq!(row[5..8], [http.as_str(), kind.grpc_status(), close.as_str()], "{kind}");
        for status in kind.other_http() {
            let when = others.iter().filter(|other| other[1] == status.to_string() && other[2] == code);
            assert_eq!(when.count(), 1, "{status} of {kind}");
        }
    }
}
