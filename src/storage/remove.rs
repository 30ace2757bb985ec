//! Removes objects: the only place where anything leaves a store for good.
//!
//! An object must be the one that was listed, by size, time and `ETag`, at the last moment before
//! the removal; several are looked at side by side and go together. Whether they may be removed is
//! for the caller to prove.

use std::fs::File;

use futures::{StreamExt, stream};

use super::{
    crash,
    store::{Object, Store},
};
use crate::error::{Error, Kind, Result};

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, durably. In a bucket another process may have been told the same of it: there
    /// the removal of what is not there is answered like one of what is.
    Removed,
    /// It was not there any more: another process removed it.
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
    let lost = || Err(Error::new(Kind::Internal, "an object was not removed"));
    let mut all = remove_together(store, &[object]).await;
    let removal = all.pop().unwrap_or_else(lost)?;
    if removal == Removal::Removed {
        sync_folder_of(store, &object.key)?;
    }
    Ok(removal)
}

/// The same for several objects of one folder or bucket, each of which is looked at; those that
/// still are what they were are removed by one request, where the store is a bucket. In a folder
/// the removals are only durable after [`sync_folder_of`].
///
/// What comes of each is in the order of `objects`.
pub async fn remove_together(store: &Store, objects: &[&Object]) -> Vec<Result<Removal>> {
    let looks = objects.iter().map(|object| store.head(&object.key));
    let found = futures::future::join_all(looks).await;
    let looked = objects.iter().copied().zip(&found);
    let going = looked.filter(|(object, found)| {
        found
            .as_ref()
            .is_ok_and(|found| found.as_ref() == Some(*object))
    });
    let mut deleted = delete(store, going.map(|(object, _)| object).collect())
        .await
        .into_iter();
    let came = |(object, found): (&&Object, Result<Option<Object>>)| match found {
        Ok(None) => Ok(Removal::Absent),
        Ok(Some(found)) if found == **object => deleted
            .next()
            .unwrap_or_else(|| Err(Error::new(Kind::Internal, "an object was not removed"))),
        Ok(Some(_)) => Ok(Removal::Changed),
        Err(error) => Err(error),
    };
    objects.iter().zip(found).map(came).collect()
}

/// Asks the store to delete these objects of one folder or bucket; what came of each, in their
/// order.
async fn delete(store: &Store, objects: Vec<&Object>) -> Vec<Result<Removal>> {
    let Some(first) = objects.first() else {
        return Vec::new();
    };
    crash::point("about to remove objects");
    let (root, _) = store.at(&first.key);
    let path = |object: &&Object| Ok(root.object_path(store.at(&object.key).1));
    let paths: Vec<_> = objects.iter().map(path).collect();
    let mut answers = root
        .object_store()
        .delete_stream(stream::iter(paths).boxed());
    let mut answered = Vec::with_capacity(objects.len());
    while let Some(answer) = answers.next().await {
        answered.push(answer);
    }
    drop(answers);
    let mut answered = answered.into_iter();
    let mut removals = Vec::with_capacity(objects.len());
    for object in objects {
        let error = match answered.next() {
            Some(Ok(_)) => {
                removals.push(Ok(Removal::Removed));
                continue;
            }
            Some(Err(error)) => error.into(),
            // The answer to a request for several is one error where it has no other.
            None => "the request for it and for others failed".into(),
        };
        removals.push(unanswered(store, object, error).await);
    }
    crash::point("objects removed");
    removals
}

/// What came of a removal that ended in an error: the answer may have been lost on its way, and the
/// object with it; or another process was quicker.
async fn unanswered(store: &Store, object: &Object, error: Cause) -> Result<Removal> {
    let shown = store.show(&object.key);
    let not_found = matches!(
        error.downcast_ref(),
        Some(object_store::Error::NotFound { .. })
    );
    match store.head(&object.key).await {
        Ok(None) if not_found => Ok(Removal::Absent),
        Ok(None) => Ok(Removal::Removed),
        Ok(Some(found)) if not_found && found != *object => Ok(Removal::Changed),
        Ok(Some(_)) => Err(Error::io(format!("{shown}: cannot be removed"), error)),
        Err(unseen) => {
            let what = format!(
                "{shown}: whether it was removed is not known: the request ended in an error ({error}), and so did \
                 looking for it"
            );
            Err(Error::caused(Kind::Unknown, what, unseen))
        }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

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

    #[tokio::test]
    async fn of_two_removals_that_both_saw_an_object_one_removed_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        std::fs::write(folder.path().join("a.parquet"), b"rows").unwrap();
        let listed = store.head("a.parquet").await.unwrap().unwrap();
        // Both are looked at before either goes.
        let removals = remove_together(&store, &[&listed, &listed]).await;
        let mut removals: Vec<Removal> = removals.into_iter().map(Result::unwrap).collect();
        removals.sort_by_key(|removal| *removal == Removal::Absent);
        assert_eq!(removals, [Removal::Removed, Removal::Absent]);
    }
}
