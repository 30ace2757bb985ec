//! Multipart uploads that were begun and never completed: they cost money and no listing of objects
//! shows them.
//!
//! Uploads outside the store's prefix, or younger than the caller says, are left alone: another
//! process may be using them.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;

use super::{bucket::BodyAnswer, store::Store};
use crate::error::{Error, Result};

/// An upload that was not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key below the store's root.
    pub key: String,
    /// The store's name for it.
    pub id: String,
    /// When it was begun.
    pub begun: DateTime<Utc>,
}

/// What a store may answer, by the name of the outermost element.
#[derive(Debug, Deserialize)]
enum Body {
    ListMultipartUploadsResult(Listing),
    Error(Refusal),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    #[serde(default)]
    code: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Listed>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    upload_id: String,
    initiated: DateTime<Utc>,
}

/// The unfinished uploads below the store's root that were begun before `before`; a folder has
/// none.
///
/// # Errors
/// When the store does not answer.
pub async fn list(store: &Store, before: DateTime<Utc>) -> Result<Vec<Unfinished>> {
    let Some(bucket) = store.bucket() else {
        return Ok(Vec::new());
    };
    let root = store.object_path("").to_string();
    let prefix = if root.is_empty() {
        String::new()
    } else {
        format!("{root}/")
    };
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (String::new(), String::new());
    loop {
        let mut query = vec![("uploads", ""), ("prefix", prefix.as_str())];
        if !key_marker.is_empty() {
            query.extend([
                ("key-marker", key_marker.as_str()),
                ("upload-id-marker", id_marker.as_str()),
            ]);
        }
        let listing = bucket.ask(Method::GET, "", &query, understood).await;
        let listing = listing.map_err(|e| {
            Error::caused(
                e.kind(),
                format!("{}: the list of uploads cannot be read", store.show("")),
                e,
            )
        })?;
        found.extend(
            listing
                .uploads
                .into_iter()
                .filter(|u| u.initiated < before)
                .filter_map(|u| {
                    let key = u.key.strip_prefix(&prefix)?.to_owned();
                    Some(Unfinished {
                        key,
                        id: u.upload_id,
                        begun: u.initiated,
                    })
                }),
        );
        match (listing.is_truncated, listing.next_key_marker) {
            (true, Some(next)) if next != key_marker => {
                key_marker = next;
                id_marker = listing.next_upload_id_marker.unwrap_or_default();
            }
            _ => return Ok(found),
        }
    }
}

/// Aborts an upload; its parts are freed.
///
/// # Errors
/// When the store does not answer or refuses.
pub async fn abort(store: &Store, upload: &Unfinished) -> Result<()> {
    let Some(bucket) = store.bucket() else {
        return Ok(());
    };
    let path = store.object_path(&upload.key).to_string();
    bucket
        .ask(
            Method::DELETE,
            &encoded(&path),
            &[("uploadId", &upload.id)],
            |_| BodyAnswer::Value(()),
        )
        .await
}

fn understood(body: &str) -> BodyAnswer<Listing> {
    match quick_xml::de::from_str(body) {
        Ok(Body::ListMultipartUploadsResult(listing)) => BodyAnswer::Value(listing),
        Ok(Body::Error(error)) => BodyAnswer::Again(error.code.into()),
        Err(error) => BodyAnswer::Never(error.into()),
    }
}

/// A key as the path of a URL.
fn encoded(key: &str) -> String {
    key.bytes()
        .fold(String::with_capacity(key.len()), |mut text, byte| {
            use std::fmt::Write;
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_signatures_want_them() {
        assert_eq!(
            encoded("a/exchange=b c/ü.parquet"),
            "a/exchange%3Db%20c/%C3%BC.parquet"
        );
    }

    #[test]
    fn a_listing_is_understood() {
        let body = "<?xml version=\"1.0\"?><ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>false</IsTruncated>\
             <Upload><Key>p/k</Key><UploadId>1</UploadId><Initiated>2026-02-03T00:00:00.000Z</Initiated></Upload>\
             <Upload><Key>p/l</Key><UploadId>2</UploadId><Initiated>2026-02-04T00:00:00.000Z</Initiated></Upload>\
             </ListMultipartUploadsResult>";
        let BodyAnswer::Value(listing) = understood(body) else {
            panic!("not understood")
        };
        let keys: Vec<_> = listing
            .uploads
            .iter()
            .map(|u| (u.key.as_str(), u.upload_id.as_str()))
            .collect();
        assert_eq!(keys, [("p/k", "1"), ("p/l", "2")]);
        assert!(!listing.is_truncated);
    }
}
