//! A frame of which something cannot be read as JSON, made readable: what is wrong costs its own
//! event, not the frame.
//!
//! serde reads a frame as a whole: a key that comes twice, a number beyond every range or half a
//! surrogate pair refuses all events beside it. Here each such value becomes an empty object, which
//! no event can use, and the frame is read once more. Only frames that could not be used come here,
//! so what it costs does not matter. Pure.

use std::{borrow::Cow, collections::HashMap};

use super::value::Value;

/// Longer texts are not looked at again.
const LONGEST: usize = 16 << 20;
/// Lists and objects that lie deeper are not looked into: no exchange nests so deep.
const DEEPEST: usize = 32;
/// What stands for a value that cannot be used.
const UNUSABLE: &str = "{}";
/// What stands for a key that cannot be read: no exchange has a field of this name.
const UNREADABLE: &str = "\u{fffd}";

/// The text with every value that cannot be read as JSON replaced by an empty object. `None` where
/// there is nothing to replace, or where brackets and quotes do not tell where a value ends.
pub(super) fn mended(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        mended: false,
    };
    let mut out = String::with_capacity(text.len());
    scanner.value(0, &mut out)?;
    scanner.space();
    (scanner.at == text.len() && scanner.mended).then_some(out)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Whether something was replaced.
    mended: bool,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Takes this byte, and the space before it.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Appends the value that stands here, or what stands for it.
    fn value(&mut self, depth: usize, out: &mut String) -> Option<()> {
        self.space();
        let (begin, written) = (self.at, out.len());
        match self.peek()? {
            open @ (b'{' | b'[') => {
                let inside = if depth == DEEPEST {
                    None
                } else if open == b'{' {
                    self.object(depth, out)
                } else {
                    self.list(depth, out)
                };
                if inside.is_none() {
                    // Its brackets tell where it ends.
                    out.truncate(written);
                    self.at = begin;
                    let whole = self.bracketed()?;
                    self.push(whole, out);
                }
            }
            b'"' => {
                let text = self.quoted()?;
                self.push(text, out);
            }
            _ => {
                let rest = self.text.get(begin..)?;
                let length = rest
                    .bytes()
                    .position(|b| matches!(b, b',' | b'}' | b']'))
                    .unwrap_or(rest.len());
                let token = rest.get(..length)?;
                self.at += length;
                self.push(token.trim_end(), out);
            }
        }
        Some(())
    }

    /// Appends a piece that is one value, where it can be read as one.
    fn push(&mut self, piece: &str, out: &mut String) {
        if serde_json::from_str::<Value>(piece).is_ok() {
            out.push_str(piece);
        } else {
            self.mended = true;
            out.push_str(UNUSABLE);
        }
    }

    fn list(&mut self, depth: usize, out: &mut String) -> Option<()> {
        self.at += 1;
        out.push('[');
        if self.takes(b']') {
            out.push(']');
            return Some(());
        }
        loop {
            self.value(depth + 1, out)?;
            if self.takes(b']') {
                out.push(']');
                return Some(());
            }
            if !self.takes(b',') {
                return None;
            }
            out.push(',');
        }
    }

    fn object(&mut self, depth: usize, out: &mut String) -> Option<()> {
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, String)> = Vec::new();
        let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
        if !self.takes(b'}') {
            loop {
                self.space();
                let key = self.key()?;
                if !self.takes(b':') {
                    return None;
                }
                let mut value = String::new();
                self.value(depth + 1, &mut value)?;
                if let Some((_, before)) =
                    places.get(&key).and_then(|place| members.get_mut(*place))
                {
                    // Nothing tells which of the two is meant.
                    self.mended = true;
                    UNUSABLE.clone_into(before);
                } else {
                    let _ = places.insert(key.clone(), members.len());
                    members.push((key, value));
                }
                if self.takes(b'}') {
                    break;
                }
                if !self.takes(b',') {
                    return None;
                }
            }
        }
        out.push('{');
        for (nth, (key, value)) in members.iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            out.push_str(&serde_json::to_string(key).ok()?);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        Some(())
    }

    fn key(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.quoted()?;
        let Ok(Value::Text(key)) = serde_json::from_str(quoted) else {
            self.mended = true;
            return Some(Cow::Borrowed(UNREADABLE));
        };
        Some(key)
    }

    /// A text with its quotes.
    fn quoted(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let mut escaped = false;
        let end = rest.strip_prefix('"')?.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        // The quote before, and the one at the end.
        let quoted = rest.get(..end + 2)?;
        self.at += quoted.len();
        Some(quoted)
    }

    /// A list or an object with its brackets.
    fn bracketed(&mut self) -> Option<&'a str> {
        let begin = self.at;
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    let _ = self.quoted()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return self.text.get(begin..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_replaced_and_nothing_beside_it() {
        for (text, want) in [
            (r#"{"a":1e999,"b":2}"#, r#"{"a":{},"b":2}"#),
            (
                r#"{"a":"\ud800","b":"\ud83d\ude00"}"#,
                r#"{"a":{},"b":"\ud83d\ude00"}"#,
            ),
            (r#"{"a":1,"b":2,"a":1}"#, r#"{"a":{},"b":2}"#),
            (r#"{"a":1,"\u0061":1}"#, r#"{"a":{}}"#),
            (r#"[{"a":1,"a":2},{"a":3}]"#, r#"[{"a":{}},{"a":3}]"#),
            (
                r#"[01, +1, .5, NaN, nul, -, "x\q", 7]"#,
                r"[{},{},{},{},{},{},{},7]",
            ),
            ("[\"\u{1}\",\"a]\\\"}\"]", r#"[{},"a]\"}"]"#),
            (
                r#"[{"a" 1},{"a":1,},{,},[1 2],[,],{"a":"]"}]"#,
                r#"[{},{},{},[{}],[{},{}],{"a":"]"}]"#,
            ),
            (
                r#"{"\ud800":1,"b":{"c":[1e999]}}"#,
                "{\"\u{fffd}\":1,\"b\":{\"c\":[{}]}}",
            ),
        ] {
            let found = mended(text);
            assert_eq!(found.as_deref(), Some(want), "{text}");
            assert!(
                serde_json::from_str::<serde_json::Value>(want).is_ok(),
                "{want}"
            );
        }
    }

    #[test]
    fn what_can_be_read_needs_no_mending_and_what_has_no_end_gets_none() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for text in [
            "{}",
            "[]",
            " {\"a\" : [ 1 , \"x\" , null , true , -1.5e3 ] } ",
            "7",
            "",
            "[",
            "{\"a\":1",
            "[1e999",
            "\"x",
            "[1]]",
            "{}{}",
            "{\"a\":\"x}",
            &deep,
            r#"{"z":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#,
        ] {
            assert_eq!(mended(text), None, "{text}");
        }
    }
}
