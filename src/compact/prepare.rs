//! From footers to a plan: which files feed the partition, which cannot be used, how the others are laid out.
//!
//! Refuses to write: what it finds bad is for the caller to quarantine, so that a dry run sees the same plan.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use super::decide::{Feeding, SpoolFile, is_entry_of, is_source, may_be_source};
use crate::{
    engine::{
        budget::Budget,
        examine::examine,
        fault::Problem,
        job::{Order, Role, Source},
        layout::{Item, Layout},
        plan::Layouts,
        probe::{Claims, probe},
        reader::Handle,
        shape::Shape,
    },
    error::{Error, Kind, Result},
    model::{
        partition::{Partition, belongs},
        quarantine::{Entry, ErrorType, Fault},
        receipt::{Receipt, SeqOrigin},
        schema,
        time::to_ns,
    },
    storage::store::{Object, Store},
};

/// Footers that are read at a time.
const FOOTERS_AT_A_TIME: usize = 16;

/// A candidate whose footer was read.
#[derive(Debug, Clone)]
pub struct Probed {
    /// The file.
    pub file: SpoolFile,
    /// What it claims, or why it cannot be used.
    pub claims: std::result::Result<Claims, Fault>,
}

/// Reads the footers of `files`, leaving out those in `entries`' quarantine; what the footer does not say of the time
/// span is found out by reading the rows.
///
/// # Errors
/// When a file is out of reach: a day must not be published without it.
pub async fn probe_all(spool: &Store, files: Vec<SpoolFile>) -> Result<Vec<Probed>> {
    let probes = files.into_iter().map(|file| {
        let handle = Handle::new(spool, &file.object);
        async move {
            let claims = match probe(&handle).await {
                Ok(claims) if claims.rows > 0 && claims.ts.is_none() && has_ts(&claims) => {
                    examine(&handle, &claims).await.map(|e| e.claims)
                }
                other => other,
            };
            match claims {
                Ok(claims) => Ok(Probed { file, claims: Ok(claims) }),
                Err(Problem::Bad(fault)) => Ok(Probed { file, claims: Err(fault) }),
                Err(Problem::Storage(error)) => Err(error),
                Err(Problem::FalseClaim(what)) => Err(Error::new(Kind::Internal, what)),
            }
        }
    });
    let mut probed = Vec::new();
    let mut running = stream::iter(probes).buffered(FOOTERS_AT_A_TIME);
    while let Some(one) = running.next().await {
        probed.push(one?);
    }
    Ok(probed)
}

fn has_ts(claims: &Claims) -> bool {
    claims.schema.column_with_name(schema::TS_EVENT).is_some()
}

/// Whether a file with these claims may hold rows that this partition's run must account for.
#[must_use]
pub fn feeds(file: &SpoolFile, claims: &Claims, partition: &Partition) -> bool {
    let at_home = file.home.is_none_or(|home| home == partition.date);
    let Some(span) = claims.ts else {
        // Without rows, or with none that has a time: its own day accounts for it.
        return at_home;
    };
    let (from, to) = (partition.date.start_ns(), partition.date.end_ns());
    match (to_ns(span.min), to_ns(span.max)) {
        (Some(min), Some(max)) => {
            let touches = min < to && max >= from;
            // Rows that are far from home go to QUARANTINE; the home day's run sees to that.
            touches || (at_home && is_far(file, min, max))
        }
        _ => true,
    }
}

fn is_far(file: &SpoolFile, min_ns: i64, max_ns: i64) -> bool {
    file.home.is_some_and(|home| min_ns < home.pred().start_ns() || max_ns >= home.succ().end_ns())
}

/// Why a file cannot be part of a partition with `schema`, if it cannot.
#[must_use]
pub fn unfit(claims: &Claims, partition: &Partition, schema: &arrow::datatypes::Schema) -> Option<Fault> {
    if let Some(what) = schema::misfit(&claims.schema, schema) {
        return Some(Fault::new(ErrorType::SchemaMismatch, what));
    }
    for name in ["exchange", "stream", "symbol"] {
        if let Some(crate::engine::probe::Constant::Text(value)) = claims.constants.get(name)
            && !belongs(name, value, &partition.series)
        {
            return Some(Fault::new(
                ErrorType::WrongPartition,
                format!("its {name} is {value:?}, but it lies in the folder of {}", partition.series),
            ));
        }
    }
    None
}

