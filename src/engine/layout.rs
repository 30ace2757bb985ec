//! Which files follow one another, and which are merged in how many passes: a pure decision over spans and costs.
//!
//! Refuses to look at rows: where a span is false, the reader notices and the layout is made again from proven spans.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
};

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
}

/// A sorted sequence of rows on its way into a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Sources that follow one another without overlap.
    Chain(Vec<usize>),
    /// A source that the engine sorts, spilling.
    Sort(usize),
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
    /// Lays `items` out for merges of at most `fan_in` inputs (2 at least).
    #[must_use]
    pub fn of(items: &[Item], fan_in: usize) -> Self {
        let fan_in = fan_in.max(2);
        let mut nodes = chains(items);
        while nodes.len() > fan_in {
            nodes = reduce(nodes, fan_in);
        }
        Self { inputs: nodes }
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
        let chains = self.inputs.iter().map(|n| leaf_counts(n).0).sum::<usize>();
        let chained = self.inputs.iter().map(|n| leaf_counts(n).1).sum::<usize>();
        let sorts = self.inputs.iter().map(|n| leaf_counts(n).2).sum::<usize>();
        let mut lines = Vec::new();
        if chained > 0 {
            lines.push(format!("scan {} in {}", plural(chained, "file"), plural(chains, "sequential chain")));
        }
        if sorts > 0 {
            lines.push(format!("sort {} with spilling", plural(sorts, "file")));
        }
        for (level, (runs, inputs)) in steps {
            lines.push(format!("pass {level}: merge {inputs} inputs into {} on disk", plural(runs, "spilled run")));
        }
        if self.inputs.len() > 1 {
            lines.push(format!("pass {}: merge {} inputs", self.passes(), self.inputs.len()));
        }
        lines
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// `1 file`, `2 files`.
#[must_use]
pub fn plural(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Chain(_) | Node::Sort(_) => 0,
        Node::Run(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
    }
}

fn leaves(node: &Node) -> usize {
    match node {
        Node::Chain(_) | Node::Sort(_) => 1,
        Node::Run(nodes) => nodes.iter().map(leaves).sum(),
    }
}

/// Chains, files in them, sorted files.
fn leaf_counts(node: &Node) -> (usize, usize, usize) {
    match node {
        Node::Chain(files) => (1, files.len(), 0),
        Node::Sort(_) => (0, 0, 1),
        Node::Run(nodes) => nodes.iter().map(leaf_counts).fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2)),
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

/// The fewest chains: each source joins the chain that ended earliest, if that ended before the source begins.
fn chains(items: &[Item]) -> Vec<Node> {
    let mut sorted: Vec<&Item> = items.iter().filter(|i| !i.sort).collect();
    sorted.sort_by_key(|i| (i.first, i.last, i.index));
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<((i64, i64), usize)>> = BinaryHeap::new();
    for item in sorted {
        let free = ends.peek().filter(|Reverse((end, _))| *end <= item.first).map(|Reverse((_, chain))| *chain);
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

/// One level of spilled runs: only as many inputs are merged as must be, so that as few rows as possible are written
/// twice.
fn reduce(nodes: Vec<Node>, fan_in: usize) -> Vec<Node> {
    let total = nodes.len();
    let runs = (total - fan_in).div_ceil(fan_in - 1);
    let merged = total - fan_in + runs;
    let (runs, merged) = if merged <= total { (runs, merged) } else { (total.div_ceil(fan_in), total) };
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
        Item { index, first: (from, 0), last: (to, 0), sort: false }
    }

    fn check(items: &[Item], fan_in: usize, expected: &str) {
        let lines: Vec<&str> = expected.lines().map(str::trim).collect();
        assert_eq!(Layout::of(items, fan_in).lines(), lines);
    }

    #[test]
    fn files_that_follow_one_another_are_one_chain() {
        let day: Vec<Item> = (0..480).map(|i| item(usize::try_from(i).unwrap(), i * 10, i * 10 + 9)).collect();
        check(&day, 16, "scan 480 files in 1 sequential chain");
        assert_eq!(Layout::of(&day, 16).passes(), 0);
    }

    #[test]
    fn neighbours_that_overlap_are_two_chains() {
        let day: Vec<Item> = (0..480).map(|i| item(usize::try_from(i).unwrap(), i * 10, i * 10 + 12)).collect();
        check(&day, 16, "scan 480 files in 2 sequential chains\npass 1: merge 2 inputs");
    }

    #[test]
    fn files_that_meet_in_one_key_still_follow() {
        check(&[item(0, 0, 10), item(1, 10, 20)], 16, "scan 2 files in 1 sequential chain");
    }

    #[test]
    fn more_files_mean_more_passes() {
        let all = |n: usize| (0..n).map(|i| item(i, 0, 100)).collect::<Vec<_>>();
        check(&all(16), 16, "scan 16 files in 16 sequential chains\npass 1: merge 16 inputs");
        check(
            &all(20),
            16,
            "scan 20 files in 20 sequential chains\npass 1: merge 5 inputs into 1 spilled run on disk\npass 2: merge 16 inputs",
        );
        assert_eq!(Layout::of(&all(2880), 64).passes(), 2);
        assert_eq!(Layout::of(&all(10_000), 16).passes(), 4);
    }

    #[test]
    fn a_file_out_of_order_is_sorted_on_its_own() {
        let mut files = vec![item(0, 0, 10), item(1, 11, 20)];
        files.push(Item { sort: true, ..item(2, 0, 20) });
        check(&files, 16, "scan 2 files in 1 sequential chain\nsort 1 file with spilling\npass 1: merge 2 inputs");
    }

    fn members(node: &Node, into: &mut Vec<usize>) {
        match node {
            Node::Chain(files) => into.extend(files),
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
            Node::Chain(files) => files.windows(2).all(|w| items[w[0]].last <= items[w[1]].first),
            Node::Sort(_) => true,
            Node::Run(nodes) => nodes.iter().all(|n| chains_ascend(n, items)),
        }
    }

    proptest! {
        #[test]
        fn every_file_is_read_once_in_order_within_the_fan_in(
            spans in prop::collection::vec((0_i64..200, 0_i64..50, prop::bool::weighted(0.1)), 0..300),
            fan_in in 2_usize..20,
        ) {
            let items: Vec<Item> = spans.iter().enumerate()
                .map(|(i, (from, len, sort))| Item { sort: *sort, ..item(i, *from, from + len) }).collect();
            let layout = Layout::of(&items, fan_in);
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
