//! One noun for one thing, one thing for one noun: a type that other files see has a name of its
//! own, as far as it belongs to the floors whose words all others use.
//!
//! Types that only their own file sees are words of that file, and may be short.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{after_tests, is_name, tokens};

/// The floors whose nouns have no second meaning anywhere.
const FLOORS: [&str; 3] = ["model", "archive", "storage"];

/// Names that are used twice, and why.
pub(super) const TWICE: [(&str, &str); 3] = [
    (
        "Choice",
        "of the type of a column; and, in the feed, what of an exchange is to be collected",
    ),
    (
        "Content",
        "what the rows of a file are known by; the same, of a file that is sealed; of a made-up market, its kind of events; of a published file, what it holds",
    ),
    (
        "Part",
        "of a column; and, where a log is read, of a segment",
    ),
];

/// The names of these floors that another type has as well, with the files that have them; those of
/// `twice` may.
pub(super) fn shared(sources: &[(&str, &str)], twice: &[(&str, &str)]) -> Vec<String> {
    let mut places: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in sources {
        for name in types(text) {
            let _ = places.entry(name).or_default().insert(path);
        }
    }
    let is_theirs = |path: &&str| {
        FLOORS
            .iter()
            .any(|floor| path.starts_with(&format!("{floor}/")))
    };
    places.retain(|_, files| files.len() > 1 && files.iter().any(is_theirs));
    let known: BTreeSet<&str> = twice.iter().map(|(name, _)| *name).collect();
    let once = known.iter().filter(|name| !places.contains_key(**name));
    let mut found: Vec<String> = once
        .map(|name| format!("{name} has one meaning by now: take it from TWICE"))
        .collect();
    places.retain(|name, _| !known.contains(name.as_str()));
    let one = |(name, files): (&String, &BTreeSet<&str>)| {
        format!(
            "{name} means several things: {}",
            files.iter().copied().collect::<Vec<_>>().join(", ")
        )
    };
    found.extend(places.iter().map(one));
    found
}

/// The types that `text` defines for others than itself.
fn types(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(end) = after_tests(&tokens, at) {
            at = end;
            continue;
        }
        at += 1;
        if token != "pub" {
            continue;
        }
        if tokens.get(at).is_some_and(|t| t == "(") {
            at += tokens
                .iter()
                .skip(at)
                .position(|t| t == ")")
                .map_or(1, |closing| closing + 1);
        }
        if let [kind, name, ..] = &tokens[at..]
            && ["struct", "enum", "union", "trait", "type"].contains(&kind.as_str())
            && is_name(name)
        {
            found.push(name.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_others_see_are_found() {
        let text = "
            // pub struct Comment;
            pub struct A<T>(T); pub(crate) enum B {} pub(super) trait C {} pub(in crate::a) type D = A<B>;
            struct Own; pub fn f() { struct Within; } pub use x::E;
            #[cfg(test)]
            mod tests { pub struct Test; }
            pub struct F { pub a: u8 }
        ";
        assert_eq!(types(text), ["A", "B", "C", "D", "F"]);
    }

    #[test]
    fn a_noun_of_the_floors_below_has_one_meaning() {
        let both = [
            ("model/a.rs", "pub struct State;"),
            ("cli/b.rs", "pub(crate) enum State {}"),
        ];
        assert_eq!(
            shared(&both, &[]),
            ["State means several things: cli/b.rs, model/a.rs"]
        );
        assert_eq!(
            shared(&both, &[("State", "for a reason")]),
            Vec::<String>::new()
        );
        assert_eq!(
            shared(&both[..1], &[("State", "for a reason")]),
            ["State has one meaning by now: take it from TWICE"]
        );
        let above = [
            ("verify/a.rs", "pub struct Options;"),
            ("prune/b.rs", "pub struct Options;"),
        ];
        assert_eq!(shared(&above, &[]), Vec::<String>::new());
        let own = [
            ("storage/a.rs", "pub struct Page;"),
            ("feed/b.rs", "struct Page;"),
        ];
        assert_eq!(shared(&own, &[]), Vec::<String>::new());
    }
}
