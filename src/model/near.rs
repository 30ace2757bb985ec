//! The word that was probably meant, or none if no known word is close.

/// The one of `known` that `word` was probably meant to be: at most a third of its letters differ.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(3, word, known)
}

/// The same for symbols, of which many differ in two letters only: at most a fifth of its letters
/// differ.
#[must_use]
pub fn nearest_symbol<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(5, word, known)
}

fn within<'a>(
    part: usize,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = known
        .into_iter()
        .map(|name| (distance(word, name), name))
        .min()?;
    (near.0 * part <= near.1.chars().count()).then_some(near.1)
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (taken, letter) in from.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut left = taken + 1;
        next.push(left);
        for ((wanted, diagonal), above) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(*wanted != letter))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near() {
        let known = ["spool", "archive", "workers"];
        assert_eq!(nearest("spol", known), Some("spool"));
        assert_eq!(nearest("worker", known), Some("workers"));
        assert_eq!(nearest("bucket", known), None);
        let symbols = ["btcusdt", "1000pepeusdt"];
        assert_eq!(nearest_symbol("btcusd", symbols), Some("btcusdt"));
        assert_eq!(nearest_symbol("1000pepusd", symbols), Some("1000pepeusdt"));
        assert_eq!(nearest_symbol("ethusdt", symbols), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
