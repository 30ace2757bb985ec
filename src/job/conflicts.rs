//! Conflicts: rows of several collectors with one identity of the exchange and different values.
//! All of them are kept; here they are counted.
//!
//! A row's identity is its `trade_id`, or where it has none its `seq`, if that is the exchange's.
//! Rows of one identity are in conflict when no collector has both: a collector that has both says
//! that the exchange sent both.
//!
//! They mostly have one `ts_event` and stand beside one another. Where they do not, the earlier one
//! must be remembered. Only a row that some collector lacks can be in conflict; of these the last
//! `REMEMBERED` identities are, so that memory is bounded when a collector was off for hours.

use std::collections::{HashMap, VecDeque};

use arrow::{
    array::{Array, AsArray, Int8Array, Int64Array, RecordBatch, StringArray},
    datatypes::Int64Type,
};
use twox_hash::XxHash64;

use super::{Job, Mask};
use crate::{
    file::shape::Column,
    model::schema::{STREAM_VERSION, TRADE_ID, VERSION},
};

/// So many identities are remembered; one takes about 100 bytes.
pub(crate) const REMEMBERED: usize = 1 << 16;

/// What the exchange calls an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A number in `seq`.
    Number(i64),
    /// The hash of a `trade_id`. Two that agree in 64 bits by chance would only be counted wrongly.
    Trade(u64),
}

/// Rows of one identity that the same collectors have.
#[derive(Debug)]
struct Seen {
    collectors: Mask,
    rows: u64,
    is_counted: bool,
}

/// Rows that were found to be in conflict.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The collectors that have them.
    pub(crate) collectors: Mask,
    /// How many they are.
    pub(crate) rows: u64,
}

/// What is remembered of the rows before.
#[derive(Debug)]
pub(crate) struct Conflicts {
    /// All collectors of the partition.
    all: Mask,
    seen: HashMap<Identity, Vec<Seen>>,
    /// The identities, the one that was seen first in front.
    order: VecDeque<Identity>,
    remembered: usize,
}

impl Conflicts {
    /// Nothing yet, of a partition of so many collectors.
    pub(crate) fn of(collectors: usize) -> Self {
        let all = Mask::MAX.checked_shr(
            Mask::BITS.saturating_sub(u32::try_from(collectors).unwrap_or(Mask::BITS)),
        );
        Self {
            all: all.unwrap_or(0),
            seen: HashMap::new(),
            order: VecDeque::new(),
            remembered: REMEMBERED,
        }
    }

    /// Whether a row of these collectors can be in conflict.
    pub(crate) fn is_possible(&self, collectors: Mask) -> bool {
        collectors != 0 && collectors != self.all
    }

    /// Takes in a row that these collectors have. What it shows to be in conflict, it included, is
    /// added to `found`, each row once.
    pub(crate) fn add(&mut self, identity: Identity, collectors: Mask, found: &mut Vec<Found>) {
        if !self.is_possible(collectors) {
            return;
        }
        let seen = self.seen.entry(identity).or_insert_with(|| {
            self.order.push_back(identity);
            Vec::with_capacity(1)
        });
        let mut is_in_conflict = false;
        for other in seen
            .iter_mut()
            .filter(|other| other.collectors & collectors == 0)
        {
            is_in_conflict = true;
            if !other.is_counted {
                other.is_counted = true;
                found.push(Found {
                    collectors: other.collectors,
                    rows: other.rows,
                });
            }
        }
        if is_in_conflict {
            found.push(Found {
                collectors,
                rows: 1,
            });
        }
        match seen.iter_mut().find(|other| other.collectors == collectors) {
            Some(same) => same.rows += 1,
            None => seen.push(Seen {
                collectors,
                rows: 1,
                is_counted: is_in_conflict,
            }),
        }
        if self.order.len() > self.remembered {
            let first = self.order.pop_front();
            drop(first.and_then(|first| self.seen.remove(&first)));
        }
    }
}

/// Where the identities of a batch's rows stand.
pub(crate) struct Identities<'a> {
    seq: &'a Int64Array,
    trades: Option<Values<'a, StringArray>>,
    versions: Option<Values<'a, Int8Array>>,
}

