//! The tables that SQL sees: schemas `archive` and `spool`, each with one table per stream found in
//! its store, the known streams ([`STREAMS`]) whether found or not, and `events`, the common
//! columns of all streams. In addition, `archive.meta` has a row per `meta.json`,
//! `archive.quarantine` a row per quarantined file, `archive.runs` a row per run and partition, and
//! `archive.reconcile` a row per reconciled day and run.
//! A name without a schema means `archive`.
//!
//! Every table ends in the columns `exchange`, `stream`, `symbol` and `date`, which come from the
//! path and decide which files are read; columns of these names *in* a file are not shown (`verify`
//! compares the two). `date` is text such as `20260203`; in the spool it is the day of the file's
//! folder or name, else null, and a file that spans midnight has rows of the next day under it. In
//! the spool a column `collector` follows, which is null unless several collectors have one.
//!
//! A stream whose name is that of a built-in table, such as `meta`, has the table `"stream=meta"`,
//! as its folder is named; no stream can have that name itself. A store is listed only when a
//! statement asks about it, and nothing is written.

mod bounded;
mod columns;
mod documents;
mod guard;
mod partitioned;
mod prune;
mod reconcile;
mod runs;
mod trusted;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider, TableProvider},
    error::DataFusionError,
    execution::runtime_env::RuntimeEnv,
    prelude::SessionContext,
};
use tokio::sync::OnceCell;

pub use self::partitioned::{Learned, LeftOut};
use self::{
    columns::Known,
    documents::Documents,
    partitioned::{Learning, PartitionedTable, Shared},
};
use super::functions;
use crate::{
    engine::session::CATALOG,
    error::Result,
    model::{layout, partition::Stream, schema::STREAMS},
    storage::{
        by_stream::{Listing, Side},
        pinned::Pins,
        store::Store,
    },
};

const EVENTS: &str = "events";
const META: &str = "meta";
const QUARANTINE: &str = "quarantine";
const RUNS: &str = "runs";
const RECONCILE: &str = "reconcile";
/// The tables of the archive that are no stream's.
const BUILT_IN: [&str; 4] = [META, QUARANTINE, RUNS, RECONCILE];
/// What the table of any stream may be called by, before the stream's name.
const BY_FOLDER: &str = "stream=";

/// The two stores as schemas of a session.
#[derive(Debug, Clone)]
pub struct Tables {
    spool: Arc<StoreSchema>,
    archive: Arc<StoreSchema>,
}

/// Makes both stores known to `session`, with the functions of qlc. Nothing is listed or read yet.
#[must_use]
pub fn register(session: &SessionContext, spool: &Store, archive: &Store) -> Tables {
    // One set of pins: stores may be folders of one file system, or prefixes of one bucket.
    let pins = Pins::default();
    let (spool, archive) = (&spool.pinned(&pins), &archive.pinned(&pins));
    for store in [spool, archive] {
        let _ = session.register_object_store(store.base_url(), Arc::clone(store.object_store()));
    }
    for function in functions::all() {
        session.register_udf(function);
    }
    let shared = Shared::default();
    let schema = |side, store: &Store| {
        Arc::new(StoreSchema {
            side,
            store: store.clone(),
            runtime: session.runtime_env(),
            listing: OnceCell::new(),
            known: Mutex::default(),
            checked: Arc::default(),
            shared: shared.clone(),
        })
    };
    let tables = Tables {
        spool: schema(Side::Spool, spool),
        archive: schema(Side::Archive, archive),
    };
    let _ = session.register_catalog(CATALOG, Arc::new(tables.clone()));
    tables
}

impl Tables {
    /// The names of the tables of one store, after listing it.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn names(&self, side: Side) -> Result<Vec<String>> {
        let schema = self.of(side);
        let _ = schema.listing().await?;
        Ok(schema.table_names())
    }

    /// Learns the columns of all files of a table, or of all tables of the store.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn look_at_all(&self, side: Side, table: Option<&str>) -> Result<()> {
        let schema = self.of(side);
        let listing = schema.listing().await?;
        let streams: Vec<&str> = match table {
            Some(name) => schema.stream_of(name).into_iter().collect(),
            None => listing.streams().collect(),
        };
        for stream in streams {
            schema.look_at_all(listing, stream).await;
        }
        Ok(())
    }

    /// Columns of files whose values may not fit in the types of their tables, as far as statements
    /// read them.
    #[must_use]
    pub fn checked(&self) -> Vec<String> {
        let of = |schema: &StoreSchema| {
            schema
                .checked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        of(&self.archive)
            .into_iter()
            .chain(of(&self.spool))
            .collect()
    }

    /// How many rows may be in one batch, and the stored bytes of the largest row group, by the
    /// files that statements read.
    #[must_use]
    pub fn sizes(&self) -> (usize, u64) {
        self.archive.shared.sizes.get()
    }

    /// The files that statements would read and that are left out.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.spool.shared.left_out.clone()
    }

    fn of(&self, side: Side) -> &StoreSchema {
        match side {
            Side::Spool => &self.spool,
            Side::Archive => &self.archive,
        }
    }
}

