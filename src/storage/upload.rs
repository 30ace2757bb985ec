//! Puts a verified local file into a bucket, under a condition, and establishes the outcome.
//!
//! After any error the object is read back and compared with what was sent: ours, another's,
//! absent, or unknown. If the read-back fails too, the outcome is unknown, and nothing is deleted.

use std::{path::Path, time::Duration};

use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, UpdateVersion,
};
use tokio::io::AsyncReadExt;

use super::{
    bucket::Bucket,
    store::Store,
    wire::{Condition, under},
};
use crate::error::{Error, Kind, Result};

/// The user metadata in which an object says which write made it: two writers of the same bytes
/// differ in it.
const NONCE: &str = "qlc-write";

/// How often a write is sent anew when it provably had no effect: stores answer 409 to writers that
/// come at a time.
const ROUNDS: u32 = 5;

/// What must stand at a key for a write there to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything or nothing.
    Anything,
    /// Nothing.
    Absent,
    /// This version of the object; on a local folder the caller's lock answers for it.
    Version(String),
}

impl Expect {
    fn condition(&self) -> Option<Condition> {
        match self {
            Self::Anything => None,
            Self::Absent => Some(Condition::Absent),
            Self::Version(tag) => Some(Condition::Version(tag.clone())),
        }
    }
}

/// What stands at a key after a write that ended in an error.
#[derive(Debug)]
enum Standing {
    /// What was sent.
    Ours(Option<String>),
    /// Something else, with its tag.
    Another(Option<String>),
    Absent,
}

/// Puts the file at `path` to `key`; returns the tag of the version that it made.
///
/// # Errors
/// [`Kind::Conflict`] when something else stands there than was expected, [`Kind::Unknown`] when
/// neither the store's answer nor a read-back tells whether the write took effect, others when it
/// did not.
pub(super) async fn upload(
    store: &Store,
    bucket: &Bucket,
    key: &str,
    path: &Path,
    expect: &Expect,
) -> Result<Option<String>> {
    let expect = if bucket.options.single_writer {
        &Expect::Anything
    } else {
        expect
    };
    let shown = store.show(key);
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let mut round = 0;
    loop {
        round += 1;
        let error = match send(store, bucket, key, path, expect, &nonce).await {
            Ok(done) => return Ok(done.e_tag),
            Err(Failed::Local(error)) => return Err(error),
            Err(Failed::Store(error)) => error,
        };
        tracing::debug!(object = %shown, %error, round, "a write ended in an error; reading back");
        // Whatever the last answer was, a request before it may have taken effect: the client
        // repeats by itself.
        let conflict = matches!(
            error,
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }
        );
        let standing = standing(store, key, path, &nonce).await.map_err(|e| {
            Error::caused(
                Kind::Unknown,
                format!(
                    "{shown}: whether the upload took effect is not known: it ended in an error ({error}), and so did \
                     reading back; nothing was deleted, run again when the store answers"
                ),
                e,
            )
        })?;
        let lost = || {
            Err(Error::new(
                Kind::Conflict,
                format!("{shown}: another process wrote it first; its result is kept"),
            ))
        };
        match (standing, expect) {
            (Standing::Ours(tag), _) => return Ok(tag),
            (Standing::Another(tag), Expect::Version(expected))
                if tag.as_ref() != Some(expected) =>
            {
                return lost();
            }
            (Standing::Another(_), Expect::Absent) | (Standing::Absent, Expect::Version(_)) => {
                return lost();
            }
            // Nothing happened. After a conflict that left no trace it is worth another try.
            _ if conflict && round < ROUNDS => {
                tokio::time::sleep(Duration::from_millis(50 << round)).await;
            }
            _ => {
                return Err(Error::io(
                    format!("{shown}: could not be uploaded; what was there is unchanged"),
                    error,
                ));
            }
        }
    }
}

enum Failed {
    /// The file could not be read.
    Local(Error),
    Store(object_store::Error),
}

