//! What the memory limit allows: how many partitions at a time, how wide a merge, how large a pool.
//!
//! The limit is for the resident memory of the process. Decoders, merge buffers and encoders are
//! not counted by DataFusion's pool, so their share is set aside here by estimates that
//! `tests/rss.py` checks. Batches and merges follow from the limit; row groups and pages, on which
//! the bytes of the result depend, do not.

use super::{JobSource, Order, layout::Room};
use crate::{
    error::{Error, Kind, Result},
    file::{reader::WHOLE_REMOTE, shape::Shape},
    model::size,
};

/// The smallest limit that is taken: a million trades with long ids took 190 to 225 MB under it,
/// and 250 MB under half of it.
pub const LEAST: u64 = 256_000_000;
/// Set aside for the process before any work: code, footers, allocator. `tests/rss.py` holds the
/// sum of these against the limit.
const BASE: u64 = 60_000_000;
/// What encoding and reading back needs: row groups under way, decoded and encoded.
const ENCODER: u64 = 56_000_000;
/// What encoding and reading back takes beyond that where rows are large and have no pattern:
/// lists, long texts.
const LARGE_ROWS: u64 = 50_000_000;
/// What a partition needs for another one to be worked on at the same time.
const EACH: u64 = ENCODER + 60_000_000;
/// Of what remains, this share may be planned for; the rest is for what cannot be foreseen.
const PLANNED: f64 = 0.62;
/// Rows that are sorted together in memory, at most; their order and the rows of a batch come on
/// top.
const SORTED_TOGETHER: u64 = 32_000_000;
/// What a merge adds to each row of a batch while it compares it.
const KEY_BYTES: u64 = 16;
/// What reading a spilled run holds besides its rows.
const RUN_BUFFER: u64 = 64 << 10;
/// Bytes of a batch on its way through a merge, at most.
pub const MERGE_BYTES: u64 = 4 << 20;
/// A reader whose pages take more than this at a time is never held open next to others.
const ALONE: u64 = 24 << 20;
/// Decoded rows that a reader holds at a time: under decode, in its channel, in the merge.
const BATCHES_HELD: u64 = 4;

/// The memory of one partition's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes for readers in a merge.
    pub merge: u64,
    /// Bytes for the engine's memory pool.
    pub pool: u64,
    /// A file whose rows take at most this is sorted in memory.
    pub sort_in_memory: u64,
    /// Bytes for one reader of which the run has only one open at a time.
    pub largest: u64,
    /// Bytes that may be fetched from a bucket ahead of being read.
    pub ahead: u64,
    /// How often memory ran out with what was planned.
    squeeze: u32,
}

impl Budget {
    /// The budget of each of `workers` partitions at a time under `limit`.
    #[must_use]
    pub fn of(limit: u64, workers: usize) -> Self {
        let workers = workers.max(1) as u64;
        let share = planned(limit, workers);
        // More would buy a wider merge than a day of one file a minute needs.
        let merge = share.min(700_000_000);
        Self {
            merge,
            pool: share,
            sort_in_memory: (share / 8).min(64_000_000),
            // Where the limit first allows a second worker, the share of each drops. What a lower
            // limit could read must still be read, so this is never less than the share of one
            // worker just below that limit.
            largest: merge.max(planned(limit.min(BASE + 2 * EACH - 1), 1)),
            ahead: (share / 16).min(32_000_000),
            squeeze: 0,
        }
    }

    /// How many partitions at a time `limit` allows, at most `wanted`.
    #[must_use]
    pub fn workers(limit: u64, wanted: usize) -> usize {
        let fit = usize::try_from(limit.saturating_sub(BASE) / EACH).unwrap_or(1);
        wanted.clamp(1, fit.max(1))
    }

    /// The budget after memory ran out `times` times: merges are narrower each time, the pool
    /// stays.
    #[must_use]
    pub fn squeezed(self, times: u32) -> Self {
        Self {
            merge: self.merge >> (2 * times),
            sort_in_memory: self.sort_in_memory >> (2 * times),
            squeeze: times,
            ..self
        }
    }