/// The values of a column on its way.
enum Values<'a, T> {
    /// One for each row.
    Each(&'a T),
    /// One for all rows.
    One(&'a T),
}

impl<'a, T: 'static> Values<'a, T> {
    fn of(job: &'a Job, batch: &'a RecordBatch, name: &str) -> Option<Self> {
        match job
            .shape
            .columns
            .get(job.shape.schema.index_of(name).ok()?)?
        {
            Column::Carried(at) => batch.column(*at).as_any().downcast_ref().map(Self::Each),
            Column::Constant(one) => one.as_any().downcast_ref().map(Self::One),
        }
    }

    /// The array and the place in it of the value of a row.
    fn at(&self, row: usize) -> (&'a T, usize) {
        match self {
            Self::Each(array) => (array, row),
            Self::One(array) => (array, 0),
        }
    }
}

impl<'a> Identities<'a> {
    /// Those of a batch of rows on their way.
    pub(crate) fn of(job: &'a Job, batch: &'a RecordBatch) -> Self {
        Self {
            seq: batch.column(job.shape.seq).as_primitive::<Int64Type>(),
            trades: Values::of(job, batch, TRADE_ID),
            // A number that qlc gave is none of the exchange.
            versions: Values::of(job, batch, VERSION).filter(|_| !job.numbers),
        }
    }

    /// The identity of a row, if it has one.
    pub(crate) fn of_row(&self, row: usize) -> Option<Identity> {
        let trade = self.trades.as_ref().map(|trades| trades.at(row));
        let trade = trade.and_then(|(ids, at)| ids.is_valid(at).then(|| ids.value(at)));
        if let Some(id) = trade.filter(|id| !id.is_empty()) {
            return Some(Identity::Trade(XxHash64::oneshot(0, id.as_bytes())));
        }
        // A row of version 1 has a number of its own collector.
        let (versions, at) = self.versions.as_ref()?.at(row);
        let is_numbered =
            versions.is_valid(at) && versions.value(at) >= STREAM_VERSION && self.seq.is_valid(row);
        let number = is_numbered.then(|| self.seq.value(row))?;
        (number != 0).then_some(Identity::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows that are found, as pairs of collectors and number.
    fn found(conflicts: &mut Conflicts, number: i64, collectors: Mask) -> Vec<(Mask, u64)> {
        let mut found = Vec::new();
        conflicts.add(Identity::Number(number), collectors, &mut found);
        found
            .into_iter()
            .map(|found| (found.collectors, found.rows))
            .collect()
    }

    #[test]
    fn rows_of_one_number_are_in_conflict_when_no_collector_has_both() {
        let mut three = Conflicts::of(3);
        assert_eq!(
            found(&mut three, 7, 0b111),
            [],
            "what all have contradicts nothing"
        );
        assert_eq!(found(&mut three, 7, 0b011), []);
        assert_eq!(
            found(&mut three, 7, 0b110),
            [],
            "the second collector has both"
        );
        assert_eq!(found(&mut three, 8, 0b100), [], "another number");
        assert_eq!(found(&mut three, 7, 0b100), [(0b011, 1), (0b100, 1)]);
        assert_eq!(
            found(&mut three, 7, 0b100),
            [(0b100, 1)],
            "each row is counted once"
        );
        assert_eq!(found(&mut three, 7, 0b001), [(0b110, 1), (0b001, 1)]);
    }

    #[test]
    fn equal_collectors_are_counted_together() {
        let mut two = Conflicts::of(2);
        assert_eq!(
            (found(&mut two, 7, 0b01), found(&mut two, 7, 0b01)),
            (vec![], vec![])
        );
        assert_eq!(found(&mut two, 7, 0b10), [(0b01, 2), (0b10, 1)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut two = Conflicts {
            remembered: 2,
            ..Conflicts::of(2)
        };
        for number in 1..=3 {
            assert_eq!(found(&mut two, number, 0b01), []);
        }
        assert_eq!((two.seen.len(), two.order.len()), (2, 2));
        assert_eq!(found(&mut two, 1, 0b10), [], "it was forgotten");
        assert_eq!(found(&mut two, 3, 0b10), [(0b01, 1), (0b10, 1)]);
    }

    #[test]
    fn there_are_as_many_bits_as_collectors() {
        assert_eq!(
            [0, 1, 2, 64].map(|collectors| Conflicts::of(collectors).all),
            [0, 1, 3, Mask::MAX]
        );
    }
}
