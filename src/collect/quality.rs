//! Windows of fifteen minutes: what came, what is known to be missing, how late it was, as data beside the spool.
//!
//! `{spool}/quality/date=20260203/window=1430.json`, one line of JSON an exchange. A window that an earlier process
//! began is continued. [`crate::model::quality`] defines its lines and grades.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::Result,
    model::quality::{Tally, WINDOW_NS, key},
    storage::{atomic, store::Store},
};

/// The window that is under way.
#[derive(Debug)]
pub(crate) struct Window {
    start_ns: i64,
    /// What an earlier process noted of this window.
    before: Vec<Tally>,
    now: BTreeMap<&'static str, Tally>,
}

fn start_of(ns: i64) -> i64 {
    ns.div_euclid(WINDOW_NS) * WINDOW_NS
}

impl Window {
    /// The window that `ns` lies in.
    pub(crate) async fn at(spool: &Store, ns: i64) -> Self {
        let start_ns = start_of(ns);
        let text = match key(start_ns) {
            Some(key) => spool.read(&key).await.ok().flatten(),
            None => None,
        };
        let lines = text.as_deref().unwrap_or_default().split(|byte| *byte == b'\n');
        let before = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Self { start_ns, before, now: BTreeMap::new() }
    }

    /// Whether `ns` lies behind it.
    pub(crate) fn is_over(&self, ns: i64) -> bool {
        start_of(ns) > self.start_ns
    }

    pub(crate) fn start_ns(&self) -> i64 {
        self.start_ns
    }

    /// What is counted for an exchange.
    pub(crate) fn of(&mut self, exchange: &'static str) -> &mut Tally {
        self.now.entry(exchange).or_default()
    }

    /// Writes it, over what was written of it before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn write(&self, spool: &Store) -> Result<()> {
        let Some(key) = key(self.start_ns) else { return Ok(()) };
        let mut all: BTreeMap<String, Tally> = self.before.iter().map(|t| (t.exchange.clone(), t.clone())).collect();
        for (exchange, tally) in &self.now {
            all.entry((*exchange).to_owned()).or_default().join(tally);
        }
        let mut text = Vec::new();
        for (exchange, mut tally) in all {
            tally.exchange = exchange;
            tally.window_start_ns = self.start_ns;
            tally.window_end_ns = self.start_ns + WINDOW_NS;
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
        atomic::write_bytes(spool, &key, staging, &crate::storage::Expect::Anything, text).await.map(drop)
    }
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
        let text = std::fs::read_to_string(dir.path().join("quality/date=20260203/window=0030.json")).unwrap();
        let tally: Tally = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((tally.events, tally.exchange.as_str(), tally.grade.as_str()), (6, "okx", "A"));
    }
}
