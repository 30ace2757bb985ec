//! The writer: events become rows, rows go to the journal in groups, full files are sealed.
//!
//! One task owns all series, so that numbers are given in one place. When sealing falls behind, no more events are taken
//! until it has caught up; only when the disk refuses and memory is full are events dropped, the frequent ones first, each
//! one counted.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    book::{Book, Dropped},
    diary::Diary,
    journal::{Journal, Memory, RowsHead, rows_record},
    link::{Group, News, What},
    options::Options,
    quality::Window,
    rows::Rows,
    seal::{Content, seal},
    status::{LineStatus, Status},
    thread::Verdict,
};
use crate::{
    error::Result,
    feed::{
        event::{Event, Kind},
        venue::{Line, Wanted},
    },
    model::partition::Series,
};

/// Files that are sealed at a time.
const SEALS: usize = 2;
/// After a failed seal.
const AGAIN: Duration = Duration::from_secs(5);
/// Records are written to the journal when they are so many bytes.
const GROUP: usize = 8 << 20;
/// While the disk refuses, dropped events are noted so often.
const NOTE_NS: i64 = 60_000_000_000;
/// At the end every file is tried so often.
const ATTEMPTS: u32 = 3;
/// Lines of the feed log about one line's rejects in a second.
const SAMPLES: u32 = 5;

/// A file whose rows are complete.
struct Frozen {
    place: usize,
    key: String,
    rows: Arc<Rows>,
    /// Rows that are not in the journal either: only at the end, when the disk refuses.
    at_risk: usize,
}

type Sealed = (Frozen, Result<Content>);

/// A connection as the writer knows it.
#[derive(Debug)]
struct LineState {
    status: LineStatus,
    /// Since when nothing comes, and whose fault it is.
    down: Option<(i64, &'static str)>,
    sampled: u32,
}

pub(super) struct Writer {
    options: Options,
    books: Vec<Book>,
    /// Of series that this process does not collect.
    others: BTreeMap<Series, Memory>,
    journal: Arc<Mutex<Journal>>,
    lines: Vec<LineState>,
    waiting: VecDeque<(Frozen, Instant)>,
    seals: JoinSet<Sealed>,
    /// Bytes of rows in files that are being sealed or wait.
    frozen_bytes: usize,
    /// Bytes of rows in open files.
    open_bytes: usize,
    diary: Diary,
    window: Window,
    status: Status,
    disk_trouble: Option<String>,
    uncommitted_since: Option<i64>,
    last_tick_ns: i64,
    ticks: u64,
    full: watch::Sender<bool>,
    rate_events: u64,
    /// Nothing more comes: everything must be sealed.
    ending: bool,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Events taken.
    pub events: u64,
    /// Spool files sealed.
    pub files: u64,
    /// Frames that could not be decoded.
    pub rejected: u64,
    /// Events known to be missing, by the exchanges' numbers.
    pub missing: u64,
    /// Events that had no room.
    pub dropped: u64,
    /// Rows that are in the journal still, because they could not be sealed.
    pub left_in_journal: u64,
    /// Rows that are nowhere, because neither the journal nor a file could be written.
    pub lost: u64,
}

impl Writer {
    #[expect(clippy::too_many_arguments, reason = "each is made by a step of its own")]
    pub(super) fn new(
        options: Options,
        lines: &[Line],
        mut memories: BTreeMap<Series, Memory>,
        journal: Arc<Mutex<Journal>>,
        diary: Diary,
        window: Window,
        full: watch::Sender<bool>,
        now: i64,
    ) -> Self {
        let books: Vec<Book> = options
            .wanted
            .iter()
            .map(|wanted| Book::new(wanted.clone(), memories.remove(&wanted.series).unwrap_or_default()))
            .collect();
        let state = |line: &Line| {
            let known = line.series.iter().filter_map(|place| Some(books.get(*place)?.memory.ts_recv)).max();
            let status = LineStatus {
                name: line.name.clone(),
                exchange: line.venue.name(),
                state: "connecting",
                ..LineStatus::default()
            };
            let since = known.filter(|ns| *ns > 0).unwrap_or(now);
            LineState { status, down: Some((since, "ours")), sampled: 0 }
        };
        let lines = lines.iter().map(state).collect();
        let status = Status { started_ns: now, memory_limit: options.memory_limit, ..Status::default() };
        Self {
            options,
            books,
            others: memories,
            journal,
            lines,
            waiting: VecDeque::new(),
            seals: JoinSet::new(),
            frozen_bytes: 0,
            open_bytes: 0,
            diary,
            window,
            status,
            disk_trouble: None,
            uncommitted_since: None,
            last_tick_ns: now,
            ticks: 0,
            full,
            rate_events: 0,
            ending: false,
        }
    }

