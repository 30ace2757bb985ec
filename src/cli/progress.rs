//! What a person sees while a command runs: bars on a terminal.
//!
//! Nothing of it goes to stdout, except for the JSON objects that appear there as partitions end.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{
    console::{Console, Out},
    show,
};
use crate::{
    compact::{Outcome, Status, Watch},
    model::partition::Partition,
};

/// Partitions that get a line of their own below the bar; more would push the bar off the screen.
const SHOWN: usize = 8;

/// Watches a compaction.
#[derive(Debug)]
pub(crate) struct Progress {
    console: Console,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    count: Count,
    /// The lines of the partitions that are being worked on.
    lines: HashMap<Partition, ProgressBar>,
    /// Where outcomes appear as JSON, if that is wanted.
    json: Option<Out>,
}

/// What has happened so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    partitions: usize,
    begun: usize,
    ended: usize,
    /// Partitions that ended without having begun: there was nothing to do.
    idle: usize,
    /// Bytes that the begun partitions claim to hold.
    claimed: u64,
    rows: u64,
    bytes: u64,
}

impl Count {
    /// An estimate of all bytes: those not begun will be like those begun, except for the share
    /// that has nothing to do.
    fn total(self) -> u64 {
        let waiting = self.partitions.saturating_sub(self.begun + self.idle) as u64;
        let known = (self.begun + self.idle).max(1) as u64;
        (self.claimed + waiting * (self.claimed / known)).max(self.bytes)
    }
}

impl Progress {
    /// A watch that draws on `console`, and writes outcomes to `json` as they come.
    pub(crate) fn new(console: &Console, json: Option<Out>) -> Self {
        let bar = console.bars().map(|bars| {
            let bar = bars.add(ProgressBar::no_length());
            bar.set_style(style("{prefix} {wide_bar} {msg}, {eta} left"));
            bar.set_prefix("looking");
            bar.set_message("nothing read yet");
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let state = State {
            count: Count::default(),
            lines: HashMap::new(),
            json,
        };
        Self {
            console: console.clone(),
            bar,
            state: Mutex::new(state),
        }
    }

    /// Removes the bars, and gives the output back.
    pub(crate) fn finish(&self) -> Option<Out> {
        let mut state = self.state();
        for (_, line) in state.lines.drain() {
            line.finish_and_clear();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        state.json.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, count: Count) {
        let Some(bar) = &self.bar else { return };
        bar.set_prefix(format!("{}/{} partitions", count.ended, count.partitions));
        // A bar of no length would be drawn as full.
        bar.set_length(count.total().max(1));
        bar.set_position(count.bytes);
        bar.set_message(format!(
            "{}, {}",
            show::rows(count.rows),
            show::bytes(count.bytes)
        ));
    }

    fn add_line(&self, bars: &MultiProgress, partition: &Partition, rows: u64, bytes: u64) {
        let mut state = self.state();
        if state.lines.len() < SHOWN {
            let line = bars.add(ProgressBar::no_length());
            line.set_style(style("  {msg}"));
            line.set_message(format!(
                "{partition}: {}, {}",
                show::rows(rows),
                show::bytes(bytes)
            ));
            let _ = state.lines.insert(partition.clone(), line);
        }
    }
}

impl Watch for Progress {
    fn begin(&self, partitions: usize) {
        let mut state = self.state();
        state.count.partitions = partitions;
        self.draw(state.count);
    }

    fn partition_begins(&self, partition: &Partition, rows: u64, bytes: u64) {
        {
            let mut state = self.state();
            state.count.begun += 1;
            state.count.claimed += bytes;
            self.draw(state.count);
        }
        if let Some(bars) = self.console.bars() {
            self.add_line(bars, partition, rows, bytes);
        }
    }

    fn progress(&self, rows: u64, bytes: u64) {
        let mut state = self.state();
        state.count.rows += rows;
        state.count.bytes += bytes;
        self.draw(state.count);
    }

    fn partition_ends(&self, outcome: &Outcome) {
        let mut state = self.state();
        state.count.ended += 1;
        if outcome.status == Status::UpToDate {
            state.count.idle += 1;
        }
        if let Some(line) = state.lines.remove(&outcome.partition) {
            line.finish_and_clear();
        }
        self.draw(state.count);
        if let Some(json) = &mut state.json
            && let Err(error) = json.json(outcome)
        {
            tracing::error!("{}", error.chain());
        }
    }
}

/// Counts what a verification has done, for which no total is known beforehand.
#[derive(Debug)]
pub(crate) struct ProgressTally {
    bar: Option<ProgressBar>,
    partitions: usize,
    rows: u64,
    bytes: u64,
}

impl ProgressTally {
    /// A tally that draws on `console`.
    pub(crate) fn new(console: &Console) -> Self {
        let bar = console.bars().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {msg} ({elapsed})"));
            bar.set_message("looking");
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            partitions: 0,
            rows: 0,
            bytes: 0,
        }
    }

    /// Another partition is verified.
    pub(crate) fn count(&mut self, rows: u64, bytes: u64) {
        self.partitions += 1;
        self.rows += rows;
        self.bytes += bytes;
        if let Some(bar) = &self.bar {
            let partitions = show::count(self.partitions, "partition");
            bar.set_message(format!(
                "{partitions}, {}, {}",
                show::rows(self.rows),
                show::bytes(self.bytes)
            ));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_estimated_from_what_has_begun_and_exact_in_the_end() {
        let count = Count {
            partitions: 10,
            begun: 2,
            claimed: 200,
            bytes: 50,
            ..Count::default()
        };
        assert_eq!(count.total(), 1000);
        assert_eq!(
            Count {
                begun: 10,
                claimed: 1200,
                ..count
            }
            .total(),
            1200
        );
        assert_eq!(
            Count {
                begun: 2,
                idle: 8,
                ..count
            }
            .total(),
            200
        );
        // Rows that are read twice do not run past the end.
        assert_eq!(
            Count {
                begun: 10,
                claimed: 100,
                bytes: 150,
                ..count
            }
            .total(),
            150
        );
        assert_eq!(Count::default().total(), 0);
    }
}
