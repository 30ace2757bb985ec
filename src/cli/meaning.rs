//! What was meant: typed flags become the options of a verb, or an error that says which flag does
//! not fit and why.
//!
//! Pure: what it needs of files, stores and the clock comes in as an argument.

use chrono::{DateTime, Utc};

use super::{
    args::{
        Chosen, Clean, Compact, Covered, Days, Import, ModeName, OutputFormat, Prune, Query,
        Reconcile, SelectionArgs, Verify,
    },
    settings::Settings,
};
use crate::{
    clean, compact,
    error::{Error, Result},
    import,
    model::{
        date::Date,
        near::nearest,
        partition::{Selection, Series},
    },
    prune,
    quarantine::{Filter, Retry},
    query, reconcile, status, verify,
};

/// What `qlc query` is to do.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Print the named queries.
    List,
    /// Run these, one after the other.
    Run(Vec<query::Options>),
    /// Ask for statements; the options are those of each, with this form of results.
    Prompt(query::Options, OutputFormat),
}

/// Where a statement may come from besides the command line.
#[derive(Debug)]
pub(crate) enum Given {
    /// From nowhere.
    Nothing,
    /// From a file, or from what is not a terminal.
    Text(String),
    /// From a person at a terminal.
    Terminal,
}

/// The options of a compaction. `clock` is the present instant, for where none was typed.
///
/// # Errors
/// When flags contradict each other or one that the mode needs is missing.
pub(crate) fn compact(
    typed: &Compact,
    settings: &Settings,
    clock: DateTime<Utc>,
) -> Result<compact::Options> {
    let now = typed.now.unwrap_or(clock);
    // An instant that has no day is a typing error, not a failed run.
    let _ = Date::of(now)?;
    Ok(compact::Options {
        mode: mode(typed)?,
        selection: selection(&typed.selection),
        workers: settings.workers,
        memory_limit: settings.memory_limit,
        spill_dir: settings.spill_dir.clone(),
        now,
        force: typed.force,
        accept_loss: typed.accept_loss,
        salvage: typed.salvage,
        zstd_level: settings.zstd_level,
    })
}

fn mode(typed: &Compact) -> Result<compact::Mode> {
    let given = [
        ("--start", typed.start.is_some()),
        ("--end", typed.end.is_some()),
        ("--date", typed.date.is_some()),
    ];
    let refuse = |allowed: &[&str], name: &str| match given
        .iter()
        .find(|(flag, is)| *is && !allowed.contains(flag))
    {
        Some((flag, _)) => {
            let home = if *flag == "--date" {
                "single"
            } else {
                "backfill"
            };
            Err(Error::usage(format!(
                "{flag} belongs to --mode {home}, not to --mode {name}: change one of them"
            )))
        }
        None => Ok(()),
    };
    match typed.mode {
        ModeName::Daily => refuse(&[], "daily").map(|()| compact::Mode::Daily),
        ModeName::CatchUp => refuse(&[], "catch-up").map(|()| compact::Mode::CatchUp),
        ModeName::Backfill => {
            refuse(&["--start", "--end"], "backfill")?;
            let (Some(start), Some(end)) = (typed.start, typed.end) else {
                return Err(Error::usage(
                    "--mode backfill needs its first and last day, as in --start 20260101 --end 20260115",
                ));
            };
            in_order(start, end)?;
            Ok(compact::Mode::Backfill { start, end })
        }
        ModeName::Single => {
            refuse(&["--date"], "single")?;
            let one = |count: usize| count == 1;
            match typed.date {
                Some(date)
                    if one(typed.selection.symbol.len()) && one(typed.selection.stream.len()) =>
                {
                    Ok(compact::Mode::Single { date })
                }
                _ => Err(Error::usage(
                    "--mode single needs one day, one symbol and one stream, as in --date 20260203 --symbol btcusdt --stream bbo",
                )),
            }
        }
    }
}

