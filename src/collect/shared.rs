//! What all connections of a run share: the way to the exchanges and to the writer, the turns, the
//! numbers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    news::{News, What},
    options::Keeping,
};
use crate::net::{Dials, Proxies};

/// One for each connection.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) keeping: Keeping,
    pub(crate) dials: Arc<Dials>,
    pub(crate) proxies: Arc<Proxies>,
    /// Sessions so far.
    pub(crate) sessions: Arc<AtomicU64>,
    pub(crate) to: mpsc::Sender<News>,
    /// Turns true when everything is to end.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Shared {
    /// A number for a session that no other one has.
    pub(crate) fn session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The wait after so many failures in a row.
    pub(crate) fn wait(&self, failures: u32, draw: u64) -> Duration {
        self.keeping
            .backoff
            .wait(failures, self.keeping.seed ^ draw)
    }

    /// Tells the writer; an error when it has gone.
    pub(crate) async fn tell(&self, line: usize, session: u64, what: What) -> Result<(), ()> {
        self.to
            .send(News {
                line,
                session,
                what,
            })
            .await
            .map_err(drop)
    }
}
