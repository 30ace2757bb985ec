//! The writer: events become rows, rows go to the log in groups, full files are sealed.
//!
//! One task owns all series, so that numbers are given in one place. When sealing falls behind, no
//! more events are taken until it has caught up; only when the disk refuses and memory is full are
//! events dropped, the frequent ones first, each one counted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
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
    diary::{self, Diary, Notes},
    lines::{Known, Lines, Now},
    news::{Group, News, What},
    options::Options,
    quality::Window,
    recover::{self, Left, Refused},
    rows::Rows,
    seal::seal,
    series_writer::{Dropped, SeriesWriter},
    spooled,
    status::{Lags, SeriesCount, Status},
    tracker::Verdict,
    wal::{Batch, Checkpoint, Wal},
};
use crate::{
    error::Result,
    feed::{
        event::{Event, Id, Kind},
        venue::{Line, Wanted},
    },
    file::sealed::SealedContent,
    model::{partition::Series, quality},
};

/// Files that are sealed at a time: large ones, of which one keeps a processor busy, and small
/// ones, which wait for the disk.
const SEALS: usize = 2;
const SMALL_SEALS: usize = 32;
/// Rows of so many bytes are sealed at a time where there are more than [`SEALS`].
const SEAL_BYTES: usize = 16 << 20;
/// After a failed seal.
const AGAIN: Duration = Duration::from_secs(5);
/// After a failed commit: each attempt encodes all rows that wait.
const COMMIT_AGAIN: Duration = Duration::from_millis(500);
/// Records are written to the log when they are so many bytes.
const GROUP: usize = 8 << 20;
/// While the disk refuses, dropped events are noted so often.
const NOTE_NS: i64 = 60_000_000_000;
/// At the end every file is tried so often.
const ATTEMPTS: u32 = 3;
/// Open rows are written to the log once more when it is so many times as long as they are.
const CARRIED: u64 = 4;
/// So many of the news that wait are taken before anything else is looked at.
const AT_ONCE: usize = 32;
/// All series are looked at in every tick where they are so few, and the more rarely the more there
/// are; at least in every so manyth.
const LOOKED_AT: usize = 500;
const RAREST: u64 = 8;
/// What no row tells of is written in every so manyth tick.
const SOON: u64 = 20;
/// So many quality windows of the time before are written in a tick.
const CORRECTED: usize = 16;
/// Up to so many series each file is ended at its age, however small it is.
const FEW: usize = 150;
/// A file whose rows are complete.
struct Frozen {
    place: usize,
    key: String,
    rows: Arc<Rows>,
    /// Rows that are not in the log either: only at the end, when the disk refuses.
    at_risk: usize,
}

type Sealed = (Frozen, Result<SealedContent>);

pub(super) struct Writer {
    options: Options,
    series: Vec<SeriesWriter>,
    /// Those with rows that are not in the log yet.
    dirty: Vec<usize>,
    /// Those whose tracker has holes that are neither filled nor on record.
    holed: BTreeSet<usize>,
    /// Those with events that had no room and are not on record.
    dropping: BTreeSet<usize>,
    /// Of series that this process does not collect.
    others: BTreeMap<Series, Checkpoint>,
    wal: Arc<Mutex<Wal>>,
    lines: Lines,
    /// The place of each series.
    places: HashMap<Series, usize>,
    waiting: VecDeque<(Frozen, Instant)>,
    seals: JoinSet<Sealed>,
    /// Bytes of rows in files that are being sealed.
    sealing_bytes: usize,
    /// Bytes of rows in files that are being sealed or wait.
    frozen_bytes: usize,
    /// Bytes of rows in open files.
    open_bytes: usize,
    diary: Diary,
    window: Window,
    status: Status,
    disk_trouble: Option<String>,
    /// Files that could not be sealed, the feed log or quality windows that could not be written,
    /// and why: one folder may refuse while the disk takes all else.
    refused: BTreeMap<String, String>,
    /// What could not be recovered of the log.
    left: Left,
    /// Attempts at it that are under way: one at a time.
    recovering: JoinSet<(Refused, Result<Option<u64>>)>,
    /// No further attempt is made before.
    recover_again: Instant,
    /// No commit is tried before.
    commit_again: Instant,
    /// Checkpoints have changed that no row tells of.
    must_roll: bool,
    uncommitted_since: Option<i64>,
    last_tick_ns: i64,
    /// When it began, by a clock that never jumps, and by the wall's.
    began: (Instant, i64),
    /// When all series were looked at last.
    last_look_ns: i64,
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
    /// Rows that are in the log still, because they could not be sealed.
    pub left_in_journal: u64,
    /// Rows that are nowhere, because neither the journal nor a file could be written.
    pub lost: u64,
    /// Lines of the feed log that could not be written to it.
    pub notes: Notes,
    /// Quality windows that could not be written.
    pub windows: u64,
}

