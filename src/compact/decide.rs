//! What is to be done with a partition: a pure decision from what lies in spool, archive and quarantine.
//!
//! Refuses to look at anything itself; "nothing to do" always carries its reason.

use crate::{
    engine::layout::plural,
    model::{
        date::Date,
        partition::Partition,
        quarantine::{Entry, Extent},
        receipt::{Receipt, Source},
    },
    storage::store::Object,
};

/// A file of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolFile {
    /// As it is listed.
    pub object: Object,
    /// The last part of its key.
    pub file: String,
    /// The day it belongs to, where its folder or name tells.
    pub home: Option<Date>,
}

/// What tells one version of a spool file from another: key, size and time.
pub type Identity = (String, u64, i64);

/// The identity of `file`.
#[must_use]
pub fn identity(file: &SpoolFile) -> Identity {
    (file.object.key.clone(), file.object.size, file.object.modified_us)
}

/// What the archive holds of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// Nothing.
    Nothing,
    /// Data, meta and receipt that agree.
    Published(Box<Receipt>),
    /// Data and its receipt, but no meta, or that of the data before it: a publish was interrupted.
    Unfinished(Box<Receipt>),
    /// Data that no receipt vouches for; why.
    Foreign(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, because.
    Nothing(String),
    /// Write the meta of data that an interrupted run has left.
    Complete(Box<Receipt>),
    /// Compact.
    Build {
        /// The files to read, as indices into the feeding files.
        files: Vec<usize>,
        /// Archived data to read besides them, because some of its sources have gone.
        base: Option<Box<Receipt>>,
        /// Why.
        reason: String,
    },
    /// Touch nothing, because.
    Fail(String),
}

/// A file that may hold rows of the partition's day, and whether the receipt knows its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feeding {
    /// The file.
    pub file: SpoolFile,
    /// The source of the receipt that is this very content, by its place in the receipt.
    pub known: Option<usize>,
    /// Whether its bytes are in QUARANTINE.
    pub quarantined: bool,
    /// The row groups that an earlier run left out because they do not read.
    pub lost: Vec<usize>,
}

/// Whether `source` is this very file, by name, size and time; a copy with another time needs a look inside.
#[must_use]
pub fn is_source(source: &Source, file: &SpoolFile) -> bool {
    may_be_source(source, file) && source.modified_us == file.object.modified_us
}

/// Whether `source` may be this file: only its time differs.
#[must_use]
pub fn may_be_source(source: &Source, file: &SpoolFile) -> bool {
    source.name == file.object.key && source.size == file.object.size
}

/// Whether `entry` is about this very file as a whole, and nobody asked for it to be tried again.
#[must_use]
pub fn is_entry_of(entry: &Entry, file: &SpoolFile) -> bool {
    entry.extent() == Extent::Whole
        && !entry.retry
        && entry.source_path == file.object.key
        && entry.size == file.object.size
}

/// Whether `entry` says which row groups of this very file do not read.
#[must_use]
pub fn is_salvage_of(entry: &Entry, file: &SpoolFile) -> bool {
    entry.extent() == Extent::Groups && entry.source_path == file.object.key && entry.size == file.object.size
}

/// Whether adopted data may have been made from `file` among others: its receipt names no files, so their ages must tell.
/// Taken in once more, the rows would be there twice.
fn may_be_adopted(receipt: &Receipt, file: &SpoolFile) -> bool {
    receipt.adopted && receipt.sources.iter().any(|data| file.object.modified_us <= data.modified_us)
}

