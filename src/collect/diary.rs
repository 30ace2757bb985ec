//! The feed log: every hole, reconnect, rejected or dropped frame as a line of JSON, beside the
//! spool.
//!
//! `{spool}/_feed/2026-02-03.ndjson` records what happened,
//! `{spool}/_feed/rejects-2026-02-03.ndjson` keeps rejected frames whole. Lines are kept in memory
//! until the disk takes them, up to a limit; beyond it they are counted. What an exchange can cause
//! at any rate (rejected frames after a change of format, events that come late or under another's
//! number) is kept by example beyond a rate, and the rest is counted on record, so that it cannot
//! fill the disk. What reports lost rows is always kept.

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

/// Kinds of which only examples are kept beyond a rate.
const LIMITED: [&str; 4] = ["late", "conflict", "anew", "notice"];
/// So many lines of such a kind at once, and so many a second from then on.
const BURST: u32 = 500;
const RATE: u32 = 2;
/// Bytes of rejected frames that are kept of a line at once, and a second from then on.
const REJECTED_BURST: u32 = 16 << 20;
const REJECTED_RATE: u32 = 4 << 10;
/// How often it is noted what was not kept.
const TOLD_NS: i64 = 60 * SECOND;
const SECOND: i64 = 1_000_000_000;

/// Lets pass so much at once, and so much a second.
#[derive(Debug)]
struct Allowance {
    left: u32,
    burst: u32,
    rate: u32,
    filled_ns: i64,
    /// What did not pass since it was told.
    held_back: u64,
    told_ns: i64,
}

impl Allowance {
    fn new(burst: u32, rate: u32, now: i64) -> Self {
        Self {
            left: burst,
            burst,
            rate,
            filled_ns: now,
            held_back: 0,
            told_ns: now,
        }
    }

    fn takes(&mut self, cost: u32, now: i64) -> bool {
        let seconds = u32::try_from((now - self.filled_ns).max(0) / SECOND).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.left = self
                .left
                .saturating_add(seconds.saturating_mul(self.rate))
                .min(self.burst);
            self.filled_ns = now;
        }
        let fits = self.left >= cost.min(self.burst);
        if fits {
            self.left = self.left.saturating_sub(cost);
        } else {
            self.held_back += 1;
        }
        fits
    }
}

/// Lines on their way to the disk.
#[derive(Debug)]
pub(crate) struct Diary {
    allowances: BTreeMap<String, Allowance>,
    folder: PathBuf,
    /// By the name of the file.
    waiting: BTreeMap<String, Vec<u8>>,
    lost: u64,
}

