//! Who may import what inside a crate, and what the pure parts must not touch.

use super::Finding;
use super::paths::crate_paths;
use super::source::{Source, is_word, line_of, starts_word};

/// What a room may name of its own crate.
enum May {
    /// Only modules that begin so.
    Only(&'static [&'static str]),
    /// All but modules that begin so.
    AllBut(&'static [&'static str]),
}

/// A folder or file of the gateway, and what it may import. The first that fits holds.
const ROOMS: &[(&str, May)] = &[
    ("gateway/src/engine", May::Only(&["engine", "store"])),
    ("gateway/src/store", May::Only(&["store"])),
    ("gateway/src/delivery", May::Only(&["delivery", "store"])),
    ("gateway/src/pipeline", May::Only(&["pipeline"])),
    ("gateway/src/ingress", May::Only(&["ingress", "mesh", "delivery", "config", "random", "telemetry", "shutdown"])),
    ("gateway/src/mesh", May::AllBut(&["ingress"])),
];

/// Rooms of the ingress, and the neighbours that each must not name: doors know what they share, and never each other. The first that fits
/// holds; the last is all that every door uses.
const NEIGHBOURS: [(&str, &[&str]); 6] = [
    ("gateway/src/ingress/http", &["ingress::grpc"]),
    ("gateway/src/ingress/grpc", &["ingress::http"]),
    ("gateway/src/ingress/web", &["ingress::http", "ingress::grpc"]),
    ("gateway/src/ingress/native", &["ingress::http", "ingress::grpc", "ingress::web", "ingress::calls"]),
    ("gateway/src/ingress/calls", &["ingress::http", "ingress::grpc", "ingress::web", "ingress::native"]),
    ("gateway/src/ingress", &["ingress::http", "ingress::grpc", "ingress::web", "ingress::native", "ingress::calls"]),
];

/// Rooms that see the words of the store and no store.
const WORDS_ONLY: [&str; 4] = ["gateway/src/engine", "gateway/src/delivery", "gateway/src/ingress", "gateway/src/mesh"];
const STORES: [&str; 2] = ["store::log", "store::memory"];

/// State machines and the language they share: no I/O, clock, task or randomness.
const PURE: [&str; 5] =
    ["proto/src", "core-client/src/session", "gateway/src/engine", "gateway/src/store/log/machine", "history/src"];
const IMPURE: [&str; 11] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "tokio",
    "getrandom",
    "fastrand",
    "RandomState",
];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = imports(source);
    if PURE.iter().any(|room| is_in(source.path(), room)) {
        for word in IMPURE {
            for line in uses_of(source.product(), word) {
                let text =
                    format!("`{word}` in a part without I/O, clock, task or randomness: let it come in as a value");
                findings.push(Finding { path: source.path().to_owned(), line, rule: "pure", text });
            }
        }
    }
    findings
}

fn imports(source: &Source) -> Vec<Finding> {
    let Some((room, may)) = ROOMS.iter().find(|(room, _)| is_in(source.path(), room)) else {
        return Vec::new();
    };
    let neighbours = NEIGHBOURS.iter().find(|(room, _)| is_in(source.path(), room));
    let mut findings = Vec::new();
    for path in crate_paths(source.path(), source.product()) {
        let name = path.words.join("::");
        // Names that the root re-exports belong to no room.
        let is_module = path.words.first().is_some_and(|w| w.starts_with(|c: char| c.is_ascii_lowercase()));
        let allowed = match may {
            May::Only(modules) => modules.iter().any(|m| is_module_in(&name, m)),
            May::AllBut(modules) => !modules.iter().any(|m| is_module_in(&name, m)),
        };
        let is_store = WORDS_ONLY.contains(room) && STORES.iter().any(|s| is_module_in(&name, s));
        if is_module && (!allowed || is_store) {
            let text = format!("`{room}` must not import `crate::{name}`");
            findings.push(Finding { path: source.path().to_owned(), line: path.line, rule: "import-arrow", text });
        }
        if let Some((room, _)) = neighbours.filter(|(_, closed)| closed.iter().any(|m| is_module_in(&name, m))) {
            let text = format!("`{room}` must not import `crate::{name}`: what both need goes beside them");
            findings.push(Finding { path: source.path().to_owned(), line: path.line, rule: "import-arrow", text });
        }
    }
    findings
}

