//! Which files follow one another, and which are merged in how many passes: a pure decision over
//! spans and costs.
//!
//! No row is read here: where a span is false, the reader notices, and the layout is made again
//! from proven spans.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
};

use crate::model::count::plural;

/// A source as the layout sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its place among the sources.
    pub index: usize,
    /// The smallest key `(ts_event, seq)` that it may hold.
    pub first: (i64, i64),
    /// The largest.
    pub last: (i64, i64),
    /// Whether it must be sorted by the engine before it can be merged.
    pub sort: bool,
    /// What its rows take in memory, in bytes.
    pub bytes: u64,
    /// Whether its reader takes so much memory that none like it may be open at the same time.
    pub alone: bool,
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Inputs of a merge of sources.
    pub sources: usize,
    /// Inputs of a merge of runs, and of those sources that are too large to be sorted in memory
    /// together with others.
    pub runs: usize,
    /// Bytes of rows that are sorted in memory at a time.
    pub sorting: u64,
}

/// More sequences than these are not merged as they are: rows then pass through so many
/// comparisons, and come from so many places in memory, that sorting small files together and
/// merging few runs costs less, although the runs go over the disk.
const WIDE: usize = 64;

/// A sorted sequence of rows on its way into a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Sources that follow one another without overlap.
    Chain(Vec<usize>),
    /// A source that the engine sorts, spilling.
    Sort(usize),
    /// Small sources that are sorted together in memory and spilled to disk before they are read.
    Together(Vec<usize>),
    /// A merge of these, spilled to disk before it is read.
    Run(Vec<Node>),
}

/// The inputs of the last merge: at most as many as the fan-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What the last merge reads.
    pub inputs: Vec<Node>,
}

impl Layout {
    /// Lays `items` out within `room`; a merge has two inputs at least.
    #[must_use]
    pub fn of(items: &[Item], room: Room) -> Self {
        let mut nodes = chains(items);
        if nodes.len() > room.sources.clamp(2, WIDE) {
            nodes = together(items, room.sorting);
            let fan_in = room.runs.max(2);
            while nodes.len() > fan_in {
                nodes = reduce(nodes, fan_in);
            }
        }
        if nodes.len() > 1 {
            nodes = nodes
                .into_iter()
                .map(|node| by_itself(node, items))
                .collect();
        }
        Self { inputs: nodes }
    }

    /// Sequences of sources that are open at the same time, each with a reader.
    #[must_use]
    pub fn open(&self) -> usize {
        self.inputs.iter().map(open).sum()
    }

    /// Merge passes over the rows, the last one included; 0 when there is nothing to merge.
    #[must_use]
    pub fn passes(&self) -> usize {
        let deepest = self.inputs.iter().map(depth).max().unwrap_or(0);
        deepest + usize::from(self.inputs.len() > 1)
    }

    /// Sequences of sources before any merge.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.inputs.iter().map(leaves).sum()
    }

    /// The steps, one line each, first to last.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut steps = BTreeMap::new();
        for node in &self.inputs {
            count(node, &mut steps);
        }
        let mut leaves = Leaves::default();
        for node in &self.inputs {
            leaves.count(node);
        }
        let Leaves {
            chains,
            chained,
            sorts,
            runs,
            together,
        } = leaves;
        let mut lines = Vec::new();
        if chained > 0 {
            lines.push(format!(
                "scan {} in {}",
                plural(chained, "file"),
                plural(chains, "sequential chain")
            ));
        }
        if sorts > 0 {
            lines.push(format!("sort {} with spilling", plural(sorts, "file")));
        }
        if runs > 0 {
            lines.push(format!(
                "pass 1: sort {} in memory into {} on disk",
                plural(together, "file"),
                plural(runs, "spilled run")
            ));
        }
        for (level, (runs, inputs)) in steps {
            lines.push(format!(
                "pass {level}: merge {} into {} on disk",
                plural(inputs, "input"),
                plural(runs, "spilled run")
            ));
        }
        if self.inputs.len() > 1 {
            lines.push(format!(
                "pass {}: merge {} inputs",
                self.passes(),
                self.inputs.len()
            ));
        }
        lines
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Chain(_) | Node::Sort(_) => 0,
        Node::Together(_) => 1,
        Node::Run(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
    }
}

