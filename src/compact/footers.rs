//! The footers that a run has read: the days of a run share files, and a bucket charges for every
//! request.
//!
//! The cache is bounded: beyond a number of files it starts again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OnceCell;

use super::decide::{Identity, SpoolFile, identity};
use crate::file::{claims::Claims, fault::Problem, probe::probe_like, reader::Handle};

/// Files whose claims are remembered.
const FILES: usize = 4096;

/// Footers that are kept whole, at most; of more files than this each footer is read again when its
/// rows are.
const WHOLE: u64 = 1024;
/// What a whole footer of a spool file takes in memory, about.
const WHOLE_BYTES: u64 = 20_000;
/// The share of the memory limit that whole footers may take.
const SHARE: u64 = 50;

/// What the footer takes in memory. The estimate is for those that are smaller than usual.
fn whole_bytes(claims: &Claims) -> u64 {
    claims
        .meta
        .as_ref()
        .map_or(0, |meta| (meta.memory_size() as u64).max(WHOLE_BYTES))
}

/// What is known of the files of a run. Two who ask for one file at a time read it once.
#[derive(Debug)]
pub struct Footers {
    known: Mutex<HashMap<Identity, Arc<OnceCell<Claims>>>>,
    /// Bytes of the whole footers that are kept.
    whole: AtomicU64,
    most_whole: u64,
    /// What the last file had in common with those before it, and probably with the next.
    usual: Mutex<Option<Claims>>,
}

impl Footers {
    /// Nothing is known yet; the process may have `memory_limit` bytes resident.
    #[must_use]
    pub fn within(memory_limit: u64) -> Self {
        Self {
            known: Mutex::default(),
            whole: AtomicU64::new(0),
            most_whole: (memory_limit / SHARE).min(WHOLE * WHOLE_BYTES),
            usual: Mutex::default(),
        }
    }

    /// The files of a day are alike: what is equal in their footers is kept once.
    fn sharing(&self, mut claims: Claims) -> Claims {
        let mut usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usual) = usual.as_ref().filter(|usual| usual.schema == claims.schema) {
            claims.schema = Arc::clone(&usual.schema);
            if usual.constants == claims.constants {
                claims.constants = Arc::clone(&usual.constants);
            }
            if usual.fills == claims.fills {
                claims.fills = Arc::clone(&usual.fills);
            }
            if usual.created_by == claims.created_by {
                claims.created_by.clone_from(&usual.created_by);
            }
        } else {
            *usual = Some(claims.clone());
        }
        claims
    }

    fn usual(&self) -> Option<Claims> {
        self.usual
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the footer of `file` claims.
    ///
    /// # Errors
    /// When there is no usable footer; that is not remembered.
    pub async fn of(&self, handle: &Handle, file: &SpoolFile) -> Result<Claims, Problem> {
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= FILES {
                known.clear();
                self.whole.store(0, Ordering::Relaxed);
            }
            Arc::clone(known.entry(identity(file)).or_default())
        };
        let claims = cell
            .get_or_try_init(|| async {
                let mut claims = self.sharing(probe_like(handle, self.usual().as_ref()).await?);
                let bytes = whole_bytes(&claims);
                if self
                    .whole
                    .fetch_add(bytes, Ordering::Relaxed)
                    .saturating_add(bytes)
                    > self.most_whole
                {
                    let _ = self.whole.fetch_sub(bytes, Ordering::Relaxed);
                    claims.meta = None;
                }
                Ok::<_, Problem>(claims)
            })
            .await?;
        Ok(claims.clone())
    }

    /// Keeps less of files whose partition is made: should a neighbouring day ask for one of them,
    /// what it claims is known, and its footer is read again if its rows are.
    pub fn done_with<'a>(&self, files: impl Iterator<Item = &'a SpoolFile>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            let Some(cell) = known.get_mut(&identity(file)) else {
                continue;
            };
            let Some(claims) = cell.get().filter(|claims| claims.meta.is_some()) else {
                continue;
            };
            let bytes = whole_bytes(claims);
            *cell = Arc::new(OnceCell::new_with(Some(Claims {
                meta: None,
                ..claims.clone()
            })));
            let _ = self
                .whole
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                    Some(n.saturating_sub(bytes))
                });
        }
    }
}
