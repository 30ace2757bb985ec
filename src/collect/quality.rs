//! Windows of fifteen minutes: what came, what is known to be missing, how late it was, as data
//! beside the spool.
//!
//! `{spool}/quality/date=20260203/window=1430.json`, one line of JSON an exchange. A window that an
//! earlier process began is continued. A loss is noticed when it has lasted for a while, and a
//! process that was not there notices nothing: what becomes known of a window that was written, or
//! never was, is written then. [`crate::model::quality`] defines the lines and grades.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::Result,
    model::quality::{Tally, WINDOW_NS, key},
    storage::{atomic, store::Store},
};

/// Windows that began longer ago are not written any more.
const OLDEST_NS: i64 = 31 * 24 * 3_600_000_000_000;

/// What was counted in a window, by exchange.
type Tallies = BTreeMap<&'static str, Tally>;

/// The window that is under way, and what became known of earlier ones.
#[derive(Debug)]
pub(crate) struct Window {
    start_ns: i64,
    /// What an earlier process noted of this window; `None` as long as that cannot be read.
    before: Option<Vec<Tally>>,
    now: Tallies,
    /// Of other windows, by their beginnings; not written yet.
    late: BTreeMap<i64, Tallies>,
    /// Whether one of these could not be written.
    is_stuck: bool,
    /// Whether it must not wait until it is written anyway.
    is_urgent: bool,
}

fn start_of(ns: i64) -> i64 {
    ns.div_euclid(WINDOW_NS) * WINDOW_NS
}

/// What was written of the window that begins at `start_ns`.
///
/// # Errors
/// When it cannot be read: it must not be written over.
async fn written(spool: &Store, start_ns: i64) -> Result<Vec<Tally>> {
    let text = match key(start_ns) {
        Some(key) => spool.read(&key).await?,
        None => None,
    };
    let text = text.as_deref().unwrap_or_default();
    Ok(crate::model::quality::from_lines(text))
}

/// Writes a window: what was written of it before, and more.
async fn write(spool: &Store, start_ns: i64, before: &[Tally], now: &Tallies) -> Result<()> {
    let Some(key) = key(start_ns) else {
        return Ok(());
    };
    let mut all: BTreeMap<String, Tally> = before
        .iter()
        .map(|t| (t.exchange.clone(), t.clone()))
        .collect();
    for (exchange, tally) in now {
        all.entry((*exchange).to_owned()).or_default().join(tally);
    }
    let mut text = Vec::new();
    for (exchange, mut tally) in all {
        tally.exchange = exchange;
        tally.window_start_ns = start_ns;
        tally.window_end_ns = start_ns + WINDOW_NS;
        tally.grade = tally.grade().to_owned();
        tally.lag_ms_p50 = tally.lags.quantile_ms(500);
        tally.lag_ms_p99 = tally.lags.quantile_ms(990);
        text.extend(serde_json::to_vec(&tally).unwrap_or_default());
        text.push(b'\n');
    }
    if text.is_empty() {
        return Ok(());
    }
    let staging = spool.local_folder().unwrap_or(Path::new("/"));
    atomic::write_bytes(
        spool,
        &key,
        staging,
        &crate::storage::Expect::Anything,
        text,
    )
    .await
    .map(drop)
}

impl Window {
    /// The window that `ns` lies in.
    pub(crate) async fn at(spool: &Store, ns: i64) -> Self {
        let start_ns = start_of(ns);
        let before = written(spool, start_ns).await.ok();
        Self {
            start_ns,
            before,
            now: BTreeMap::new(),
            late: BTreeMap::new(),
            is_stuck: false,
            is_urgent: false,
        }
    }

    /// Whether `ns` lies behind it.
    pub(crate) fn is_over(&self, ns: i64) -> bool {
        start_of(ns) > self.start_ns
    }

    /// What is counted for an exchange.
    pub(crate) fn of(&mut self, exchange: &'static str) -> &mut Tally {
        self.now.entry(exchange).or_default()
    }

    /// A time without a connection is over: a process that is killed soon must have told of it.
    pub(crate) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// Whether it is to be written now.
    pub(crate) fn take_urgency(&mut self) -> bool {
        std::mem::take(&mut self.is_urgent)
    }

