//! From footers to a plan: which files feed the partition, which cannot be used, how the others are
//! laid out.
//!
//! Nothing is written here: the caller quarantines what is found bad, so that a dry run sees the
//! same plan.

use std::{collections::BTreeMap, sync::Arc};

use arrow::buffer::BooleanBuffer;
use futures::{StreamExt, stream};

use super::{
    columns::{self, Columns, Facts, Voter},
    decide::SpoolFile,
    footers::Footers,
};
use crate::{
    engine::plan::Layouts,
    error::{Error, Kind, Result},
    file::{
        claims::{Claims, Constant},
        examine::{days, examine},
        fault::Problem,
        probe::{greatest, probe, without},
        reader::Handle,
        shape::Shape,
    },
    job::{
        JobSource, MOST_COLLECTORS, Merging, Order, Role,
        budget::{Budget, decoded_bytes},
        layout::{Item, Layout, Room},
    },
    model::{
        count::plural,
        date::Date,
        layout,
        partition::{Partition, belongs},
        quarantine::{ErrorType, Fault},
        receipt::{ARCHIVED, Content, Receipt, SeqOrigin, UNNAMED, are_of_several},
        schema,
        time::to_ns,
    },
    storage::store::{Object, Store},
};

/// Footers that are read at a time.
const FOOTERS_AT_A_TIME: usize = 32;

/// A candidate whose footer was read.
#[derive(Debug, Clone)]
pub struct Probed {
    /// The file.
    pub file: SpoolFile,
    /// What it claims, or why it cannot be used.
    pub claims: std::result::Result<Claims, Fault>,
    /// Whether the partition's run must account for rows of it.
    pub feeds: bool,
}

