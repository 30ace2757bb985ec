//! What `qlc --version` says: version, commit and features of this build.
//!
//! The commit comes from the variable `QLC_COMMIT` of the build and not from a build script, so
//! that a commit alone never rebuilds anything: whoever builds a package sets it.

use std::sync::LazyLock;

/// The commit that whoever built this named.
const COMMIT: Option<&str> = option_env!("QLC_COMMIT");
/// The features that a build can have or lack.
const FEATURES: &[(&str, bool)] = &[("cluster", cfg!(feature = "cluster"))];

static LONG: LazyLock<String> = LazyLock::new(|| text(COMMIT, FEATURES));

/// What follows the name of the program.
pub(super) fn long() -> &'static str {
    &LONG
}

fn text(commit: Option<&str>, features: &[(&str, bool)]) -> String {
    let commit = commit
        .filter(|commit| !commit.is_empty())
        .unwrap_or("not recorded");
    let on: Vec<&str> = features
        .iter()
        .filter(|(_, is_on)| *is_on)
        .map(|(name, _)| *name)
        .collect();
    let on = if on.is_empty() {
        "none".to_owned()
    } else {
        on.join(", ")
    };
    format!(
        "{}\ncommit: {commit}\nfeatures: {on}",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_version_commit_and_features() {
        let version = env!("CARGO_PKG_VERSION");
        let check = |commit, features: &[(&str, bool)], want: &str| {
            assert_eq!(text(commit, features), format!("{version}\n{want}"));
        };
        check(
            Some("2bd66fc"),
            &[("cluster", true)],
            "commit: 2bd66fc\nfeatures: cluster",
        );
        check(
            Some(""),
            &[("cluster", false)],
            "commit: not recorded\nfeatures: none",
        );
        check(
            None,
            &[("one", true), ("two", true)],
            "commit: not recorded\nfeatures: one, two",
        );
    }
}
