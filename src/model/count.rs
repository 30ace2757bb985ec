//! Numbers of things, as people read them: `1,234,567 rows`.

/// `1,234,567`
#[must_use]
pub fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// `1 file`, `1,234 files`
#[must_use]
pub fn plural(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(number as u64))
}

/// `1 row`, `1,234,567 rows`
#[must_use]
pub fn rows(rows: u64) -> String {
    let s = if rows == 1 { "" } else { "s" };
    format!("{} row{s}", grouped(rows))
}

/// `1 row has`, `2 rows have`
#[must_use]
pub fn rows_have(number: u64) -> String {
    let have = if number == 1 { "has" } else { "have" };
    format!("{} {have}", rows(number))
}

/// `its 1 row is`, `all 2 rows are`
#[must_use]
pub fn all_rows_are(number: u64) -> String {
    let (all, are) = if number == 1 {
        ("its", "is")
    } else {
        ("all", "are")
    };
    format!("{all} {} {are}", rows(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let check = |number: u64, want: &str| assert_eq!(rows(number), want);
        check(0, "0 rows");
        check(1, "1 row");
        check(999, "999 rows");
        check(1_000, "1,000 rows");
        check(1_234_567, "1,234,567 rows");
        check(u64::MAX, "18,446,744,073,709,551,615 rows");
        assert_eq!(
            (rows_have(1), rows_have(2)),
            ("1 row has".to_owned(), "2 rows have".to_owned())
        );
        assert_eq!(all_rows_are(1), "its 1 row is");
        assert_eq!(all_rows_are(50), "all 50 rows are");
        assert_eq!(plural(12_345, "file"), "12,345 files");
    }
}