/// Reads the footers of `files` and says which of them feed `partition`. Where a footer leaves open
/// which days its rows are of, the rows are read. `settled` tells whether a file's rows without a
/// permitted day are in QUARANTINE already, `sent` whether a neighbouring day's receipt says that
/// the file has rows for this day, `lost` which of its row groups are left out.
///
/// # Errors
/// When a file is out of reach: a day must not be published without it.
pub async fn probe_all(
    spool: &Store,
    footers: &Footers,
    partition: &Partition,
    files: Vec<SpoolFile>,
    settled: &(dyn Fn(&SpoolFile) -> bool + Sync),
    sent: &(dyn Fn(&SpoolFile) -> bool + Sync),
    lost: &(dyn Fn(&SpoolFile) -> Vec<usize> + Sync),
) -> Result<Vec<Probed>> {
    let probes = files.into_iter().map(|file| {
        let handle = Handle::new(spool, &file.object);
        async move {
            let found = probe_one(
                &handle,
                footers,
                partition,
                &file,
                settled,
                sent,
                &lost(&file),
            )
            .await;
            match found {
                Ok((claims, feeds)) => Ok(Probed {
                    file,
                    claims: Ok(claims),
                    feeds,
                }),
                Err(Problem::Bad(fault)) => {
                    // Rows that a neighbour's run found in it for this day are nowhere else.
                    let feeds = accounting_day(&file, None) == Some(partition.date) || sent(&file);
                    Ok(Probed {
                        file,
                        claims: Err(fault),
                        feeds,
                    })
                }
                Err(Problem::Storage(error)) => Err(error),
                Err(other) => Err(Error::new(Kind::Internal, other.to_string())),
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

async fn probe_one(
    handle: &Handle,
    footers: &Footers,
    partition: &Partition,
    file: &SpoolFile,
    settled: &(dyn Fn(&SpoolFile) -> bool + Sync),
    sent: &(dyn Fn(&SpoolFile) -> bool + Sync),
    lost: &[usize],
) -> std::result::Result<(Claims, bool), Problem> {
    let mut claims = footers.of(handle, file).await?;
    if !lost.is_empty() {
        if claims.meta.is_none() {
            claims = probe(handle).await?;
        }
        claims = without(&claims, lost)?;
    }
    if claims.rows == 0 {
        // Nothing to conserve; not even its columns count.
        return Ok((claims, false));
    }
    let has_ts = claims.schema.column_with_name(schema::TS_EVENT).is_some();
    if !has_ts {
        // It cannot be placed; the run of its own day finds the schema unfit.
        return Ok((claims, accounting_day(file, None) == Some(partition.date)));
    }
    let silent = schema::TIME_COLUMNS.iter().any(|name| {
        claims.schema.column_with_name(name).is_some() && !claims.times.contains_key(*name)
    });
    if silent {
        claims = examine(handle, &claims).await?.claims;
    }
    let span = claims.ts.and_then(|span| {
        let [min, max] = span.units();
        Some((to_ns(span.min)?, to_ns(span.max)?)).filter(|_| min == max)
    });
    let (from, to) = (partition.date.start_ns(), partition.date.end_ns());
    let at_home = accounting_day(file, Some(&claims)) == Some(partition.date);
    if let Some((min, max)) = span {
        let short = max - min <= 3 * crate::model::date::DAY_NS;
        if min < to && max >= from && short {
            return Ok((claims, true));
        }
        if short && !at_home && !sent(file) {
            return Ok((claims, false));
        }
    }
    // The footer does not settle it, or says that a file has nothing for its own day: the rows do.
    let days = days(handle, &claims, file.home).await?;
    let unplaced = days.unplaced > 0 && at_home && !settled(file);
    Ok((claims, days.permitted.contains(&partition.date) || unplaced))
}

/// The day whose run accounts for rows of `file` that belong to no day: the one that its name or
/// folder tells, else that of its first row, else that of its last change.
#[must_use]
pub fn accounting_day(file: &SpoolFile, claims: Option<&Claims>) -> Option<Date> {
    let first = || Date::of_ns(to_ns(claims?.ts?.min)?);
    file.home
        .or_else(first)
        .or_else(|| Date::of_ns(file.object.modified_us.saturating_mul(1000)))
}

/// Why a file cannot be part of the partition, whatever the other files are.
fn unusable(claims: &Claims, partition: &Partition) -> Option<Fault> {
    if let Some(what) = schema::unusable(&claims.schema, &partition.series.stream) {
        return Some(Fault::new(ErrorType::SchemaMismatch, what));
    }
    for name in ["exchange", "stream", "symbol"] {
        if let Some(Constant::Text(value)) = claims.constants.get(name)
            && !belongs(name, value, &partition.series)
        {
            return Some(Fault::new(
                ErrorType::WrongPartition,
                format!(
                    "its {name} is {value:?}, but it lies in the folder of {}",
                    partition.series
                ),
            ));
        }
    }
    None
}

/// Settles the columns and the unit of the day's rows. Files that cannot be part of the partition
/// are in [`Columns::unfit`], by their place in `files`; those whose keys are in `known` have rows
/// in the archive already, so that their types stand.
///
/// # Errors
/// When a file is out of reach.
pub async fn settle(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    files: &[InputFile],
    known: &BTreeMap<String, Content>,
    base: Option<&BaseData>,
    facts: &Facts,
) -> Result<Columns> {
    let mut voters: Vec<Voter<'_>> = files
        .iter()
        .map(|InputFile { file, claims, .. }| Voter {
            handle: Handle::new(spool, &file.object),
            claims,
            home: file.home,
            archived: known.contains_key(&file.object.key),
        })
        .collect();
    voters.extend(base.map(|base| Voter {
        handle: Handle::new(archive, &base.object).vouched(),
        claims: &base.claims,
        home: Some(partition.date),
        archived: true,
    }));
    let unfit = files
        .iter()
        .enumerate()
        .filter_map(|(nth, input)| Some((nth, unusable(&input.claims, partition)?)));
    let settled = columns::settle(partition, &voters, unfit.collect(), facts).await?;
    let for_good = base.is_some_and(|base| base.receipt.outcome.brought_to.is_some());
    Ok(Columns {
        to_ns: settled.to_ns || for_good,
        ..settled
    })
}

/// Everything that a run needs besides the places.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The sources, spool files by name, the base last.
    pub sources: Vec<JobSource>,
    /// The columns.
    pub shape: Shape,
    /// Of which collectors they are, where there are several.
    pub merging: Option<Merging>,
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
        let sorted = self
            .sources
            .iter()
            .filter(|s| s.order == Order::SortInMemory)
            .count();
        if sorted > 0 {
            lines.insert(
                0,
                format!("sort {} in memory while reading", plural(sorted, "file")),
            );
        }
        if self.to_ns {
            lines.push("bring time columns to nanoseconds".to_owned());
        }
        if let Some(merging) = &self.merging {
            lines.push(format!("merge what {} have", merging.collectors.join(", ")));
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

/// A file that is read.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// The file.
    pub file: SpoolFile,
    /// What is known of it.
    pub claims: Claims,
    /// Row groups whose rows the archive has already.
    pub known_groups: Vec<usize>,
    /// Rows that it has already.
    pub known_rows: Option<Arc<BooleanBuffer>>,
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

/// Lays the files out, all of which fit `columns`.
///
/// # Errors
/// When the columns cannot be brought together, which is a defect.
pub fn prepare(
    spool: &Store,
    archive: &Store,
    partition: &Partition,
    files: &[InputFile],
    base: Option<&BaseData>,
    columns: &Columns,
    budget: &Budget,
) -> Result<Prepared> {
    let claims = files
        .iter()
        .map(|input| &input.claims)
        .chain(base.map(|b| &b.claims));
    let (shape, to_ns) = (
        Shape::of(Arc::clone(&columns.schema), claims)?,
        columns.to_ns,
    );
    let mut sources: Vec<JobSource> = files
        .iter()
        .map(
            |InputFile {
                 file,
                 claims,
                 known_groups,
                 known_rows,
             }| JobSource {
                name: file.object.key.clone(),
                handle: Handle::new(spool, &file.object),
                home: file.home,
                claims: claims.clone(),
                role: Role::Spool,
                order: Order::Claimed,
                rank: None,
                modified_us: file.object.modified_us,
                known_groups: known_groups.clone(),
                known_rows: known_rows.clone(),
            },
        )
        .collect();
    sources.extend(base.map(|base| JobSource {
        name: base.object.key.clone(),
        handle: Handle::new(archive, &base.object).vouched(),
        home: Some(partition.date),
        claims: base.claims.clone(),
        role: Role::Base,
        order: Order::Claimed,
        rank: None,
        modified_us: base.object.modified_us,
        known_groups: Vec::new(),
        known_rows: None,
    }));
    for source in &mut sources {
        source.order = order_of(&source.claims, &shape, budget);
    }
    let seq = number(&mut sources, base);
    let numbers = sources.iter().any(|s| s.rank.is_some());
    // Which of the archived rows qlc numbered cannot be told any more: new numbers follow the
    // largest there is.
    let keeps = base.is_some_and(|b| b.receipt.outcome.seq == SeqOrigin::Mixed);
    let greatest = || base.and_then(|b| greatest(&b.claims, schema::SEQ));
    let first_number = if numbers && keeps {
        greatest().map_or(0, |seq| seq.saturating_add(1))
    } else {
        0
    };
    budget.check(&sources)?;
    let (mut room, batch_rows) = budget.room(&sources, &shape);
    if numbers && sources.iter().any(|s| s.rank.is_none()) {
        // Both merges are open at the same time.
        room = Room {
            sources: room.sources / 2,
            runs: room.runs / 2,
            ..room
        };
    }
    let items = |numbered: bool| -> Vec<Item> {
        let chosen = sources
            .iter()
            .enumerate()
            .filter(|(_, s)| s.claims.rows > 0 && s.rank.is_some() == numbered);
        chosen
            .map(|(index, source)| item(index, source, to_ns, &shape, budget))
            .collect()
    };
    let layouts = Layouts {
        own: Layout::of(&items(false), room),
        numbered: Layout::of(&items(true), room),
    };
    let eager = layouts.open() > 4;
    let merging = merging(partition, &sources, base)?;
    if merging.is_some() {
        // The archived rows of the damaged version are those of one more collector, so that its
        // good copy is read whole: of two equal rows, one of which was lost, the other would be
        // taken for the archived one.
        for source in sources
            .iter_mut()
            .filter(|source| source.claims.lost.is_none() && source.rank.is_none())
        {
            source.known_groups.clear();
        }
    }
    Ok(Prepared {
        sources,
        shape,
        merging,
        to_ns,
        seq,
        numbers,
        first_number,
        layouts,
        batch_rows,
        eager,
    })
}

/// Whether rows of several collectors are merged: of these files, which are told by their names and
/// numbers of rows, and of the archived data.
pub fn is_merge<'a>(
    files: impl Iterator<Item = (&'a str, u64)>,
    base: Option<&'a BaseData>,
) -> bool {
    let archived = base
        .into_iter()
        .flat_map(|base| &base.receipt.sources)
        .map(|source| source.name.as_str());
    let files = files.filter(|(_, rows)| *rows > 0).map(|(name, _)| name);
    are_of_several(files.chain(archived))
}

/// The collectors of the sources, where there are several: those of the files, and the archived
/// data as one more.
fn merging(
    partition: &Partition,
    sources: &[JobSource],
    base: Option<&BaseData>,
) -> Result<Option<Merging>> {
    let files = sources
        .iter()
        .filter(|source| source.role == Role::Spool)
        .map(|source| (source.name.as_str(), source.claims.rows));
    if !is_merge(files, base) {
        return Ok(None);
    }
    let mut collectors: Vec<String> = Vec::new();
    let mut of_source = Vec::with_capacity(sources.len());
    for source in sources {
        let name = match source.role {
            Role::Base => ARCHIVED,
            Role::Spool => layout::collector_of(&source.name).unwrap_or(UNNAMED),
        };
        let at = collectors
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| {
                collectors.push(name.to_owned());
                collectors.len() - 1
            });
        of_source.push(at);
    }
    if collectors.len() > MOST_COLLECTORS {
        let most = format!(
            "{partition}: {} collectors have rows of it, and {MOST_COLLECTORS} can be merged",
            collectors.len()
        );
        return Err(Error::new(Kind::Resources, most));
    }
    Ok(Some(Merging {
        collectors,
        of_source,
    }))
}

fn order_of(claims: &Claims, shape: &Shape, budget: &Budget) -> Order {
    // Within a file that mixes units the stored order is not that of time.
    let one_unit = claims.ts.is_none_or(|span| {
        let [min, max] = span.units();
        min.is_some() && min == max
    });
    let bytes = claims
        .rows
        .saturating_mul(shape.row_bytes().max(claims.row_bytes));
    if claims.ordered && one_unit && claims.ts.is_some() {
        Order::Claimed
    } else if bytes <= budget.sort_in_memory {
        Order::SortInMemory
    } else {
        Order::SortSpilling
    }
}

/// Ranks the sources that qlc numbers: archived rows that it numbered before come first, then the
/// files by name.
fn number(sources: &mut [JobSource], base: Option<&BaseData>) -> SeqOrigin {
    // A file that adds no row needs no numbers.
    let without = |s: &JobSource| {
        s.role == Role::Spool && !s.claims.has_seq && s.claims.rows > 0 && !s.is_known()
    };
    if !sources.iter().any(without) {
        return base.map_or(SeqOrigin::Source, |b| {
            let others = sources
                .iter()
                .any(|s| s.role == Role::Spool && s.claims.rows > 0);
            match b.receipt.outcome.seq {
                SeqOrigin::Assigned if others => SeqOrigin::Mixed,
                origin => origin,
            }
        });
    }
    let joins = base.is_some_and(|b| b.receipt.outcome.seq == SeqOrigin::Assigned);
    let mut order: Vec<usize> = (0..sources.len())
        .filter(|i| {
            sources
                .get(*i)
                .is_some_and(|s| without(s) || (joins && s.role == Role::Base))
        })
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
    let all = sources
        .iter()
        .all(|s| s.rank.is_some() || s.claims.rows == 0 || s.is_known());
    if all {
        SeqOrigin::Assigned
    } else {
        SeqOrigin::Mixed
    }
}

fn item(index: usize, source: &JobSource, to_nanos: bool, shape: &Shape, budget: &Budget) -> Item {
    let unit = |v: i64| if to_nanos { to_ns(v).unwrap_or(v) } else { v };
    // Where the ends differ in unit, the stored span is not the span of time.
    let plain = source
        .claims
        .ts
        .filter(|s| !to_nanos || s.units()[0] == s.units()[1]);
    let (min, max) = plain.map_or((i64::MIN, i64::MAX), |s| (unit(s.min), unit(s.max)));
    let (first, last) = match (source.rank, source.claims.seq) {
        (Some(rank), _) => (i64::from(rank), i64::from(rank)),
        (None, Some(span)) => (span.min, span.max),
        (None, None) => (i64::MIN, i64::MAX),
    };
    let bytes = decoded_bytes(source, shape.row_bytes());
    let (sort, alone) = (source.order == Order::SortSpilling, budget.is_alone(source));
    Item {
        index,
        first: (min, first),
        last: (max, last),
        sort,
        bytes,
        alone,
    }
}
