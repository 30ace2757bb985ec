//! The documents say what is so: the page of commands is what the program prints, and every link
//! leads somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::support::run::qlc;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents of the repository: those of its root, and those of two folders.
fn documents() -> Vec<PathBuf> {
    let folders = [
        root().to_owned(),
        root().join("docs"),
        root().join("deploy"),
    ];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect()
}

/// The text outside of fenced blocks and of code in a line.
fn prose(text: &str) -> String {
    let blocks = text.split("```").step_by(2);
    blocks
        .map(|block| block.split('`').step_by(2).collect::<String>())
        .collect()
}

/// The anchors of a document's headings, as hosts of Markdown make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside: String = text.split("```").step_by(2).collect();
    let headings = outside
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    headings
        .map(|title| {
            title
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn the_page_of_commands_is_what_the_program_prints() {
    let page = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let printed = qlc(&["reference"]).ended(0).stdout;
    assert!(
        page == printed,
        "docs/cli.md is not what `qlc reference` prints: run `qlc reference > docs/cli.md`"
    );
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let mut dead = Vec::new();
    let mut links = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in prose(&text)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let is_sound = target.exists()
                && (anchor.is_empty()
                    || fs::read_to_string(&target)
                        .is_ok_and(|text| anchors(&text).contains(anchor)));
            if !is_sound {
                dead.push(format!(
                    "{}: {link}",
                    document.strip_prefix(root()).unwrap().display()
                ));
            }
        }
    }
    assert!(links > 100, "only {links} links were found");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn qlc_alone_says_what_it_is_and_how_to_begin() {
    let ran = qlc(&[]).ended(2);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.lines().count() <= 12, "{ran}");
    for part in ["compacts recorded market data", "qlc demo", "qlc --help"] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{ran}");
    }
}

#[test]
fn help_has_every_command_once_and_the_options_of_every_command_elsewhere() {
    let overview = qlc(&["--help"]).ended(0).stdout;
    let page = qlc(&["reference"]).ended(0).stdout;
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## qlc "))
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        let lines = overview
            .lines()
            .filter(|line| line.trim_start().split(' ').next() == Some(command));
        assert_eq!(lines.count(), 1, "{command} in\n{overview}");
        let help = qlc(&["help", command]).ended(0).stdout;
        assert!(
            !help.contains("--request-timeout") && !help.contains("\n      --archive"),
            "{help}"
        );
        assert!(help.contains("qlc help options"), "{help}");
    }
    let options = qlc(&["help", "options"]).ended(0).stdout;
    for option in [
        "--spool",
        "--archive",
        "--config",
        "--verbose",
        "--request-timeout",
        "--notify",
    ] {
        assert_eq!(
            options
                .lines()
                .filter(|line| line.contains(&format!("{option} "))
                    || line.contains(&format!("{option}...")))
                .count(),
            1,
            "{option} in\n{options}"
        );
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let _ = qlc(&["man", "--dir", folder.path().to_str().unwrap()]).ended(0);
    let reference = qlc(&["reference"]).ended(0).stdout;
    let commands = reference
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(" qlc "));
    let mut pages = 0;
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let page = qlc(&[&["man"], words.as_slice()].concat()).ended(0).stdout;
        let file = folder.path().join(format!("qlc-{}.1", words.join("-")));
        assert_eq!(
            fs::read_to_string(&file).unwrap().trim_end(),
            page.trim_end(),
            "{command}"
        );
        assert!(
            page.contains(".SH SYNOPSIS")
                && page.contains(&format!("\"qlc {}\"", env!("CARGO_PKG_VERSION"))),
            "{page}"
        );
        assert!(!page.contains("summary with"), "{page}");
        pages += 1;
    }
    assert!(pages > 15, "only {pages} commands");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        pages + 1,
        "one of each command, and qlc.1"
    );
    let refused = qlc(&["man", "nosuch"]).ended(2).stderr;
    assert!(
        refused.contains("\"nosuch\" is not a command of qlc"),
        "{refused}"
    );
}

#[test]
fn the_version_tells_commit_and_features() {
    let long = qlc(&["--version"]).ended(0).stdout;
    let lines: Vec<&str> = long.lines().collect();
    assert_eq!(lines[0], format!("qlc {}", env!("CARGO_PKG_VERSION")));
    assert!(
        lines[1].starts_with("commit: ") && lines[2].starts_with("features: "),
        "{long}"
    );
    assert_eq!(qlc(&["-V"]).ended(0).stdout.trim(), lines[0]);
}
