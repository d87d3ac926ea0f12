//! What is wrong with a table is found.

use std::collections::BTreeMap;
use std::path::Path;

use meshwire_parity::{Api, Catalogue, LANGUAGES, Language, Parity};

/// A workspace with no catalogue entries.
fn nothing() -> Catalogue {
    let room = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = room.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("proto/options.toml", "option = []");
    put("proto/errors.toml", "error = []");
    put("bindings/embed/src/options.rs", "");
    put("bindings/embed/src/administration/mod.rs", "");
    Catalogue::read(room.path()).unwrap()
}

/// Problems of a mapping where each language has these items.
fn problems(items: [&str; 5], mapping: &str) -> Vec<String> {
    let read = |(language, names): (Language, &str)| {
        let lines: Vec<String> = names.split(' ').map(|name| format!("{name} | {name}")).collect();
        (language, Api::parse(&lines.join("\n")).unwrap())
    };
    let apis: BTreeMap<Language, Api> = LANGUAGES.into_iter().zip(items).map(read).collect();
    let has = |part: &str| mapping.contains(part);
    let rest = [
        ("[[row]]", "row = []\n"),
        ("[[record]]", "record = []\n"),
        ("[[besides]]", "besides = []\n"),
        ("[option]", "option = {}\n"),
    ];
    let rest: String = rest.iter().filter(|(part, _)| !has(part)).map(|(_, line)| *line).collect();
    Parity::new(&(rest + mapping), &apis, &nothing()).unwrap().problems
}

fn row(cells: [&str; 5]) -> String {
    let [rust, python, node, c, go] = cells;
    format!(
        "[[row]]\nsection = \"s\"\nwhat = \"w\"\nrust = \"{rust}\"\npython = \"{python}\"\nnode = \"{node}\"\nc = \"{c}\"\ngo = \"{go}\"\n"
    )
}

const EACH: [&str; 5] = ["go", "go", "go", "mw_go", "Go"];

#[test]
fn a_table_that_has_everything_has_no_problem() {
    assert_eq!(problems(EACH, &row(EACH)), [""; 0]);
}

#[test]
fn a_public_item_in_no_row_is_one() {
    let said = problems(["go", "go", "go stop", "mw_go", "Go"], &row(EACH));
    assert_eq!(said, ["stop of Node is in no row of parity.toml"]);
}

#[test]
fn a_name_that_no_snapshot_has_is_one() {
    let said = problems(EACH, &row(["go", "go", "go, stop", "mw_go", "Go"]));
    assert_eq!(said, ["\"w\": Node has no stop"]);
}

#[test]
fn a_cell_without_an_item_has_a_reason() {
    for empty in ["", "-", "- ", "="] {
        let said = problems(["go", "go", "go", "mw_go", "Go"], &row(["go", "go", "go", empty, "Go"]));
        assert_eq!(
            said,
            [
                "\"w\" says nothing for C: name an item, or say why there is none",
                "mw_go of C is in no row of parity.toml"
            ]
        );
    }
    let with_reason =
        row(["go", "go", "go", "- the language has none", "Go"]) + &row(["go", "go", "go", "mw_go", "Go"]);
    assert_eq!(problems(EACH, &with_reason), [""; 0]);
    let without =
        "[[row]]\nsection = \"s\"\nwhat = \"w\"\nrust = \"go\"\npython = \"go\"\nnode = \"go\"\ngo = \"Go\"\n";
    let read =
        Parity::new(&format!("record = []\nbesides = []\noption = {{}}\n{without}"), &BTreeMap::new(), &nothing());
    assert!(format!("{:#}", read.unwrap_err()).contains("missing field `c`"));
}

#[test]
fn what_asyncio_has_its_twin_has() {
    let mapping = row(["go", "Mesh.go", "go", "mw_go", "Go"]) + &row(["go", "Mesh", "go", "mw_go", "Go"]);
    let with = ["go", "Mesh Mesh.go sync.Mesh sync.Mesh.go", "go", "mw_go", "Go"];
    assert_eq!(problems(with, &mapping), [""; 0]);
    let without = ["go", "Mesh Mesh.go sync.Mesh", "go", "mw_go", "Go"];
    assert_eq!(problems(without, &mapping), ["\"w\": meshwire has Mesh.go, and meshwire.sync has not"]);
    let alone = ["go", "Mesh Mesh.go sync.Mesh sync.Mesh.go sync.Mesh.halt", "go", "mw_go", "Go"];
    assert_eq!(problems(alone, &mapping), ["sync.Mesh.halt of Python is in no row of parity.toml"]);
}

#[test]
fn records_have_the_same_fields_in_every_language_or_a_reason() {
    let items = ["S.by_id S.lag", "S.by_id S.lag", "S.byId S.lagMs", "mw_s.by_id mw_s.lag_ms", "S.ByID"];
    let record =
        "[[record]]\nwhat = \"r\"\nrust = \"S.*\"\npython = \"S.*\"\nnode = \"S.*\"\nc = \"mw_s.*\"\ngo = \"S.*\"\n";
    assert_eq!(problems(items, record), ["\"r\": Go has no lag, and no reason why"]);
    assert_eq!(problems(items, &format!("{record}but.go = {{ lag = \"it is late\" }}\n")), [""; 0]);
    let stale =
        problems(items, &format!("{record}but.go = {{ lag = \"it is late\" }}\nbut.c = {{ lag = \"not so\" }}\n"));
    assert_eq!(stale, ["\"r\": what is said of lag of C is not so"]);
}

#[test]
fn what_is_left_out_on_purpose_has_a_reason_and_is_left_out() {
    let besides = |items: &str, why: &str| {
        format!("{}[[besides]]\nlanguage = \"node\"\nitems = \"{items}\"\nwhy = \"{why}\"\n", row(EACH))
    };
    let items = ["go", "go", "go stop", "mw_go", "Go"];
    assert_eq!(problems(items, &besides("stop", "it stops by itself")), [""; 0]);
    assert_eq!(problems(items, &besides("stop", " ")), ["stop of Node are in no row, without a reason"]);
    assert_eq!(problems(items, &besides("stop, go", "both")), ["besides: go of Node is in rows, all of it"]);
}

#[test]
fn every_option_and_administrative_command_of_the_catalogues_is_asked_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let empty = Parity::new(
        "row = []\nrecord = []\nbesides = []\noption = {}\n",
        &BTreeMap::new(),
        &Catalogue::read(&root).unwrap(),
    );
    let problems = empty.unwrap().problems;
    for missing in ["option offline_sync", "option strict_order", "administrative command groups.delete_member"] {
        let wanted = format!("parity.toml does not have the {missing}");
        assert!(problems.contains(&wanted), "{wanted}");
    }
}
