//! What is in a store, sorted once: data files by stream, `meta.json` and `error.json` files.
//!
//! Objects that are not in the layout are in no table.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    listing::{Ignored, Missing, SpoolListing},
    store::{Object, Store},
};
use crate::{
    error::Result,
    model::{
        date::Date,
        layout::{DATA_FILE, ERROR_FILE, META_FILE, Placed, QUARANTINE, RECEIPTS},
        partition::{Selection, Series, Stream},
    },
};

/// Which of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The spool.
    Spool,
    /// The archive.
    Archive,
}

/// An object and what its path says of its rows.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// The object.
    pub(crate) object: Object,
    /// The series of its folders.
    pub(crate) series: Series,
    /// The day of its folder or, in the spool, of its name.
    pub(crate) date: Option<Date>,
    /// Whether a receipt lies in the archive for its partition, as of all that qlc published or
    /// imported.
    pub(crate) vouched: bool,
}

/// The objects of a store that tables are made of, each list by key.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    streams: BTreeMap<String, Vec<Listed>>,
    /// Every `meta.json`, with the size of the data beside it.
    pub(crate) metas: Vec<(Listed, Option<u64>)>,
    /// Every `error.json`.
    pub(crate) errors: Vec<Listed>,
    /// The folders that could not be listed.
    missing: Missing,
}

impl Listing {
    /// Lists `store`. Of an archive, a data file counts when its `meta.json` stands: before that
    /// the partition does not exist.
    pub(crate) async fn of(store: &Store, side: Side) -> Result<Self> {
        let listed = store.list("").await?;
        let mut listing = Self::default();
        match side {
            Side::Spool => {
                let SpoolListing {
                    files,
                    ignored,
                    missing,
                    ..
                } = listed.spool();
                for Ignored { file, reason } in ignored {
                    tracing::warn!(file = %store.show(&file), reason, "in no table");
                }
                listing.missing = missing;
                for (placed, object) in files {
                    let date = placed.home();
                    listing.add(Listed {
                        object,
                        series: placed.series,
                        date,
                        vouched: false,
                    });
                }
            }
            Side::Archive => {
                let (objects, missing) = listed.apart();
                listing.missing = missing;
                listing.add_archive(store, objects);
            }
        }
        Ok(listing)
    }

    fn add_archive(&mut self, store: &Store, objects: Vec<Object>) {
        let mut data = Vec::new();
        let mut vouched = BTreeSet::new();
        for object in objects {
            if let Some(Ok(Placed { series, date, .. })) = Placed::below(RECEIPTS, &object.key) {
                let _ = vouched.insert((series, date));
                continue;
            }
            let quarantined = object
                .key
                .strip_prefix(QUARANTINE)
                .and_then(|rest| rest.strip_prefix('/'));
            let layout_key = quarantined.unwrap_or(&object.key).to_owned();
            let is_error = quarantined.is_some();
            let Some((placed, object)) = place(store, &layout_key, object) else {
                continue;
            };
            let Placed {
                series,
                date: Some(date),
                file,
            } = placed
            else {
                continue;
            };
            let listed = Listed {
                object,
                series,
                date: Some(date),
                vouched: false,
            };
            match (is_error, file.as_str()) {
                (true, ERROR_FILE) => self.errors.push(listed),
                (false, META_FILE) => self.metas.push((listed, None)),
                (false, DATA_FILE) => data.push(listed),
                _ => {}
            }
        }
        let sizes: BTreeMap<_, _> = data
            .iter()
            .map(|d| (d.partition(), d.object.size))
            .collect();
        for (meta, size) in &mut self.metas {
            *size = sizes.get(&meta.partition()).copied();
        }
        let published: BTreeSet<_> = self
            .metas
            .iter()
            .map(|(meta, _)| meta.partition())
            .collect();
        data.retain(|d| published.contains(&d.partition()));
        for mut listed in data {
            listed.vouched = vouched.contains(&listed.partition());
            self.add(listed);
        }
    }

    fn add(&mut self, listed: Listed) {
        self.streams
            .entry(listed.series.stream.to_string())
            .or_default()
            .push(listed);
    }

    /// Fails when what could not be listed may hold rows of a table: of `stream`, or of all; below
    /// the folder `base`.
    pub(crate) fn is_whole(&self, base: &str, stream: Option<&Stream>) -> Result<()> {
        let selection = Selection {
            streams: stream.into_iter().cloned().collect(),
            ..Selection::all()
        };
        self.missing.clone().meant(base, &selection).fail()
    }

    /// The streams of which there are files.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    /// The data files of one stream.
    pub(crate) fn stream(&self, name: &str) -> &[Listed] {
        self.streams.get(name).map_or(&[], Vec::as_slice)
    }

    /// The data files of all streams.
    pub(crate) fn all(&self) -> Vec<Listed> {
        self.streams.values().flatten().cloned().collect()
    }
}

impl Listed {
    /// The partition, in an archive.
    fn partition(&self) -> (Series, Option<Date>) {
        (self.series.clone(), self.date)
    }
}

fn place(store: &Store, layout_key: &str, object: Object) -> Option<(Placed, Object)> {
    match Placed::parse(layout_key)? {
        Ok(placed) => Some((placed, object)),
        Err(error) => {
            tracing::warn!(file = %store.show(&object.key), %error, "not in the layout, so in no table");
            None
        }
    }
}
