//! Where the lines of earlier prompts are kept: in the folder for state, by the XDG base directory
//! specification.
//!
//! Without such a folder, the prompt works and remembers nothing.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Lines that are kept.
pub(super) const LINES: usize = 5_000;

/// The file, whose folder is made; `None` where there is no place.
pub(super) fn file() -> Option<PathBuf> {
    let place = place(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))?;
    fs::create_dir_all(place.parent()?).ok()?;
    Some(place)
}

fn place(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // The specification wants relative paths to be ignored.
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute(state).or_else(|| absolute(home).map(|home| home.join(".local/state")))?;
    Some(state.join(Path::new("qlc/history")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_follows_the_specification() {
        let check = |state: &str, home: Option<&str>, want: Option<&str>| {
            assert_eq!(
                place(Some(state.into()), home.map(OsString::from)),
                want.map(PathBuf::from)
            );
        };
        check("/state", Some("/home/x"), Some("/state/qlc/history"));
        check(
            "",
            Some("/home/x"),
            Some("/home/x/.local/state/qlc/history"),
        );
        check(
            "state",
            Some("/home/x"),
            Some("/home/x/.local/state/qlc/history"),
        );
        check("", None, None);
    }
}