impl Writer {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is made by a step of its own"
    )]
    pub(super) fn new(
        options: Options,
        lines: Vec<Line>,
        mut known: BTreeMap<Series, Checkpoint>,
        wal: Arc<Mutex<Wal>>,
        diary: Diary,
        window: Window,
        left: Left,
        live: &BTreeMap<String, i64>,
        full: watch::Sender<bool>,
        now: i64,
    ) -> Self {
        let series: Vec<SeriesWriter> = options
            .wanted
            .iter()
            .map(|wanted| {
                SeriesWriter::new(
                    wanted.clone(),
                    known.remove(&wanted.series).unwrap_or_default(),
                )
            })
            .collect();
        let known_of = |place: usize| {
            series.get(place).map(|one| Known {
                recv_ns: one.known_recv(),
                told_ns: one.known_told(),
            })
        };
        let alive = series
            .iter()
            .map(SeriesWriter::known_recv)
            .chain(known.values().map(|one| one.ts_recv))
            .max();
        let lines = Lines::new(lines, &options.wanted, known_of, alive, live, now);
        // Holes that an earlier process found.
        let holed = series
            .iter()
            .enumerate()
            .filter(|(_, one)| one.tracker.has_open())
            .map(|(place, _)| place)
            .collect();
        let places = series
            .iter()
            .enumerate()
            .map(|(place, one)| (one.wanted.series.clone(), place))
            .collect();
        let status = Status {
            started_ns: now,
            memory_limit: options.memory_limit,
            ..Status::default()
        };
        let mut writer = Self {
            options,
            series,
            dirty: Vec::new(),
            holed,
            dropping: BTreeSet::new(),
            others: known,
            wal,
            lines,
            places,
            waiting: VecDeque::new(),
            seals: JoinSet::new(),
            sealing_bytes: 0,
            frozen_bytes: 0,
            open_bytes: 0,
            diary,
            window,
            status,
            disk_trouble: None,
            refused: BTreeMap::new(),
            left,
            recovering: JoinSet::new(),
            recover_again: Instant::now() + AGAIN,
            commit_again: Instant::now(),
            must_roll: false,
            uncommitted_since: None,
            last_tick_ns: now,
            began: (Instant::now(), now),
            last_look_ns: now,
            ticks: 0,
            full,
            rate_events: 0,
            ending: false,
        };
        for Refused { key, error, .. } in writer.left.refused.clone() {
            writer.refuse(&key, error);
        }
        writer
    }

    /// Takes news until all lines have gone, then seals everything.
    pub(super) async fn run(
        mut self,
        mut from: mpsc::Receiver<News>,
        told: &watch::Sender<Arc<Status>>,
    ) -> Summary {
        let mut tick = interval(self.options.commit_every.min(Duration::from_millis(250)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let pressed = self.is_pressed();
            tokio::select! {
                biased;
                Some(sealed) = self.seals.join_next(), if !self.seals.is_empty() => self.take_sealed(sealed),
                _ = tick.tick() => {
                    if let Some(status) = self.tick(from.len(), false).await {
                        let _ = told.send(Arc::new(status));
                    }
                    // However long that took, there is time for events before the next one.
                    tick.reset();
                }
                news = from.recv(), if !pressed => match news {
                    Some(news) => {
                        self.take(news);
                        for _ in 1..AT_ONCE {
                            let more = if self.is_pressed() { None } else { from.try_recv().ok() };
                            let Some(news) = more else { break };
                            self.take(news);
                        }
                    }
                    None => break,
                },
            }
        }
        self.finish().await;
        let status = self.tick(0, true).await;
        let spool = &self.options.spool;
        let corrected = self.window.correct(spool, usize::MAX).await;
        let written = self.window.write(spool).await;
        let windows = self.window.late() + u64::from(written.is_err());
        for error in [corrected.err(), written.err()].into_iter().flatten() {
            tracing::warn!(error = %error.chain(), "a quality window cannot be written");
        }
        if let Some(status) = status {
            let _ = told.send(Arc::new(status));
        }
        self.summary(windows)
    }

    fn summary(&self, windows: u64) -> Summary {
        let sum = |of: fn(&SeriesWriter) -> u64| self.series.iter().map(of).sum();
        Summary {
            events: self.status.events,
            files: self.status.files_sealed,
            rejected: self.status.rejected,
            missing: sum(|series| series.status.missing),
            dropped: sum(|series| series.status.dropped),
            left_in_journal: self
                .waiting
                .iter()
                .map(|(frozen, _)| frozen.rows.len() as u64)
                .chain(self.left.refused.iter().map(|file| file.rows))
                .sum::<u64>()
                - self.at_risk(),
            lost: self.at_risk(),
            notes: self.diary.unwritten(),
            windows,
        }
    }

    /// Rows of files that wait for a seal and are not in the log.
    fn at_risk(&self) -> u64 {
        self.waiting
            .iter()
            .map(|(frozen, _)| frozen.at_risk as u64)
            .sum()
    }

    fn wal(&self) -> MutexGuard<'_, Wal> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_bytes(&self) -> usize {
        self.frozen_bytes + self.open_bytes
    }

    /// Whether sealing must catch up before more is taken.
    fn is_pressed(&self) -> bool {
        let used = self.memory_bytes() as u64;
        self.disk_trouble.is_none()
            && !self.seals.is_empty()
            && used > self.options.memory_limit / 4 * 3
    }

    /// A connection stands: of series of which nothing ever came it is not missed any more since when
    /// they were wanted.
    fn stands(&mut self, line: usize) {
        for place in self.lines.series_of(line) {
            if let Some(series) = self.series.get_mut(*place)
                && series.known_told() > 0
                && series.known_recv() == 0
            {
                series.told(0);
                self.must_roll = true;
            }
        }
    }

    /// This instant by both clocks.
    fn now(&self) -> Now {
        let (began, steady_ns) = self.began;
        let passed = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Now {
            wall_ns: (self.options.keeping.clock)(),
            steady_ns: steady_ns.saturating_add(passed),
        }
    }

    fn take(&mut self, news: News) {
        let at = self.now();
        let now = at.wall_ns;
        if matches!(news.what, What::Live) {
            self.stands(news.line);
        }
        match news.what {
            What::Group(group) => self.take_group(news.line, news.session, group, at),
            What::Listed(wanted, lines) => self.list(&wanted, lines, now),
            What::Delisted(all) => self.delist(&all, now),
            What::Relisted(all) => {
                for place in all.iter().filter_map(|series| self.places.get(series)) {
                    self.lines.begin_again(*place, now, &mut self.diary);
                }
            }
            what => self.lines.take(
                news.line,
                news.session,
                what,
                at,
                &mut self.diary,
                &mut self.window,
            ),
        }
    }

    /// Begins series that were listed since the start.
    fn list(&mut self, wanted: &[Wanted], lines: Vec<Line>, now: i64) {
        for one in wanted {
            let known = self.others.remove(&one.series).unwrap_or_default();
            let mut known = spooled::joined(&self.options.spool, &one.series, &known);
            if known.ts_recv == 0 && known.told_ns == 0 {
                known.told_ns = now;
            }
            tracing::info!(series = %one.series, "listed by its exchange; it is collected from now on");
            self.diary.note(
                now,
                "series listed",
                json!({ "series": one.series.to_string(), "exchange": one.venue.name() }),
            );
            let _ = self.places.insert(one.series.clone(), self.series.len());
            let writer = SeriesWriter::new(one.clone(), known);
            if writer.tracker.has_open() {
                let _ = self.holed.insert(self.series.len());
            }
            self.series.push(writer);
        }
        self.lines.add(lines, wanted, now);
        // Since when they are missed must be known even if nothing ever comes of them.
        self.must_roll = true;
    }

    /// Begins another segment of the log, with what is known of all series; whether it could.
    fn roll(&mut self) -> bool {
        let checkpoints = self.checkpoints();
        let rolled = tokio::task::block_in_place(|| self.wal().roll(&checkpoints));
        if let Err(error) = &rolled {
            self.trouble(&error.chain());
        }
        rolled.is_ok()
    }

    /// Ends series that are listed no more: what is open of them is sealed.
    fn delist(&mut self, all: &[(Series, String)], now: i64) {
        let mut places = Vec::new();
        for (series, why) in all {
            if let Some(place) = self.places.get(series) {
                self.lines
                    .end(*place, why, now, &mut self.diary, &mut self.window);
                places.push(*place);
            }
        }
        self.rotate(&places);
    }

    fn take_group(&mut self, place: usize, session: u64, group: Group, at: Now) {
        let Some((name, exchange)) = self.lines.received(place, group.last_recv) else {
            return;
        };
        let tally = self.window.of(exchange);
        tally.frames += group.frames;
        tally.bytes += group.bytes;
        tally.rejected += group.rejects.len() as u64;
        self.status.frames += group.frames;
        self.status.bytes += group.bytes;
        self.status.rejected += group.rejects.len() as u64;
        for reject in group.rejects {
            let begin: String = reject.frame.chars().take(120).collect();
            let what = json!({ "line": name, "exchange": exchange, "reason": reject.reason, "binary": reject.binary,
                "frame": reject.frame });
            if self.diary.keep(reject.at, &name, what) {
                tracing::warn!(
                    line = name,
                    reason = reject.reason,
                    frame = begin,
                    "rejected"
                );
            }
        }
        let mut taken = Taken {
            steady_ns: at.steady_ns,
            ..Taken::default()
        };
        for event in &group.events {
            if self
                .options
                .max_events
                .is_some_and(|most| self.status.events >= most)
            {
                break;
            }
            self.take_event(place, session, exchange, event, &mut taken);
        }
        self.lines.lagged(place, &taken.lags);
        let tally = self.window.of(exchange);
        tally.lags.join(&taken.lags);
        for (kind, events) in Kind::ALL
            .into_iter()
            .zip(taken.by_kind)
            .filter(|(_, events)| *events > 0)
        {
            tally.events += events;
            *tally
                .events_by_stream
                .entry(kind.name().to_owned())
                .or_default() += events;
        }
    }

    fn take_event(
        &mut self,
        line: usize,
        session: u64,
        exchange: &'static str,
        event: &Event,
        taken: &mut Taken,
    ) {
        let place = event.series;
        // Before the tracker knows of this event: what is committed must not remember what it does
        // not hold.
        if self.disk_trouble.is_none()
            && self
                .series
                .get(place)
                .is_some_and(|s| s.must_rotate(event, &self.options))
        {
            self.rotate(&[place]);
        }
        self.lines.brought(place, taken.steady_ns);
        let Some(series) = self.series.get_mut(place) else {
            return;
        };
        let now = event.ts_recv;
        let verdict = series.tracker.look(event, session);
        let told = || json!({ "series": series.wanted.series.to_string(), "id": number(event.id), "session": session });
        match verdict {
            Verdict::Again => {
                series.status.duplicates += 1;
                self.window.of(exchange).duplicates += 1;
                return;
            }
            Verdict::Late => {
                self.window.of(exchange).late += 1;
                // While one session takes another one's place, the slower one is late all the time.
                if !self.lines.overlaps(line) {
                    self.diary.note(now, "late", told());
                }
                series.status.late += 1;
            }
            Verdict::Filled {
                first,
                last,
                left: 0,
            } => {
                let what = json!({ "series": series.wanted.series.to_string(), "first": first, "last": last });
                self.diary.note(now, "filled", what);
            }
            Verdict::AfterHole => drop(self.holed.insert(place)),
            Verdict::Next | Verdict::Filled { .. } => {}
            Verdict::Conflict => {
                self.window.of(exchange).conflicts += 1;
                self.diary.note(now, "conflict", told());
                series.status.conflicts += 1;
            }
            Verdict::Anew => {
                let _ = self.holed.insert(place);
                self.diary.note(now, "anew", told());
            }
        }
        let used = (self.frozen_bytes + self.open_bytes + series.growth()) as u64;
        if !admits(series.wanted.kind, used, self.options.memory_limit) {
            series.drop_one(now);
            let _ = self.dropping.insert(place);
            let tally = self.window.of(exchange);
            tally.dropped += 1;
            *tally.series_lost.entry(series.name.clone()).or_default() += 1;
            return;
        }
        taken.lags.add(event.ts_recv - event.ts_event);
        if let Some(events) = taken.by_kind.get_mut(series.wanted.kind.index()) {
            *events += 1;
        }
        self.status.events += 1;
        let _ = self.uncommitted_since.get_or_insert(event.ts_recv);
        if series.at_risk() == 0 {
            self.dirty.push(place);
        }
        let id = if series.is_open() {
            0
        } else {
            self.wal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .file_id()
        };
        self.open_bytes += series.push(event, &self.options.spool, id);
        if self
            .options
            .max_events
            .is_some_and(|most| self.status.events >= most)
        {
            let _ = self.full.send(true);
        }
    }

    /// Puts on record which numbers will not come any more.
    fn settle(&mut self, now: i64) {
        for place in std::mem::take(&mut self.holed) {
            let Some(series) = self.series.get_mut(place) else {
                continue;
            };
            let overlapping = self.lines.overlaps_series(place);
            let gaps = series.tracker.settle(now, overlapping, self.ending);
            if series.tracker.has_open() {
                let _ = self.holed.insert(place);
            }
            let exchange = series.wanted.venue.name();
            let (name, told) = (series.wanted.series.to_string(), gaps.len());
            if told > 0 {
                // A process that is killed soon has told of them, and the next one does not again.
                self.window.hurry();
            }
            for gap in &gaps {
                let missing = gap.last - gap.first + 1;
                let tally = self.window.of(exchange);
                tally.gaps += 1;
                tally.missing += missing;
                *tally.series_lost.entry(series.name.clone()).or_default() += missing;
                series.status.gaps += 1;
                series.status.missing += missing;
                series.status.last_gap_ns = gap.found_ns;
            }
            // Each by itself, unless there are too many of late; what is missing is told at once in
            // any case, because the log takes it for dealt with from now on.
            let number = u32::try_from(told).unwrap_or(u32::MAX);
            let together = if self.diary.has_room("gap", number, now) {
                1
            } else {
                told.max(1)
            };
            for holes in gaps.chunks(together) {
                let mut what = json!({ "series": name, "exchange": exchange,
                    "first": holes.iter().map(|gap| gap.first).min(), "last": holes.iter().map(|gap| gap.last).max(),
                    "missing": holes.iter().map(|gap| gap.last - gap.first + 1).sum::<u64>(),
                    "found_ns": holes.iter().map(|gap| gap.found_ns).min() });
                if let Some(what) = what.as_object_mut().filter(|_| holes.len() > 1) {
                    let _ = what.insert("holes".to_owned(), json!(holes.len()));
                }
                self.diary.note(now, "gap", what);
            }
        }
    }

    /// Commits what is open, and lets the files of these series be sealed.
    fn rotate(&mut self, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        self.put_on_record((self.options.keeping.clock)());
        // Rows that are in no log stay in the open file, or a later commit would remember what is
        // nowhere.
        if !self.commit() && !self.ending {
            return;
        }
        for place in places {
            let at_risk = self.series.get(*place).map_or(0, SeriesWriter::at_risk);
            if let Some((key, rows)) = self.series.get_mut(*place).and_then(SeriesWriter::freeze) {
                self.frozen_bytes += rows.held();
                self.waiting.push_back((
                    Frozen {
                        place: *place,
                        key,
                        rows: Arc::new(rows),
                        at_risk,
                    },
                    Instant::now(),
                ));
            }
        }
        self.open_bytes = self.series.iter().map(SeriesWriter::open_bytes).sum();
        self.begin_seals();
    }

    /// Tries again what could not be recovered at the start, one file at a time.
    fn recover(&mut self) {
        while let Some(Ok((file, sealed))) = self.recovering.try_join_next() {
            self.take_recovered(file, sealed);
        }
        if self.recovering.is_empty() && Instant::now() >= self.recover_again {
            let _ = self.begin_recovery();
        }
    }

    /// Begins with the next file; whether there was one.
    fn begin_recovery(&mut self) -> bool {
        let Some(file) = self.left.refused.pop_front() else {
            return false;
        };
        let (spool, found) = (self.options.spool.clone(), Arc::clone(&self.left.found));
        let _ = self.recovering.spawn(async move {
            let sealed = recover::again(&spool, &found, &file.key).await;
            (file, sealed)
        });
        true
    }

    fn take_recovered(&mut self, file: Refused, sealed: Result<Option<u64>>) {
        match sealed {
            Ok(rows) => {
                tracing::info!(file = file.key, rows, "recovered from the log");
                self.status.files_sealed += u64::from(rows.is_some());
                let noted = tokio::task::block_in_place(|| self.wal().sealed(&file.key));
                if let Err(error) = noted {
                    tracing::warn!(error = %error.chain(), "the log cannot be trimmed");
                }
                self.relieved(Some(&file.key));
                self.recover_again = Instant::now();
            }
            Err(error) => {
                self.refuse(&file.key, error.chain());
                self.left.refused.push_back(file);
                self.recover_again = Instant::now() + AGAIN;
            }
        }
    }

    /// Tries each file once more that could not be recovered.
    async fn recover_all(&mut self) {
        let mut left = self.left.refused.len();
        loop {
            while let Some(Ok((file, sealed))) = self.recovering.join_next().await {
                self.take_recovered(file, sealed);
            }
            if left == 0 || !self.begin_recovery() {
                return;
            }
            left -= 1;
        }
    }

    fn begin_seals(&mut self) {
        loop {
            let at = self
                .waiting
                .iter()
                .position(|(_, when)| *when <= Instant::now());
            let Some((at, bytes)) =
                at.and_then(|at| Some((at, self.waiting.get(at)?.0.rows.held())))
            else {
                return;
            };
            let room = self.seals.len() < SMALL_SEALS && self.sealing_bytes + bytes <= SEAL_BYTES;
            if self.seals.len() >= SEALS && !room {
                return;
            }
            let Some((frozen, _)) = self.waiting.remove(at) else {
                return;
            };
            let Some(series) = self.series.get(frozen.place) else {
                return;
            };
            let (spool, wanted) = (self.options.spool.clone(), series.wanted.clone());
            self.sealing_bytes += bytes;
            let _ = self.seals.spawn(async move {
                let sealed = seal(&spool, &frozen.key, &wanted, &frozen.rows).await;
                (frozen, sealed)
            });
        }
    }

    fn take_sealed(&mut self, sealed: std::result::Result<Sealed, tokio::task::JoinError>) {
        let (frozen, sealed) = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                // The rows are in the log; the next start seals them.
                tracing::error!(%error, "a defect of qlc: a seal was not completed");
                return;
            }
        };
        self.sealing_bytes = self.sealing_bytes.saturating_sub(frozen.rows.held());
        match sealed {
            Ok(content) => {
                self.frozen_bytes = self.frozen_bytes.saturating_sub(frozen.rows.held());
                self.status.files_sealed += 1;
                self.relieved(Some(&frozen.key));
                tracing::info!(
                    file = frozen.key,
                    rows = content.rows,
                    bytes = content.bytes,
                    "sealed"
                );
                let noted = tokio::task::block_in_place(|| self.wal().sealed(&frozen.key));
                if let Err(error) = noted {
                    tracing::warn!(error = %error.chain(), "the log cannot be trimmed");
                }
            }
            Err(error) => {
                self.trouble(&error.chain());
                let _ = self.refused.insert(frozen.key.clone(), error.chain());
                self.waiting.push_back((frozen, Instant::now() + AGAIN));
            }
        }
        self.begin_seals();
    }

    /// What the disk refuses, if it refuses anything.
    fn refusal(&self) -> Option<&String> {
        self.disk_trouble
            .as_ref()
            .or_else(|| self.refused.values().next())
    }

    /// A folder refuses, or what is to be written there; the disk may take all else.
    fn refuse(&mut self, what: &str, text: String) {
        self.tell_refusal(&text);
        let _ = self.refused.insert(what.to_owned(), text);
    }

    fn trouble(&mut self, text: &str) {
        self.tell_refusal(text);
        self.disk_trouble = Some(text.to_owned());
    }

    fn tell_refusal(&mut self, text: &str) {
        if self.refusal().is_none() {
            tracing::error!(
                error = text,
                "the disk refuses; rows are kept in memory and tried again"
            );
            let now = (self.options.keeping.clock)();
            self.diary
                .note(now, "disk", json!({ "state": "refuses", "error": text }));
        }
    }

    /// The disk took something, perhaps what was refused under this name: work goes on. All is well
    /// when nothing is refused any more.
    fn relieved(&mut self, taken: Option<&str>) {
        let had_trouble = self.refusal().is_some();
        self.disk_trouble = None;
        self.accepted(taken, had_trouble);
    }

    /// What was refused under this name was taken now.
    fn accepted(&mut self, taken: Option<&str>, had_trouble: bool) {
        let _ = taken.and_then(|key| self.refused.remove(key));
        if had_trouble && self.refusal().is_none() {
            tracing::warn!("the disk takes rows again");
            let now = (self.options.keeping.clock)();
            self.diary
                .note(now, "disk", json!({ "state": "takes again" }));
        }
    }

    fn checkpoints(&self) -> Vec<(Series, Checkpoint)> {
        let series = self
            .series
            .iter()
            .map(|one| (one.wanted.series.clone(), one.checkpoint()));
        series
            .chain(
                self.others
                    .iter()
                    .map(|(series, known)| (series.clone(), known.clone())),
            )
            .collect()
    }

    /// Writes all rows to the log that are not there yet; whether it could.
    fn commit(&mut self) -> bool {
        if self.disk_trouble.is_some() && !self.ending && Instant::now() < self.commit_again {
            return false;
        }
        let dirty = std::mem::take(&mut self.dirty);
        if !self.commit_all(&dirty) {
            self.dirty = dirty;
            return false;
        }
        // What could not be put in a record.
        self.dirty.extend(
            dirty
                .into_iter()
                .filter(|place| self.series.get(*place).is_some_and(|one| one.at_risk() > 0)),
        );
        self.uncommitted_since = None;
        let is_long = self.wal().is_long();
        if is_long && self.roll() {
            self.carry();
        }
        true
    }

    /// Writes the rows of these series to the log; whether it could.
    fn commit_all(&mut self, places: &[usize]) -> bool {
        let (mut batch, mut ends) = (Batch::default(), Vec::new());
        for place in places.iter().copied() {
            while let Some(piece) = self.series.get(place).and_then(SeriesWriter::uncommitted) {
                let end = piece.range.end;
                let added = self.wal().add(
                    &mut batch,
                    piece.head,
                    &piece.tracked,
                    piece.rows,
                    piece.range,
                );
                if let Err(error) = added {
                    tracing::error!(error = %error.chain(), "rows cannot be put in the log");
                    break;
                }
                ends.push((place, end));
                let all = self
                    .series
                    .get(place)
                    .is_none_or(|series| series.is_whole(end));
                if (batch.len() > GROUP || !all)
                    && !self.append(std::mem::take(&mut batch), &mut ends)
                {
                    return false;
                }
                if all {
                    break;
                }
            }
        }
        self.append(batch, &mut ends)
    }

    /// Writes the rows of open files to the log once more, so that old segments, of which most has
    /// long been sealed, can go: a quiet series must not keep what busy ones have written
    /// meanwhile.
    fn carry(&mut self) {
        // As long as what is kept is little beside what would be written again, it stays.
        if self.wal().bytes() < self.open_bytes as u64 * CARRIED {
            return;
        }
        let Some(old) = self.wal().old() else { return };
        let mut batch = Batch::default();
        for place in 0..self.series.len() {
            let piece = self.series.get(place).and_then(SeriesWriter::carried);
            let Some(piece) = piece.filter(|piece| old.contains(&piece.head.key)) else {
                continue;
            };
            let added = self.wal().add_whole(
                &mut batch,
                piece.head,
                &piece.tracked,
                piece.rows,
                piece.range,
            );
            if added.is_err() {
                // Its segment stays until it is sealed.
                continue;
            }
            if batch.len() > GROUP && !self.append_carried(std::mem::take(&mut batch)) {
                return;
            }
        }
        let _ = self.append_carried(batch);
    }

    fn append_carried(&mut self, batch: Batch) -> bool {
        if batch.len() == 0 {
            return true;
        }
        // Both under one lock: one that is held by this very thread is never free.
        let written = tokio::task::block_in_place(|| self.wal().commit_again(batch));
        if let Err(error) = &written {
            self.trouble(&error.chain());
        }
        written.is_ok()
    }

    /// Writes records to the log, of rows up to these ends; whether it could.
    fn append(&mut self, batch: Batch, ends: &mut Vec<(usize, usize)>) -> bool {
        if ends.is_empty() {
            return true;
        }
        if let Err(error) = tokio::task::block_in_place(|| self.wal().commit(batch)) {
            self.trouble(&error.chain());
            self.commit_again = Instant::now() + COMMIT_AGAIN;
            return false;
        }
        if self.waiting.is_empty() {
            self.relieved(None);
        }
        for (place, end) in ends.drain(..) {
            if let Some(series) = self.series.get_mut(place) {
                series.committed(end);
            }
        }
        true
    }

    /// Puts on record which events had no room: when there is room again, and now and then before.
    fn note_drops(&mut self, now: i64) {
        for place in std::mem::take(&mut self.dropping) {
            let Some(series) = self.series.get_mut(place) else {
                continue;
            };
            let due = |d: &Dropped| {
                self.disk_trouble.is_none() || self.ending || now - d.from_ns > NOTE_NS
            };
            let noted = series.dropped.take_if(|d| due(d));
            if series.dropped.is_some() {
                let _ = self.dropping.insert(place);
            }
            if let Some(Dropped {
                events,
                from_ns,
                to_ns,
            }) = noted
            {
                tracing::error!(series = %series.wanted.series, events, "events had no room and are lost");
                let what = json!({ "series": series.wanted.series.to_string(), "exchange": series.wanted.venue.name(),
                    "events": events, "from_ns": from_ns, "to_ns": to_ns });
                self.diary.note(now, "dropped", what);
            }
        }
    }

    /// Puts on record what is missing. Before each commit: what the log remembers as dealt with is
    /// on record by then.
    fn put_on_record(&mut self, now: i64) {
        self.note_drops(now);
        self.settle(now);
        self.write_diary(now);
    }

    /// Does what is to be done several times a second; returns what there is to be told, if all
    /// series were looked at.
    async fn tick(&mut self, queue: usize, all: bool) -> Option<Status> {
        let now = (self.options.keeping.clock)();
        let all = all
            || self
                .ticks
                .is_multiple_of(looked_at_every(self.series.len()));
        self.ticks += 1;
        self.put_on_record(now);
        let _ = self.commit();
        if self.must_roll && self.ticks.is_multiple_of(SOON) {
            self.must_roll = !self.roll();
        }
        self.begin_seals();
        self.recover();
        if self.memory_bytes() as u64 > self.options.memory_limit / 2 && self.waiting.is_empty() {
            let largest = self
                .series
                .iter()
                .enumerate()
                .max_by_key(|(_, one)| one.open_bytes())
                .map(|(at, _)| at);
            if let Some(place) = largest {
                self.rotate(&[place]);
            }
        }
        if all {
            let quiet_after = quiet_after(self.options.rotate_after, self.series.len());
            let is_due =
                |one: &SeriesWriter| one.is_due(now, self.options.rotate_after, quiet_after);
            let due = self
                .series
                .iter()
                .enumerate()
                .filter(|(_, one)| is_due(one))
                .map(|(at, _)| at);
            let due: Vec<usize> = due.collect();
            self.rotate(&due);
            self.measure_series(now);
        }
        self.measure(now);
        match self.write_windows(now).await {
            Ok(false) => {}
            Ok(true) => self.accepted(Some(quality::DIR), self.refusal().is_some()),
            Err(error) => self.refuse(quality::DIR, error.chain()),
        }
        all.then(|| self.show(now, queue))
    }

    /// Writes the quality windows that are due; whether the one that is under way was.
    async fn write_windows(&mut self, now: i64) -> Result<bool> {
        let spool = &self.options.spool;
        // Every minute with the usual setting, and sooner where it was refused.
        let is_refused = self.refused.contains_key(quality::DIR);
        let is_time = self.ticks.is_multiple_of(if is_refused { 20 } else { 240 });
        let mut written = false;
        if self.window.is_over(now) {
            self.window.go_on(spool, now).await?;
            written = true;
        } else if self.window.take_urgency() || is_time {
            self.window.write(spool).await?;
            written = true;
        }
        if is_time || !self.window.is_stuck() {
            self.window.correct(spool, CORRECTED).await?;
        }
        Ok(written && !self.window.is_stuck())
    }

    fn write_diary(&mut self, now: i64) {
        if !self.diary.is_empty() {
            match tokio::task::block_in_place(|| self.diary.flush(now)) {
                Ok(()) => self.accepted(Some(diary::FOLDER), self.refusal().is_some()),
                Err(error) => self.refuse(diary::FOLDER, error.chain()),
            }
        }
    }

    /// Judges every series, and counts what the time since the last such look adds to: time without
    /// a series, rates.
    fn measure_series(&mut self, now: i64) {
        // At the end everything is on record.
        if !self.ending {
            let at = self.now();
            self.lines.judge(at, &mut self.diary, &mut self.window);
        }
        let seconds =
            Duration::from_nanos(u64::try_from(now - self.last_look_ns).unwrap_or(0)).as_secs_f64();
        if seconds > 0.0 {
            for series in &mut self.series {
                series.measure(seconds);
            }
        }
        self.last_look_ns = now;
    }

    /// Counts what a tick's length adds to: time offline, the rate.
    fn measure(&mut self, now: i64) {
        self.lines.measure(now, &mut self.window);
        let passed =
            Duration::from_nanos(u64::try_from(now - self.last_tick_ns).unwrap_or(0)).as_secs_f64();
        if passed > 0.0 {
            let fresh = self.status.events - self.rate_events;
            self.rate_events = self.status.events;
            self.status.rate = super::series_writer::smooth(self.status.rate, fresh, passed);
        }
        self.last_tick_ns = now;
    }

    fn show(&mut self, now: i64, queue: usize) -> Status {
        self.status.now_ns = now;
        self.status.told = Some(std::time::Instant::now());
        self.status.queue = queue;
        self.status.memory_bytes = self.memory_bytes() as u64;
        let journal_bytes = self.wal().bytes();
        self.status.journal_bytes = journal_bytes;
        self.status.journal_age_ms = self
            .uncommitted_since
            .map_or(0, |since| (now - since).max(0) / 1_000_000);
        self.status.files_waiting = self.waiting.len() + self.seals.len();
        self.status.disk_free = free(self.options.spool.local_folder().map(PathBuf::from));
        self.status.lines = self.lines.statuses();
        let mut counts = SeriesCount::default();
        let lines = &self.lines;
        let feeds = self.series.iter().enumerate().map(|(place, series)| {
            let mut status = series.status.clone();
            lines.show(place, &mut status);
            counts.add(status.state);
            status
        });
        let feeds = feeds.collect();
        self.status.series = counts;
        let mut troubles = self.lines.troubles();
        troubles.extend(self.refusal().cloned());
        self.status.healthy = troubles.is_empty();
        self.status.troubles = troubles;
        // Only what is told has the series: they are made anew each time.
        Status {
            feeds,
            ..self.status.clone()
        }
    }

    /// Seals everything; a file that cannot be sealed stays in the log.
    async fn finish(&mut self) {
        self.ending = true;
        let now = (self.options.keeping.clock)();
        self.settle(now);
        for place in self.lines.close(now, &mut self.diary, &mut self.window) {
            if let Some(series) = self.series.get_mut(place) {
                series.told(now);
            }
        }
        self.diary.tell_held_back(now, true);
        self.write_diary(now);
        let all: Vec<usize> = (0..self.series.len()).collect();
        self.rotate(&all);
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
            let Some(series) = self
                .series
                .get(frozen.place)
                .map(|series| &series.wanted.series)
            else {
                continue;
            };
            let what = json!({ "series": series.to_string(), "exchange": series.exchange.to_string(),
                "events": frozen.at_risk, "to_ns": now });
            self.diary.note(now, "dropped", what);
        }
        self.recover_all().await;
        if self.waiting.is_empty() && self.seals.is_empty() {
            // A fresh segment with nothing but checkpoints is all that is left of the log, unless
            // something of it could not be recovered.
            let checkpoints = self.checkpoints();
            let mut wal = self.wal();
            let rolled = wal.flush().and_then(|()| wal.roll(&checkpoints));
            if let Err(error) = rolled.and_then(|()| wal.trim()) {
                tracing::warn!(error = %error.chain(), "the log cannot be trimmed");
            }
        } else {
            // What was put on record at the end.
            let _ = self.roll();
        }
    }
}

