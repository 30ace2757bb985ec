//! What people and programs see of qlc, held by snapshots: stdout, stderr, exit code and the files
//! that are written, of a run that goes well and of one that fails for each command; every page of
//! help; every JSON.
//!
//! A snapshot that differs or is missing fails, and nothing is written. `INSTA_UPDATE=always` writes
//! what is so now; whether that is right is seen in the diff.

mod redact;
mod scenes;
mod stage;
mod worlds;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use self::{
    scenes::{FEEDING, LOOKING, NIGHT, OPERATING},
    stage::{Scene, printed},
};

/// Commands that cannot go well in a build without the cluster; `tests/cluster` runs them.
const ELSEWHERE: [&str; 2] = ["cluster scheduler", "cluster executor"];

/// Where the snapshots are.
fn folder(kind: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snapshots")).join(kind)
}

/// Compares each text with the snapshot of its name, and fails when all are compared.
fn check(kind: &str, texts: impl IntoIterator<Item = (String, String)>) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(folder(kind));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut wrong = Vec::new();
    for (name, text) in texts {
        let compared = || settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
        if catch_unwind(AssertUnwindSafe(compared)).is_err() {
            wrong.push(name);
        }
    }
    assert!(
        wrong.is_empty(),
        "{kind}: {wrong:?} differ from their snapshots; INSTA_UPDATE=always accepts what is so now"
    );
}

fn play(scenes: &[Scene]) {
    let texts = scenes
        .iter()
        .map(|scene| (scene.name.to_owned(), scene.played()));
    check("runs", texts);
}

fn all_scenes() -> impl Iterator<Item = &'static Scene> {
    [NIGHT, LOOKING, FEEDING, OPERATING].into_iter().flatten()
}

#[test]
fn every_night() {
    play(NIGHT);
}

#[test]
fn looking() {
    play(LOOKING);
}

#[test]
fn feeding() {
    play(FEEDING);
}

#[test]
fn operating() {
    play(OPERATING);
}

/// Every command and subcommand, hidden ones as well, as the completions know them.
fn commands() -> BTreeSet<String> {
    let script = printed(&["completions", "bash"]);
    let cases = script
        .lines()
        .filter_map(|line| line.trim().strip_suffix(')'));
    let mut found = BTreeSet::new();
    for case in cases {
        let Some((above, name)) = case.split_once(',') else {
            continue;
        };
        let path: Vec<&str> = above.split("__subcmd__").skip(1).chain([name]).collect();
        if above.starts_with("qlc") && !name.starts_with('-') && !path.contains(&"help") {
            let _ = found.insert(path.join(" "));
        }
    }
    assert!(
        found.contains("compact") && found.contains("quarantine list"),
        "{found:?}"
    );
    found
}

/// The pages of help, by the names of their snapshots.
fn pages() -> BTreeMap<String, Vec<String>> {
    let page = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut pages = BTreeMap::from([
        ("qlc".to_owned(), page("help")),
        ("options".to_owned(), page("help options")),
    ]);
    pages.extend(
        commands()
            .iter()
            .map(|command| (command.replace(' ', "_"), page(&format!("help {command}")))),
    );
    pages
}

#[test]
fn every_page_of_help() {
    let texts = pages().into_iter().map(|(name, words)| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = printed(&words);
        if name != "options" {
            for flag in ["-h", "--help"] {
                let other = printed(&[&words[1..], &[flag]].concat());
                assert_eq!(other, text, "{words:?} and {flag} differ");
            }
        }
        (name, text)
    });
    check("help", texts);
}

/// The snapshots of a kind that are accepted: their texts by name.
fn accepted(kind: &str) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder(kind)).into_iter().flatten();
    files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let (_, text) = text.split_once("\n---\n").unwrap_or(("", &text));
            (name, text.to_owned())
        })
        .collect()
}

