//! The physical plan of a partition's rows: scans, sorts and merges as the layout says, then
//! numbering and ties.
//!
//! Built by hand: the planner would trust the files' claims, and would sort the whole day where
//! they overlap. Nothing is executed here.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
};

use datafusion::{
    common::{DataFusionError, Result as DfResult},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder},
        source::DataSourceExec,
    },
    execution::object_store::ObjectStoreUrl,
    physical_expr::LexOrdering,
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        union::UnionExec,
    },
};
use object_store::ObjectMeta;
use tokio::sync::Semaphore;

use super::{
    operators::{Does, Operator, Runs},
    order::{merge_ordering, ordering},
    source::{Index, SpoolSource},
};
use crate::{
    file::shape::Shape,
    job::{
        Job,
        layout::{Layout, Node},
    },
};

/// The two layouts of a partition: of sources with numbers of their own, and of those that qlc
/// numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layouts {
    /// Sources with `seq`.
    pub own: Layout,
    /// Sources that are numbered on the way.
    pub numbered: Layout,
}

impl Layouts {
    /// The steps, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.numbered.lines();
        if !self.numbered.inputs.is_empty() {
            lines.push("number the rows of files without seq".to_owned());
        }
        lines.extend(self.own.lines());
        if !self.numbered.inputs.is_empty() && !self.own.inputs.is_empty() {
            lines.push("merge numbered rows with the others".to_owned());
        }
        lines
    }

    /// Merge passes over the rows.
    #[must_use]
    pub fn passes(&self) -> usize {
        let both = usize::from(!self.numbered.inputs.is_empty() && !self.own.inputs.is_empty());
        self.own.passes().max(self.numbered.passes() + both)
    }

    /// Sequences of files before any merge.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.own.groups() + self.numbered.groups()
    }

    /// Sequences of files that are open at the same time.
    #[must_use]
    pub fn open(&self) -> usize {
        self.own.open() + self.numbered.open()
    }
}

/// Builds the plan whose only partition is the day's rows in their final order, with the carried
/// columns. At most `cores` sorts go on in memory at a time.
///
/// # Errors
/// When the engine refuses a part of it, which is a defect.
pub fn rows(
    job: &Arc<Job>,
    layouts: &Layouts,
    spill: &Path,
    cores: usize,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let shape = Arc::new(job.shape.clone());
    let scan = |chains: &[&[usize]], claimed: Vec<LexOrdering>| Ok(scan(job, chains, claimed));
    let builder = Builder::new(Arc::clone(&shape), spill, job.batch_rows, cores, &scan);
    let mut inputs = Vec::new();
    if !layouts.numbered.inputs.is_empty() {
        let merged = builder.merge(&layouts.numbered.inputs)?;
        let next = Arc::new(AtomicI64::new(job.first_number));
        inputs.push(builder.operator(Does::Number { next }, merged));
    }
    let input = if inputs.is_empty() {
        builder.merge(&layouts.own.inputs)?
    } else {
        inputs.extend(builder.parts(&layouts.own.inputs)?);
        builder.merged(inputs)?
    };
    let last = if job.merging.is_some() {
        Does::MergeCollectors {
            job: Arc::clone(job),
        }
    } else {
        Does::Ties
    };
    Ok(builder.operator(last, input))
}

/// Reads chains of sources, each as one partition, whose rows are in the given order.
pub type Scan<'a> = &'a dyn Fn(&[&[usize]], Vec<LexOrdering>) -> DfResult<Arc<dyn ExecutionPlan>>;

/// Turns a layout into a plan.
pub struct Builder<'a> {
    shape: Arc<Shape>,
    spill: PathBuf,
    batch_rows: usize,
    /// One for each level of spilled runs.
    turns: Vec<Arc<Semaphore>>,
    /// One for each sort in memory.
    sorts: Arc<Semaphore>,
    scan: Scan<'a>,
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("spill", &self.spill)
            .finish_non_exhaustive()
    }
}

impl<'a> Builder<'a> {
    /// A builder of plans over sources that `scan` reads, in batches of `batch_rows`, with runs in
    /// the folder `spill` and at most `cores` sorts in memory at a time.
    #[must_use]
    pub fn new(
        shape: Arc<Shape>,
        spill: &Path,
        batch_rows: usize,
        cores: usize,
        scan: Scan<'a>,
    ) -> Self {
        Self {
            shape,
            spill: spill.to_owned(),
            batch_rows,
            turns: (0..64).map(|_| Arc::new(Semaphore::new(1))).collect(),
            sorts: Arc::new(Semaphore::new(cores.max(1))),
            scan,
        }
    }