/// Whether a file is a room, or lies in one.
fn is_in(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// Whether a path names a module or something in it.
fn is_module_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn uses_of(code: &str, word: &str) -> Vec<usize> {
    let whole = |at: &usize| {
        let behind = code.get(at + word.len()..).and_then(|rest| rest.chars().next());
        starts_word(code, *at) && behind.is_none_or(|c| !is_word(c))
    };
    code.match_indices(word).map(|(at, _)| at).filter(whole).map(|at| line_of(code, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|f| format!("{}: {}", f.rule, f.text)).collect()
    }

    #[test]
    fn the_engine_sees_the_words_of_a_store_and_no_store() {
        assert!(found("gateway/src/engine/mod.rs", "use crate::store::{Op, Ticket};").is_empty());
        assert_eq!(
            found("gateway/src/engine/mod.rs", "use crate::store::log::LogStore;"),
            ["import-arrow: `gateway/src/engine` must not import `crate::store::log::LogStore`"]
        );
        assert_eq!(found("gateway/src/engine/group.rs", "use super::super::mesh::Mesh;").len(), 1);
    }

    #[test]
    fn a_store_knows_nothing_above_it() {
        assert_eq!(found("gateway/src/store/log/mod.rs", "use crate::{engine::Engine, store::Op};").len(), 1);
    }

    #[test]
    fn an_ingress_sees_no_store_and_no_engine() {
        assert!(found("gateway/src/ingress/tcp.rs", "use crate::mesh::Mesh; use crate::delivery::Sink;").is_empty());
        assert_eq!(found("gateway/src/ingress/tcp.rs", "use crate::engine::Engine; use crate::store::Op;").len(), 2);
    }

    #[test]
    fn doors_see_what_they_share_and_never_each_other() {
        assert!(
            found("gateway/src/ingress/grpc/call.rs", "use crate::ingress::web::Door; use super::super::calls::C;")
                .is_empty()
        );
        assert!(found("gateway/src/ingress/web/door.rs", "use crate::ingress::native::Native;").is_empty());
        assert_eq!(found("gateway/src/ingress/grpc/call.rs", "use crate::ingress::{http::Door, access};").len(), 1);
        assert_eq!(found("gateway/src/ingress/http/mod.rs", "use super::grpc;").len(), 1);
        assert_eq!(found("gateway/src/ingress/web/door.rs", "use crate::ingress::grpc::router;").len(), 1);
        assert_eq!(found("gateway/src/ingress/calls/mod.rs", "use crate::ingress::native::Native;").len(), 1);
        assert_eq!(found("gateway/src/ingress/native/mod.rs", "use super::calls::Calls;").len(), 1);
        assert_eq!(found("gateway/src/ingress/places.rs", "use super::native::Native;").len(), 1);
    }

    #[test]
    fn the_waist_knows_no_protocol() {
        assert!(found("gateway/src/mesh.rs", "use crate::engine::Engine; use crate::store::Store;").is_empty());
        assert_eq!(found("gateway/src/mesh.rs", "use crate::ingress::tcp::Tcp; use crate::store::memory::M;").len(), 2);
    }

    #[test]
    fn a_state_machine_has_no_clock_and_no_socket() {
        let text = "use std::time::Instant;\nfn f() { std::fs::read(p); }\n// std::thread is fine in words\n";
        assert_eq!(found("core-client/src/session/mod.rs", text).len(), 2);
        assert!(found("core-client/src/driver/mod.rs", text).is_empty());
        assert!(found("proto/src/x.rs", "struct Instantly; #[cfg(test)] mod tests { use std::fs; }").is_empty());
    }
}