/// The options of a verification.
///
/// # Errors
/// When the first day comes after the last one.
pub(crate) fn verify(typed: &Verify, settings: &Settings) -> Result<verify::Options> {
    let (start, end) = days(&typed.days)?;
    Ok(verify::Options {
        selection: selection(&typed.selection),
        start,
        end,
        quick: typed.quick,
        memory_limit: settings.memory_limit,
    })
}

/// The options of a comparison with what an exchange published, without what is fetched. `clock` is
/// the present instant.
///
/// # Errors
/// When no days are named, or the first comes after the last one, or a file is not there.
pub(crate) fn reconcile(
    typed: &Reconcile,
    settings: &Settings,
    clock: DateTime<Utc>,
) -> Result<reconcile::Options> {
    let (Some(start), Some(end)) = days(&typed.days)? else {
        return Err(Error::usage(
            "name the days, as in --date 20260203 or --start 20260201 --end 20260228",
        ));
    };
    let given = typed
        .with
        .iter()
        .map(|text| reconcile::Given::parse(text).map_err(|e| Error::usage(format!("--with {e}"))));
    Ok(reconcile::Options {
        selection: selection(&typed.selection),
        start,
        end,
        given: given.collect::<Result<_>>()?,
        published: settings.published.clone(),
        downloads: None,
        take: typed.take,
        memory_limit: settings.memory_limit,
        spill_dir: settings.spill_dir.clone(),
        now: clock,
    })
}

/// What a coverage is about. `clock` is the present instant, for where none was typed.
///
/// # Errors
/// When the first day comes after the last one, or the instant has no day.
pub(crate) fn status(
    typed: &Covered,
    detail: status::Detail,
    clock: DateTime<Utc>,
) -> Result<status::Options> {
    let now = typed.now.unwrap_or(clock);
    let today = Date::of(now)?;
    let (start, end) = days(&typed.days)?;
    if let Some(start) = start.filter(|start| *start > today) {
        return Err(Error::usage(format!("--start {start} lies in the future")));
    }
    Ok(status::Options {
        selection: selection(&typed.selection),
        start,
        end,
        now,
        detail,
    })
}

/// The options of a pruning. `clock` is the present instant, for where none was typed.
///
/// # Errors
/// When the instant has no day.
pub(crate) fn prune(
    typed: &Prune,
    settings: &Settings,
    clock: DateTime<Utc>,
) -> Result<prune::Options> {
    let now = typed.now.unwrap_or(clock);
    let _ = Date::of(now)?;
    Ok(prune::Options {
        selection: selection(&typed.selection),
        keep_days: typed.keep_days,
        keep_records: typed.retention.keep_records,
        now,
        spill_dir: settings.spill_dir.clone(),
        dry_run: typed.dry_run,
    })
}

/// The options of an import.
///
/// # Errors
/// When the first day comes after the last one.
pub(crate) fn import(
    typed: &Import,
    settings: &Settings,
    clock: DateTime<Utc>,
) -> Result<import::Options> {
    let (start, end) = days(&typed.days)?;
    Ok(import::Options {
        selection: selection(&typed.selection),
        start,
        end,
        now: clock,
        spill_dir: settings.spill_dir.clone(),
        spool: settings
            .spool
            .all()
            .first()
            .map(|spool| spool.place.clone())
            .unwrap_or_default(),
        rewrite: typed.rewrite,
        dry_run: typed.dry_run,
    })
}

/// The options of the compaction of what an import cannot adopt.
pub(crate) fn rewriting(import: &import::Options, settings: &Settings) -> compact::Options {
    compact::Options {
        mode: compact::Mode::CatchUp,
        selection: import.selection.clone(),
        workers: settings.workers,
        memory_limit: settings.memory_limit,
        spill_dir: import.spill_dir.clone(),
        now: import.now,
        force: false,
        accept_loss: false,
        salvage: false,
        zstd_level: settings.zstd_level,
    }
}

