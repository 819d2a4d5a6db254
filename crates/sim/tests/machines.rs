//! Production drives no machine of `domain` that the simulation does not drive too.

use std::fs;
use std::path::Path;

/// The machines, by their module.
const MACHINES: [&str; 17] = [
    "condition",
    "feed",
    "outbox",
    "ingest",
    "instruction",
    "planner",
    "agent",
    "calling",
    "fetch",
    "lease",
    "line",
    "room",
    "transfer",
    "twins",
    "job",
    "merkle",
    "reason",
];

/// All Rust sources of a crate, as one text.
fn sources(crate_name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_name).join("src");
    let mut text = String::new();
    collect(&root, &mut text);
    text
}

fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, text);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("the source is readable"));
        }
    }
}

/// Whether a source uses a module of `domain`, alone or in a braced list.
fn mentions(text: &str, module: &str) -> bool {
    let direct = format!("packhorse_domain::{module}");
    let boundary = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if text.match_indices(&direct).any(|(at, found)| boundary(&text[at + found.len()..])) {
        return true;
    }
    let lists = text.split("packhorse_domain::{").skip(1);
    lists.filter_map(|rest| rest.split(';').next()).any(|list| {
        let words = list.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.into_iter().any(|word| word == module)
    })
}

#[test]
fn the_simulation_drives_every_machine_that_production_drives() {
    let sim = sources("sim");
    for production in ["server", "client"] {
        let text = sources(production);
        for machine in MACHINES {
            let driven = !mentions(&text, machine) || mentions(&sim, machine);
            assert!(driven, "{production} drives domain::{machine}, the simulation does not");
        }
    }
}

#[test]
fn the_simulation_drives_every_machine_there_is() {
    let sim = sources("sim");
    for machine in MACHINES {
        assert!(mentions(&sim, machine), "domain::{machine} is not simulated");
    }
}

#[test]
fn every_module_of_domain_is_a_machine_or_known_to_be_none() {
    // Nouns, and what has its own tests: names, time, places, facts and reports as data, the order of versions, what can be
    // delegated.
    const NO_MACHINES: [&str; 7] = ["ids", "report", "time", "version", "facts", "place", "delegated"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/src/lib.rs");
    let text = fs::read_to_string(root).unwrap();
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        let known = MACHINES.contains(&module) || NO_MACHINES.contains(&module);
        assert!(known, "domain::{module} is new: is it a machine? then simulate it");
    }
}

#[test]
fn mentions_are_found_in_lists_and_not_in_longer_words() {
    assert!(mentions("use packhorse_domain::feed::receive;", "feed"));
    assert!(mentions("use packhorse_domain::{ids::HostId, feed};", "feed"));
    assert!(!mentions("use packhorse_domain::feeder;", "feed"));
    assert!(!mentions("feed", "feed"));
}
