//! Cuts a text into its statements at the semicolons that end them: those outside quotes and
//! comments. Pure.
//!
//! It knows no other SQL: whether a statement is valid is decided by DataFusion.

/// The statements of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Those that a semicolon ended, without it; none is empty.
    pub complete: Vec<String>,
    /// What follows the last semicolon; empty where that is only space and comments.
    pub rest: String,
}

impl Split {
    /// All statements; the last one needs no semicolon.
    #[must_use]
    pub fn all(self) -> Vec<String> {
        let Self { mut complete, rest } = self;
        if !rest.is_empty() {
            complete.push(rest);
        }
        complete
    }
}

/// Where in the text a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    /// Within quotes of this kind; a doubled quote leaves and enters again.
    Quoted(char),
    LineComment,
    BlockComment,
}

/// Cuts `text` into its statements.
#[must_use]
pub fn split(text: &str) -> Split {
    let mut found = Split::default();
    let (mut statement, mut says) = (String::new(), false);
    let mut place = Place::Plain;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let before = place;
        place = match (place, c, next) {
            (Place::Plain, ';', _) => {
                if says {
                    found.complete.push(statement.trim().to_owned());
                }
                (statement, says) = (String::new(), false);
                continue;
            }
            (Place::Plain, '\'' | '"' | '`', _) => Place::Quoted(c),
            (Place::Plain, '-', Some('-')) => Place::LineComment,
            (Place::Plain, '/', Some('*')) => {
                // Both characters at once, or `/*/` would end where it began.
                statement.push(c);
                statement.extend(chars.next());
                place = Place::BlockComment;
                continue;
            }
            (Place::Quoted(quote), _, _) if c == quote => Place::Plain,
            (Place::LineComment, '\n', _) => Place::Plain,
            (Place::BlockComment, '*', Some('/')) => {
                statement.push(c);
                statement.extend(chars.next());
                place = Place::Plain;
                continue;
            }
            (same, _, _) => same,
        };
        let commented = |place| matches!(place, Place::LineComment | Place::BlockComment);
        says |= !c.is_whitespace() && !commented(before) && !commented(place);
        statement.push(c);
    }
    // A quote or a comment that is not closed goes on: what was typed is no statement yet.
    if says || matches!(place, Place::BlockComment) {
        statement.trim().clone_into(&mut found.rest);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn statements_end_at_semicolons_outside_quotes_and_comments() {
        let check = |text: &str, complete: &[&str], rest: &str| {
            let found = split(text);
            assert_eq!(
                (found.complete.as_slice(), found.rest.as_str()),
                (complete.map_owned().as_slice(), rest),
                "{text}"
            );
        };
        check("", &[], "");
        check(" ; ;", &[], "");
        check("SELECT 1", &[], "SELECT 1");
        check("SELECT 1;", &["SELECT 1"], "");
        check(
            "SELECT 1; SELECT 2 ;\nSELECT 3",
            &["SELECT 1", "SELECT 2"],
            "SELECT 3",
        );
        check("SELECT ';' ;", &["SELECT ';'"], "");
        check("SELECT 'it''s; fine';", &["SELECT 'it''s; fine'"], "");
        check("SELECT \"a;b\";", &["SELECT \"a;b\""], "");
        check("SELECT 'open;", &[], "SELECT 'open;");
        check("-- a; b\nSELECT 1;", &["-- a; b\nSELECT 1"], "");
        check("SELECT 1; -- done; really", &["SELECT 1"], "");
        check(
            "/* ; */ SELECT 1 /*/ ; */;",
            &["/* ; */ SELECT 1 /*/ ; */"],
            "",
        );
        check("SELECT 1 - -1;", &["SELECT 1 - -1"], "");
        check("SELECT 1; /* open", &["SELECT 1"], "/* open");
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }
}
