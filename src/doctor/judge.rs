//! What the facts mean: as it should be, a warning or a problem, and how to fix it. Pure.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::{
    facts::{Archive, Disk, Load, Memory, Spool},
    report::Check,
};
use crate::{
    engine,
    error::Error,
    model::{count::plural, size},
    storage::{spools::SpoolRoot as Named, store::Overlap},
};

/// `1 file`, `2 files`
fn files(number: u64, noun: &str) -> String {
    plural(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Clocks that differ by more are not kept, in seconds.
const SKEW: i64 = 60;
/// S3 refuses requests that are further away (`RequestTimeTooSkewed`), in seconds.
const REFUSED: i64 = 15 * 60;
/// The usual limit of open files on Linux; less was somebody's decision.
const OPEN_FILES: u64 = 1024;
/// Files of the future that are named.
const FEW: usize = 3;

pub(super) fn versions() -> Check {
    Check::ok(
        "versions",
        format!("qlc {VERSION} on DataFusion {}", engine::DATAFUSION_VERSION),
    )
}

pub(super) fn spool(place: &str, spool: Result<&Spool, &Error>, now: DateTime<Utc>) -> Vec<Check> {
    const NAME: &str = "spool";
    let spool = match spool {
        Ok(spool) => spool,
        Err(error) => {
            let mend = "set the spool with --spool, QLC_SPOOL or spool in the configuration, and let this user read it";
            return vec![Check::problem(NAME, error.chain(), mend)];
        }
    };
    let holds = format!(
        "{place} holds {}, {}",
        files(spool.files, "file"),
        size::show(spool.bytes)
    );
    let first = if spool.absent {
        Check::problem(
            NAME,
            format!("{place}: there is no such folder"),
            "mount its disk, or name the spool with --spool, QLC_SPOOL or spool in the configuration",
        )
    } else if let Some(why) = &spool.unreadable {
        Check::problem(
            NAME,
            format!("{holds}, and the newest cannot be read: {why}"),
            "let this user read the spool",
        )
    } else if let Some(why) = &spool.unlisted {
        Check::problem(
            NAME,
            format!("{holds}, but {why}"),
            "let this user read the folder, or move it out of the spool",
        )
    } else if spool.files == 0 && spool.elsewhere > 0 {
        Check::problem(
            NAME,
            format!(
                "{place} holds {}, none below exchange=…/stream=…/symbol=…",
                files(spool.elsewhere, "Parquet file")
            ),
            "name the folder above exchange=…, in which the collector writes",
        )
    } else if spool.files == 0 {
        Check::warning(
            NAME,
            format!("{place} is empty"),
            "start the collector; there is nothing to compact",
        )
    } else if spool.elsewhere > 0 {
        Check::warning(
            NAME,
            format!(
                "{holds}, and {} of no series",
                files(spool.elsewhere, "Parquet file")
            ),
            "move these below exchange=…/stream=…/symbol=…, or out of the spool: they are not compacted",
        )
    } else {
        Check::ok(NAME, holds)
    };
    let mut all = vec![first];
    if !spool.future.is_empty() {
        let named: Vec<&str> = spool.future.iter().take(FEW).map(String::as_str).collect();
        let more = spool.future.len().saturating_sub(FEW);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        all.push(Check::warning(
            "files of the future",
            format!(
                "later than {}: {}{more}",
                now.format("%Y-%m-%dT%H:%M:%SZ"),
                named.join(", ")
            ),
            "check the clocks of this machine and of the one that collects",
        ));
    }
    all
}

pub(super) fn archive(place: &str, archive: Result<&Archive, &Error>) -> Vec<Check> {
    const NAME: &str = "archive";
    let archive = match archive {
        Ok(archive) => archive,
        Err(error) => {
            let mend = "check --archive, the keys and the endpoint; the keys need s3:ListBucket on a bucket";
            return vec![Check::problem(NAME, error.chain(), mend)];
        }
    };
    let mut all = Vec::new();
    if let Some(why) = &archive.writing {
        let mend = match &archive.folder {
            Some(_) => "let this user write there, or name another archive",
            None => "the keys need s3:PutObject, s3:GetObject and s3:DeleteObject below the prefix",
        };
        all.push(Check::problem(NAME, why, mend));
    } else if let Some(why) = &archive.unlisted {
        all.push(Check::problem(
            NAME,
            why,
            "let this user read the folder; qlc makes no links in an archive",
        ));
    } else if archive.absent {
        all.push(Check::ok(
            NAME,
            format!("{place} is not there yet, and can be made"),
        ));
    } else {
        let found = format!(
            "{place} holds {} partitions; listing, writing and removing work",
            archive.partitions
        );
        all.push(Check::ok(NAME, found));
    }
    if let Some(first) = archive.strays.first() {
        let found = format!(
            "{}, such as {first}",
            plural(archive.strays.len(), "finding")
        );
        let mend = "move each to where it belongs; qlc verify names all";
        all.push(Check::warning("outside of partitions", found, mend));
    }
    if let Some(why) = &archive.conditions {
        let mend = "use a store with conditional writes, or let one machine write alone and give --single-writer";
        all.push(Check::problem("conditional writes", why, mend));
    } else if archive.folder.is_none() && archive.writing.is_none() {
        all.push(Check::ok(
            "conditional writes",
            "two runs cannot overwrite one another",
        ));
    }
    all.extend(archive.skew.map(skew));
    all.extend(newer(&archive.versions));
    all
}

pub(super) fn overlap(spool: &str, archive: &str, overlap: Overlap) -> Check {
    let found = match overlap {
        Overlap::Same => format!("{spool} and {archive} are the same place"),
        Overlap::Inside => format!("the spool {spool} lies in the archive {archive}"),
        Overlap::Around => format!("the archive {archive} lies in the spool {spool}"),
    };
    let mend = "set another archive: what a run publishes would be input of the next, so no command accepts these two";
    Check::problem("spool and archive", found, mend)
}

pub(super) fn twice(one: &Named, other: &Named, overlap: Overlap) -> Check {
    let found = match overlap {
        Overlap::Same => format!("{one} and {other} are the same place"),
        Overlap::Inside => format!("{one} lies in {other}"),
        Overlap::Around => format!("{other} lies in {one}"),
    };
    Check::problem(
        "spools",
        found,
        "give each collector a place of its own; no command accepts these two",
    )
}

fn skew(seconds: i64) -> Check {
    const NAME: &str = "clock of the archive";
    let (away, side) = (
        seconds.unsigned_abs(),
        if seconds < 0 { "behind" } else { "ahead of" },
    );
    let found = format!("{away} s {side} this machine's");
    let mend = "set the clock of this machine by NTP, or that of the store";
    match away.cast_signed() {
        0..=SKEW => Check::ok(NAME, found),
        ..=REFUSED => Check::warning(NAME, found, mend),
        _ => Check::problem(NAME, found, mend),
    }
}

fn newer(versions: &[String]) -> Option<Check> {
    let newest = versions.iter().max_by_key(|version| numbers(version))?;
    (numbers(newest) > numbers(VERSION)).then(|| {
        Check::problem(
            "version of the archive",
            format!("qlc {newest} has written to it, and this is qlc {VERSION}"),
            format!("install qlc {newest} or newer here"),
        )
    })
}

/// `1.2.3` as numbers; what is none counts as 0.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(['.', '-', '+'])
        .take(3)
        .map(|part| part.parse().unwrap_or_default())
        .collect()
}

pub(super) fn disk(
    name: &'static str,
    folder: &Path,
    disk: Option<&Disk>,
    load: Load,
) -> Vec<Check> {
    let shown = folder.display();
    let Some(disk) = disk else {
        return vec![Check::warning(
            name,
            format!("{shown}: its disk cannot be looked at"),
            "look at it with df",
        )];
    };
    let free = size::show(disk.free);
    let less = |what: &str, bytes: u64| {
        format!(
            "{shown}: {free} free, less than the files of the largest {what}, {}",
            size::show(bytes)
        )
    };
    let elsewhere = "free some, or name a folder on a larger disk";
    let first = if !disk.writable {
        Check::problem(
            name,
            format!("{shown}: this user cannot write there"),
            "give it the right to write, or set another folder",
        )
    } else if disk.free < load.partition {
        Check::problem(name, less("partition", load.partition), elsewhere)
    } else if disk.free < load.day {
        Check::warning(name, less("day", load.day), elsewhere)
    } else {
        let day = if load.day > 0 {
            format!("; the largest day's files are {}", size::show(load.day))
        } else {
            String::new()
        };
        Check::ok(name, format!("{shown}: {free} free{day}"))
    };
    let memory = disk.is_memory.then(|| {
        let mend =
            "set a folder on a disk, such as /var/tmp/qlc: what is spilled there would take memory";
        Check::warning(name, format!("{shown}: is a file system in memory"), mend)
    });
    std::iter::once(first).chain(memory).collect()
}

pub(super) fn metrics_file(path: &Path, folder: Option<&Disk>) -> Check {
    const NAME: &str = "metrics_file";
    let shown = path.display();
    match folder {
        Some(folder) if folder.writable && !path.is_absolute() => Check::warning(
            NAME,
            format!("{shown}: is below the folder in which a command happens to run"),
            "name it from the root",
        ),
        Some(folder) if folder.writable => Check::ok(NAME, format!("{shown}: can be written")),
        _ => Check::problem(
            NAME,
            format!("{shown}: this user cannot write there"),
            "give it the right to write, or set another file",
        ),
    }
}

pub(super) fn memory(limit: u64, memory: &Memory) -> Check {
    const NAME: &str = "memory";
    let shown = size::show(limit);
    let mend = "give a smaller --memory-limit, or more memory";
    let too_small =
        |what: &str, bytes: u64| format!("the limit is {shown}, and {what} {}", size::show(bytes));
    match memory {
        Memory {
            group: Some(group), ..
        } if *group < limit => Check::problem(
            NAME,
            too_small("the control group ends the process at", *group),
            mend,
        ),
        Memory {
            physical: Some(physical),
            ..
        } if *physical < limit => {
            Check::problem(NAME, too_small("the machine has", *physical), mend)
        }
        Memory {
            available: Some(available),
            ..
        } if *available < limit => Check::warning(
            NAME,
            too_small("at present there is available", *available),
            mend,
        ),
        Memory { physical: None, .. } => Check::warning(
            NAME,
            format!("the limit is {shown}; how much there is, is not known"),
            "look with free",
        ),
        Memory {
            physical: Some(physical),
            ..
        } => Check::ok(
            NAME,
            format!(
                "the limit is {shown}, the machine has {}",
                size::show(*physical)
            ),
        ),
    }
}

pub(super) fn open_files(limit: Option<u64>) -> Check {
    const NAME: &str = "open files";
    match limit {
        Some(limit) if limit < OPEN_FILES => Check::warning(
            NAME,
            format!("at most {limit}"),
            format!("ulimit -n {OPEN_FILES}, or LimitNOFILE= in a unit"),
        ),
        Some(limit) => Check::ok(NAME, format!("at most {limit}")),
        None => Check::ok(NAME, "no limit"),
    }
}

pub(super) fn clock(synchronized: Option<bool>) -> Check {
    const NAME: &str = "clock";
    match synchronized {
        Some(true) => Check::ok(NAME, "kept by systemd-timesyncd"),
        Some(false) => Check::warning(
            NAME,
            "not synchronized yet",
            "see timedatectl: days are cut, and times taken, by this clock",
        ),
        None => Check::warning(
            NAME,
            "whether it is synchronised is not known",
            "see timedatectl or chronyc tracking: days are cut, and times taken, by this clock",
        ),
    }
}

#[cfg(test)]
mod tests;