    /// Takes news until all lines have gone, then seals everything.
    pub(super) async fn run(mut self, mut from: mpsc::Receiver<News>, told: &watch::Sender<Arc<Status>>) -> Summary {
        let mut tick = interval(self.options.commit_every.min(Duration::from_millis(250)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let pressed = self.is_pressed();
            tokio::select! {
                biased;
                Some(sealed) = self.seals.join_next(), if !self.seals.is_empty() => self.take_sealed(sealed),
                _ = tick.tick() => {
                    self.tick(from.len()).await;
                    let _ = told.send(Arc::new(self.status.clone()));
                }
                news = from.recv(), if !pressed => match news {
                    Some(news) => self.take(news),
                    None => break,
                },
            }
        }
        self.finish().await;
        self.tick(0).await;
        if let Err(error) = self.window.write(&self.options.spool).await {
            tracing::warn!(error = %error.chain(), "the quality window cannot be written");
        }
        let _ = told.send(Arc::new(self.status.clone()));
        self.summary()
    }

    fn summary(&self) -> Summary {
        let sum = |of: fn(&Book) -> u64| self.books.iter().map(of).sum();
        Summary {
            events: self.status.events,
            files: self.status.files_sealed,
            rejected: self.status.rejected,
            missing: sum(|book| book.status.missing),
            dropped: sum(|book| book.status.dropped),
            left_in_journal: self.waiting.iter().map(|(frozen, _)| frozen.rows.len() as u64).sum::<u64>()
                - self.at_risk(),
            lost: self.at_risk(),
        }
    }

    /// Rows of files that wait for a seal and are not in the journal.
    fn at_risk(&self) -> u64 {
        self.waiting.iter().map(|(frozen, _)| frozen.at_risk as u64).sum()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_bytes(&self) -> usize {
        self.frozen_bytes + self.open_bytes
    }

    /// Whether sealing must catch up before more is taken.
    fn is_pressed(&self) -> bool {
        let used = self.memory_bytes() as u64;
        self.disk_trouble.is_none() && !self.seals.is_empty() && used > self.options.memory_limit / 4 * 3
    }

    fn take(&mut self, news: News) {
        let now = (self.options.keeping.clock)();
        let Some(line) = self.lines.get_mut(news.line) else { return };
        let name = line.status.name.clone();
        match news.what {
            What::Group(group) => self.take_group(news.line, news.session, group),
            What::Live => {
                line.status.state = "live";
                if let Some((since, cause)) = line.down.take() {
                    let seconds = Duration::from_nanos(u64::try_from(now - since).unwrap_or(0)).as_secs_f64();
                    self.diary.note(
                        now,
                        "offline",
                        json!({ "line": name, "exchange": line.status.exchange, "from_ns": since, "to_ns": now,
                            "seconds": seconds, "cause": cause }),
                    );
                }
                self.diary.note(now, "live", json!({ "line": name, "session": news.session }));
            }
            What::Lost { reason, cause, wait } => {
                line.status.state = "waiting";
                line.status.reconnects += 1;
                line.status.last_trouble = Some(reason.clone());
                let since = if line.status.last_recv_ns > 0 { line.status.last_recv_ns } else { now };
                let exchange = line.status.exchange;
                let _ = line.down.get_or_insert((since, cause));
                self.window.of(exchange).reconnects += 1;
                tracing::warn!(line = name, reason, wait_ms = wait.as_millis(), "connection lost");
                self.diary.note(
                    now,
                    "lost",
                    json!({ "line": name, "exchange": exchange, "reason": reason, "cause": cause, "session": news.session,
                        "wait_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) }),
                );
            }
            What::Renewing(why) => {
                self.diary.note(now, "renewing", json!({ "line": name, "why": why, "session": news.session }));
            }
            What::Notice(text) => {
                tracing::warn!(line = name, text, "the exchange says");
                self.diary.note(now, "notice", json!({ "line": name, "text": text, "session": news.session }));
            }
        }
    }

    fn take_group(&mut self, place: usize, session: u64, group: Group) {
        let Some(line) = self.lines.get_mut(place) else { return };
        let (name, exchange) = (line.status.name.clone(), line.status.exchange);
        line.status.last_recv_ns = group.last_recv.max(line.status.last_recv_ns);
        let tally = self.window.of(exchange);
        tally.frames += group.frames;
        tally.bytes += group.bytes;
        tally.rejected += group.rejects.len() as u64;
        self.status.frames += group.frames;
        self.status.bytes += group.bytes;
        self.status.rejected += group.rejects.len() as u64;
        for reject in group.rejects {
            line.sampled += 1;
            if line.sampled <= SAMPLES {
                let begin: String = reject.frame.chars().take(120).collect();
                tracing::warn!(line = name, reason = reject.reason, frame = begin, "rejected");
            }
            self.diary.keep(
                reject.at,
                json!({ "line": name, "exchange": exchange, "reason": reject.reason, "binary": reject.binary,
                    "frame": reject.frame }),
            );
        }
        for event in group.events {
            if self.options.max_events.is_some_and(|most| self.status.events >= most) {
                return;
            }
            self.take_event(place, session, exchange, event);
        }
    }

    fn take_event(&mut self, line: usize, session: u64, exchange: &'static str, event: Event) {
        let series = event.series;
        // Before the thread knows of this event: what is committed must not remember what it does not hold.
        if self.disk_trouble.is_none() && self.books.get(series).is_some_and(|b| b.must_rotate(&event, &self.options)) {
            self.rotate(series);
        }
        let Some(book) = self.books.get_mut(series) else { return };
        let now = event.ts_recv;
        let tally = self.window.of(exchange);
        let verdict = book.thread.look(&event, session);
        let name = || book.wanted.series.to_string();
        match verdict {
            Verdict::Again => {
                book.status.duplicates += 1;
                tally.duplicates += 1;
                return;
            }
            Verdict::Next => {}
            Verdict::Late => {
                tally.late += 1;
                let what = json!({ "series": name(), "id": format!("{:?}", event.id), "session": session });
                self.diary.note(now, "late", what);
                book.status.late += 1;
            }
            Verdict::Anew => {
                self.diary.note(now, "anew", json!({ "series": name(), "id": format!("{:?}", event.id) }));
            }
            Verdict::AfterHole(first, last) => {
                let missing = last - first + 1;
                tally.gaps += 1;
                tally.missing += missing;
                self.diary.note(
                    now,
                    "gap",
                    json!({ "series": name(), "exchange": exchange, "first": first, "last": last, "missing": missing,
                        "session": session }),
                );
                book.status.gaps += 1;
                book.status.missing += missing;
                book.status.last_gap_ns = now;
            }
        }
        let used = (self.frozen_bytes + self.open_bytes + book.growth()) as u64;
        if !admits(book.wanted.kind, used, self.options.memory_limit) {
            book.drop_one(now);
            tally.dropped += 1;
            return;
        }
        let lag = event.ts_recv - event.ts_event;
        tally.events += 1;
        tally.lags.add(lag);
        *tally.events_by_stream.entry(book.wanted.kind.name().to_owned()).or_default() += 1;
        if let Some(line) = self.lines.get_mut(line) {
            line.status.lags.add(lag);
        }
        self.status.events += 1;
        let _ = self.uncommitted_since.get_or_insert(event.ts_recv);
        let before = book.open_bytes();
        book.push(event, &self.options.spool);
        self.open_bytes += book.open_bytes() - before;
        if self.options.max_events.is_some_and(|most| self.status.events >= most) {
            let _ = self.full.send(true);
        }
    }

    /// Commits what is open, and lets one file be sealed.
    fn rotate(&mut self, place: usize) {
        // Rows that are in no journal stay in the open file, or a later commit would remember what is nowhere.
        if !self.commit() && !self.ending {
            return;
        }
        let at_risk = self.books.get(place).map_or(0, Book::at_risk);
        let frozen = self.books.get_mut(place).and_then(Book::freeze);
        if let Some((key, rows)) = frozen {
            self.frozen_bytes += rows.held();
            self.open_bytes = self.books.iter().map(Book::open_bytes).sum();
            self.waiting.push_back((Frozen { place, key, rows: Arc::new(rows), at_risk }, Instant::now()));
            self.begin_seals();
        }
    }

    fn begin_seals(&mut self) {
        while self.seals.len() < SEALS
            && let Some(at) = self.waiting.iter().position(|(_, when)| *when <= Instant::now())
            && let Some((frozen, _)) = self.waiting.remove(at)
            && let Some(book) = self.books.get(frozen.place)
        {
            let (spool, wanted) = (self.options.spool.clone(), book.wanted.clone());
            let journal = Arc::clone(&self.journal);
            let task = async move {
                let (noted, key) = (Arc::clone(&journal), frozen.key.clone());
                let ready = move || noted.lock().unwrap_or_else(PoisonError::into_inner).ready(&key);
                let sealed = seal(&spool, &frozen.key, &wanted, &frozen.rows, Box::new(ready)).await;
                if sealed.is_err() {
                    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err(error) = journal.unready(&frozen.key) {
                        tracing::debug!(error = %error.chain(), "the note of readiness stands");
                    }
                }
                (frozen, sealed)
            };
            let _ = self.seals.spawn(task);
        }
    }

    fn take_sealed(&mut self, sealed: std::result::Result<Sealed, tokio::task::JoinError>) {
        let (frozen, sealed) = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                // The rows are in the journal; the next start seals them.
                tracing::error!(%error, "a defect of qlc: a seal was not completed");
                return;
            }
        };
        match sealed {
            Ok(content) => {
                self.frozen_bytes = self.frozen_bytes.saturating_sub(frozen.rows.held());
                self.status.files_sealed += 1;
                self.relieved();
                tracing::info!(file = frozen.key, rows = content.rows, bytes = content.bytes, "sealed");
                let noted = tokio::task::block_in_place(|| self.journal().sealed(&frozen.key));
                if let Err(error) = noted {
                    tracing::warn!(error = %error.chain(), "the journal cannot be trimmed");
                }
            }
            Err(error) => {
                self.trouble(&error.chain());
                self.waiting.push_back((frozen, Instant::now() + AGAIN));
            }
        }
        self.begin_seals();
    }

    fn trouble(&mut self, text: &str) {
        if self.disk_trouble.is_none() {
            tracing::error!(error = text, "the disk refuses; rows are kept in memory and tried again");
            let now = (self.options.keeping.clock)();
            self.diary.note(now, "disk", json!({ "state": "refuses", "error": text }));
        }
        self.disk_trouble = Some(text.to_owned());
    }

    /// The disk took something.
    fn relieved(&mut self) {
        if self.disk_trouble.take().is_some() {
            tracing::warn!("the disk takes rows again");
            let now = (self.options.keeping.clock)();
            self.diary.note(now, "disk", json!({ "state": "takes again" }));
        }
    }

    fn memories(&self) -> Vec<(Series, Memory)> {
        let books = self.books.iter().map(|book| (book.wanted.series.clone(), book.remembered()));
        books.chain(self.others.iter().map(|(series, memory)| (series.clone(), memory.clone()))).collect()
    }

    /// Writes all rows to the journal that are not there yet; whether it could.
    fn commit(&mut self) -> bool {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        for place in 0..self.books.len() {
            while let Some(piece) = self.books.get(place).and_then(Book::uncommitted) {
                let Some(Wanted { series, kind, symbol, .. }) = self.books.get(place).map(|book| &book.wanted) else {
                    break;
                };
                let key = piece.key.to_owned();
                let head = RowsHead {
                    series: series.clone(),
                    kind: *kind,
                    symbol: symbol.clone(),
                    key: key.clone(),
                    memory: piece.memory,
                };
                if let Err(error) = piece.batch.and_then(|batch| rows_record(&head, &batch, &mut records)) {
                    tracing::error!(error = %error.chain(), "rows cannot be put in the journal");
                    break;
                }
                let end = piece.rows.end;
                ends.push((place, end, key));
                let all = self.books.get(place).is_none_or(|book| book.is_whole(end));
                if (records.len() > GROUP || !all) && !self.append(&mut records, &mut ends) {
                    return false;
                }
                if all {
                    break;
                }
            }
        }
        if !self.append(&mut records, &mut ends) {
            return false;
        }
        self.uncommitted_since = None;
        if self.journal().is_long() {
            let memories = self.memories();
            if let Err(error) = tokio::task::block_in_place(|| self.journal().roll(&memories)) {
                self.trouble(&error.chain());
            }
        }
        true
    }

    /// Writes records to the journal, of rows up to these ends; whether it could.
    fn append(&mut self, records: &mut Vec<u8>, ends: &mut Vec<(usize, usize, String)>) -> bool {
        if ends.is_empty() {
            return true;
        }
        let keys: Vec<String> = ends.iter().map(|(_, _, key)| key.clone()).collect();
        if let Err(error) = tokio::task::block_in_place(|| self.journal().commit(records, keys)) {
            self.trouble(&error.chain());
            return false;
        }
        if self.waiting.is_empty() {
            self.relieved();
        }
        for (place, end, _) in ends.drain(..) {
            if let Some(book) = self.books.get_mut(place) {
                book.committed(end);
            }
        }
        records.clear();
        true
    }

    /// Puts on record which events had no room: when there is room again, and now and then before.
    fn note_drops(&mut self, now: i64) {
        for book in &mut self.books {
            let due = |d: &Dropped| self.disk_trouble.is_none() || self.ending || now - d.from_ns > NOTE_NS;
            if let Some(Dropped { events, from_ns, to_ns }) = book.dropped.take_if(|d| due(d)) {
                tracing::error!(series = %book.wanted.series, events, "events had no room and are lost");
                let what = json!({ "series": book.wanted.series.to_string(), "exchange": book.wanted.venue.name(),
                    "events": events, "from_ns": from_ns, "to_ns": to_ns });
                self.diary.note(now, "dropped", what);
            }
        }
    }

    async fn tick(&mut self, queue: usize) {
        let now = (self.options.keeping.clock)();
        self.ticks += 1;
        // Before the commit: what the journal remembers as dealt with is on record by then.
        self.note_drops(now);
        self.write_diary(now);
        let _ = self.commit();
        self.begin_seals();
        if self.memory_bytes() as u64 > self.options.memory_limit / 2 && self.waiting.is_empty() {
            let largest = self.books.iter().enumerate().max_by_key(|(_, book)| book.open_bytes()).map(|(at, _)| at);
            if let Some(place) = largest {
                self.rotate(place);
            }
        }
        let due: Vec<usize> =
            self.books.iter().enumerate().filter(|(_, b)| b.is_due(now, &self.options)).map(|(at, _)| at).collect();
        for place in due {
            self.rotate(place);
        }
        self.measure(now);
        if self.window.is_over(now) || self.ticks.is_multiple_of(240) {
            if let Err(error) = self.window.write(&self.options.spool).await {
                self.trouble(&error.chain());
            }
            if self.window.is_over(now) {
                self.window = Window::at(&self.options.spool, now).await;
            }
        }
        self.show(now, queue);
    }

    fn write_diary(&mut self, now: i64) {
        if !self.diary.is_empty()
            && let Err(error) = tokio::task::block_in_place(|| self.diary.flush(now))
        {
            self.trouble(&error.chain());
        }
    }

    /// Counts what a tick's length adds to: time offline, rates.
    fn measure(&mut self, now: i64) {
        let begin = self.last_tick_ns.max(self.window.start_ns());
        let seconds = Duration::from_nanos(u64::try_from(now - begin).unwrap_or(0)).as_secs_f64();
        let mut down: Vec<&'static str> =
            self.lines.iter().filter(|line| line.down.is_some()).map(|line| line.status.exchange).collect();
        down.dedup();
        for exchange in down {
            self.window.of(exchange).offline_seconds += seconds;
        }
        for line in &mut self.lines {
            line.sampled = 0;
        }
        let passed = Duration::from_nanos(u64::try_from(now - self.last_tick_ns).unwrap_or(0)).as_secs_f64();
        if passed > 0.0 {
            for book in &mut self.books {
                book.measure(passed);
            }
            let fresh = self.status.events - self.rate_events;
            self.rate_events = self.status.events;
            self.status.rate = super::book::smooth(self.status.rate, fresh, passed);
        }
        self.last_tick_ns = now;
    }

    fn show(&mut self, now: i64, queue: usize) {
        self.status.now_ns = now;
        self.status.queue = queue;
        self.status.memory_bytes = self.memory_bytes() as u64;
        let journal_bytes = self.journal().bytes();
        self.status.journal_bytes = journal_bytes;
        self.status.journal_age_ms = self.uncommitted_since.map_or(0, |since| (now - since).max(0) / 1_000_000);
        self.status.files_waiting = self.waiting.len() + self.seals.len();
        self.status.disk_free = free(self.options.spool.local_folder().map(PathBuf::from));
        self.status.lines = self.lines.iter().map(|line| line.status.clone()).collect();
        self.status.feeds = self.books.iter().map(|book| book.status.clone()).collect();
        let mut troubles: Vec<String> = self
            .lines
            .iter()
            .filter(|line| line.down.is_some())
            .map(|line| {
                let why = line.status.last_trouble.as_deref().unwrap_or("not connected yet");
                format!("{}: {why}", line.status.name)
            })
            .collect();
        troubles.extend(self.disk_trouble.clone());
        self.status.healthy = troubles.is_empty();
        self.status.troubles = troubles;
    }

    /// Seals everything; a file that cannot be sealed stays in the journal.
    async fn finish(&mut self) {
        self.ending = true;
        for place in 0..self.books.len() {
            self.rotate(place);
        }
        for _ in 0..ATTEMPTS {
            for (_, when) in &mut self.waiting {
                *when = Instant::now();
            }
            self.begin_seals();
            // Until nothing is under way: what failed waits, and is counted.
            while let Some(sealed) = self.seals.join_next().await {
                self.take_sealed(sealed);
            }
        }
        let now = (self.options.keeping.clock)();
        for (frozen, _) in self.waiting.iter().filter(|(frozen, _)| frozen.at_risk > 0) {
            let Some(series) = self.books.get(frozen.place).map(|book| &book.wanted.series) else { continue };
            let what = json!({ "series": series.to_string(), "exchange": series.exchange.to_string(),
                "events": frozen.at_risk, "to_ns": now });
            self.diary.note(now, "dropped", what);
        }
        if self.waiting.is_empty() && self.seals.is_empty() {
            // A fresh segment with nothing but memories is all that is left of the journal.
            let memories = self.memories();
            let mut journal = self.journal();
            if let Err(error) = journal.roll(&memories).and_then(|()| journal.sealed("")) {
                tracing::warn!(error = %error.chain(), "the journal cannot be trimmed");
            }
        }
    }
}

/// Whether there is room for another event: frequent ones may fill the limit, rare ones a tenth more.
fn admits(kind: Kind, used: u64, limit: u64) -> bool {
    used < if kind.has_priority() { limit + limit / 10 } else { limit }
}

fn free(folder: Option<PathBuf>) -> u64 {
    folder.and_then(|folder| rustix::fs::statvfs(&folder).ok()).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_events_are_dropped_last() {
        let at = |used| Kind::ALL.map(|kind| admits(kind, used, 100));
        assert_eq!(at(99), [true; 5]);
        assert_eq!(at(100), [false, false, true, true, true]);
        assert_eq!(at(110), [false; 5]);
    }
}
