//! Reads Rust source just well enough to know which paths it names: `use` trees, paths in code,
//! macros that are called.
//!
//! Refuses to be a compiler: comments, strings and `#[cfg(test)]` modules are left out, macros are
//! not expanded.

/// What one file names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Paths as written, each with the inline modules around it.
    pub(super) paths: Vec<(Vec<String>, Vec<String>)>,
    /// Macros that are called.
    pub(super) macros: Vec<String>,
}

/// All that `text` names outside of tests.
pub(super) fn named(text: &str) -> Named {
    let tokens = tokens(text);
    let mut found = Named::default();
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(end) = after_tests(&tokens, at) {
            at = end;
            continue;
        }
        let around = || {
            inline
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
        };
        let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|t| t == text);
        match token.as_str() {
            // `use<…>` in a type captures, it does not import.
            "use" if !is(1, "<") => {
                let mut end = at + 1;
                tree(&tokens, &mut end, &[], &mut |path| {
                    found.paths.push((around(), path));
                });
                at = end;
                continue;
            }
            "mod" if is(2, "{") => {
                inline.push((tokens.get(at + 1).cloned().unwrap_or_default(), depth));
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last().is_some_and(|(_, outer)| *outer == depth) {
                    let _ = inline.pop();
                }
            }
            _ if is_name(token) && is(1, "!") && !is(2, "=") => found.macros.push(token.clone()),
            _ if is_name(token)
                && is(1, "::")
                && !(at > 0 && [".", "::"].contains(&tokens[at - 1].as_str())) =>
            {
                let mut path = vec![token.clone()];
                while tokens.get(at + 1).is_some_and(|t| t == "::")
                    && tokens.get(at + 2).is_some_and(|t| is_name(t))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                if tokens.get(at + 1).is_some_and(|t| t == "!") {
                    found.macros.extend(path.last().cloned());
                }
                found.paths.push((around(), path));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Where the module of tests ends whose attribute begins at `at`, if one does.
pub(super) fn after_tests(tokens: &[String], at: usize) -> Option<usize> {
    let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|t| t == text);
    let is_tests = is(0, "#")
        && is(2, "cfg")
        && is(4, "test")
        && (is(7, "mod") || (is(7, "pub") && is(8, "mod")));
    is_tests.then(|| after_module(tokens, at + 7))
}

/// Where the module that begins at `at` ends.
fn after_module(tokens: &[String], at: usize) -> usize {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return n + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return n + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// One `use` tree: calls `each` for every path that it imports.
fn tree(tokens: &[String], at: &mut usize, prefix: &[String], each: &mut impl FnMut(Vec<String>)) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.as_str() {
            "{" => loop {
                tree(tokens, at, &path, each);
                match tokens.get(*at - 1).map(String::as_str) {
                    Some(",") => {}
                    // The `}` that ends these branches was seen by the last of them.
                    _ => return skip_separator(tokens, at),
                }
            },
            "as" => *at += 1,
            "::" => {}
            "*" => path.push("*".to_owned()),
            "," | "}" | ";" => break,
            name => path.push(name.to_owned()),
        }
    }
    if path.len() > prefix.len() {
        each(path);
    }
}

/// After a `}` comes the separator that ends the branch with the braces.
fn skip_separator(tokens: &[String], at: &mut usize) {
    if tokens
        .get(*at)
        .is_some_and(|t| [",", "}", ";"].contains(&t.as_str()))
    {
        *at += 1;
    }
}

pub(super) fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single signs; comments, strings, characters and lifetimes are gone.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        match c {
            '/' if get(i + 1) == '/' => i = find(&chars, i, &['\n']),
            '/' if get(i + 1) == '*' => i = after_block_comment(&chars, i),
            '"' => i = after_string(&chars, i),
            'r' | 'b' | 'c' if is_raw_string(&chars, i) => i = after_raw_string(&chars, i),
            '\'' => i = after_char_or_lifetime(&chars, i),
            ':' if get(i + 1) == ':' => {
                found.push("::".to_owned());
                i += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end =
                    (i..chars.len()).find(|n| !(chars[*n].is_alphanumeric() || chars[*n] == '_'));
                let end = end.unwrap_or(chars.len());
                found.push(chars[i..end].iter().collect());
                i = end;
            }
            c => {
                if !c.is_whitespace() {
                    found.push(c.to_string());
                }
                i += 1;
            }
        }
    }
    found
}

