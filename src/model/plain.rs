//! Text from elsewhere, made safe for a terminal: what would move its cursor, change its colour or
//! its writing direction is escaped.
//!
//! Names of files and columns, messages and values come from whoever made them. All other letters
//! stay as they are.

use std::borrow::Cow;

/// `text` with every control character but line feed and tab written as an escape, such as
/// `\u{1b}`.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_odd(c) && !"\n\t".contains(c))
}

/// The same for text that must stay in its line.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_odd)
}

/// The same for text of ours that is coloured already: sequences that only set colours stay.
#[must_use]
pub fn coloured(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return plain(text);
    }
    let mut pieces = text.split('\u{1b}');
    let mut shown = plain(pieces.next().unwrap_or_default()).into_owned();
    for piece in pieces {
        let rest = piece
            .strip_prefix('[')
            .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
        let is_colour = rest.is_some_and(|rest| rest.starts_with('m'));
        shown.push_str(if is_colour { "\u{1b}" } else { "\\u{1b}" });
        shown.push_str(&plain(piece));
    }
    Cow::Owned(shown)
}

fn escaped(text: &str, odd: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if odd(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those that turn the direction of writing round.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_terminal_would_obey_is_escaped() {
        assert_eq!(plain("a\tb\nüñ 日本"), "a\tb\nüñ 日本");
        assert_eq!(
            plain("\u{1b}]0;title\u{7}\u{1b}[31mred"),
            "\\u{1b}]0;title\\u{7}\\u{1b}[31mred"
        );
        assert_eq!(
            plain("\r\u{7f}\u{9b}31m\u{202e}"),
            "\\r\\u{7f}\\u{9b}31m\\u{202e}"
        );
        assert_eq!(line("a\nb"), "a\\nb");
    }

    #[test]
    fn of_coloured_text_the_colours_stay() {
        assert_eq!(
            coloured("\u{1b}[38;5;10mok\u{1b}[39m"),
            "\u{1b}[38;5;10mok\u{1b}[39m"
        );
        assert_eq!(
            coloured("\u{1b}[2J\u{1b}]0;x\u{7}"),
            "\\u{1b}[2J\\u{1b}]0;x\\u{7}"
        );
        assert_eq!(coloured("plain\r"), "plain\\r");
    }
}
