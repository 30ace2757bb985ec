//! Finds out whether a bucket's conditional writes work, before anything depends on them.
//!
//! Stores differ: some ignore the conditions silently, and two writers would overwrite one another.
//! No store is trusted by its name: the probe writes an object of its own and checks whether it is
//! protected.

use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    UpdateVersion,
};

use super::{
    bucket::Bucket,
    remove,
    store::Store,
    wire::{Condition, under},
};
use crate::error::{Error, Result};

/// The folder of the probe's objects.
pub const PROBE_DIR: &str = "_probe";

/// Probes the store's conditional writes; a folder has none and needs none, and a single writer
/// does not ask.
///
/// # Errors
/// A usage error when the store does not keep them; it names the store. Others when it does not
/// answer.
pub async fn probe(store: &Store) -> Result<()> {
    let Some(bucket) = store.bucket().filter(|b| !b.options.single_writer) else {
        return Ok(());
    };
    let key = format!("{PROBE_DIR}/{}", uuid::Uuid::new_v4().simple());
    let found = tried(store, bucket, &key).await;
    // The verdict counts more than an object of a few bytes, which `clean` finds.
    if let Err(error) = cleared(store, &key).await {
        tracing::debug!(error = %error.chain(), "the object of the probe stays");
    }
    match found? {
        None => Ok(()),
        Some(what) => Err(Error::usage(format!(
            "{}: {} does not keep conditional writes ({what}), so two runs could overwrite one another; if nobody else \
             writes there, say --single-writer",
            store.show(""),
            bucket.server()
        ))),
    }
}

async fn cleared(store: &Store, key: &str) -> Result<()> {
    if let Some(object) = store.head(key).await? {
        let _ = remove::remove(store, &object).await?;
    }
    Ok(())
}

/// What the store does wrong, if anything.
async fn tried(store: &Store, bucket: &Bucket, key: &str) -> Result<Option<&'static str>> {
    let shown = store.show(key);
    let path = store.object_path(key);
    let wrong =
        |e: object_store::Error| Error::io(format!("{shown}: the store cannot be probed"), e);
    let put = |text: &'static str, mode: PutMode| {
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        bucket
            .object
            .put_opts(&path, PutPayload::from_static(text.as_bytes()), options)
    };
    let first = match put("1", PutMode::Create).await {
        Ok(done) => done,
        Err(object_store::Error::NotImplemented { .. }) => return Ok(Some("it refuses them")),
        // The client's repetition of a request that had taken effect meets its own object.
        Err(object_store::Error::AlreadyExists { .. }) => {
            put("1", PutMode::Overwrite).await.map_err(wrong)?
        }
        Err(e) => return Err(wrong(e)),
    };
    match put("2", PutMode::Create).await {
        Err(object_store::Error::AlreadyExists { .. }) => {}
        Ok(_) => {
            return Ok(Some(
                "an existing object was created again under If-None-Match",
            ));
        }
        Err(e) => return Err(wrong(e)),
    }
    let Some(tag) = first.e_tag else {
        return Ok(Some("it gives no entity tags"));
    };
    let version = |tag: &str| {
        PutMode::Update(UpdateVersion {
            e_tag: Some(tag.to_owned()),
            version: None,
        })
    };
    let stale = "\"00000000000000000000000000000000\"";
    match put("3", version(stale)).await {
        Err(object_store::Error::Precondition { .. }) => {}
        Ok(_) => return Ok(Some("an object was replaced under a stale If-Match")),
        Err(e) => return Err(wrong(e)),
    }
    let text = bucket
        .object
        .get(&path)
        .await
        .map_err(wrong)?
        .bytes()
        .await
        .map_err(wrong)?;
    if text.as_ref() != b"1" {
        return Ok(Some("a write that it refused took effect"));
    }
    match put("4", version(&tag)).await {
        Ok(_) | Err(object_store::Error::Precondition { .. }) => {}
        Err(e) => return Err(wrong(e)),
    }
    // Data above a size comes in parts, and then the condition stands on the last request.
    let options = PutMultipartOptions::default();
    let mut upload = bucket
        .object
        .put_multipart_opts(&path, options)
        .await
        .map_err(wrong)?;
    upload
        .put_part(PutPayload::from_static(b"5"))
        .await
        .map_err(wrong)?;
    let completed = under(Some(Condition::Absent), upload.complete()).await;
    if completed.is_ok() {
        return Ok(Some(
            "a multipart upload replaced an object under If-None-Match",
        ));
    }
    let _ = upload.abort().await;
    let text = bucket
        .object
        .get(&path)
        .await
        .map_err(wrong)?
        .bytes()
        .await
        .map_err(wrong)?;
    if text.as_ref() == b"5" {
        Ok(Some("a multipart upload that it refused took effect"))
    } else {
        Ok(None)
    }
}