async fn send(
    store: &Store,
    bucket: &Bucket,
    key: &str,
    path: &Path,
    expect: &Expect,
    nonce: &str,
) -> std::result::Result<PutResult, Failed> {
    let unread = |e| {
        Failed::Local(Error::io(
            format!("{}: cannot be read back", path.display()),
            e,
        ))
    };
    let location = store.object_path(key);
    let attributes: Attributes = [(Attribute::Metadata(NONCE.into()), nonce.to_owned())]
        .into_iter()
        .collect();
    let size = tokio::fs::metadata(path).await.map_err(unread)?.len();
    if size <= bucket.options.multipart_above {
        let bytes = tokio::fs::read(path).await.map_err(unread)?;
        let mode = match expect {
            Expect::Anything => PutMode::Overwrite,
            Expect::Absent => PutMode::Create,
            Expect::Version(tag) => PutMode::Update(UpdateVersion {
                e_tag: Some(tag.clone()),
                version: None,
            }),
        };
        let options = PutOptions {
            mode,
            attributes,
            ..PutOptions::default()
        };
        return bucket
            .object
            .put_opts(&location, PutPayload::from(bytes), options)
            .await
            .map_err(Failed::Store);
    }
    let options = PutMultipartOptions {
        attributes,
        ..PutMultipartOptions::default()
    };
    let mut upload = bucket
        .object
        .put_multipart_opts(&location, options)
        .await
        .map_err(Failed::Store)?;
    let sent = async {
        let mut file = tokio::fs::File::open(path).await.map_err(unread)?;
        let part_bytes = usize::try_from(bucket.options.part_bytes)
            .unwrap_or(8 << 20)
            .max(1);
        let mut running = tokio::task::JoinSet::new();
        let mut left = size;
        while left > 0 {
            let wanted = part_bytes.min(usize::try_from(left).unwrap_or(part_bytes));
            let mut part = vec![0; wanted];
            let _ = file.read_exact(&mut part).await.map_err(unread)?;
            left -= wanted as u64;
            // Few parts at a time: each is held in memory until the store has it.
            while running.len() >= 3 {
                ended(running.join_next().await)?;
            }
            let _ = running.spawn(upload.put_part(PutPayload::from(part)));
        }
        while !running.is_empty() {
            ended(running.join_next().await)?;
        }
        Ok(())
    }
    .await;
    let error = match sent {
        // Only here the store may have made the object although it answers with an error.
        Ok(()) => match under(expect.condition(), upload.complete()).await {
            Ok(done) => return Ok(done),
            Err(error) => Failed::Store(error),
        },
        Err(error) => error,
    };
    // Of a completed upload nothing is left to abort: the store says so, and that is all the same.
    if let Err(error) = upload.abort().await {
        tracing::debug!(object = %store.show(key), %error, "the upload could not be aborted; qlc clean will");
    }
    Err(error)
}

fn ended(
    joined: Option<std::result::Result<object_store::Result<()>, tokio::task::JoinError>>,
) -> std::result::Result<(), Failed> {
    match joined {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(Failed::Store(error)),
        Some(Err(lost)) => Err(Failed::Local(Error::lost_task("an upload", lost))),
    }
}

/// What stands at `key`: by the mark of this write, or by its bytes where the store keeps no marks.
async fn standing(store: &Store, key: &str, path: &Path, nonce: &str) -> Result<Standing> {
    let shown = store.show(key);
    let options = GetOptions {
        head: true,
        ..GetOptions::default()
    };
    let found = match store
        .object_store()
        .get_opts(&store.object_path(key), options)
        .await
    {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(Standing::Absent),
        Err(e) => return Err(Error::io(format!("{shown}: cannot be looked at"), e)),
    };
    let tag = found.meta.e_tag.clone();
    if let Some(mark) = found.attributes.get(&Attribute::Metadata(NONCE.into())) {
        return Ok(if mark.as_ref() == nonce {
            Standing::Ours(tag)
        } else {
            Standing::Another(tag)
        });
    }
    let size = std::fs::metadata(path)
        .map_err(|e| Error::io(path.display(), e))?
        .len();
    if found.meta.size != size {
        return Ok(Standing::Another(tag));
    }
    let (there, _) = store.sha256(key).await?;
    let (here, _) = Store::open(&path.display().to_string())?.sha256("").await?;
    Ok(if here == there {
        Standing::Ours(tag)
    } else {
        Standing::Another(tag)
    })
}
