//! The physical plan of a partition: scans, sorts and merges as the layout says, then numbering, ties and the sink.
//!
//! `INSERT INTO archive SELECT * FROM spool ORDER BY ts_event, seq`, built by hand: the planner would believe the files'
//! claims, and would sort the whole day where they overlap. Refuses to run anything.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
};

use arrow::compute::SortOptions;
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder},
        source::DataSourceExec,
    },
    execution::object_store::ObjectStoreUrl,
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        union::UnionExec,
    },
};
use object_store::ObjectMeta;
use tokio::sync::Semaphore;

use super::{
    job::Job,
    layout::{Layout, Node},
    operators::{Does, Operator},
    shape::Shape,
    source::{Index, SpoolSource},
};
use crate::model::schema::{SEQ, TS_EVENT};

/// The two layouts of a partition: of sources with numbers of their own, and of those that qlc numbers.
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
}

/// Builds the plan whose only partition is the day's rows in their final order, with the carried columns.
///
/// # Errors
/// When the engine refuses a part of it, which is a defect.
pub fn rows(job: &Arc<Job>, layouts: &Layouts, spill: &Path) -> DfResult<Arc<dyn ExecutionPlan>> {
    let builder = Builder {
        job: Arc::clone(job),
        shape: Arc::new(job.shape.clone()),
        spill: spill.to_owned(),
        written: Arc::new(AtomicU64::new(0)),
        turns: (0..64).map(|_| Arc::new(Semaphore::new(1))).collect(),
    };
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
    Ok(builder.operator(Does::Ties, input))
}

/// The order of every sequence: `ts_event`, then `seq`, ascending, nulls first.
fn ordering(shape: &Shape) -> DfResult<LexOrdering> {
    let options = SortOptions { descending: false, nulls_first: true };
    let by = |name: &str, at: usize| PhysicalSortExpr::new(Arc::new(Column::new(name, at)), options);
    LexOrdering::new([by(TS_EVENT, shape.ts), by(SEQ, shape.seq)])
        .ok_or_else(|| DataFusionError::Internal("an order of two columns".to_owned()))
}

struct Builder {
    job: Arc<Job>,
    shape: Arc<Shape>,
    spill: std::path::PathBuf,
    written: Arc<AtomicU64>,
    /// One for each level of spilled runs.
    turns: Vec<Arc<Semaphore>>,
}

impl Builder {
    fn operator(&self, does: Does, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Operator::new(does, Arc::clone(&self.shape), input))
    }

    fn merge(&self, nodes: &[Node]) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.merged(self.parts(nodes)?)
    }

    /// One plan whose partitions are all partitions of `parts`, merged if there is more than one.
    fn merged(&self, mut parts: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = match parts.len() {
            0 => return Err(DataFusionError::Internal("a merge of nothing".to_owned())),
            1 => parts.swap_remove(0),
            _ => UnionExec::try_new(parts)?,
        };
        let partitions =
            datafusion::physical_plan::ExecutionPlanProperties::output_partitioning(&input).partition_count();
        if partitions == 1 {
            return Ok(input);
        }
        let merge = SortPreservingMergeExec::new(ordering(&self.shape)?, input).with_round_robin_repartition(false);
        Ok(Arc::new(merge))
    }

    /// The chains among `nodes` as one scan with a partition each, every other node as a plan of its own.
    fn parts(&self, nodes: &[Node]) -> DfResult<Vec<Arc<dyn ExecutionPlan>>> {
        let mut parts = Vec::new();
        let chains: Vec<&[usize]> = nodes
            .iter()
            .filter_map(|n| if let Node::Chain(files) = n { Some(files.as_slice()) } else { None })
            .collect();
        if !chains.is_empty() {
            parts.push(self.scan(&chains, vec![ordering(&self.shape)?]));
        }
        for node in nodes {
            match node {
                Node::Chain(_) => {}
                Node::Sort(file) => {
                    // Without an order: a sort over a scan that claims one passes the rows on as they are.
                    let scan = self.scan(&[&[*file]], Vec::new());
                    parts.push(Arc::new(SortExec::new(ordering(&self.shape)?, scan)));
                }
                Node::Run(inner) => {
                    let level = level(node);
                    let turn = self.turns.get(level).map_or_else(|| Arc::new(Semaphore::new(1)), Arc::clone);
                    let does = Does::Spill { folder: self.spill.clone(), turn, written: Arc::clone(&self.written) };
                    parts.push(self.operator(does, self.merge(inner)?));
                }
            }
        }
        Ok(parts)
    }

    /// Reads each chain as one partition, whose rows are in the order `claimed`.
    fn scan(&self, chains: &[&[usize]], claimed: Vec<LexOrdering>) -> Arc<dyn ExecutionPlan> {
        let file = |index: &usize| {
            let source = self.job.sources.get(*index)?;
            let meta = ObjectMeta {
                location: source.handle.path().clone(),
                last_modified: chrono::DateTime::default(),
                size: source.handle.size(),
                e_tag: None,
                version: None,
            };
            Some(PartitionedFile::new_from_meta(meta).with_extension(Index(*index)))
        };
        let groups = chains.iter().map(|chain| FileGroup::new(chain.iter().filter_map(file).collect())).collect();
        let config = FileScanConfigBuilder::new(
            ObjectStoreUrl::local_filesystem(),
            Arc::new(SpoolSource::new(Arc::clone(&self.job))),
        )
        .with_file_groups(groups)
        .with_preserve_order(true)
        .with_output_ordering(claimed)
        .build();
        DataSourceExec::from_data_source(config)
    }
}

fn level(node: &Node) -> usize {
    match node {
        Node::Run(inner) => 1 + inner.iter().map(level).max().unwrap_or(0),
        Node::Chain(_) | Node::Sort(_) => 0,
    }
}