#[test]
fn each_snapshot_belongs_to_a_scene_or_a_page() {
    let named = |names: Vec<String>| -> Vec<String> {
        let mut all: Vec<String> = names.iter().map(|name| format!("{name}.snap")).collect();
        all.sort();
        all
    };
    let there = |kind| accepted(kind).into_keys().collect::<Vec<_>>();
    let scenes = all_scenes().map(|scene| scene.name.to_owned()).collect();
    assert_eq!(
        there("runs"),
        named(scenes),
        "a scene has one snapshot, and each snapshot a scene"
    );
    assert_eq!(there("help"), named(pages().into_keys().collect()));
}

/// The command that a line is about, if it is one.
fn command_of<'a>(line: &str, commands: &'a BTreeSet<String>) -> Option<&'a String> {
    let named = |command: &&String| line == **command || line.starts_with(&format!("{command} "));
    commands
        .iter()
        .filter(named)
        .max_by_key(|command| command.len())
}

#[test]
fn every_command_is_shown_going_well_and_failing_and_in_each_form() {
    let (commands, runs, help) = (commands(), accepted("runs"), accepted("help"));
    let ended = |scene: &Scene| {
        let text = &runs[&format!("{}.snap", scene.name)];
        let code = text
            .lines()
            .find_map(|line| line.strip_prefix("exit code "));
        code.unwrap().to_owned()
    };
    let mut lacking = Vec::new();
    for command in &commands {
        let of_it: Vec<&Scene> = all_scenes()
            .filter(|scene| command_of(scene.line, &commands) == Some(command))
            .collect();
        let has_verbs = commands
            .iter()
            .any(|other| other.starts_with(&format!("{command} ")));
        if !has_verbs {
            let codes: Vec<String> = of_it.iter().map(|scene| ended(scene)).collect();
            if !codes.iter().any(|code| code == "0") && !ELSEWHERE.contains(&command.as_str()) {
                lacking.push(format!("{command}: a run that goes well"));
            }
            if codes.iter().all(|code| code == "0") {
                lacking.push(format!("{command}: a run that fails"));
            }
        }
        let page = &help[&format!("{}.snap", command.replace(' ', "_"))];
        for form in ["json", "ndjson", "csv"] {
            let offers = page.lines().any(|line| {
                line.contains("possible values")
                    && line.contains(form)
                    && line.contains("text, json")
            }) || (command == "query");
            let shows = |scene: &&Scene| scene.line.ends_with(&format!("--format {form}"));
            let wanted = form == "json" || command == "query";
            if offers && wanted && !of_it.iter().any(shows) {
                lacking.push(format!("{command}: --format {form}"));
            }
        }
    }
    assert!(lacking.is_empty(), "no scene shows {lacking:#?}");
}

/// A file's place without what is one of many: names of series, days, runs.
fn kind_of(key: &str) -> String {
    let is_kind = |part: &&str| part.starts_with('_') || ["QUARANTINE", "quality"].contains(part);
    let folder = key.split('/').find(is_kind).unwrap_or_default();
    let name = key.rsplit('/').next().unwrap_or_default();
    let name = if name.contains('<') || name.starts_with('2') {
        name.rsplit('.').next().unwrap_or_default()
    } else {
        name
    };
    format!("{folder}/{name}")
}

#[test]
fn every_json_that_is_written_is_shown() {
    let runs = accepted("runs");
    let is_json = |key: &str| {
        [".json", ".ndjson", ".jsonl"]
            .iter()
            .any(|end| key.ends_with(end))
    };
    let of = |sign: &'static str| -> BTreeSet<String> {
        let lines = runs.values().flat_map(|text| text.lines());
        lines
            .filter_map(|line| line.strip_prefix(sign))
            .filter(|key| is_json(key))
            .map(kind_of)
            .collect()
    };
    let (written, shown) = (of("+ "), of("--- "));
    let lacking: Vec<&String> = written.difference(&shown).collect();
    assert!(
        written.len() > 5 && lacking.is_empty(),
        "no scene shows {lacking:?}"
    );
}
