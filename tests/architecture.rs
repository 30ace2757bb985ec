//! The floors of the house: reads the imports of every source file and fails where one goes up or
//! sideways, where files import each other in a circle, where a file does not say what it is for,
//! where a crate is named outside its floor, where a file of `engine` does not name its engine, or
//! where a noun of the lower floors means two things.
//!
//! Refuses exceptions by name: a new folder at the top of `src` is put on a floor here, or the test
//! fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

#[path = "architecture/imports.rs"]
mod imports;
#[path = "architecture/names.rs"]
mod names;

/// The floors from the ground up; modules on one floor do not know each other. A folder of a folder
/// that is named here stands on a floor of its own.
const FLOORS: [&[&str]; 12] = [
    &["error"],
    &["model"],
    &["storage"],
    &["file"],
    &["archive"],
    &["job"],
    &["engine", "feed"],
    &["engine/sql"],
    &["net"],
    &[
        "clean",
        "collect",
        "compact",
        "demo",
        "doctor",
        "import",
        "inspect",
        "prune",
        "quarantine",
        "query",
        "reconcile",
        "record",
        "replay",
        "report",
        "status",
        "verify",
    ],
    &["cluster"],
    &["cli"],
];

/// Crates and parts of `std` that only these floors may name.
const KEPT: [(&[&str], &[&str]); 4] = [
    (&["datafusion"], &["engine", "cluster"]),
    (&["object_store"], &["storage", "file", "engine", "cluster"]),
    (&["clap"], &["cli", "main"]),
    (&["std", "env"], &["cli", "main"]),
];

/// All files of this folder name this crate: what does not belongs elsewhere.
const ALL_NAME: (&str, &str) = ("engine", "datafusion");

/// Macros that speak to the terminal: only the command line does.
const SPOKEN: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// One source file: its path below `src`, its text.
type Source = (String, String);

#[test]
fn the_code_keeps_its_floors() {
    let sources = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(sources.len() > 10, "the sources were not found");
    assert_eq!(findings(&sources), Vec::<String>::new());
}

#[test]
fn one_noun_for_one_thing() {
    let sources = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    let tests = test_modules(&sources);
    let is_test = |path: &str| tests.iter().any(|test| module(path).starts_with(test));
    let shipped: Vec<(&str, &str)> = sources
        .iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    assert_eq!(names::shared(&shipped, &names::TWICE), Vec::<String>::new());
}

fn read(src: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let below = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
                found.push((below, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Everything that is wrong with `sources`.
fn findings(sources: &[Source]) -> Vec<String> {
    let modules: BTreeMap<Vec<String>, &str> = sources
        .iter()
        .map(|(path, _)| (module(path), path.as_str()))
        .collect();
    let tests = test_modules(sources);
    let mut found = Vec::new();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in sources {
        if !text.trim_start().starts_with("//!") {
            found.push(format!(
                "{path} does not say what it is for: begin it with //!"
            ));
        }
        let here = module(path);
        let top = here.first().map_or("lib", String::as_str);
        let own = place(&here);
        if floor(&own).is_none() && !["lib", "main"].contains(&top) {
            found.push(format!("{path} is on no floor: add {top} to FLOORS"));
        }
        if tests.iter().any(|t| here.starts_with(t)) {
            continue;
        }
        let named = imports::named(text);
        let (folder, all_name) = ALL_NAME;
        let names = |(_, path): &(_, Vec<String>)| path.first().is_some_and(|n| n == all_name);
        if top == folder && !named.paths.iter().any(names) {
            found.push(format!(
                "{path} does not name {all_name}: it does not belong in {folder}"
            ));
        }
        for name in SPOKEN
            .iter()
            .filter(|name| named.macros.iter().any(|m| m == **name))
        {
            if !["cli", "main"].contains(&top) {
                found.push(format!(
                    "{path} calls {name}!, which only the command line does"
                ));
            }
        }
        for (around, written) in &named.paths {
            for (kept, floors) in KEPT {
                if written
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .starts_with(kept)
                    && !floors.contains(&top)
                {
                    found.push(format!(
                        "{path} names {}, which only {} may",
                        kept.join("::"),
                        floors.join(" and ")
                    ));
                }
            }
            if let Some(target) = resolve(&here, around, written, &modules) {
                if let Some(direction) = wrong_way(&own, &place(&module(target))) {
                    found.push(format!("{path} imports {direction}: {target}"));
                }
                if target != path {
                    let _ = arrows.entry(path).or_default().insert(target);
                }
            }
        }
    }
    found.extend(circles(&arrows));
    found.sort();
    found.dedup();
    found
}

/// The module that the file at `path` is, as names from the crate's root.
fn module(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || (last == "lib" && parts.len() == 1))
    {
        let _ = parts.pop();
    }
    parts
}

/// Modules in files of their own that exist for tests only.
fn test_modules(sources: &[Source]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (path, text) in sources {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let name = pair[1]
                .strip_prefix("mod ")
                .and_then(|rest| rest.strip_suffix(';'));
            if let (true, Some(name)) = (pair[0] == "#[cfg(test)]", name) {
                found.push(module(path).into_iter().chain([name.to_owned()]).collect());
            }
        }
    }
    found
}

/// The file that a path leads to from the module `here`; `None` when it leaves the crate.
fn resolve<'a>(
    here: &[String],
    around: &[String],
    written: &[String],
    modules: &BTreeMap<Vec<String>, &'a str>,
) -> Option<&'a str> {
    let within: Vec<String> = here.iter().chain(around).cloned().collect();
    // The binary's files call the library by its name.
    let mut full: Vec<String> = match written.first()?.as_str() {
        "crate" | "qlc" => Vec::new(),
        "self" | "super" => within,
        first => {
            let child: Vec<String> = within.into_iter().chain([first.to_owned()]).collect();
            let _ = modules.get(&child)?;
            child
        }
    };
    for (n, part) in written.iter().enumerate() {
        match part.as_str() {
            "super" => drop(full.pop()),
            "crate" | "self" | "qlc" => {}
            _ if n == 0 => {}
            name => full.push(name.to_owned()),
        }
    }
    (0..=full.len())
        .rev()
        .find_map(|length| modules.get(&full[..length]).copied())
}