fn leaves(node: &Node) -> usize {
    match node {
        Node::Chain(_) | Node::Sort(_) | Node::Together(_) => 1,
        Node::Run(nodes) => nodes.iter().map(leaves).sum(),
    }
}

fn open(node: &Node) -> usize {
    match node {
        Node::Chain(_) | Node::Sort(_) => 1,
        Node::Together(_) => 0,
        Node::Run(nodes) => nodes.iter().map(open).sum(),
    }
}

/// What a layout is made of.
#[derive(Default)]
struct Leaves {
    chains: usize,
    /// Files in chains.
    chained: usize,
    /// Files sorted by the engine.
    sorts: usize,
    /// Runs of files sorted in memory.
    runs: usize,
    /// The files in them.
    together: usize,
}

impl Leaves {
    fn count(&mut self, node: &Node) {
        match node {
            Node::Chain(files) => {
                self.chains += 1;
                self.chained += files.len();
            }
            Node::Sort(_) => self.sorts += 1,
            Node::Together(files) => {
                self.runs += 1;
                self.together += files.len();
            }
            Node::Run(nodes) => nodes.iter().for_each(|node| self.count(node)),
        }
    }
}

/// Runs and their inputs by level.
fn count(node: &Node, steps: &mut BTreeMap<usize, (usize, usize)>) {
    if let Node::Run(nodes) = node {
        let step = steps.entry(depth(node)).or_default();
        step.0 += 1;
        step.1 += nodes.len();
        for inner in nodes {
            count(inner, steps);
        }
    }
}

/// Sources that follow in time sorted together, as many as make up `bytes`; the larger ones in
/// chains.
fn together(items: &[Item], bytes: u64) -> Vec<Node> {
    let (mut small, large): (Vec<Item>, Vec<Item>) =
        items.iter().partition(|i| !i.sort && i.bytes <= bytes);
    small.sort_by_key(|i| (i.first, i.last, i.index));
    let mut runs: Vec<(u64, Vec<usize>)> = Vec::new();
    for item in small {
        match runs
            .last_mut()
            .filter(|(held, _)| held.saturating_add(item.bytes) <= bytes)
        {
            Some((held, files)) => {
                *held += item.bytes;
                files.push(item.index);
            }
            None => runs.push((item.bytes, vec![item.index])),
        }
    }
    let runs = runs.into_iter().map(|(_, files)| {
        if files.len() == 1 {
            Node::Chain(files)
        } else {
            Node::Together(files)
        }
    });
    chains(&large).into_iter().chain(runs).collect()
}

/// A sequence with a source that is to be read alone goes to a run of its own first: runs of one
/// level are made one after the other.
fn by_itself(node: Node, items: &[Item]) -> Node {
    let is_alone = |index: &usize| items.iter().any(|item| item.index == *index && item.alone);
    match node {
        Node::Chain(files) if files.iter().any(is_alone) => Node::Run(vec![Node::Chain(files)]),
        Node::Sort(file) if is_alone(&file) => Node::Run(vec![Node::Sort(file)]),
        Node::Run(nodes) if nodes.len() > 1 => Node::Run(
            nodes
                .into_iter()
                .map(|node| by_itself(node, items))
                .collect(),
        ),
        other => other,
    }
}

