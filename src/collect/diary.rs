//! The feed log: every hole, reconnect, rejected or dropped frame as a line of JSON, beside the
//! spool.
//!
//! `{spool}/_feed/2026-02-03.ndjson` records what happened,
//! `{spool}/_feed/rejects-2026-02-03.ndjson` keeps rejected frames whole. While the folder refuses,
//! lines go to a file beside the write-ahead log, from which they are delivered later, also by a later
//! process. What the disk does not take there either is kept in memory, up to a limit; beyond it lines
//! are counted. What an exchange can cause
//! at any rate (rejected frames after a change of format, events that come late or under another's
//! number) is kept by example beyond a rate, and the rest is counted on record, so that it cannot
//! fill the disk. What reports lost rows is always kept.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    model::{date::Date, layout},
};

/// The folder in a spool.
pub(crate) const FOLDER: &str = layout::FEED;
/// The file beside the write-ahead log for lines that the folder refuses; each begins with the name
/// of the file that it belongs to.
const ASIDE: &str = "feed-log.waiting";
/// Bytes of lines that wait for the disk, in memory and in that file.
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

/// Lines that are not in the feed log when the collector ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Those that are kept beside the write-ahead log.
    pub kept: u64,
    /// Those that are nowhere.
    pub lost: u64,
}

/// A gap that is on record.
#[derive(Debug, Deserialize)]
pub(crate) struct ToldGap {
    pub(crate) series: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) time_ns: i64,
}

/// Lines on their way to the disk.
#[derive(Debug)]
pub(crate) struct Diary {
    allowances: BTreeMap<String, Allowance>,
    folder: PathBuf,
    /// Where lines are kept that the folder refuses, and how many there are.
    aside: PathBuf,
    kept: u64,
    /// By the name of the file.
    waiting: BTreeMap<String, Vec<u8>>,
    lost: u64,
}

