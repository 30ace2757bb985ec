//! Which columns a day has, of which types, and in which unit its times are: functions of the day's
//! rows alone.
//!
//! A file may hold rows of other days; those do not count, and neither does a file without a row of
//! this day. Footers settle this where a file has one day and one unit; what they leave open is
//! read. The names of files and the order in which they came play no part.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::{DataType, SchemaRef};

use crate::{
    error::Result,
    file::{
        claims::{Claims, Fill, Span},
        day::{DayFacts, day_facts},
        fault::Problem,
        reader::Handle,
    },
    model::{
        date::{Date, permitted_day},
        partition::Partition,
        quarantine::{ErrorType, Fault},
        schema::{self, TIME_COLUMNS, TS_EVENT, logical},
        time::Unit,
        types::{self, Choice, Part},
    },
};

/// A source of the day: a file of the spool, or the archived data.
#[derive(Debug, Clone)]
pub struct Voter<'a> {
    /// How to read it.
    pub handle: Handle,
    /// What is known of it.
    pub claims: &'a Claims,
    /// The day it belongs to, where its name or folder tells.
    pub home: Option<Date>,
    /// Whether its rows are in the archive already: it is the archived data, or a file that was
    /// compacted.
    pub archived: bool,
}

/// What the rows of a day have in common.
#[derive(Debug, Clone)]
pub struct Columns {
    /// All columns, as the archive has them.
    pub schema: SchemaRef,
    /// Whether time columns are brought to nanoseconds.
    pub to_ns: bool,
    /// Voters that cannot be part of it, by their place, and why.
    pub unfit: Vec<(usize, Fault)>,
}

/// What was read to settle it, so that a second attempt does not read it again.
#[derive(Debug, Default)]
pub struct Facts(Mutex<HashMap<FactsKey, Arc<DayFacts>>>);

/// A file, and the row groups of it that are left out.
type FactsKey = (String, Vec<usize>);

impl Facts {
    fn known(&self, voter: &Voter<'_>) -> Option<Arc<DayFacts>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key(voter))
            .cloned()
    }

    /// Reads what a voter has on `date`, as far as `until` says. A file that does not read has no
    /// say: whoever reads it whole finds out what is wrong with it.
    async fn read(
        &self,
        voter: &Voter<'_>,
        date: Date,
        until: Option<&BTreeSet<String>>,
    ) -> Result<Arc<DayFacts>> {
        if let Some(known) = self.known(voter).filter(|known| known.whole) {
            return Ok(known);
        }
        let names: BTreeSet<String> = voter
            .claims
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let facts =
            match day_facts(&voter.handle, voter.claims, voter.home, date, &names, until).await {
                Ok(facts) => Arc::new(facts),
                Err(Problem::Storage(error)) => return Err(error),
                Err(_) => Arc::new(DayFacts {
                    whole: true,
                    ..DayFacts::default()
                }),
            };
        let _ = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key(voter), Arc::clone(&facts));
        Ok(facts)
    }
}

fn key(voter: &Voter<'_>) -> FactsKey {
    let lost = voter
        .claims
        .lost
        .as_ref()
        .map(|lost| lost.groups.clone())
        .unwrap_or_default();
    (voter.handle.shown().to_owned(), lost)
}

