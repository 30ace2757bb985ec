//! The tables that SQL sees: schemas `archive` and `spool`, each with one table per stream found in its store, the five
//! known streams whether found or not, and `events`, the common columns of all streams. Besides, `archive.meta` has a row
//! per `meta.json`, `archive.quarantine` a row per quarantined file and `archive.runs` a row per run and partition. A name without a schema means `archive`.
//!
//! Every table ends in the columns `exchange`, `stream`, `symbol` and `date`, which come from the path and decide which
//! files are read; columns of these names *in* a file are not shown (`verify` compares the two). `date` is text such as
//! `20260203`; in the spool it is the day that the file's folder or name tells, else null, and a file that spans midnight
//! has rows of the next day under it.
//!
//! A stream named `events`, `meta`, `quarantine` or `runs` is found through `events` only. Refuses to list a store that no
//! statement asks about, and to write anything.

mod columns;
mod documents;
mod listing;
mod partitioned;
mod prune;
mod runs;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider, TableProvider},
    error::DataFusionError,
    execution::runtime_env::RuntimeEnv,
    prelude::SessionContext,
};
use tokio::sync::OnceCell;

pub use self::listing::Side;
use self::{documents::Documents, listing::Listing, partitioned::PartitionedTable};
use super::{functions, session::CATALOG};
use crate::{
    error::Result,
    model::{layout, partition::Stream},
    storage::{pinned::Pins, store::Store},
};

/// The streams that have a table in both schemas even where no file of them exists.
const STREAMS: [&str; 5] = ["bbo", "trade", "mark_price", "funding", "open_interest"];
const EVENTS: &str = "events";
const META: &str = "meta";
const QUARANTINE: &str = "quarantine";
const RUNS: &str = "runs";

/// The two stores as schemas of a session.
#[derive(Debug, Clone)]
pub struct Tables {
    spool: Arc<Schema>,
    archive: Arc<Schema>,
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
    let schema = |side, store: &Store| {
        Arc::new(Schema { side, store: store.clone(), runtime: session.runtime_env(), listing: OnceCell::new() })
    };
    let tables = Tables { spool: schema(Side::Spool, spool), archive: schema(Side::Archive, archive) };
    let _ = session.register_catalog(CATALOG, Arc::new(tables.clone()));
    tables
}

impl Tables {
    /// The names of the tables of one store, after listing it.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn names(&self, side: Side) -> Result<Vec<String>> {
        let schema = match side {
            Side::Spool => &self.spool,
            Side::Archive => &self.archive,
        };
        let _ = schema.listing().await?;
        Ok(schema.table_names())
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
struct Schema {
    side: Side,
    store: Store,
    /// Holds the cache of footers, so that planning and scanning read each footer once.
    runtime: Arc<RuntimeEnv>,
    listing: OnceCell<Arc<Listing>>,
}

impl Schema {
    async fn listing(&self) -> Result<&Arc<Listing>> {
        self.listing.get_or_try_init(|| async { Listing::of(&self.store, self.side).await.map(Arc::new) }).await
    }

    async fn find(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let listing = self.listing().await?;
        let archive = self.side == Side::Archive;
        Ok(match name {
            META if archive => {
                listing.is_whole("", None)?;
                Some(Arc::new(Documents::meta(&self.store, listing)) as _)
            }
            QUARANTINE if archive => {
                listing.is_whole(layout::QUARANTINE, None)?;
                Some(Arc::new(Documents::quarantine(&self.store, listing)) as _)
            }
            RUNS if archive => Some(runs::table(&self.store).await?),
            EVENTS => {
                listing.is_whole("", None)?;
                Some(Arc::new(PartitionedTable::events(&self.store, self.side, listing)) as _)
            }
            _ => {
                let files = listing.stream(name);
                let Ok(stream) = name.parse::<Stream>() else { return Ok(None) };
                listing.is_whole("", Some(&stream))?;
                if files.is_empty() && !STREAMS.contains(&name) {
                    return Ok(None);
                }
                let columns = columns::of_stream(&self.store, &self.runtime, &stream, files).await;
                Some(Arc::new(PartitionedTable::stream(&self.store, self.side, columns, files.to_vec())) as _)
            }
        })
    }
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = STREAMS.iter().map(|s| (*s).to_owned()).collect();
        names.push(EVENTS.to_owned());
        if self.side == Side::Archive {
            names.extend([META.to_owned(), QUARANTINE.to_owned(), RUNS.to_owned()]);
        }
        if let Some(listing) = self.listing.get() {
            names.extend(listing.streams().map(str::to_owned));
        }
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        self.find(name).await.map_err(|e| DataFusionError::External(Box::new(e)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