/// The options of a cleaning.
pub(crate) fn clean(typed: &Clean, settings: &Settings, clock: DateTime<Utc>) -> clean::Options {
    clean::Options {
        older_than: typed.older_than,
        now: clock,
        spill_dir: settings.spill_dir.clone(),
        dry_run: typed.dry_run,
    }
}

/// Which entries of QUARANTINE are meant.
///
/// # Errors
/// When the first day comes after the last one.
pub(crate) fn filter(typed: &Chosen) -> Result<Filter> {
    let (start, end) = days(&typed.days)?;
    Ok(Filter {
        selection: selection(&typed.selection),
        start,
        end,
        name: typed.name.clone(),
    })
}

/// The compactions that try these entries again: of the day that each file belongs to and its
/// neighbours, or of all days that are open where no name tells a day.
pub(crate) fn compactions(
    retries: &[Retry],
    salvage: bool,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Vec<compact::Options> {
    let tried = retries.iter().filter(|retry| retry.refused.is_none());
    let mut wanted: Vec<(&Series, Option<Date>)> = tried
        .map(|retry| (&retry.held.partition.series, retry.home))
        .collect();
    wanted.sort();
    wanted.dedup();
    let options = wanted.into_iter().map(|(series, home)| compact::Options {
        mode: home.map_or(compact::Mode::CatchUp, |day| compact::Mode::Backfill {
            start: day.pred(),
            end: day.succ(),
        }),
        selection: Selection::of(series),
        workers: settings.workers,
        memory_limit: settings.memory_limit,
        spill_dir: settings.spill_dir.clone(),
        now,
        force: false,
        accept_loss: false,
        salvage,
        zstd_level: settings.zstd_level,
    });
    options.collect()
}

/// What a query is to do. `given` is the content of `--file` or stdin, or who sits there.
///
/// # Errors
/// When not exactly one statement was given, a name or parameter is unknown or given twice, or the
/// file names a form that is not that of `--format`, or several statements share what is meant for
/// one.
pub(crate) fn query(typed: &Query, given: Given, settings: &Settings) -> Result<Asked> {
    let chosen = [
        typed.sql.is_some(),
        typed.file.is_some(),
        typed.name.is_some(),
        typed.list,
    ];
    let chosen = chosen.iter().filter(|is| **is).count();
    let is_asked = chosen == 0
        && match &given {
            Given::Nothing => false,
            Given::Text(text) => !text.trim().is_empty(),
            Given::Terminal => true,
        };
    if chosen != 1 && !is_asked {
        let empty = match given {
            Given::Text(_) if chosen == 0 => "stdin was empty; ",
            _ => "",
        };
        return Err(Error::usage(format!(
            "{empty}give one statement: either \"SQL\", or --file F, or --name N (--list prints the names)"
        )));
    }
    if typed.list {
        return Ok(Asked::List);
    }
    if is_asked && matches!(given, Given::Terminal) {
        if typed.output.is_some()
            || !typed.param.is_empty()
            || typed.format == Some(OutputFormat::Parquet)
        {
            return Err(Error::usage(
                "--output, --param and --format parquet need a statement: write it after query",
            ));
        }
        let form = typed.format.unwrap_or(OutputFormat::Table);
        return Ok(Asked::Prompt(
            options(
                typed,
                query::Statement::Sql(String::new()),
                Vec::new(),
                settings,
            ),
            form,
        ));
    }
    let statements: Vec<query::Statement> = match (&typed.name, &typed.sql, given) {
        (Some(name), ..) => vec![query::Statement::Named(known(name, &typed.param)?)],
        (None, Some(sql), _) if !sql.trim().is_empty() => vec![query::Statement::Sql(sql.clone())],
        (None, None, Given::Text(text)) => query::split(&text)
            .all()
            .into_iter()
            .map(query::Statement::Sql)
            .collect(),
        (None, ..) => Vec::new(),
    };
    if statements.is_empty() {
        return Err(Error::usage(query::EMPTY));
    }
    if statements.len() > 1 && (typed.output.is_some() || !typed.param.is_empty()) {
        return Err(Error::usage(format!(
            "--output and --param are for one statement, here are {}: run them one at a time",
            statements.len()
        )));
    }
    let mut params: Vec<(String, String)> = Vec::new();
    for (key, value) in &typed.param {
        if params.iter().any(|(known, _)| known == key) {
            return Err(Error::usage(format!(
                "--param {key} is given twice: keep one"
            )));
        }
        params.push((key.clone(), value.clone()));
    }
    let all = statements
        .into_iter()
        .map(|statement| options(typed, statement, params.clone(), settings));
    Ok(Asked::Run(all.collect()))
}

fn options(
    typed: &Query,
    statement: query::Statement,
    params: Vec<(String, String)>,
    settings: &Settings,
) -> query::Options {
    query::Options {
        statement,
        params,
        format: form(typed),
        output: typed.output.clone(),
        memory_limit: settings.memory_limit,
        spill_dir: settings.spill_dir.clone(),
        remote: None,
    }
}

/// The name, if there is such a query and it has all these parameters.
fn known(name: &str, params: &[(String, String)]) -> Result<String> {
    let Some(found) = query::named().iter().find(|query| query.name == name) else {
        let names: Vec<_> = query::named().iter().map(|query| query.name).collect();
        let hint = nearest(name, names.iter().copied())
            .map_or_else(String::new, |near| format!(" did you mean {near}?"));
        return Err(Error::usage(format!(
            "no query is named {name:?};{hint} there are {}",
            names.join(", ")
        )));
    };
    let names: Vec<_> = found.params.iter().map(|param| param.name).collect();
    match params
        .iter()
        .find(|(key, _)| !names.contains(&key.as_str()))
    {
        Some((key, _)) if names.is_empty() => Err(Error::usage(format!(
            "the query {name} has no parameters: leave out --param {key}"
        ))),
        Some((key, _)) => Err(Error::usage(format!(
            "the query {name} has no parameter {key:?}; it has {}",
            names.join(", ")
        ))),
        None => Ok(found.name.to_owned()),
    }
}

fn form(typed: &Query) -> query::Format {
    let by_name = || {
        let extension = typed.output.as_ref()?.extension()?.to_str()?;
        <OutputFormat as clap::ValueEnum>::from_str(extension, true).ok()
    };
    typed
        .format
        .or_else(by_name)
        .unwrap_or(OutputFormat::Table)
        .into()
}

impl From<OutputFormat> for query::Format {
    fn from(typed: OutputFormat) -> Self {
        match typed {
            OutputFormat::Table => Self::Table,
            OutputFormat::Csv => Self::Csv,
            OutputFormat::Json => Self::Json,
            OutputFormat::Ndjson => Self::Ndjson,
            OutputFormat::Parquet => Self::Parquet,
        }
    }
}

fn selection(typed: &SelectionArgs) -> Selection {
    Selection {
        exchanges: typed.exchange.clone(),
        streams: typed.stream.clone(),
        symbols: typed.symbol.clone(),
    }
}

/// The first and the last day that are meant; `None` where that end is open.
///
/// # Errors
/// When the first day comes after the last one.
fn days(typed: &Days) -> Result<(Option<Date>, Option<Date>)> {
    let (start, end) = (typed.date.or(typed.start), typed.date.or(typed.end));
    if let (Some(start), Some(end)) = (start, end) {
        in_order(start, end)?;
    }
    Ok((start, end))
}

fn in_order(start: Date, end: Date) -> Result<()> {
    if start <= end {
        return Ok(());
    }
    Err(Error::usage(format!(
        "--start {start} is after --end {end}: exchange the two days"
    )))
}

#[cfg(test)]
mod tests;