impl CatalogProvider for Tables {
    fn schema_names(&self) -> Vec<String> {
        vec!["archive".to_owned(), "spool".to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            "archive" => Some(Arc::clone(&self.archive) as _),
            "spool" => Some(Arc::clone(&self.spool) as _),
            _ => None,
        }
    }
}

/// One store as a schema; it is listed once, when the first table is asked for.
#[derive(Debug)]
struct StoreSchema {
    side: Side,
    store: Store,
    /// Holds the cache of footers, so that planning and scanning read each footer once.
    runtime: Arc<RuntimeEnv>,
    listing: OnceCell<Arc<Listing>>,
    /// What is known of the columns of each stream.
    known: Mutex<BTreeMap<String, Arc<Mutex<Known>>>>,
    checked: Arc<Mutex<BTreeSet<String>>>,
    shared: Shared,
}

impl StoreSchema {
    /// Whether a table of this name is no stream's.
    fn is_built_in(&self, name: &str) -> bool {
        name == EVENTS || (self.side == Side::Archive && BUILT_IN.contains(&name))
    }

    /// The stream whose table has this name.
    fn stream_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        match name.strip_prefix(BY_FOLDER) {
            Some(stream) => Some(stream),
            None => (!self.is_built_in(name)).then_some(name),
        }
    }

    fn known_of(&self, stream: &str) -> Arc<Mutex<Known>> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(stream.to_owned()).or_default())
    }

    async fn look_at_all(&self, listing: &Listing, stream: &str) {
        let known = self.known_of(stream);
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().has_all {
            return;
        }
        let mut seen = lock().general.clone();
        columns::of_all_files(
            &self.store,
            &self.runtime,
            listing.stream(stream),
            &mut seen,
        )
        .await;
        let mut known = lock();
        known.general = seen;
        (known.has_ends, known.has_all) = (true, true);
    }

    async fn listing(&self) -> Result<&Arc<Listing>> {
        self.listing
            .get_or_try_init(|| async { Listing::of(&self.store, self.side).await.map(Arc::new) })
            .await
    }

    async fn find(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let listing = self.listing().await?;
        let archive = self.side == Side::Archive;
        Ok(match name {
            META if archive => {
                listing.is_whole("", None)?;
                Some(Arc::new(Documents::meta(
                    &self.store,
                    listing,
                    self.shared.hints.clone(),
                )) as _)
            }
            QUARANTINE if archive => {
                listing.is_whole(layout::QUARANTINE, None)?;
                Some(Arc::new(Documents::quarantine(
                    &self.store,
                    listing,
                    self.shared.hints.clone(),
                )) as _)
            }
            RUNS if archive => Some(runs::table(&self.store).await?),
            RECONCILE if archive => Some(reconcile::table(&self.store).await?),
            EVENTS => {
                listing.is_whole("", None)?;
                Some(Arc::new(PartitionedTable::events(
                    &self.store,
                    self.side,
                    listing,
                    self.shared.clone(),
                )) as _)
            }
            _ => match self.stream_of(name) {
                Some(stream) => self.find_stream(stream, listing).await?,
                None => None,
            },
        })
    }

    async fn find_stream(
        &self,
        name: &str,
        listing: &Listing,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let files = listing.stream(name);
        let Ok(stream) = name.parse::<Stream>() else {
            return Ok(None);
        };
        listing.is_whole("", Some(&stream))?;
        if files.is_empty() && !STREAMS.contains(&name) {
            return Ok(None);
        }
        let known = self.known_of(name);
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let has_ends = lock().has_ends;
        if !has_ends {
            let seen = columns::at_the_ends(&self.store, &self.runtime, files).await;
            let mut known = lock();
            known.general = seen;
            known.has_ends = true;
        }
        let learning = Learning {
            stream,
            known: Arc::clone(&known),
            checked: Arc::clone(&self.checked),
        };
        let table = PartitionedTable::stream(
            &self.store,
            self.side,
            learning,
            files.to_vec(),
            self.shared.clone(),
        );
        Ok(Some(Arc::new(table) as _))
    }
}

#[async_trait]
impl SchemaProvider for StoreSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = STREAMS.iter().map(|s| (*s).to_owned()).collect();
        names.push(EVENTS.to_owned());
        if self.side == Side::Archive {
            names.extend(BUILT_IN.map(str::to_owned));
        }
        if let Some(listing) = self.listing.get() {
            let named = |stream: &str| {
                if self.is_built_in(stream) {
                    format!("{BY_FOLDER}{stream}")
                } else {
                    stream.to_owned()
                }
            };
            names.extend(listing.streams().map(named));
        }
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        self.find(name)
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