/// The fewest chains: each source joins the chain that ended earliest, if that ended before the
/// source begins.
fn chains(items: &[Item]) -> Vec<Node> {
    let mut sorted: Vec<&Item> = items.iter().filter(|i| !i.sort).collect();
    sorted.sort_by_key(|i| (i.first, i.last, i.index));
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<((i64, i64), usize)>> = BinaryHeap::new();
    for item in sorted {
        let free = ends
            .peek()
            .filter(|Reverse((end, _))| *end <= item.first)
            .map(|Reverse((_, chain))| *chain);
        let chain = if let Some(chain) = free {
            let _ = ends.pop();
            chain
        } else {
            chains.push(Vec::new());
            chains.len() - 1
        };
        if let Some(members) = chains.get_mut(chain) {
            members.push(item.index);
        }
        ends.push(Reverse((item.last, chain)));
    }
    let sorts = items.iter().filter(|i| i.sort).map(|i| Node::Sort(i.index));
    chains.into_iter().map(Node::Chain).chain(sorts).collect()
}

/// One level of spilled runs: only as many inputs are merged as must be, so that as few rows as
/// possible are written twice.
fn reduce(nodes: Vec<Node>, fan_in: usize) -> Vec<Node> {
    let total = nodes.len();
    let runs = (total - fan_in).div_ceil(fan_in - 1);
    let merged = total - fan_in + runs;
    let (runs, merged) = if merged <= total {
        (runs, merged)
    } else {
        (total.div_ceil(fan_in), total)
    };
    let mut rest = nodes.into_iter();
    let mut reduced: Vec<Node> = (0..runs)
        .map(|nth| {
            let size = merged / runs + usize::from(nth < merged % runs);
            Node::Run(rest.by_ref().take(size).collect())
        })
        .collect();
    reduced.extend(rest);
    reduced
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(index: usize, from: i64, to: i64) -> Item {
        Item {
            index,
            first: (from, 0),
            last: (to, 0),
            sort: false,
            bytes: 10,
            alone: false,
        }
    }

    /// Room for merges of `fan_in` inputs, and for nothing that is sorted together.
    fn merging(fan_in: usize) -> Room {
        Room {
            sources: fan_in,
            runs: fan_in,
            sorting: 0,
        }
    }

    fn check(items: &[Item], room: Room, expected: &str) {
        let lines: Vec<&str> = expected.lines().map(str::trim).collect();
        assert_eq!(Layout::of(items, room).lines(), lines);
    }

    #[test]
    fn files_that_follow_one_another_are_one_chain() {
        let day: Vec<Item> = (0..480)
            .map(|i| item(usize::try_from(i).unwrap(), i * 10, i * 10 + 9))
            .collect();
        check(&day, merging(16), "scan 480 files in 1 sequential chain");
        assert_eq!(Layout::of(&day, merging(16)).passes(), 0);
    }

    #[test]
    fn neighbours_that_overlap_are_two_chains() {
        let day: Vec<Item> = (0..480)
            .map(|i| item(usize::try_from(i).unwrap(), i * 10, i * 10 + 12))
            .collect();
        check(
            &day,
            merging(16),
            "scan 480 files in 2 sequential chains\npass 1: merge 2 inputs",
        );
    }

    #[test]
    fn files_that_meet_in_one_key_still_follow() {
        check(
            &[item(0, 0, 10), item(1, 10, 20)],
            merging(16),
            "scan 2 files in 1 sequential chain",
        );
    }

    #[test]
    fn more_files_mean_more_passes() {
        let all = |n: usize| (0..n).map(|i| item(i, 0, 100)).collect::<Vec<_>>();
        check(
            &all(16),
            merging(16),
            "scan 16 files in 16 sequential chains\npass 1: merge 16 inputs",
        );
        check(
            &all(20),
            merging(16),
            "scan 20 files in 20 sequential chains\npass 1: merge 5 inputs into 1 spilled run on disk\npass 2: merge 16 inputs",
        );
        assert_eq!(Layout::of(&all(2880), merging(64)).passes(), 2);
        assert_eq!(Layout::of(&all(10_000), merging(16)).passes(), 4);
    }

    #[test]
    fn a_file_out_of_order_is_sorted_on_its_own() {
        let mut files = vec![item(0, 0, 10), item(1, 11, 20)];
        files.push(Item {
            sort: true,
            ..item(2, 0, 20)
        });
        check(
            &files,
            merging(16),
            "scan 2 files in 1 sequential chain\nsort 1 file with spilling\npass 1: merge 2 inputs",
        );
    }

    #[test]
    fn many_small_files_are_sorted_together() {
        let all = |n: usize| (0..n).map(|i| item(i, 0, 100)).collect::<Vec<_>>();
        let room = Room {
            sources: 100,
            runs: 100,
            sorting: 1000,
        };
        check(
            &all(64),
            room,
            "scan 64 files in 64 sequential chains\npass 1: merge 64 inputs",
        );
        check(
            &all(480),
            room,
            "pass 1: sort 480 files in memory into 5 spilled runs on disk\npass 2: merge 5 inputs",
        );
        // Large ones are merged with the runs; more runs than there is room for are merged first.
        let mut files = all(480);
        files.extend([
            Item {
                bytes: 5000,
                ..item(480, 0, 50)
            },
            Item {
                bytes: 5000,
                ..item(481, 60, 99)
            },
        ]);
        check(
            &files,
            Room { runs: 4, ..room },
            "scan 2 files in 1 sequential chain
             pass 1: sort 480 files in memory into 5 spilled runs on disk
             pass 2: merge 3 inputs into 1 spilled run on disk
             pass 3: merge 4 inputs",
        );
    }

    #[test]
    fn readers_that_take_much_are_open_one_after_the_other() {
        let mut files = vec![item(0, 0, 10), item(1, 5, 20), item(2, 6, 30)];
        files[1].alone = true;
        files[2].alone = true;
        check(
            &files,
            merging(16),
            "scan 3 files in 3 sequential chains
             pass 1: merge 2 inputs into 2 spilled runs on disk
             pass 2: merge 3 inputs",
        );
        files.truncate(1);
        files[0].alone = true;
        check(&files, merging(16), "scan 1 file in 1 sequential chain");
    }

    fn members(node: &Node, into: &mut Vec<usize>) {
        match node {
            Node::Chain(files) | Node::Together(files) => into.extend(files),
            Node::Sort(file) => into.push(*file),
            Node::Run(nodes) => nodes.iter().for_each(|n| members(n, into)),
        }
    }

    fn widest(node: &Node) -> usize {
        match node {
            Node::Run(nodes) => nodes.iter().map(widest).max().unwrap_or(0).max(nodes.len()),
            _ => 0,
        }
    }

    fn chains_ascend(node: &Node, items: &[Item]) -> bool {
        match node {
            Node::Chain(files) => files
                .windows(2)
                .all(|w| items[w[0]].last <= items[w[1]].first),
            Node::Sort(_) => true,
            Node::Together(files) => files.len() > 1 && files.iter().all(|i| !items[*i].sort),
            Node::Run(nodes) => nodes.iter().all(|n| chains_ascend(n, items)),
        }
    }

    proptest! {
        #[test]
        fn every_file_is_read_once_in_order_within_the_fan_in(
            spans in prop::collection::vec((0_i64..200, 0_i64..50, prop::bool::weighted(0.1)), 0..300),
            fan_in in 2_usize..20,
            sorting in 0_u64..200,
        ) {
            let items: Vec<Item> = spans.iter().enumerate()
                .map(|(i, (from, len, sort))| Item { sort: *sort, ..item(i, *from, from + len) }).collect();
            let room = Room { sources: fan_in, runs: fan_in, sorting };
            let layout = Layout::of(&items, room);
            prop_assert!(layout.inputs.len() <= fan_in);
            let mut seen = Vec::new();
            for node in &layout.inputs {
                prop_assert!(widest(node) <= fan_in);
                members(node, &mut seen);
            }
            prop_assert!(layout.inputs.iter().all(|n| chains_ascend(n, &items)));
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..items.len()).collect::<Vec<_>>());
        }
    }
}
