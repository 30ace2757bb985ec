//! The footers that a run has read: the days of a run share files, and a bucket charges for every look.
//!
//! Refuses to grow with the spool: past a number of files it starts anew.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::OnceCell;

use super::decide::{Identity, SpoolFile, identity};
use crate::engine::{claims::Claims, fault::Problem, probe::probe, reader::Handle};

/// Files whose claims are remembered.
const FILES: usize = 4096;

/// Footers that are kept whole; of more files than this each footer is read again when its rows are.
const WHOLE: usize = 1024;

/// What is known of the files of a run. Two who ask for one file at a time read it once.
#[derive(Debug, Default)]
pub struct Footers {
    known: Mutex<HashMap<Identity, Arc<OnceCell<Claims>>>>,
    whole: AtomicUsize,
}

impl Footers {
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
                let mut claims = probe(handle).await?;
                if self.whole.fetch_add(1, Ordering::Relaxed) >= WHOLE {
                    claims.meta = None;
                }
                Ok::<_, Problem>(claims)
            })
            .await?;
        Ok(claims.clone())
    }

    /// Keeps less of files whose partition is made: should a neighbouring day ask for one of them, what it claims is known,
    /// and its footer is read again if its rows are.
    pub fn done_with<'a>(&self, files: impl Iterator<Item = &'a SpoolFile>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            let Some(cell) = known.get_mut(&identity(file)) else { continue };
            let Some(claims) = cell.get().filter(|claims| claims.meta.is_some()) else { continue };
            *cell = Arc::new(OnceCell::new_with(Some(Claims { meta: None, ..claims.clone() })));
            let _ = self.whole.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(1)));
        }
    }
}