/// The folder of `module` that stands on a floor: the innermost one that is named there, else the
/// outermost.
fn place(module: &[String]) -> String {
    let outer = module.first().map_or("lib", String::as_str);
    let inner = module.iter().take(2).cloned().collect::<Vec<_>>().join("/");
    match floor(&inner) {
        Some(_) => inner,
        None => outer.to_owned(),
    }
}

fn floor(place: &str) -> Option<usize> {
    FLOORS.iter().position(|places| places.contains(&place))
}

fn wrong_way(from: &str, to: &str) -> Option<&'static str> {
    let from_floor = if from == "main" {
        FLOORS.len()
    } else {
        floor(from)?
    };
    let to_floor = floor(to)?;
    match from_floor.cmp(&to_floor) {
        std::cmp::Ordering::Less => Some("upwards"),
        std::cmp::Ordering::Equal if from != to => Some("sideways"),
        _ => None,
    }
}

/// Each circle of imports once, as the files it goes through.
fn circles(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = arrows.clone();
    // A file that imports nothing that is left, or that nothing left imports, is in no circle.
    loop {
        let imported: BTreeSet<&str> = left.values().flatten().copied().collect();
        let names: BTreeSet<&str> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|file, targets| {
            targets.retain(|t| names.contains(t));
            !targets.is_empty() && imported.contains(file)
        });
        if left.len() == before {
            break;
        }
    }
    let Some(first) = left.keys().next() else {
        return Vec::new();
    };
    let mut walk = vec![*first];
    loop {
        let last = walk[walk.len() - 1];
        // Every file that is left imports another one that is left, so the walk comes back to
        // itself.
        let next = *left[last].iter().next().unwrap();
        if let Some(start) = walk.iter().position(|file| *file == next) {
            return vec![format!(
                "files import each other in a circle: {} → {next}",
                walk[start..].join(" → ")
            )];
        }
        walk.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings of a small tree; every file is given its header.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        findings(
            &files
                .iter()
                .map(|(p, t)| ((*p).to_owned(), format!("//! {p}\n{t}")))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn arrows_that_go_down_are_fine() {
        let fine = of(&[
            (
                "main.rs",
                "use qlc::compact::run; use clap::Parser; fn main() { println!(); std::env::args(); }",
            ),
            ("lib.rs", "pub mod error; pub mod compact;"),
            ("error.rs", ""),
            ("model/mod.rs", "pub mod date;"),
            ("model/date.rs", "use crate::error::Error;"),
            ("model/meta.rs", "use super::date::Date;"),
            (
                "storage/store.rs",
                "use object_store::path::Path; fn f(s: &S) { s.object_store(); }",
            ),
            (
                "engine/scan.rs",
                "use crate::{model::date::Date, storage::store}; use datafusion::prelude::*;",
            ),
            ("compact/mod.rs", "mod report; pub use report::Report;"),
            (
                "compact/report.rs",
                "use crate::engine::scan; #[cfg(test)] mod tests { use super::super::verify; }",
            ),
            ("cli/mod.rs", "use crate::compact::Report;"),
        ]);
        assert_eq!(fine, Vec::<String>::new());
    }

    #[test]
    fn arrows_up_and_sideways_are_found() {
        let up = of(&[
            (
                "model/date.rs",
                "use crate::{error::E, storage::store::Store};",
            ),
            ("storage/store.rs", ""),
        ]);
        assert_eq!(up, ["model/date.rs imports upwards: storage/store.rs"]);
        let inline = of(&[
            ("error.rs", "fn f() -> crate::model::Date { todo() }"),
            ("model/mod.rs", ""),
        ]);
        assert_eq!(inline, ["error.rs imports upwards: model/mod.rs"]);
        let relative = of(&[
            ("compact/run.rs", "use super::super::verify::check;"),
            ("verify/mod.rs", ""),
        ]);
        assert_eq!(relative, ["compact/run.rs imports sideways: verify/mod.rs"]);
        let cli = of(&[
            ("file/scan.rs", "use crate::cli::Args;"),
            ("cli/mod.rs", ""),
        ]);
        assert_eq!(cli, ["file/scan.rs imports upwards: cli/mod.rs"]);
        let inner = of(&[
            ("engine/sink.rs", "use super::sql; use datafusion::x;"),
            (
                "engine/sql/mod.rs",
                "use super::session; use datafusion::x;",
            ),
            ("engine/session.rs", "use datafusion::x;"),
        ]);
        assert_eq!(inner, ["engine/sink.rs imports upwards: engine/sql/mod.rs"]);
    }

    #[test]
    fn circles_are_found() {
        let two = of(&[
            ("model/a.rs", "use super::b::B;"),
            ("model/b.rs", "use super::a::A;"),
        ]);
        assert_eq!(
            two,
            ["files import each other in a circle: model/a.rs → model/b.rs → model/a.rs"]
        );
        let parent = of(&[
            ("model/mod.rs", "mod a; pub use a::A;"),
            ("model/a.rs", "use super::LIMIT;"),
        ]);
        assert_eq!(
            parent,
            ["files import each other in a circle: model/a.rs → model/mod.rs → model/a.rs"]
        );
        let three = of(&[
            ("model/a.rs", "use super::b::B;"),
            ("model/b.rs", "fn f() { crate::model::c::g() }"),
            ("model/c.rs", "mod inner { use super::super::a::A; }"),
            ("model/d.rs", "use super::a::A;"),
        ]);
        assert_eq!(three.len(), 1, "{three:?}");
    }

    #[test]
    fn files_without_header_or_floor_are_found() {
        let bare = findings(&[("error.rs".to_owned(), "use std::fmt;\n".to_owned())]);
        assert_eq!(
            bare,
            ["error.rs does not say what it is for: begin it with //!"]
        );
        assert_eq!(
            of(&[("util/mod.rs", "")]),
            ["util/mod.rs is on no floor: add util to FLOORS"]
        );
    }

    #[test]
    fn names_outside_their_floor_are_found() {
        let check = |file: &str, text: &str, part: &str| {
            let found = of(&[(file, text)]);
            assert!(
                found.len() == 1 && found[0].contains(part),
                "{file} {text}: {found:?}"
            );
        };
        check(
            "compact/run.rs",
            "use datafusion::prelude::SessionContext;",
            "names datafusion",
        );
        check(
            "storage/store.rs",
            "fn f() { let x = datafusion::x::Y; }",
            "names datafusion",
        );
        check(
            "verify/mod.rs",
            "use object_store::ObjectStore;",
            "names object_store",
        );
        check(
            "query/mod.rs",
            "#[derive(clap::Args)] struct A;",
            "names clap",
        );
        check("file/pool.rs", "use std::{env, fs};", "names std::env");
        check(
            "file/pool.rs",
            "fn f() { std::env::var(\"X\") }",
            "names std::env",
        );
        check(
            "engine/sql/split.rs",
            "use crate::x; // datafusion::x",
            "does not name datafusion",
        );
        for name in SPOKEN {
            check(
                "inspect/mod.rs",
                &format!("fn f() {{ {name}!(\"\") }}"),
                name,
            );
        }
    }

    #[test]
    fn modules_of_tests_need_only_a_header() {
        let sources = [
            ("compact/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("compact/tests.rs", "use crate::verify::run;"),
        ];
        assert_eq!(
            of(&[sources[0], sources[1], ("verify/mod.rs", "")]),
            Vec::<String>::new()
        );
    }
}