impl Diary {
    /// One that writes to `folder`, and to the folder `log` what that refuses. What an earlier
    /// process kept there is delivered first.
    pub(crate) fn new(folder: PathBuf, log: &Path) -> Self {
        let aside = log.join(ASIDE);
        let bytes = fs::read(&aside).unwrap_or_default();
        let kept = kept_lines(&bytes).count() as u64;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |at| at as u64 + 1);
        if whole < bytes.len() as u64 {
            // Half a line would spoil the next one.
            let _ = File::options()
                .write(true)
                .open(&aside)
                .and_then(|file| file.set_len(whole));
        }
        Self {
            folder,
            aside,
            kept,
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

    /// Whether so many lines of a kind may be noted one by one.
    pub(crate) fn has_room(&mut self, kind: &str, number: u32, ns: i64) -> bool {
        let allowance = self.allowances.entry(kind.to_owned());
        let allowance = allowance.or_insert_with(|| Allowance::new(BURST, RATE, ns));
        let fits = allowance.takes(number, ns);
        // All of them are told, though together.
        allowance.held_back = 0;
        fits
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
            && self.kept == 0
            && self
                .allowances
                .values()
                .all(|allowance| allowance.held_back == 0)
    }

    /// Writes and syncs everything that waits.
    ///
    /// # Errors
    /// When the folder refuses; what was not written is kept, and written later.
    pub(crate) fn flush(&mut self, now: i64) -> Result<()> {
        self.tell_held_back(now, false);
        if self.waiting.is_empty() && self.kept == 0 {
            return Ok(());
        }
        if let Err(e) = self.deliver() {
            if let Err(error) = self.put_aside() {
                tracing::debug!(%error, "the feed log is kept in memory");
            }
            return Err(Error::io(
                format!("{}: the feed log cannot be written", self.folder.display()),
                e,
            ));
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

    /// Writes what was kept, and what waits, to the folder.
    fn deliver(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        if self.kept > 0 {
            let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for (name, line) in kept_lines(&fs::read(&self.aside)?) {
                let lines = all.entry(name.to_owned()).or_default();
                lines.extend_from_slice(line);
                lines.push(b'\n');
            }
            for (name, lines) in all {
                let path = self.folder.join(name);
                // A process that died right then may have delivered them.
                if !ends_with(&path, &lines)? {
                    append(&path, &lines)?;
                }
            }
            fs::remove_file(&self.aside)?;
            self.kept = 0;
        }
        while let Some(entry) = self.waiting.first_entry() {
            append(&self.folder.join(entry.key()), entry.get())?;
            let _ = entry.remove();
        }
        Ok(())
    }

    /// Keeps what waits beside the write-ahead log.
    fn put_aside(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut lines = 0;
        for (name, waiting) in &self.waiting {
            for line in waiting.split_inclusive(|byte| *byte == b'\n') {
                bytes.extend_from_slice(name.as_bytes());
                bytes.push(b' ');
                bytes.extend_from_slice(line);
                lines += 1;
            }
        }
        let length = fs::metadata(&self.aside).map_or(0, |meta| meta.len());
        if bytes.is_empty() || length + bytes.len() as u64 > 2 * WAITING as u64 {
            return Ok(());
        }
        append(&self.aside, &bytes)?;
        self.kept += lines;
        self.waiting.clear();
        Ok(())
    }

    /// The gaps that were put on record at `ns` or later. A process may have told of them and died
    /// before the write-ahead log knew.
    pub(crate) fn gaps_since(&self, ns: i64) -> Vec<ToldGap> {
        let gap = |line: &[u8]| {
            let text = std::str::from_utf8(line).ok()?;
            // Most lines are others.
            let line = text.contains(r#""kind":"gap""#).then_some(text)?;
            serde_json::from_str::<ToldGap>(line).ok()
        };
        let aside = fs::read(&self.aside).unwrap_or_default();
        let mut all: Vec<ToldGap> = kept_lines(&aside)
            .filter_map(|(_, line)| gap(line))
            .collect();
        let first = Date::of_ns(ns).map(|day| format!("{}.ndjson", day.iso()));
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let files = entries.filter(|entry| {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            // The names of days are in their order, and rejected frames are in others.
            !name.starts_with("rejects") && first.as_deref().is_some_and(|first| name >= first)
        });
        for file in files.filter_map(|entry| File::open(entry.path()).ok()) {
            let lines = BufReader::new(file).split(b'\n').map_while(io::Result::ok);
            all.extend(lines.filter_map(|line| gap(&line)));
        }
        all.retain(|gap| gap.time_ns >= ns);
        all
    }

    /// What is not in the feed log.
    pub(crate) fn unwritten(&self) -> Notes {
        let lines = |bytes: &Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Notes {
            kept: self.kept,
            lost: self.lost + self.waiting.values().map(lines).sum::<u64>(),
        }
    }
}

/// Appends to a file, all or nothing.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would spoil the next one.
        let _ = file.set_len(before);
    }
    written
}

/// Whether a file ends with these bytes.
fn ends_with(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let Some(from) = file.metadata()?.len().checked_sub(bytes.len() as u64) else {
        return Ok(false);
    };
    let mut end = vec![0; bytes.len()];
    file.read_exact_at(&mut end, from)?;
    Ok(end == bytes)
}

/// Lines that were kept, with the names of their files. One that a crash has cut is none.
fn kept_lines(bytes: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let lines = bytes.get(..whole).unwrap_or_default();
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let name = std::str::from_utf8(line.get(..space)?).ok()?;
        let line = line.get(space + 1..)?;
        let is_ours = name.strip_suffix(".ndjson").is_some() && !name.contains('/');
        (is_ours && serde_json::from_slice::<Value>(line).is_ok()).then_some((name, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &Path, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn what_an_exchange_causes_at_any_rate_fills_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut diary = Diary::new(dir.path().to_owned(), dir.path());
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

    #[test]
    fn gaps_beyond_a_rate_are_told_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut diary = Diary::new(dir.path().to_owned(), dir.path());
        let at = 1_770_128_999_000_000_000;
        assert!(diary.has_room("gap", BURST, at) && !diary.has_room("gap", 1, at));
        assert!(diary.has_room("gap", RATE, at + SECOND));
        diary.flush(at + TOLD_NS).unwrap();
        assert!(
            !dir.path().join("2026-02-03.ndjson").exists(),
            "none was kept back"
        );
    }

    #[test]
    fn what_the_folder_refuses_is_delivered_later_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, aside) = (dir.path().join("_feed"), dir.path().join(ASIDE));
        let at = 1_770_128_999_000_000_000;
        fs::write(&folder, "").unwrap();
        let begin = || Diary::new(folder.clone(), dir.path());
        let mut diary = begin();
        diary.note(at, "gap", json!({ "first": 1 }));
        assert!(diary.flush(at).is_err());
        diary.note(at, "gap", json!({ "first": 2 }));
        let _ = diary.keep(at, "a/0", json!({ "frame": "x y" }));
        assert!(diary.flush(at).is_err() && diary.flush(at).is_err());
        assert_eq!(diary.unwritten(), Notes { kept: 3, lost: 0 });
        // Killed while it wrote another one.
        let mut kept = fs::read(&aside).unwrap();
        kept.extend_from_slice(b"2026-02-03.ndjson {\"fir");
        fs::write(&aside, &kept).unwrap();
        let mut diary = begin();
        diary.note(
            at,
            "gap",
            json!({ "first": 3, "last": 4, "series": "okx/trade/btcusdt" }),
        );
        assert!(diary.flush(at).is_err());
        fs::remove_file(&folder).unwrap();
        let kept = fs::read(&aside).unwrap();
        begin().flush(at).unwrap();
        assert!(!aside.exists());
        // Killed before what had been delivered was removed.
        fs::write(&aside, kept).unwrap();
        begin().flush(at).unwrap();
        let first: Vec<u64> = lines(&folder, "2026-02-03.ndjson")
            .iter()
            .map(|line| line["first"].as_u64().unwrap())
            .collect();
        assert_eq!(first, [1, 2, 3]);
        assert_eq!(lines(&folder, "rejects-2026-02-03.ndjson").len(), 1);
        let told = |since| begin().gaps_since(since).iter().map(|gap| gap.last).sum();
        assert_eq!([at, at + 1, at + 86_400 * SECOND].map(told), [4_u64, 0, 0]);
    }
}