/// Decides on `partition`. `today` is never compacted unless `force`.
#[must_use]
pub fn decide(partition: &Partition, today: Date, feeding: &[Feeding], archived: &Archived, force: bool) -> Decision {
    if partition.date >= today && !force {
        let day = if partition.date == today { "today is not over" } else { "the day lies in the future" };
        return Decision::Nothing(format!("{day}; --force compacts what is there"));
    }
    let good = || feeding.iter().enumerate().filter(|(_, f)| !f.quarantined);
    let all: Vec<usize> = good().map(|(i, _)| i).collect();
    let held = feeding.len() - all.len();
    let in_quarantine = if held == 0 { String::new() } else { format!("; {} in QUARANTINE", plural(held, "file")) };
    let receipt = match archived {
        Archived::Nothing if all.is_empty() => {
            return Decision::Nothing(format!("no file of the spool holds rows of this day{in_quarantine}"));
        }
        Archived::Nothing => {
            return Decision::Build {
                files: all,
                base: None,
                reason: format!("not in the archive yet{in_quarantine}"),
            };
        }
        Archived::Unfinished(receipt) => return Decision::Complete(receipt.clone()),
        Archived::Foreign(why) => return Decision::Fail(why.clone()),
        Archived::Published(receipt) => receipt,
    };
    let new: Vec<usize> = good().filter(|(_, f)| f.known.is_none()).map(|(i, _)| i).collect();
    // By content, not by name: a file that was replaced under its name has left the spool.
    let gone = (0_usize..)
        .zip(&receipt.sources)
        .filter(|(nth, s)| s.rows_here > 0 && !good().any(|(_, f)| f.known == Some(*nth)))
        .count();
    if new.is_empty() && !force {
        let sources = plural(usize::try_from(receipt.source_files()).unwrap_or(usize::MAX), "file");
        let left = if gone == 0 { String::new() } else { format!(", {gone} of which left the spool since") };
        return Decision::Nothing(format!(
            "up to date: the archive holds all {} rows of {sources}{left}{in_quarantine}",
            receipt.outcome.rows
        ));
    }
    if new.is_empty() && gone > 0 {
        return Decision::Nothing(format!(
            "{} left the spool, so the archived data is all there is to compact{in_quarantine}",
            plural(gone, "source")
        ));
    }
    let doubtful = new.iter().filter(|i| feeding.get(**i).is_some_and(|f| may_be_adopted(receipt, &f.file))).count();
    if doubtful > 0 && !force {
        return Decision::Fail(format!(
            "{} of the spool is not younger than the adopted data, which may hold its rows already: move it out of the spool, \
             or have it taken in with --force",
            plural(doubtful, "file")
        ));
    }
    let why = if new.is_empty() { "forced".to_owned() } else { plural(new.len(), "new file") };
    if gone == 0 {
        return Decision::Build { files: all, base: None, reason: format!("{why}{in_quarantine}") };
    }
    Decision::Build {
        files: new,
        base: Some(receipt.clone()),
        reason: format!(
            "{why}; the archived data stands for {} that left the spool{in_quarantine}",
            plural(gone, "file")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        receipt::{Outcome, RECEIPT_VERSION, SeqOrigin},
        row_hash::RowHash,
    };

    fn partition() -> Partition {
        serde_json::from_str(r#"{"exchange":"binance","stream":"bbo","symbol":"btcusdt","date":"20260203"}"#).unwrap()
    }

    fn file(name: &str, known: bool) -> Feeding {
        let known = known.then_some(0);
        let object = Object { key: name.to_owned(), size: 1, modified_us: 1, tag: None };
        let file = SpoolFile { object, file: name.to_owned(), home: None };
        Feeding { file, known, quarantined: false, lost: Vec::new() }
    }

    fn receipt(sources: &[&str]) -> Box<Receipt> {
        let source = |name: &&str| Source {
            name: (*name).to_owned(),
            size: 1,
            modified_us: 1,
            rows: 5,
            row_hash: RowHash::EMPTY,
            rows_here: 5,
            rows_elsewhere: std::collections::BTreeMap::default(),
            rows_quarantined: 0,
            seq_assigned: false,
            by_base: false,
        };
        Box::new(Receipt {
            receipt_version: RECEIPT_VERSION,
            qlc_version: "0".to_owned(),
            partition: partition(),
            created_at: String::new(),
            adopted: false,
            outcome: Outcome {
                sha256: "a".repeat(64),
                bytes: 1,
                rows: 5 * sources.len() as u64,
                row_hash: RowHash::EMPTY,
                ts_event_min_ns: 0,
                ts_event_max_ns: 0,
                seq: SeqOrigin::Source,
                brought_to: None,
                zstd_level: None,
            },
            rows_in: 5 * sources.len() as u64,
            row_hash_in: RowHash::EMPTY,
            row_hash_out: RowHash::EMPTY,
            plan: Vec::new(),
            base: None,
            sources: sources.iter().map(source).collect(),
            left_out: Vec::new(),
        })
    }

    fn check(feeding: &[Feeding], archived: &Archived, force: bool, expected: &str) {
        let today = "20260204".parse().unwrap();
        let told = match decide(&partition(), today, feeding, archived, force) {
            Decision::Nothing(why) => format!("nothing: {why}"),
            Decision::Complete(_) => "complete".to_owned(),
            Decision::Build { files, base, reason } => format!("build {files:?} base {}: {reason}", base.is_some()),
            Decision::Fail(why) => format!("fail: {why}"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn every_state_has_its_decision() {
        let published = |names: &[&str]| Archived::Published(receipt(names));
        check(&[], &Archived::Nothing, false, "nothing: no file of the spool holds rows of this day");
        check(&[file("a", false)], &Archived::Nothing, false, "build [0] base false: not in the archive yet");
        check(
            &[file("a", true)],
            &published(&["a"]),
            false,
            "nothing: up to date: the archive holds all 5 rows of 1 file",
        );
        check(
            &[],
            &published(&["a"]),
            false,
            "nothing: up to date: the archive holds all 5 rows of 1 file, 1 of which left the spool since",
        );
        check(&[file("a", true)], &published(&["a"]), true, "build [0] base false: forced");
        check(&[file("a", true), file("b", false)], &published(&["a"]), false, "build [0, 1] base false: 1 new file");
        check(
            &[file("b", false)],
            &published(&["a"]),
            false,
            "build [0] base true: 1 new file; the archived data stands for 1 file that left the spool",
        );
        // A file of the same name with other content: the old rows are only in the archive.
        check(
            &[file("a", false)],
            &published(&["a"]),
            false,
            "build [0] base true: 1 new file; the archived data stands for 1 file that left the spool",
        );
        let adopted = Archived::Published(Box::new(Receipt { adopted: true, ..*receipt(&["data"]) }));
        let mut late = file("b", false);
        check(
            &[late.clone()],
            &adopted,
            false,
            "fail: 1 file of the spool is not younger than the adopted data, which may hold its rows already: move it out of \
             the spool, or have it taken in with --force",
        );
        check(
            &[late.clone()],
            &adopted,
            true,
            "build [0] base true: 1 new file; the archived data stands for 1 file that left the spool",
        );
        late.file.object.modified_us = 2;
        check(
            &[late],
            &adopted,
            false,
            "build [0] base true: 1 new file; the archived data stands for 1 file that left the spool",
        );
        check(&[file("a", true)], &Archived::Unfinished(receipt(&["a"])), false, "complete");
        check(&[file("a", true)], &Archived::Foreign("no receipt".to_owned()), false, "fail: no receipt");
        let bad = Feeding { quarantined: true, ..file("b", false) };
        check(
            &[file("a", true), bad.clone()],
            &published(&["a"]),
            false,
            "nothing: up to date: the archive holds all 5 rows of 1 file; 1 file in QUARANTINE",
        );
        check(
            &[bad],
            &Archived::Nothing,
            false,
            "nothing: no file of the spool holds rows of this day; 1 file in QUARANTINE",
        );
    }

    #[test]
    fn today_is_left_alone() {
        let today = partition().date;
        let decision = decide(&partition(), today, &[file("a", false)], &Archived::Nothing, false);
        assert!(matches!(decision, Decision::Nothing(why) if why.starts_with("today")));
    }
}