fn find(chars: &[char], from: usize, any: &[char]) -> usize {
    (from..chars.len())
        .find(|n| any.contains(&chars[*n]))
        .unwrap_or(chars.len())
}

fn after_block_comment(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut i = from;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn after_string(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// `r"`, `r#"`, `br"`, `br#"` and so on; not a name that begins with these letters, nor `r#name`.
fn is_raw_string(chars: &[char], from: usize) -> bool {
    let mut i = from + usize::from(chars[from] != 'r');
    if from > 0 && (chars[from - 1].is_alphanumeric() || chars[from - 1] == '_')
        || chars.get(i) != Some(&'r')
    {
        return false;
    }
    i += 1;
    while chars.get(i) == Some(&'#') {
        i += 1;
    }
    chars.get(i) == Some(&'"')
}

fn after_raw_string(chars: &[char], from: usize) -> usize {
    let open = find(chars, from, &['"']);
    let hashes = chars[from..open].iter().filter(|c| **c == '#').count();
    let mut i = open + 1;
    while i < chars.len() {
        if chars[i] == '"'
            && chars[i + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
        {
            return i + 1 + hashes;
        }
        i += 1;
    }
    chars.len()
}

fn after_char_or_lifetime(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => find(chars, from + 3, &['\'']) + 1,
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let found = named(text).paths.into_iter();
        found
            .map(|(around, path)| {
                around
                    .into_iter()
                    .chain(path)
                    .collect::<Vec<_>>()
                    .join("::")
            })
            .collect()
    }

    #[test]
    fn use_trees_are_taken_apart() {
        assert_eq!(paths("use a::b;"), ["a::b"]);
        assert_eq!(paths("use a;\nuse b as c;"), ["a", "b"]);
        assert_eq!(
            paths("pub use crate::{a::{self, B as C, d::*}, e, f::{G}};\nuse std::io;"),
            [
                "crate::a::self",
                "crate::a::B",
                "crate::a::d::*",
                "crate::e",
                "crate::f::G",
                "std::io"
            ]
        );
        assert_eq!(
            paths("use {a::b, c::{d, e,},}; use f::g;"),
            ["a::b", "c::d", "c::e", "f::g"]
        );
    }

    #[test]
    fn paths_in_code_are_found_and_methods_are_not() {
        let text =
            "fn f(x: &crate::a::B) -> c::D { x.store::<E>(); g::h(i::j!(k)); Vec::<u8>::new() }";
        assert_eq!(paths(text), ["crate::a::B", "c::D", "g::h", "i::j", "Vec"]);
        assert_eq!(
            named("println!(\"{}\", a != b); m::p! {}").macros,
            ["println", "p"]
        );
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = r##"
            //! use a::b;
            /* use c::d; /* nested */ use e::f; */
            const S: &str = "use g::h; \" println!()";
            const R: &str = r#"use i::j; " "#;
            const C: char = '"'; const D: char = '\''; fn l<'a>(x: &'a str) {}
            #[cfg(test)]
            mod tests { use k::l; fn g() { { println!() } } }
            use m::n;
        "##;
        assert_eq!(
            named(text),
            Named {
                paths: vec![(vec![], vec!["m".into(), "n".into()])],
                macros: vec![]
            }
        );
    }

    #[test]
    fn inline_modules_are_told() {
        assert_eq!(
            paths("mod a { use super::b; mod c { fn d() { e::f() } } } use g::h;"),
            ["a::super::b", "a::c::e::f", "g::h"]
        );
    }
}
