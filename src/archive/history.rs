//! Which generations of a partition were published: the marks beside its receipts.
//!
//! A receipt is written before its data, so it does not show that the data was ever published. A
//! mark is written between the data and `meta.json`: `_receipts/…/{number}.{sha256}.published`. The
//! newest marked generation, or a newer one, must be there; if it is not, it was lost or rolled
//! back. The names are enough: one listing gives the history.
//!
//! ```text
//! receipt  mark     data        meaning
//! there    absent   another's   an attempt that never published: nothing was lost
//! there    absent   its own     being published, or interrupted; the next run writes the mark and meta.json
//! there    there    its own     published
//! there    there    older       rolled back
//! there    there    absent      gone
//! ```

use serde::{Deserialize, Serialize};

use crate::model::{meta::is_sha256, receipt::LostSource};

/// The end of a mark's name.
const SUFFIX: &str = ".published";
/// What stands in a mark's name for the sha256 where an operator accepted that nothing is left.
const NOTHING: &str = "none";

/// A generation that was published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// Its number, counted from 1.
    pub number: u64,
    /// The sha256 of its data; `None` where an operator accepted that nothing is left.
    pub sha256: Option<String>,
}

/// What a mark says besides its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationMark {
    /// The number of the generation.
    pub generation: u64,
    /// The sha256 of its data, if it has any.
    pub sha256: Option<String>,
    /// What an operator accepted as lost. The generation is an older one then, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_loss: Vec<LostSource>,
}

impl Generation {
    /// The generation that a mark of this name is of.
    #[must_use]
    pub fn of_file(file: &str) -> Option<Self> {
        let (number, rest) = file.strip_suffix(SUFFIX)?.split_once('.')?;
        let number = number
            .parse()
            .ok()
            .filter(|_| number.bytes().all(|b| b.is_ascii_digit()))?;
        match rest {
            NOTHING => Some(Self {
                number,
                sha256: None,
            }),
            sha256 if is_sha256(sha256) => Some(Self {
                number,
                sha256: Some(sha256.to_owned()),
            }),
            _ => None,
        }
    }

    /// The name of its mark.
    #[must_use]
    pub fn file(&self) -> String {
        format!(
            "{:06}.{}{SUFFIX}",
            self.number,
            self.sha256.as_deref().unwrap_or(NOTHING)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_marks_are_written_and_read() {
        for generation in [
            Generation {
                number: 1,
                sha256: Some("a".repeat(64)),
            },
            Generation {
                number: 1_234_567,
                sha256: None,
            },
        ] {
            assert_eq!(Generation::of_file(&generation.file()), Some(generation));
        }
        for other in [
            "000001.none",
            "x.none.published",
            "+1.none.published",
            "000001.abc.published",
            "a.json",
        ] {
            assert_eq!(Generation::of_file(other), None, "{other}");
        }
    }
}
