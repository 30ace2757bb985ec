//! Text for a shell: a command in a message can be copied as it is.

/// `text` as one word of a shell command.
#[must_use]
pub fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-=:".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn only_what_needs_quotes_gets_them() {
        let check = |text: &str, want: &str| assert_eq!(word(text), want);
        check(
            "s3://lab/exchange=okx/a.parquet",
            "s3://lab/exchange=okx/a.parquet",
        );
        check("my spool", "'my spool'");
        check("it's", "'it'\\''s'");
        check("", "''");
    }
}
