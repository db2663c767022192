//! docs/configuration.md names every key that the program knows, and no other. The program is asked itself: an unknown
//! key is answered with the list of the known ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Map, Value, json};
use sipedge::app;
use sipedge::base::Seed;
use sipedge::config::Config;
use std::collections::BTreeSet;

/// A key that resembles no other, so that the answer lists what there is.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqq";

/// What is known beside an unknown key at `path` of a configuration.
fn known(root: Value, path: &str) -> Vec<String> {
    let Value::Object(root) = root else { panic!() };
    let faults = app::judge(&Config::from_value("test", root), Seed::from_number(1)).err().unwrap();
    let fault =
        faults.iter().find(|f| f.key == path).unwrap_or_else(|| panic!("no fault at {path}: {faults:?}"));
    let list = fault.remedy.strip_prefix("unknown key; known here: ").unwrap_or_else(|| panic!("{fault}"));
    list.split(", ").map(str::to_owned).collect()
}

/// A table with the unknown key, written as the program wants that table.
fn with_unknown(table: &str) -> (Value, String, String) {
    let unknown = || json!({ UNKNOWN: 1 });
    match table {
        "trunk" | "account" => {
            let value = Map::from_iter([(table.to_owned(), json!({ "x": unknown() }))]);
            (Value::Object(value), format!("{table}.x.{UNKNOWN}"), format!("{table}.NAME"))
        }
        "route" => (json!({ "route": [unknown()] }), format!("route[1].{UNKNOWN}"), "route".to_owned()),
        _ => {
            let value = Map::from_iter([(table.to_owned(), unknown())]);
            (Value::Object(value), format!("{table}.{UNKNOWN}"), table.to_owned())
        }
    }
}

fn keys_of_the_program() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for table in known(json!({ UNKNOWN: 1 }), UNKNOWN) {
        let (root, path, shown) = with_unknown(&table);
        keys.extend(known(root, &path).into_iter().map(|key| format!("{shown}.{key}")));
    }
    keys
}

/// The first column of the tables; `` `a.b`, `.c` `` is short for `a.b` and `a.c`.
fn keys_of_the_reference(text: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|l| l.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap();
        let mut table = String::new();
        for key in cell.split('`').skip(1).step_by(2) {
            match key.strip_prefix('.') {
                Some(short) => assert!(keys.insert(format!("{table}.{short}")), "{key} stands twice"),
                None => {
                    table = key.rsplit_once('.').unwrap().0.to_owned();
                    assert!(keys.insert(key.to_owned()), "{key} stands twice");
                }
            }
        }
    }
    keys
}

#[test]
fn the_reference_names_every_key_that_the_program_knows_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let reference = keys_of_the_reference(&std::fs::read_to_string(path).unwrap());
    let program = keys_of_the_program();
    assert!(program.len() > 30, "{program:?}");
    let missing: Vec<_> = program.difference(&reference).collect();
    let surplus: Vec<_> = reference.difference(&program).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:?}; not in the program: {surplus:?}"
    );
}

#[test]
fn keys_are_read_from_the_first_column_with_their_short_forms() {
    let text = "| key | default |\n| --- | --- |\n| `a.x`, `.y` | `z.z` |\n| `b.N.c` | – |\n";
    let keys: Vec<String> = keys_of_the_reference(text).into_iter().collect();
    assert_eq!(keys, ["a.x", "a.y", "b.N.c"]);
}