    /// How many inputs merges may have, how many bytes are sorted in memory at a time, and how many
    /// rows a batch has.
    #[must_use]
    pub fn room(&self, sources: &[JobSource], shape: &Shape) -> (Room, usize) {
        let row = shape.row_bytes().max(8);
        let sorting = self.sort_in_memory.min(SORTED_TOGETHER);
        let is_small =
            |s: &JobSource| s.order != Order::SortSpilling && decoded_bytes(s, row) <= sorting;
        let (small, large): (Vec<&JobSource>, Vec<&JobSource>) =
            sources.iter().partition(|s| is_small(s));
        let to_sort: u64 = small.iter().map(|s| decoded_bytes(s, row)).sum();
        let runs = usize::try_from(to_sort / sorting.max(1))
            .unwrap_or(usize::MAX)
            .saturating_add(1 + large.len());
        let mut best = (
            Room {
                sources: 2,
                runs: 2,
                sorting,
            },
            1024,
        );
        // Batches of long rows have fewer of them: a merge holds some batches of each input, and
        // makes its own.
        let widest = sources
            .iter()
            .map(|s| decoded_row(s, row))
            .max()
            .unwrap_or(row)
            .max(1);
        let most = usize::try_from((self.merge / 32).min(MERGE_BYTES) / widest)
            .unwrap_or(usize::MAX)
            .max(1);
        for batch_rows in
            [8192_usize, 2048].map(|rows| (rows >> (2 * self.squeeze)).max(64).min(most))
        {
            let hold = |source: &JobSource| reader_bytes(source, row, batch_rows as u64);
            let run =
                (BATCHES_HELD * batch_rows as u64 * (widest + KEY_BYTES)).max(200_000) + RUN_BUFFER;
            let width = |widest: u64| {
                usize::try_from(self.merge / widest.max(1))
                    .unwrap_or(2)
                    .clamp(2, 1024)
            };
            let room = Room {
                sources: width(sources.iter().map(hold).max().unwrap_or(1)),
                runs: width(
                    large
                        .iter()
                        .map(|source| hold(source))
                        .chain([run])
                        .max()
                        .unwrap_or(1),
                ),
                sorting,
            };
            best = (room, batch_rows);
            // Smaller batches make merges wider, and cost more: only where that saves a pass.
            if room.sources >= sources.len() || room.runs >= runs {
                break;
            }
        }
        best
    }

    /// Bytes for the engine's memory pool. A sort that spills uses all that it may have, to the end
    /// of the merge of its runs; what else a partition takes at the same time is left out of it.
    #[must_use]
    pub fn pool_for(&self, sources: &[JobSource]) -> u64 {
        let sorts = sources
            .iter()
            .any(|source| source.order == Order::SortSpilling);
        if sorts {
            self.pool - LARGE_ROWS.min(self.pool / 2)
        } else {
            self.pool
        }
    }

    /// Whether every source can be read at all: what one takes was found when it was read.
    ///
    /// # Errors
    /// When the pages of one alone take more than merges may.
    pub fn check(&self, sources: &[JobSource]) -> Result<()> {
        let most = self.largest;
        let Some(source) = sources
            .iter()
            .find(|s| s.claims.weighed && s.claims.open_bytes > most)
        else {
            return Ok(());
        };
        Err(Error::new(
            Kind::Resources,
            format!(
                "{}: its pages take {} at a time, which the memory limit does not leave; raise --memory-limit",
                source.handle.shown(),
                size::show(source.claims.open_bytes)
            ),
        ))
    }

    /// Whether a reader of `source` takes so much that it is not held open next to others: its rows
    /// go to a run on disk first, and no other such reader is open meanwhile.
    #[must_use]
    pub fn is_alone(&self, source: &JobSource) -> bool {
        source.claims.weighed && source.claims.open_bytes > (self.merge / 8).min(ALONE)
    }
}

/// What each of `workers` partitions at a time may plan for under `limit`.
fn planned(limit: u64, workers: u64) -> u64 {
    let free = limit
        .saturating_sub(BASE + workers * ENCODER)
        .max(24_000_000)
        / workers;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size need not be exact"
    )]
    let planned = (free as f64 * PLANNED) as u64;
    planned
}

/// Bytes of a row of `source` in memory, where `row` is what rows of its columns usually take. A
/// footer that claims much more is not believed before it was seen: it would make every batch of
/// the partition small.
#[must_use]
pub fn decoded_row(source: &JobSource, row: u64) -> u64 {
    let claimed = source.claims.row_bytes;
    row.max(if source.claims.weighed || row == 0 {
        claimed
    } else {
        claimed.min(row.saturating_mul(1000))
    })
}

/// What the rows of `source` take in memory.
#[must_use]
pub fn decoded_bytes(source: &JobSource, row: u64) -> u64 {
    source.claims.rows.saturating_mul(decoded_row(source, row))
}

/// What an open reader of `source` holds at its worst.
fn reader_bytes(source: &JobSource, row: u64, batch_rows: u64) -> u64 {
    let claims = &source.claims;
    let decoded = decoded_bytes(source, row);
    let row = decoded_row(source, row) + KEY_BYTES;
    let batches = BATCHES_HELD * batch_rows * row;
    if source.order == Order::SortInMemory {
        // All rows, and once more while they are put in order.
        return 2 * decoded + claims.group_bytes + 200_000;
    }
    let open = claims.group_bytes.min(WHOLE_REMOTE) + claims.open_bytes + batches;
    // A small file is decoded at once and its reader closed; for a moment both are there, but not
    // in all readers at once.
    let eager = decoded + decoded / 2 + 2 * batch_rows * row + 200_000;
    open.min(eager).max(200_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_leaves_room_for_a_higher_one_leaves_room_for() {
        for wanted in [1, 2, 8] {
            let mut before = 0;
            for limit in (LEAST..4_000_000_000).step_by(1_000_000) {
                let largest = Budget::of(limit, Budget::workers(limit, wanted)).largest;
                assert!(
                    largest >= before,
                    "{limit} with {wanted} workers: {largest} after {before}"
                );
                before = largest;
            }
        }
    }
}