/// What a group of events adds to, so that it is looked up once.
#[derive(Debug, Default)]
struct Taken {
    /// When it was taken, by the steady clock.
    steady_ns: i64,
    by_kind: [u64; Kind::ALL.len()],
    lags: Lags,
}

/// In every so manyth tick all series are looked at.
fn looked_at_every(series: usize) -> u64 {
    u64::try_from(series.div_ceil(LOOKED_AT))
        .unwrap_or(RAREST)
        .clamp(1, RAREST)
}

/// How long the file of a quiet series stays open: longer where there are many series, so that
/// together they do not make more than some 43,000 small files a day with the usual setting.
fn quiet_after(rotate_after: Duration, series: usize) -> Duration {
    rotate_after
        * u32::try_from(series.div_ceil(FEW))
            .unwrap_or(u32::MAX)
            .max(1)
}

/// The number that its exchange gave an event, if it gave one.
fn number(id: Id) -> Option<u64> {
    match id {
        Id::Consecutive(number) | Id::Ascending(number) | Id::Shared(number) => Some(number),
        Id::Time => None,
    }
}

/// Whether there is room for another event: frequent ones may fill the limit, rare ones a tenth
/// more.
fn admits(kind: Kind, used: u64, limit: u64) -> bool {
    used < if kind.has_priority() {
        limit + limit / 10
    } else {
        limit
    }
}

fn free(folder: Option<PathBuf>) -> u64 {
    folder
        .and_then(|folder| rustix::fs::statvfs(&folder).ok())
        .map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_quiet_series_do_not_make_many_files() {
        let five = Duration::from_mins(5);
        assert_eq!(quiet_after(five, 0), five);
        for series in [1, 20, 150, 151, 2400, 3600, 10_000] {
            let a_day =
                Duration::from_hours(24).as_secs_f64() / quiet_after(five, series).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let files = a_day * series as f64;
            assert!(files <= 43_200.0, "{series}: {files}");
        }
    }

    #[test]
    fn few_series_are_looked_at_in_every_tick_and_many_at_least_every_two_seconds() {
        assert_eq!(
            [0, 1, 500, 501, 2400, 3600, 1_000_000].map(looked_at_every),
            [1, 1, 1, 2, 5, 8, 8]
        );
    }

    #[test]
    fn rare_events_are_dropped_last() {
        let at = |used| Kind::ALL.map(|kind| admits(kind, used, 100));
        assert_eq!(at(99), [true; 7]);
        assert_eq!(at(100), [false, false, true, true, true, true, true]);
        assert_eq!(at(110), [false; 7]);
    }
}