    /// Notes a time without a connection to an exchange, in each window that it touches.
    pub(crate) fn away(&mut self, exchange: &'static str, from: i64, to: i64) {
        for (start, from, to) in pieces(from, to) {
            self.within(start)
                .entry(exchange)
                .or_default()
                .away(from, to);
        }
    }

    /// Notes a time in which a series of an exchange was not well, likewise.
    pub(crate) fn unwell(&mut self, exchange: &'static str, series: &str, from: i64, to: i64) {
        for (start, from, to) in pieces(from, to) {
            let tally = self.within(start).entry(exchange).or_default();
            let seconds = std::time::Duration::from_nanos(u64::try_from(to - from).unwrap_or(0))
                .as_secs_f64();
            *tally
                .series_offline_seconds
                .entry(series.to_owned())
                .or_default() += seconds;
        }
    }

    fn within(&mut self, start_ns: i64) -> &mut Tallies {
        if start_ns == self.start_ns {
            &mut self.now
        } else {
            self.late.entry(start_ns).or_default()
        }
    }

    /// How many other windows wait to be written.
    pub(crate) fn late(&self) -> u64 {
        self.late.len() as u64
    }

    /// Writes it, over what was written of it before.
    ///
    /// # Errors
    /// When it cannot be written, or what was written of it cannot be read.
    pub(crate) async fn write(&mut self, spool: &Store) -> Result<()> {
        let before = match self.before.take() {
            Some(before) => before,
            None => written(spool, self.start_ns).await?,
        };
        let result = write(spool, self.start_ns, &before, &self.now).await;
        self.before = Some(before);
        result
    }

    /// Goes on to the window that `ns` lies in; what could not be written of this one is written
    /// later.
    pub(crate) async fn go_on(&mut self, spool: &Store, ns: i64) -> Result<()> {
        let written = self.write(spool).await;
        let mut next = Self::at(spool, ns).await;
        next.late = std::mem::take(&mut self.late);
        next.now = next.late.remove(&next.start_ns).unwrap_or_default();
        if written.is_err() {
            let _ = next
                .late
                .insert(self.start_ns, std::mem::take(&mut self.now));
        }
        *self = next;
        written
    }

