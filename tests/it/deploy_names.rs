//! Every metric that a dashboard or an alert of `deploy/` names is one that qlc has.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use qlc::model::metric;

/// The words of `text` that begin as metrics do.
fn named(text: &str) -> BTreeSet<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !part(c))
        .filter(|word| word.starts_with("qlc_"))
        .collect()
}

/// Those of them that are no metric. A word that ends in `_` stands for all that begin with it, as
/// in a pattern.
fn unknown(text: &str) -> Vec<String> {
    let known: Vec<String> = metric::names().collect();
    let is_known = |word: &str| {
        known
            .iter()
            .any(|name| name == word || (word.ends_with('_') && name.starts_with(word)))
    };
    named(text)
        .into_iter()
        .filter(|word| !is_known(word))
        .map(str::to_owned)
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|e| ["yml", "yaml", "json"].iter().any(|kind| e == *kind))
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for path in files(&deploy) {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            unknown(&text),
            Vec::<String>::new(),
            "{} names what is no metric",
            path.display()
        );
    }
}

#[test]
fn a_name_that_is_wrong_is_found() {
    let fine = "rate(qlc_collect_lag_seconds_bucket[5m]) and qlc_run_success{command=\"compact\"} == 0 or {__name__=~\"qlc_run_.*\"}";
    assert_eq!(unknown(fine), Vec::<String>::new());
    assert_eq!(
        unknown("qlc_run_succes == 0 and qlc_collect_up"),
        ["qlc_run_succes"]
    );
}