/// Marks what the receipt knows and what is in QUARANTINE. A file whose time alone changed is looked into.
///
/// # Errors
/// When a file is out of reach.
pub async fn feeding(
    spool: &Store,
    files: Vec<SpoolFile>,
    receipt: Option<&Receipt>,
    entries: &[Entry],
) -> Result<Vec<Feeding>> {
    let mut all = Vec::with_capacity(files.len());
    for file in files {
        let mut quarantined = false;
        for entry in entries.iter().filter(|e| is_entry_of(e, &file)) {
            quarantined |=
                entry.modified_us == file.object.modified_us || spool.sha256(&file.object.key).await?.0 == entry.sha256;
        }
        let sources = receipt.map(|r| r.sources.as_slice()).unwrap_or_default();
        let mut known = sources.iter().any(|s| is_source(s, &file));
        if !known
            && !quarantined
            && let Some(source) = sources.iter().find(|s| may_be_source(s, &file))
        {
            let handle = Handle::new(spool, &file.object);
            known = match probe(&handle).await {
                Ok(claims) if claims.rows == source.rows => {
                    matches!(examine(&handle, &claims).await, Ok(found) if found.row_hash == source.row_hash)
                }
                _ => false,
            };
        }
        all.push(Feeding { file, known, quarantined });
    }
    Ok(all)
}

/// Everything that a run needs besides the places.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The sources, spool files by name, the base last.
    pub sources: Vec<Source>,
    /// The columns.
    pub shape: Shape,
    /// Whether time columns are brought to nanoseconds.
    pub to_ns: bool,
    /// Where `seq` will come from.
    pub seq: SeqOrigin,
    /// Whether qlc numbers rows.
    pub numbers: bool,
    /// The first number.
    pub first_number: i64,
    /// The layouts.
    pub layouts: Layouts,
    /// Rows of a batch in the merge.
    pub batch_rows: usize,
    /// Whether small files are decoded at once.
    pub eager: bool,
}

impl Prepared {
    /// The plan, one line per step.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.layouts.lines();
        let sorted = self.sources.iter().filter(|s| s.order == Order::SortInMemory).count();
        if sorted > 0 {
            lines.insert(0, format!("sort {} in memory while reading", crate::engine::layout::plural(sorted, "file")));
        }
        if self.to_ns {
            lines.push("bring time columns to nanoseconds".to_owned());
        }
        lines.push("order ties, encode, read back, publish".to_owned());
        lines
    }

    /// Rows that the sources claim.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.sources.iter().map(|s| s.claims.rows).sum()
    }
}

/// Archived data that is read as one more source.
#[derive(Debug, Clone)]
pub struct BaseData {
    /// Its object in the archive.
    pub object: Object,
    /// Its claims.
    pub claims: Claims,
    /// Its receipt.
    pub receipt: Box<Receipt>,
}

/// Lays the files out.
///
/// # Errors
/// When the columns cannot be brought together, which is a defect.
pub fn prepare(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    files: &[(SpoolFile, Claims)],
    base: Option<&BaseData>,
    budget: &Budget,
) -> Result<Prepared> {
    let shape = Shape::of(&partition.series.stream, files.iter().map(|(_, c)| c).chain(base.map(|b| &b.claims)))?;
    let mut sources: Vec<Source> = files
        .iter()
        .map(|(file, claims)| Source {
            name: file.object.key.clone(),
            handle: Handle::new(spool, &file.object),
            home: file.home,
            claims: claims.clone(),
            role: Role::Spool,
            order: Order::Claimed,
            rank: None,
            modified_us: file.object.modified_us,
        })
        .collect();
    sources.extend(base.map(|base| Source {
        name: base.object.key.clone(),
        handle: Handle::new(archive, &base.object),
        home: Some(partition.date),
        claims: base.claims.clone(),
        role: Role::Base,
        order: Order::Claimed,
        rank: None,
        modified_us: base.object.modified_us,
    }));
    let to_ns = units_differ(&sources);
    for source in &mut sources {
        source.order = order_of(&source.claims, &shape, budget);
    }
    let seq = number(&mut sources, base);
    let numbers = sources.iter().any(|s| s.rank.is_some());
    let keeps = base.is_some_and(|b| b.receipt.outcome.seq != SeqOrigin::Assigned);
    let first_number =
        if numbers && keeps { base.and_then(|b| b.claims.seq).map_or(0, |span| span.max.saturating_add(1)) } else { 0 };
    let (width, batch_rows) = budget.merge_width(&sources, &shape);
    let both = numbers && sources.iter().any(|s| s.rank.is_none());
    let width = if both { (width / 2).max(2) } else { width };
    let items = |numbered: bool| -> Vec<Item> {
        let chosen = sources.iter().enumerate().filter(|(_, s)| s.claims.rows > 0 && s.rank.is_some() == numbered);
        chosen.map(|(index, source)| item(index, source, to_ns)).collect()
    };
    let layouts = Layouts { own: Layout::of(&items(false), width), numbered: Layout::of(&items(true), width) };
    let eager = layouts.groups() > 4;
    Ok(Prepared { sources, shape, to_ns, seq, numbers, first_number, layouts, batch_rows, eager })
}