    /// An operator over `input`.
    #[must_use]
    pub fn operator(&self, does: Does, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Operator::new(does, Arc::clone(&self.shape), input))
    }

    /// One ascending sequence of all that `nodes` hold.
    ///
    /// # Errors
    /// When the engine refuses a part of it, which is a defect.
    pub fn merge(&self, nodes: &[Node]) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.merged(self.parts(nodes)?)
    }

    /// One plan whose partitions are all partitions of `parts`, merged if there is more than one.
    fn merged(&self, mut parts: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = match parts.len() {
            0 => return Err(DataFusionError::Internal("a merge of nothing".to_owned())),
            1 => parts.swap_remove(0),
            _ => UnionExec::try_new(parts)?,
        };
        if input.output_partitioning().partition_count() == 1 {
            return Ok(input);
        }
        // Rows of one key are ordered by `OrderTies`; the merge may give them in any order, and
        // shall not spend time on it.
        let merge = SortPreservingMergeExec::new(merge_ordering(&self.shape)?, input);
        Ok(Arc::new(merge.with_round_robin_repartition(false)))
    }

    fn parts(&self, nodes: &[Node]) -> DfResult<Vec<Arc<dyn ExecutionPlan>>> {
        let mut parts = Vec::new();
        let chains: Vec<&[usize]> = nodes
            .iter()
            .filter_map(|n| {
                if let Node::Chain(files) = n {
                    Some(files.as_slice())
                } else {
                    None
                }
            })
            .collect();
        if !chains.is_empty() {
            parts.push((self.scan)(&chains, vec![ordering(&self.shape)?])?);
        }
        for node in nodes {
            match node {
                Node::Chain(_) => {}
                Node::Sort(file) => {
                    // Without an order: a sort over a scan that claims one passes the rows on as
                    // they are.
                    let scan = (self.scan)(&[&[*file]], Vec::new())?;
                    parts.push(Arc::new(SortExec::new(ordering(&self.shape)?, scan)));
                }
                Node::Together(files) => {
                    let does = Does::Sort {
                        runs: self.runs(&self.sorts),
                        batch_rows: self.batch_rows,
                    };
                    parts.push(self.operator(does, (self.scan)(&[files], Vec::new())?));
                }
                Node::Run(inner) => {
                    let turn = self
                        .turns
                        .get(level(node))
                        .map_or_else(|| Arc::new(Semaphore::new(1)), Arc::clone);
                    parts.push(self.operator(
                        Does::Spill {
                            runs: self.runs(&turn),
                        },
                        self.merge(inner)?,
                    ));
                }
            }
        }
        Ok(parts)
    }

    fn runs(&self, turn: &Arc<Semaphore>) -> Runs {
        Runs {
            folder: self.spill.clone(),
            turn: Arc::clone(turn),
        }
    }
}

/// Reads each chain as one partition, whose rows are in the order `claimed`.
fn scan(job: &Arc<Job>, chains: &[&[usize]], claimed: Vec<LexOrdering>) -> Arc<dyn ExecutionPlan> {
    let file = |index: &usize| {
        let source = job.sources.get(*index)?;
        let meta = ObjectMeta {
            location: source.handle.path().clone(),
            last_modified: chrono::DateTime::default(),
            size: source.handle.size(),
            e_tag: None,
            version: None,
        };
        Some(PartitionedFile::new_from_meta(meta).with_extension(Index(*index)))
    };
    let groups = chains
        .iter()
        .map(|chain| FileGroup::new(chain.iter().filter_map(file).collect()))
        .collect();
    let source = Arc::new(SpoolSource::new(Arc::clone(job)));
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
        .with_file_groups(groups)
        .with_preserve_order(true)
        .with_output_ordering(claimed)
        .build();
    DataSourceExec::from_data_source(config)
}

fn level(node: &Node) -> usize {
    match node {
        Node::Run(inner) => 1 + inner.iter().map(level).max().unwrap_or(0),
        Node::Chain(_) | Node::Sort(_) | Node::Together(_) => 0,
    }
}
