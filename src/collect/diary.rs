//! The feed log: every hole, reconnect, rejected or dropped frame as a line of JSON, beside the spool.
//!
//! `{spool}/_feed/2026-02-03.ndjson` tells what happened, `{spool}/_feed/rejects-2026-02-03.ndjson` keeps rejected frames
//! whole. Lines are kept until the disk takes them, up to a limit; then the oldest ones go, and how many is noted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    model::{date::Date, layout},
};

/// The folder in a spool.
pub(crate) const FOLDER: &str = layout::FEED;
/// Bytes of lines that wait for the disk.
const WAITING: usize = 16 << 20;

/// Lines on their way to the disk.
#[derive(Debug)]
pub(crate) struct Diary {
    folder: PathBuf,
    /// By the name of the file.
    waiting: BTreeMap<String, Vec<u8>>,
    lost: u64,
}

impl Diary {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, waiting: BTreeMap::new(), lost: 0 }
    }

    /// Notes what happened at `ns`; `what` is an object.
    pub(crate) fn note(&mut self, ns: i64, kind: &str, what: Value) {
        tracing::debug!(kind, %what, "feed");
        self.add("", ns, kind, what);
    }

    /// Keeps a frame that could not be decoded.
    pub(crate) fn keep(&mut self, ns: i64, what: Value) {
        self.add("rejects-", ns, "reject", what);
    }

    fn add(&mut self, prefix: &str, ns: i64, kind: &str, what: Value) {
        let Some(date) = Date::of_ns(ns) else { return };
        let time = chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut line = json!({ "time": time, "time_ns": ns, "kind": kind });
        if let (Value::Object(line), Value::Object(what)) = (&mut line, what) {
            line.extend(what);
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() > WAITING {
            self.lost += 1;
            return;
        }
        let lines = self.waiting.entry(format!("{prefix}{}.ndjson", date.iso())).or_default();
        lines.extend(line.to_string().into_bytes());
        lines.push(b'\n');
    }

    /// Whether there is something to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes and syncs everything that waits.
    ///
    /// # Errors
    /// When the disk refuses; what was not written still waits.
    pub(crate) fn flush(&mut self, now: i64) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let wrong = |e| Error::io(format!("{}: the feed log cannot be written", self.folder.display()), e);
        fs::create_dir_all(&self.folder).map_err(wrong)?;
        while let Some(entry) = self.waiting.first_entry() {
            let path = self.folder.join(entry.key());
            let mut file = File::options().append(true).create(true).open(&path).map_err(wrong)?;
            let before = file.metadata().map_err(wrong)?.len();
            if let Err(e) = file.write_all(entry.get()).and_then(|()| file.sync_data()) {
                // Half a line would spoil the next one.
                let _ = file.set_len(before);
                return Err(wrong(e));
            }
            let _ = entry.remove();
        }
        if self.lost > 0 {
            tracing::warn!(lines = self.lost, "lines of the feed log were lost while the disk was full");
            let lines = std::mem::take(&mut self.lost);
            self.note(now, "lines lost", json!({ "lines": lines }));
        }
        Ok(())
    }
}
