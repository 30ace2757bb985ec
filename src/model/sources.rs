//! The sources of a receipt, found by their names.

use super::receipt::Source;

/// The places of the sources of one receipt, in the order of their names. A receipt may name very
/// many files, so no name is copied.
#[derive(Debug, Clone, Default)]
pub struct SourceNames(Vec<usize>);

impl SourceNames {
    /// Of `sources`, which are to be given again when one is looked for.
    #[must_use]
    pub fn of(sources: &[Source]) -> Self {
        let mut places: Vec<usize> = (0..sources.len()).collect();
        places.sort_by_key(|nth| name_of(sources, *nth));
        Self(places)
    }

    /// The sources of this name, in the order of the receipt: more than one where a file had other
    /// rows once.
    pub fn find<'s, 'a>(
        &'s self,
        sources: &'a [Source],
        name: &str,
    ) -> impl Iterator<Item = &'a Source> + Clone + use<'s, 'a> {
        let from = self
            .0
            .partition_point(|nth| name_of(sources, *nth) < Some(name));
        let to = self
            .0
            .partition_point(|nth| name_of(sources, *nth) <= Some(name));
        let places = self.0.get(from..to).unwrap_or_default();
        places.iter().filter_map(|nth| sources.get(*nth))
    }
}

fn name_of(sources: &[Source], nth: usize) -> Option<&str> {
    sources.get(nth).map(|source| source.name.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{row_hash::RowHash, schema::Units};

    #[test]
    fn each_source_is_found_by_its_name_and_no_other() {
        let all: Vec<Source> = ["b", "a", "b", "ab"]
            .into_iter()
            .zip(1..)
            .map(|(name, size)| Source {
                name: name.to_owned(),
                size,
                modified_us: 0,
                rows: 1,
                row_hash: RowHash::default(),
                units: Units::new(),
                rows_here: 1,
                rows_copies: 0,
                rows_elsewhere: BTreeMap::new(),
                rows_quarantined: 0,
                rows_known: 0,
                row_groups: Vec::new(),
                seq_assigned: false,
                by_base: false,
                compacted: false,
            })
            .collect();
        let names = SourceNames::of(&all);
        let sizes =
            |name: &str| -> Vec<u64> { names.find(&all, name).map(|source| source.size).collect() };
        assert_eq!(sizes("a"), [2]);
        assert_eq!(sizes("b"), [1, 3]);
        assert_eq!(sizes("ab"), [4]);
        assert!(sizes("").is_empty() && sizes("aa").is_empty() && sizes("c").is_empty());
        assert_eq!(SourceNames::default().find(&all, "a").count(), 0);
    }
}
