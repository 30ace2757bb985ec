//! The object stores of a session on the cluster: opened when a plan names them, with this
//! process's own settings and credentials.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ballista_core::RuntimeProducer;
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        object_store::ObjectStoreRegistry,
        runtime_env::RuntimeEnvBuilder,
    },
};
use object_store::ObjectStore;
use url::Url;

use crate::storage::{bucket::BucketOptions, spools::Spools, store::Store};

/// Folders and buckets by URL.
#[derive(Debug)]
struct Stores {
    options: BucketOptions,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(of(url), store)
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&of(url)) {
            return Ok(Arc::clone(store));
        }
        let store = match (Spools::of_url(url), url.scheme()) {
            (Some(several), _) => Store::of_spools(&several, &self.options),
            (None, "file") => Store::open_with("/", &self.options),
            (None, _) => Store::open_with(&of(url), &self.options),
        };
        let store = store.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let store = Arc::clone(store.object_store());
        let _ = open.insert(of(url), Arc::clone(&store));
        Ok(store)
    }
}

/// Scheme and bucket of a URL.
fn of(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Makes the runtimes of sessions; what does not fit in memory goes to `spill_dir`, where there is
/// one.
pub(super) fn runtimes(options: &BucketOptions, spill_dir: Option<&Path>) -> RuntimeProducer {
    let stores = Arc::new(Stores {
        options: options.clone(),
        open: Mutex::default(),
    });
    let spill = spill_dir.map(Path::to_owned);
    Arc::new(move |_| {
        let mode = spill.clone().map_or(DiskManagerMode::Disabled, |folder| {
            DiskManagerMode::Directories(vec![folder])
        });
        let disk = DiskManagerBuilder::default().with_mode(mode);
        let stores: Arc<dyn ObjectStoreRegistry> = Arc::<Stores>::clone(&stores);
        RuntimeEnvBuilder::new()
            .with_object_store_registry(stores)
            .with_disk_manager_builder(disk)
            .build_arc()
    })
}