impl Diary {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            waiting: BTreeMap::new(),
            lost: 0,
            allowances: BTreeMap::new(),
        }
    }

    /// Notes what happened at `ns`; `what` is an object.
    pub(crate) fn note(&mut self, ns: i64, kind: &str, what: Value) {
        tracing::debug!(kind, %what, "feed");
        if LIMITED.contains(&kind) {
            let allowance = self.allowances.entry(kind.to_owned());
            if !allowance
                .or_insert_with(|| Allowance::new(BURST, RATE, ns))
                .takes(1, ns)
            {
                return;
            }
        }
        self.add("", ns, kind, what);
    }

    /// Keeps a frame of a line that could not be decoded; `false` when there were too many of late.
    pub(crate) fn keep(&mut self, ns: i64, line: &str, what: Value) -> bool {
        let size = what
            .get("frame")
            .and_then(Value::as_str)
            .map_or(0, str::len);
        let cost = u32::try_from(size).unwrap_or(u32::MAX).saturating_add(256);
        let allowance = self.allowances.entry(format!("rejected frames of {line}"));
        if !allowance
            .or_insert_with(|| Allowance::new(REJECTED_BURST, REJECTED_RATE, ns))
            .takes(cost, ns)
        {
            return false;
        }
        self.add("rejects-", ns, "reject", what);
        true
    }

    /// Notes how much was not kept; before the end all of it.
    pub(crate) fn tell_held_back(&mut self, now: i64, end: bool) {
        let mut told = Vec::new();
        for (what, allowance) in &mut self.allowances {
            if allowance.held_back > 0 && (end || now - allowance.told_ns >= TOLD_NS) {
                allowance.told_ns = now;
                told.push(
                    json!({ "what": what, "number": std::mem::take(&mut allowance.held_back) }),
                );
            }
        }
        for what in told {
            self.add("", now, "not kept", what);
        }
    }

    fn add(&mut self, prefix: &str, ns: i64, kind: &str, what: Value) {
        let Some(date) = Date::of_ns(ns) else { return };
        let time = chrono::DateTime::from_timestamp_nanos(ns)
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut line = json!({ "time": time, "time_ns": ns, "kind": kind });
        if let (Value::Object(line), Value::Object(what)) = (&mut line, what) {
            line.extend(what);
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() > WAITING {
            self.lost += 1;
            return;
        }
        let lines = self
            .waiting
            .entry(format!("{prefix}{}.ndjson", date.iso()))
            .or_default();
        lines.extend(line.to_string().into_bytes());
        lines.push(b'\n');
    }

    /// Whether there is something to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self
                .allowances
                .values()
                .all(|allowance| allowance.held_back == 0)
    }

    /// Writes and syncs everything that waits.
    ///
    /// # Errors
    /// When the disk refuses; what was not written still waits.
    pub(crate) fn flush(&mut self, now: i64) -> Result<()> {
        self.tell_held_back(now, false);
        if self.waiting.is_empty() {
            return Ok(());
        }
        let wrong = |e| {
            Error::io(
                format!("{}: the feed log cannot be written", self.folder.display()),
                e,
            )
        };
        fs::create_dir_all(&self.folder).map_err(wrong)?;
        while let Some(entry) = self.waiting.first_entry() {
            let path = self.folder.join(entry.key());
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(&path)
                .map_err(wrong)?;
            let before = file.metadata().map_err(wrong)?.len();
            if let Err(e) = file.write_all(entry.get()).and_then(|()| file.sync_data()) {
                // Half a line would spoil the next one.
                let _ = file.set_len(before);
                return Err(wrong(e));
            }
            let _ = entry.remove();
        }
        if self.lost > 0 {
            tracing::warn!(
                lines = self.lost,
                "lines of the feed log were lost while the disk was full"
            );
            let lines = std::mem::take(&mut self.lost);
            self.note(now, "lines lost", json!({ "lines": lines }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &std::path::Path, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn what_an_exchange_causes_at_any_rate_fills_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut diary = Diary::new(dir.path().to_owned());
        let at = 1_770_128_999_000_000_000;
        let kept = (0..100_000)
            .filter(|_| diary.keep(at, "a/0", json!({ "frame": "x".repeat(1000) })))
            .count();
        for n in 0..10_000 {
            diary.note(at, "late", json!({ "id": n }));
            diary.note(at, "gap", json!({ "first": n }));
        }
        diary.flush(at).unwrap();
        diary.flush(at + TOLD_NS).unwrap();
        assert!(kept > 10_000 && kept < 20_000, "{kept}");
        assert_eq!(lines(dir.path(), "rejects-2026-02-03.ndjson").len(), kept);
        let all = lines(dir.path(), "2026-02-03.ndjson");
        let of = |kind: &str| {
            all.iter()
                .filter(|line| line["kind"] == kind)
                .collect::<Vec<_>>()
        };
        assert_eq!((of("late").len(), of("gap").len()), (500, 10_000));
        let told: u64 = of("not kept")
            .iter()
            .map(|line| line["number"].as_u64().unwrap())
            .sum();
        assert_eq!(told, 9_500 + 100_000 - kept as u64);
        assert!(
            diary.keep(at + 2 * TOLD_NS, "a/0", json!({ "frame": "x" })),
            "later there is room again"
        );
    }
}