    /// Whether another window could not be written, so that it is to be tried again more rarely.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Writes what became known of other windows, of at most so many.
    ///
    /// # Errors
    /// When one cannot be written; it is kept.
    pub(crate) async fn correct(&mut self, spool: &Store, most: usize) -> Result<()> {
        for _ in 0..most {
            let Some((start_ns, tallies)) = self.late.pop_first() else {
                break;
            };
            let written = match written(spool, start_ns).await {
                Ok(before) => write(spool, start_ns, &before, &tallies).await,
                Err(error) => Err(error),
            };
            self.is_stuck = written.is_err();
            if let Err(error) = written {
                let _ = self.late.insert(start_ns, tallies);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The pieces of a time that lie in one window each, with the beginnings of these.
fn pieces(from: i64, to: i64) -> impl Iterator<Item = (i64, i64, i64)> {
    let begin = from.max(to.saturating_sub(OLDEST_NS));
    let starts = std::iter::successors(Some(start_of(begin)), |start| Some(start + WINDOW_NS));
    let touched = starts.take_while(move |start| *start < to && begin < to);
    touched.map(move |start| (start, begin.max(start), to.min(start + WINDOW_NS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_window_is_gone_on_with_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let at = 1_770_076_800_000_000_000 + 2 * WINDOW_NS + 5;
        for _ in 0..2 {
            let mut window = Window::at(&spool, at).await;
            window.of("okx").events += 3;
            window.write(&spool).await.unwrap();
            window.write(&spool).await.unwrap();
            assert!(window.is_over(at + WINDOW_NS) && !window.is_over(at));
        }
        let text =
            std::fs::read_to_string(dir.path().join("quality/date=20260203/window=0030.json"))
                .unwrap();
        let tally: Tally = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (tally.events, tally.exchange.as_str(), tally.grade.as_str()),
            (6, "okx", "A")
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_window_that_cannot_be_read_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let at = 1_770_076_800_000_000_000 + 5;
        let mut window = Window::at(&spool, at).await;
        window.of("okx").events += 3;
        window.away("okx", at, at + 10_000_000_000);
        window.write(&spool).await.unwrap();
        let (folder, away) = (dir.path().join("quality"), dir.path().join("away"));
        std::fs::rename(&folder, &away).unwrap();
        std::fs::write(&folder, "").unwrap();
        let mut window = Window::at(&spool, at).await;
        window.of("okx").events += 4;
        assert!(window.write(&spool).await.is_err());
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&away, &folder).unwrap();
        for _ in 0..2 {
            window.write(&spool).await.unwrap();
        }
        let text = std::fs::read_to_string(folder.join("date=20260203/window=0000.json")).unwrap();
        let tally: Tally = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(tally.events, 7, "{text}");
        assert_eq!(tallies(dir.path(), "0000").len(), 1);
    }

    fn tallies(dir: &Path, window: &str) -> Vec<(String, f64, String)> {
        let text = std::fs::read(dir.join(format!("quality/date=20260203/window={window}.json")))
            .unwrap_or_default();
        let lines = crate::model::quality::from_lines(&text);
        lines
            .into_iter()
            .map(|tally| (tally.exchange, tally.offline_seconds, tally.grade))
            .collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_becomes_known_late_is_in_the_window_in_which_it_was() {
        const S: i64 = 1_000_000_000;
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let midnight = 1_770_076_800 * S;
        // A process that ends in the first window, without having noticed that nothing comes.
        let mut window = Window::at(&spool, midnight + 100 * S).await;
        window.of("okx").events += 3;
        window.of("bybit").events += 5;
        window.write(&spool).await.unwrap();
        // The next one begins in the fourth, and tells again what it finds of the time before.
        for _ in 0..2 {
            let mut window = Window::at(&spool, midnight + 3 * 900 * S + 200 * S).await;
            window.away("okx", midnight + 840 * S, midnight + 3 * 900 * S + 150 * S);
            window.correct(&spool, 1).await.unwrap();
            window.correct(&spool, usize::MAX).await.unwrap();
            window.write(&spool).await.unwrap();
        }
        let of = |exchange: &str, seconds: f64, grade: &str| {
            (exchange.to_owned(), seconds, grade.to_owned())
        };
        assert_eq!(
            tallies(dir.path(), "0000"),
            [of("bybit", 0.0, "A"), of("okx", 60.0, "D")]
        );
        assert_eq!(tallies(dir.path(), "0015"), [of("okx", 900.0, "F")]);
        assert_eq!(tallies(dir.path(), "0030"), [of("okx", 900.0, "F")]);
        assert_eq!(tallies(dir.path(), "0045"), [of("okx", 150.0, "F")]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_time_across_the_end_of_a_window_is_in_both() {
        const S: i64 = 1_000_000_000;
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let end = 1_770_076_800 * S + WINDOW_NS;
        let mut window = Window::at(&spool, end - S).await;
        window.of("okx").events += 1;
        window.away("okx", end - 20 * S, end + 10 * S);
        window.unwell("okx", "bbo/btcusdt", end - 5 * S, end + 7 * S);
        window.go_on(&spool, end + 10 * S).await.unwrap();
        window.of("okx").events += 1;
        window.away("okx", end + 10 * S, end + 12 * S);
        window.write(&spool).await.unwrap();
        let of = |seconds: f64| ("okx".to_owned(), seconds, "C".to_owned());
        assert_eq!(
            (tallies(dir.path(), "0000"), tallies(dir.path(), "0015")),
            (vec![of(20.0)], vec![of(12.0)])
        );
        let text =
            std::fs::read_to_string(dir.path().join("quality/date=20260203/window=0015.json"))
                .unwrap();
        assert!(
            text.contains(r#""series_offline_seconds":{"bbo/btcusdt":7.0}"#),
            "{text}"
        );
        assert_eq!(pieces(0, 400 * 24 * 3600 * S).count(), 31 * 96);
        assert_eq!((pieces(5, 5).count(), pieces(9, 5).count()), (0, 0));
    }
}
