//! What lies in spool and archive at one moment, read with the `parquet` crate and nothing of qlc's
//! own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use arrow::{array::AsArray, datatypes::Int64Type};
use serde_json::Value;

use super::content::{Part, Row};
use crate::support::archive::{decode, quotes_of, sha256};

/// A file of the spool: what tells one version of it from another, and its bytes' digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub name: String,
    pub size: u64,
    pub modified: i64,
    pub sha256: String,
}

/// The objects of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub data: Option<Vec<u8>>,
    pub meta: Option<Vec<u8>>,
    /// The digest of the data.
    pub sha256: Option<String>,
    /// Its rows in their order; what is wrong where these cannot be told.
    pub rows: Result<Vec<Row>, String>,
    /// When each of them reached a collector.
    pub arrivals: Vec<i64>,
    /// Whether the meta speaks of this data.
    pub agrees: bool,
    /// Whether there is a receipt of this data.
    pub receipt: bool,
}

/// An entry of QUARANTINE.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The folder that it lies in.
    pub dir: String,
    pub source: String,
    pub sha256: String,
    pub kept_as: String,
    pub discarded: bool,
    /// Whether the next compaction tries it again.
    pub retry: bool,
    /// Whether the good row groups of its file were taken in.
    pub salvaged: bool,
}

/// Everything, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub spool: BTreeMap<String, Version>,
    pub states: BTreeMap<Part, State>,
    pub entries: BTreeSet<Entry>,
    /// The bytes of each `error.json`.
    pub errors: BTreeMap<Part, Vec<u8>>,
    /// The digests of the files kept in QUARANTINE, by their keys.
    pub kept: BTreeMap<String, String>,
    /// All objects of the archive with their digests, but for records of runs, probes and temporary
    /// files.
    pub objects: BTreeMap<String, String>,
}

impl Seen {
    /// The rows of a partition that can be read, with the times of their arrival.
    pub fn arrivals(&self, part: Part) -> impl Iterator<Item = (Row, i64)> + '_ {
        let state = self.states.get(&part);
        let rows =
            state.and_then(|state| Some(state.rows.as_ref().ok()?.iter().zip(&state.arrivals)));
        rows.into_iter()
            .flatten()
            .map(|(row, arrival)| (*row, *arrival))
    }
}

/// Reads what was not read before: most objects stay as they are from step to step.
#[derive(Default)]
pub struct Observer {
    decoded: BTreeMap<String, Result<Vec<(Row, i64)>, String>>,
}

impl Observer {
    #[expect(
        clippy::case_sensitive_file_extension_comparisons,
        reason = "keys are compared as they are"
    )]
    pub fn look(&mut self, spool: &Path, archive: &Path) -> Seen {
        let mut seen = Seen::default();
        for (name, path) in walk(spool) {
            if name.ends_with(".tmp") {
                continue;
            }
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            let modified = meta.mtime() * 1_000_000 + meta.mtime_nsec() / 1_000;
            let sha256 = sha256(&fs::read(&path).unwrap());
            let _ = seen.spool.insert(
                name.clone(),
                Version {
                    name,
                    size: meta.len(),
                    modified,
                    sha256,
                },
            );
        }
        let mut bytes = BTreeMap::new();
        for (key, path) in walk(archive) {
            if key.starts_with("_runs/") || key.starts_with("_probe/") || key.ends_with(".tmp") {
                continue;
            }
            let read = fs::read(path).unwrap();
            let _ = seen.objects.insert(key.clone(), sha256(&read));
            let _ = bytes.insert(key, read);
        }
        for part in Part::all() {
            let at = |file: &str| bytes.get(&format!("{}/{file}", part.dir())).cloned();
            let (data, meta) = (at("data.parquet"), at("meta.json"));
            if data.is_some() || meta.is_some() {
                let state = self.state(part, data, meta, &seen.objects);
                let _ = seen.states.insert(part, state);
            }
        }
        for (key, bytes) in &bytes {
            let Some(below) = key.strip_prefix("QUARANTINE/") else {
                continue;
            };
            let (dir, file) = below.rsplit_once('/').unwrap_or(("", below));
            if file == "error.json" {
                let part = Part::all().find(|part| part.dir() == dir);
                seen.errors.extend(part.map(|part| (part, bytes.clone())));
                seen.entries.extend(entries(dir, bytes));
            } else {
                let _ = seen.kept.insert(key.clone(), seen.objects[key].clone());
            }
        }
        seen
    }

    fn state(
        &mut self,
        part: Part,
        data: Option<Vec<u8>>,
        meta: Option<Vec<u8>>,
        objects: &BTreeMap<String, String>,
    ) -> State {
        let sha256 = data.as_ref().map(|bytes| sha256(bytes));
        let said = meta
            .as_ref()
            .and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let said = said.and_then(|meta| meta["sha256"].as_str().map(str::to_owned));
        let receipt = sha256
            .as_ref()
            .is_some_and(|s| objects.contains_key(&receipt_key(part, s)));
        let rows = match (&data, &sha256) {
            (Some(bytes), Some(sha256)) => self
                .decoded
                .entry(sha256.clone())
                .or_insert_with(|| rows(part, bytes))
                .clone(),
            _ => Ok(Vec::new()),
        };
        let (rows, arrivals) = match rows {
            Ok(rows) => {
                let (rows, arrivals) = rows.into_iter().unzip();
                (Ok(rows), arrivals)
            }
            Err(why) => (Err(why), Vec::new()),
        };
        State {
            agrees: sha256.is_some() && said == sha256,
            data,
            meta,
            sha256,
            rows,
            arrivals,
            receipt,
        }
    }
}

/// Where the receipt of data lies.
pub fn receipt_key(part: Part, sha256: &str) -> String {
    format!("_receipts/{}/{sha256}.json", part.dir())
}

/// The rows of a partition's data, which must be in order, each with the time of its arrival.
fn rows(part: Part, bytes: &[u8]) -> Result<Vec<(Row, i64)>, String> {
    let data = std::panic::catch_unwind(|| decode(bytes))
        .map_err(|_| "the reader panicked".to_owned())??;
    let quotes = quotes_of(&data.batch);
    if let Some(at) = quotes
        .windows(2)
        .position(|two| (two[0].ts_event, two[0].seq) > (two[1].ts_event, two[1].seq))
    {
        return Err(format!("rows {at} and {} are not in order", at + 1));
    }
    let row = |quote| match Row::of(quote) {
        Some(row) if row.day() == part.day => Ok(row),
        _ => Err(format!(
            "{quote:?} is no row of this day that anybody recorded"
        )),
    };
    let arrivals = data.batch.column_by_name("ts_recv").expect("the column");
    let arrivals = arrivals.as_primitive::<Int64Type>().values();
    let rows = quotes.iter().zip(arrivals);
    rows.map(|(quote, arrival)| Ok((row(quote)?, *arrival)))
        .collect()
}

fn entries(dir: &str, bytes: &[u8]) -> Vec<Entry> {
    let file: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    // Of several files there is a list; a single one may stand by itself.
    let all = file["files"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![file.clone()]);
    let entry = |entry: &Value| Entry {
        dir: dir.to_owned(),
        source: text(entry, "source_path"),
        sha256: text(entry, "sha256"),
        kept_as: text(entry, "kept_as"),
        discarded: entry["discarded"] == true,
        retry: entry["retry"] == true,
        salvaged: !entry["row_groups"].is_null(),
    };
    all.iter().map(entry).collect()
}

/// All files below a folder, by their paths from there; links are not followed.
fn walk(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let _ = found.insert(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                    path,
                );
            }
        }
    }
    found
}