/// Settles the columns and the unit of `partition`, made of `voters`. Of those in `unfit` the day's
/// schema knows nothing.
///
/// # Errors
/// When a file is out of reach.
pub async fn settle(
    partition: &Partition,
    voters: &[Voter<'_>],
    mut unfit: Vec<(usize, Fault)>,
    facts: &Facts,
) -> Result<Columns> {
    let canonical = schema::canonical(&partition.series.stream);
    let mut settled: BTreeMap<String, Option<DataType>> = BTreeMap::new();
    loop {
        let gone: BTreeSet<usize> = unfit.iter().map(|(nth, _)| *nth).collect();
        let left: Vec<(usize, &Voter<'_>)> = voters
            .iter()
            .enumerate()
            .filter(|(nth, v)| v.claims.rows > 0 && !gone.contains(nth))
            .collect();
        let all: Vec<&Voter<'_>> = left.iter().map(|(_, voter)| *voter).collect();
        let names = all
            .iter()
            .flat_map(|v| v.claims.schema.fields())
            .map(|field| field.name());
        let is_open = |name: &str| {
            canonical.column_with_name(name).is_none() || schema::SINCE_2.contains(&name)
        };
        let added: BTreeSet<&String> = names.filter(|name| is_open(name)).collect();
        settled.retain(|name, _| added.contains(name));
        let Some(name) = added.into_iter().find(|name| !settled.contains_key(*name)) else {
            let kinds = settled
                .into_iter()
                .filter_map(|(name, kind)| Some((name, kind?)));
            let schema = schema::with_added(&partition.series.stream, kinds);
            return Ok(Columns {
                schema,
                to_ns: units_differ(partition.date, &all, facts).await?,
                unfit,
            });
        };
        let kind = kind_of(name, partition.date, &all, facts).await?;
        let Some(kind) = kind else {
            let _ = settled.insert(name.clone(), None);
            continue;
        };
        if let Ok(field) = canonical.field_with_name(name) {
            // Of the canonical ones that not every day has, only that is open.
            let _ = settled.insert(name.clone(), Some(field.data_type().clone()));
            continue;
        }
        let mut outvoted = Vec::new();
        for (nth, voter) in left {
            let Some((_, field)) = voter.claims.schema.column_with_name(name) else {
                continue;
            };
            let part = part(name, voter, partition.date, facts);
            if part.is_some_and(|part| !types::holds(&kind, &part)) {
                let what = schema::other_type(field, &kind);
                outvoted.push((nth, Fault::new(ErrorType::SchemaMismatch, what)));
            }
        }
        if outvoted.is_empty() {
            let _ = settled.insert(name.clone(), Some(kind));
        } else {
            // Without them the other columns may be others, too.
            settled.clear();
            unfit.extend(outvoted);
        }
    }
}

/// Whether a column has a value in some row of the day, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Value,
    None,
    Unknown,
}

fn has(name: &str, voter: &Voter<'_>, date: Date, facts: &Facts) -> Has {
    let Some((_, field)) = voter.claims.schema.column_with_name(name) else {
        return Has::None;
    };
    if field.data_type() == &DataType::Null {
        return Has::None;
    }
    match facts.known(voter) {
        Some(known) if known.has_value(name) => return Has::Value,
        Some(known) if known.whole => return Has::None,
        _ => {}
    }
    match voter.claims.fills.get(name) {
        Some(Fill::Empty) => Has::None,
        Some(Fill::Full) if touches(voter, date) => Has::Value,
        Some(Fill::Partly) if inside(voter, date) => Has::Value,
        _ => Has::Unknown,
    }
}

/// Whether all rows of the file are of the day.
fn inside(voter: &Voter<'_>, date: Date) -> bool {
    let one_unit = voter
        .claims
        .ts
        .is_some_and(|span| span.units()[0] == span.units()[1]);
    one_unit
        && ends(voter, date) == [true, true]
        && voter.claims.fills.get(TS_EVENT) == Some(&Fill::Full)
}

/// Whether the day has a row that is the first or the last of the file.
fn touches(voter: &Voter<'_>, date: Date) -> bool {
    ends(voter, date) != [false, false]
}

fn ends(voter: &Voter<'_>, date: Date) -> [bool; 2] {
    let here = |value: i64| permitted_day(Some(value), voter.home) == Some(date);
    voter
        .claims
        .ts
        .map_or([false, false], |span| [here(span.min), here(span.max)])
}

/// The column of one voter, if it has a value.
fn part(name: &str, voter: &Voter<'_>, date: Date, facts: &Facts) -> Option<Part> {
    let (_, field) = voter.claims.schema.column_with_name(name)?;
    if has(name, voter, date, facts) != Has::Value {
        return None;
    }
    let known = facts.known(voter).filter(|known| known.whole);
    let values = known.map(|known| known.columns.get(name).copied().unwrap_or_default());
    Some(Part {
        kind: logical(field.data_type()),
        values,
        archived: voter.archived,
    })
}

/// The type of an added column; `None` where no row of the day has a value in it.
async fn kind_of(
    name: &str,
    date: Date,
    voters: &[&Voter<'_>],
    facts: &Facts,
) -> Result<Option<DataType>> {
    let asked: Vec<&&Voter<'_>> = voters
        .iter()
        .filter(|v| has(name, v, date, facts) != Has::None)
        .collect();
    let kinds: BTreeSet<String> = asked
        .iter()
        .filter_map(|v| {
            Some(logical(v.claims.schema.column_with_name(name)?.1.data_type()).to_string())
        })
        .collect();
    // Where all agree on the type, it is enough that one has a value.
    let is_settled = || {
        kinds.len() < 2
            && asked
                .iter()
                .any(|v| has(name, v, date, facts) == Has::Value)
    };
    for voter in &asked {
        if is_settled() {
            break;
        }
        if has(name, voter, date, facts) == Has::Unknown {
            let open = |other: &&String| has(other, voter, date, facts) == Has::Unknown;
            let names = voter
                .claims
                .schema
                .fields()
                .iter()
                .map(|field| field.name());
            let until: BTreeSet<String> = names.filter(open).cloned().collect();
            let _ = facts
                .read(voter, date, (kinds.len() < 2).then_some(&until))
                .await?;
        }
    }
    let parts = || {
        asked
            .iter()
            .filter_map(|v| part(name, v, date, facts))
            .collect::<Vec<Part>>()
    };
    let choice = match types::choose(&parts()) {
        Choice::Open => {
            for voter in &asked {
                let _ = facts.read(voter, date, None).await?;
            }
            types::choose(&parts())
        }
        choice => choice,
    };
    Ok(if let Choice::Kind(kind) = choice {
        Some(kind)
    } else {
        None
    })
}

/// Whether the rows of the day differ in the unit of a time column.
async fn units_differ(date: Date, voters: &[&Voter<'_>], facts: &Facts) -> Result<bool> {
    for name in TIME_COLUMNS {
        let voters = || {
            voters
                .iter()
                .filter(|v| v.claims.schema.column_with_name(name).is_some())
        };
        let possible: BTreeSet<Unit> = voters()
            .flat_map(|v| units(name, v, date, facts).possible())
            .collect();
        if possible.len() < 2 {
            continue;
        }
        let mut certain: BTreeSet<Unit> = voters()
            .filter_map(|v| units(name, v, date, facts).certain())
            .flatten()
            .collect();
        for voter in voters() {
            if certain.len() > 1 {
                return Ok(true);
            }
            if units(name, voter, date, facts).certain().is_none() {
                let read = facts.read(voter, date, None).await?;
                certain.extend(read.units.get(name).into_iter().flatten());
            }
        }
        if certain.len() > 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The units of a time column of one voter.
enum Units {
    /// Those of the day's rows.
    Certain(BTreeSet<Unit>),
    /// Rows of the day can have no others.
    Possible(BTreeSet<Unit>),
}

impl Units {
    fn possible(self) -> BTreeSet<Unit> {
        let (Self::Certain(units) | Self::Possible(units)) = self;
        units
    }

    fn certain(self) -> Option<BTreeSet<Unit>> {
        if let Self::Certain(units) = self {
            Some(units)
        } else {
            None
        }
    }
}

fn units(name: &str, voter: &Voter<'_>, date: Date, facts: &Facts) -> Units {
    if let Some(known) = facts.known(voter).filter(|known| known.whole) {
        return Units::Certain(known.units.get(name).cloned().unwrap_or_default());
    }
    if voter.claims.fills.get(name) == Some(&Fill::Empty) {
        return Units::Certain(BTreeSet::new());
    }
    let Some(span) = voter.claims.times.get(name) else {
        return Units::Possible(Unit::ALL.into());
    };
    let possible = within(*span);
    // The ends of a span are values of rows; all between two of one unit is of that unit.
    if possible.is_empty()
        || (possible.len() == 1 && span.units() != [None, None] && inside(voter, date))
    {
        Units::Certain(possible)
    } else {
        Units::Possible(possible)
    }
}

/// The units that a time between the ends of `span` can have.
fn within(span: Span) -> BTreeSet<Unit> {
    let Span { min, max } = span;
    Unit::ALL
        .into_iter()
        .filter(|unit| unit.range().start <= max && min < unit.range().end)
        .collect()
}