/// Whether the files differ in the unit of a time column.
fn units_differ(sources: &[Source]) -> bool {
    schema::TIME_COLUMNS.iter().any(|name| {
        let spans = sources.iter().filter_map(|s| s.claims.times.get(*name));
        let units: BTreeSet<_> = spans.flat_map(|span| span.units()).flatten().collect();
        units.len() > 1
    })
}

fn order_of(claims: &Claims, shape: &Shape, budget: &Budget) -> Order {
    // Within a file that mixes units the stored order is not that of time.
    let one_unit = claims.ts.is_none_or(|span| {
        let [min, max] = span.units();
        min.is_some() && min == max
    });
    if claims.ordered && one_unit && claims.ts.is_some() {
        Order::Claimed
    } else if claims.rows.saturating_mul(shape.row_bytes()) <= budget.sort_in_memory {
        Order::SortInMemory
    } else {
        Order::SortSpilling
    }
}

/// Ranks the sources that qlc numbers: archived rows that it numbered before come first, then the files by name.
fn number(sources: &mut [Source], base: Option<&BaseData>) -> SeqOrigin {
    let without = |s: &Source| s.role == Role::Spool && !s.claims.has_seq && s.claims.rows > 0;
    if !sources.iter().any(without) {
        return base.map_or(SeqOrigin::Source, |b| {
            let others = sources.iter().any(|s| s.role == Role::Spool && s.claims.rows > 0);
            match b.receipt.outcome.seq {
                SeqOrigin::Assigned if others => SeqOrigin::Mixed,
                origin => origin,
            }
        });
    }
    let joins = base.is_some_and(|b| b.receipt.outcome.seq == SeqOrigin::Assigned);
    let mut order: Vec<usize> = (0..sources.len())
        .filter(|i| sources.get(*i).is_some_and(|s| without(s) || (joins && s.role == Role::Base)))
        .collect();
    order.sort_by_key(|i| {
        let source = sources.get(*i);
        let name = source.map(|s| s.name.clone()).unwrap_or_default();
        let file = name.rsplit('/').next().unwrap_or_default().to_owned();
        (source.is_some_and(|s| s.role == Role::Spool), file, name)
    });
    for (rank, index) in (0_u32..).zip(order) {
        if let Some(source) = sources.get_mut(index) {
            source.rank = Some(rank);
        }
    }
    let all = sources.iter().all(|s| s.rank.is_some() || s.claims.rows == 0);
    if all { SeqOrigin::Assigned } else { SeqOrigin::Mixed }
}

fn item(index: usize, source: &Source, to_nanos: bool) -> Item {
    let unit = |v: i64| if to_nanos { to_ns(v).unwrap_or(v) } else { v };
    let (min, max) = source.claims.ts.map_or((i64::MIN, i64::MAX), |s| (unit(s.min), unit(s.max)));
    let (first, last) = match (source.rank, source.claims.seq) {
        (Some(rank), _) => (i64::from(rank), i64::from(rank)),
        (None, Some(span)) => (span.min, span.max),
        (None, None) => (i64::MIN, i64::MAX),
    };
    Item { index, first: (min, first), last: (max, last), sort: source.order == Order::SortSpilling }
}
