//! What stands of the days that a run looks at, as their documents say: each day asks about itself
//! and about both of its neighbours, and the documents are read once for all three.
//!
//! The first look at a partition may rely on them. Whoever is about to write looks anew, under the
//! lock of the folder or under the condition of the write.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{
    archive::{
        partition::PartitionHandle,
        state::{self, Depth, Inspection, KnownDocuments, State},
    },
    error::{Kind, Result},
    model::{meta::Meta, partition::Partition, receipt::Receipt},
};

/// Days that are remembered besides those that are worked on: a day on either side of them, and one
/// that is about to begin.
const MORE_DAYS: usize = 3;

/// What stands of a day.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The receipt of what is published, or on its way to be.
    pub receipt: Option<Arc<Receipt>>,
    /// The documents that say so.
    pub documents: Option<KnownDocuments>,
}

/// What a run has read of the days that it works on. Two who ask for one day at a time read it once.
#[derive(Debug)]
pub struct StandingDays {
    known: Mutex<VecDeque<(Partition, Arc<OnceCell<Standing>>)>>,
    most: usize,
}

impl StandingDays {
    /// Nothing is known yet; `workers` partitions are worked on at a time.
    #[must_use]
    pub fn of_workers(workers: usize) -> Self {
        Self {
            known: Mutex::default(),
            most: workers + MORE_DAYS,
        }
    }

    /// What stands of a day.
    ///
    /// # Errors
    /// When the archive does not answer; that is not remembered.
    pub async fn of(&self, handle: &PartitionHandle) -> Result<Standing> {
        let cell = {
            let mut known = self.locked();
            let found = known.iter().find(|(day, _)| day == handle.partition());
            if let Some((_, cell)) = found {
                Arc::clone(cell)
            } else {
                let cell = Arc::<OnceCell<Standing>>::default();
                known.push_back((handle.partition().clone(), Arc::clone(&cell)));
                if known.len() > self.most {
                    let _ = known.pop_front();
                }
                cell
            }
        };
        cell.get_or_try_init(|| read(handle)).await.cloned()
    }

    /// Whether something was found to stand of a day, as far as that is remembered.
    #[must_use]
    pub fn has(&self, partition: &Partition) -> bool {
        let known = self.locked();
        let mut found = known.iter().filter(|(day, _)| day == partition);
        found.any(|(_, cell)| cell.get().is_some_and(|day| day.receipt.is_some()))
    }

    /// Forgets a day of which something was written.
    pub fn forget(&self, partition: &Partition) {
        self.locked().retain(|(day, _)| day != partition);
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<(Partition, Arc<OnceCell<Standing>>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(handle: &PartitionHandle) -> Result<Standing> {
    let meta = handle.meta().await?;
    if let Some((bytes, _)) = &meta
        && let Ok(said) = Meta::from_json(bytes)
        && let Ok(Some(receipt)) = handle.receipt(&said.sha256).await
    {
        let receipt = Some(Arc::new(receipt));
        return Ok(Standing {
            receipt: receipt.clone(),
            documents: Some(KnownDocuments { meta, receipt }),
        });
    }
    if handle.archive().head(&handle.data_key()).await?.is_none() {
        let documents = meta.is_none().then_some(KnownDocuments {
            meta,
            receipt: None,
        });
        return Ok(Standing {
            receipt: None,
            documents,
        });
    }
    let receipt = match state::inspect(handle, Depth::Footer).await {
        Ok(Inspection {
            state: State::Interrupted(receipt),
            ..
        }) => Some(Arc::new(*receipt)),
        // Published since `meta.json` was read.
        Ok(Inspection {
            state: State::Published(stands),
            ..
        }) => Some(Arc::new(stands.receipt().clone())),
        Err(error) if error.kind() != Kind::Damage => return Err(error),
        _ => None,
    };
    Ok(Standing {
        receipt,
        documents: None,
    })
}
