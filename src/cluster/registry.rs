//! The object stores of a session on the cluster: those that the process is configured with, opened
//! with its own settings and credentials. Plans name them; they open no other.

use std::{collections::HashMap, path::Path, sync::Arc};

use ballista_core::RuntimeProducer;
use datafusion::{
    common::Result as DfResult,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        object_store::ObjectStoreRegistry,
        runtime_env::RuntimeEnvBuilder,
    },
};
use object_store::{ObjectStore, memory::InMemory};
use url::Url;

use super::accepted::{Accepted, origin, refused};

/// What a process opens.
#[derive(Debug)]
enum Stores {
    /// A scheduler passes plans on, and reads nothing: its stores are empty.
    None,
    /// Folders and buckets by the origin of their URLs.
    These(HashMap<String, Arc<dyn ObjectStore>>),
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        match self {
            Self::None => Ok(Arc::new(InMemory::new())),
            Self::These(stores) => stores
                .get(&origin(url))
                .map(Arc::clone)
                .ok_or_else(|| refused(&format!("the store {url}"))),
        }
    }
}

/// The runtimes of a scheduler's sessions, which only plan.
pub(super) fn of_scheduler() -> RuntimeProducer {
    runtimes(Stores::None, DiskManagerMode::Disabled)
}

/// The runtimes of an executor's sessions: what does not fit in memory goes to `spill_dir`.
pub(super) fn of_executor(accepted: &Accepted, spill_dir: &Path) -> RuntimeProducer {
    let spill = DiskManagerMode::Directories(vec![spill_dir.to_owned()]);
    runtimes(Stores::These(accepted.stores()), spill)
}

fn runtimes(stores: Stores, mode: DiskManagerMode) -> RuntimeProducer {
    let stores: Arc<dyn ObjectStoreRegistry> = Arc::new(stores);
    Arc::new(move |_| {
        RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::clone(&stores))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode.clone()))
            .build_arc()
    })
}
