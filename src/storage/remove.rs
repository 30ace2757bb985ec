//! Removes one object: the only place where anything leaves a store for good.
//!
//! The object must be the one that was listed, by size, time and `ETag`, at the last moment before
//! the removal. Whether it may be removed is for the caller to prove.

use std::fs::File;

use object_store::ObjectStoreExt;

use super::{
    crash,
    store::{Object, Store},
};
use crate::error::{Error, Kind, Result};

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, durably.
    Removed,
    /// It was not there any more.
    Absent,
    /// Another object stands in its place, and was left.
    Changed,
}

/// Removes `object`, if it still is what it was when it was listed; in a folder the removal is
/// synced.
///
/// # Errors
/// When the store does not answer, or refuses; [`Kind::Unknown`] when it may have taken effect. An
/// error that comes after the object has gone is none.
pub async fn remove(store: &Store, object: &Object) -> Result<Removal> {
    let removal = remove_unsynced(store, object).await?;
    if removal == Removal::Removed {
        sync_folder_of(store, &object.key)?;
    }
    Ok(removal)
}

/// The same, but the removal is only durable after [`sync_folder_of`]: for many objects of one
/// folder.
///
/// # Errors
/// As [`remove`].
pub async fn remove_unsynced(store: &Store, object: &Object) -> Result<Removal> {
    match store.head(&object.key).await? {
        None => return Ok(Removal::Absent),
        Some(found) if found != *object => return Ok(Removal::Changed),
        Some(_) => {}
    }
    crash::point("about to remove an object");
    let (root, key) = store.at(&object.key);
    match root.object_store().delete(&root.object_path(key)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => {
            // The answer may have been lost on its way, and the object with it.
            let shown = store.show(&object.key);
            match store.head(&object.key).await {
                Ok(None) => {}
                Ok(Some(_)) => return Err(Error::io(format!("{shown}: cannot be removed"), error)),
                Err(unseen) => {
                    let what = format!(
                        "{shown}: whether it was removed is not known: the request ended in an error ({error}), and so did \
                         looking for it"
                    );
                    return Err(Error::caused(Kind::Unknown, what, unseen));
                }
            }
        }
    }
    crash::point("object removed");
    Ok(Removal::Removed)
}

/// Syncs the folder that an object was removed from; a bucket needs nothing.
///
/// # Errors
/// When the folder cannot be synced.
pub fn sync_folder_of(store: &Store, key: &str) -> Result<()> {
    let Some(path) = store.local_path(key) else {
        return Ok(());
    };
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| {
        Error::io(
            format!("{}: the folder cannot be synced", folder.display()),
            e,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_was_listed_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let path = folder.path().join("a/b.parquet");
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(&path, b"old").unwrap();
        let [listed] = store
            .list("")
            .await
            .unwrap()
            .whole()
            .unwrap()
            .try_into()
            .unwrap();
        std::fs::write(&path, b"newer").unwrap();
        assert_eq!(remove(&store, &listed).await.unwrap(), Removal::Changed);
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        let [listed] = store
            .list("")
            .await
            .unwrap()
            .whole()
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(remove(&store, &listed).await.unwrap(), Removal::Removed);
        assert!(
            !path.exists() && folder.path().join("a").is_dir(),
            "the folder stays"
        );
        assert_eq!(remove(&store, &listed).await.unwrap(), Removal::Absent);
    }
}
