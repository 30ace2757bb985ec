//! Lists a bucket page by page (`ListObjectsV2`), with keys as they are: a key that cannot be used
//! stops only itself.
//!
//! An answer that is no page is an error, and so is a last page that says that more follow.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;

use super::{
    bucket::{BodyAnswer, Bucket},
    listing::{Object, StoreListing, Unfit},
};
use crate::error::{Error, Kind, Result};

/// What a store may answer, by the name of the outermost element.
#[derive(Debug, Deserialize)]
enum Body {
    ListBucketResult(Page),
    Error(Refusal),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Listed>,
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    size: u64,
    last_modified: DateTime<Utc>,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
}

/// An error in an answer that bears the status of a success.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The objects whose keys begin with `prefix`, until there are `most` of them; in the order of the
/// store. `root` is what goes from the front of each key. `shown` is the folder, for errors.
///
/// # Errors
/// When the store does not answer, or not to the end.
pub(super) async fn list(
    bucket: &Bucket,
    root: &str,
    prefix: &str,
    mut listing: StoreListing,
    most: usize,
    shown: &str,
) -> Result<StoreListing> {
    let wrong = |what: &str| Error::new(Kind::Io, format!("{shown}: cannot be listed: {what}"));
    let mut next: Option<(&str, String)> = None;
    loop {
        // Keys as they are may hold what no XML can.
        let mut query = vec![
            ("list-type", "2"),
            ("prefix", prefix),
            ("encoding-type", "url"),
        ];
        query.extend(next.as_ref().map(|(name, value)| (*name, value.as_str())));
        let page = bucket.ask(Method::GET, "", &query, understood).await;
        let page =
            page.map_err(|e| Error::caused(e.kind(), format!("{shown}: cannot be listed"), e))?;
        let mut last = None;
        for listed in page.contents {
            let name = match page.encoding_type {
                Some(_) => decoded(&listed.key),
                None => listed.key.clone().into_bytes(),
            };
            last = Some(name.clone());
            let Some(name) = name.strip_prefix(root.as_bytes()) else {
                continue;
            };
            // An object that stands for a folder, as consoles make them, holds nothing.
            if let Some(folder) = name.strip_suffix(b"/") {
                if listed.size > 0 {
                    listing.refuse(folder, Unfit::Part);
                }
                continue;
            }
            let Listed {
                size,
                last_modified,
                e_tag: tag,
                ..
            } = listed;
            let modified_us = last_modified.timestamp_micros();
            listing.add(name, |key| {
                Ok::<_, Error>(Some(Object {
                    key,
                    size,
                    modified_us,
                    tag,
                }))
            })?;
        }
        if !page.is_truncated || listing.len() >= most {
            return Ok(listing);
        }
        let following = match (page.next_continuation_token, last) {
            (Some(token), _) => ("continuation-token", token),
            // Not every store gives a token.
            (None, Some(last)) => match String::from_utf8(last) {
                Ok(last) => ("start-after", last),
                Err(_) => return Err(wrong("a page is not the last, and says not how to go on")),
            },
            (None, None) => return Err(wrong("a page is not the last, and says not how to go on")),
        };
        if next.as_ref() == Some(&following) {
            return Err(wrong("the store gives the same page again"));
        }
        next = Some(following);
    }
}

fn understood(body: &str) -> BodyAnswer<Page> {
    match quick_xml::de::from_str(body) {
        Ok(Body::ListBucketResult(page)) => BodyAnswer::Value(page),
        Ok(Body::Error(Refusal { code, message })) => {
            BodyAnswer::Again(format!("{code}: {message}").into())
        }
        Err(error) => BodyAnswer::Never(error.into()),
    }
}

/// A key as `encoding-type=url` writes it: a space is `+`.
fn decoded(key: &str) -> Vec<u8> {
    let mut bytes = key.bytes();
    let mut out = Vec::with_capacity(key.len());
    while let Some(byte) = bytes.next() {
        let hex = || {
            let mut ahead = bytes.clone();
            let mut digit = || char::from(ahead.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            Some((u8::try_from(high * 16 + low).ok()?, ahead))
        };
        match (byte, if byte == b'%' { hex() } else { None }) {
            (_, Some((byte, ahead))) => {
                out.push(byte);
                bytes = ahead;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_to_their_bytes() {
        let check = |key: &str, bytes: &[u8]| assert_eq!(decoded(key), bytes, "{key}");
        check(
            "exchange%3Dbinance/a%20b+c%2Bd%25.parquet",
            b"exchange=binance/a b c+d%.parquet",
        );
        check("%C3%A4%0D%ff", b"\xc3\xa4\r\xff");
        check("100%", b"100%");
        check("%zz%4", b"%zz%4");
    }

    #[test]
    fn a_page_is_told_from_an_error_and_from_anything_else() {
        let page = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
             <IsTruncated>true</IsTruncated><EncodingType>url</EncodingType><Contents><Key>a</Key>\
             <LastModified>2026-02-03T00:00:00.000Z</LastModified><ETag>&quot;t&quot;</ETag><Size>3</Size></Contents>\
             <CommonPrefixes><Prefix>x</Prefix></CommonPrefixes><Contents><Key>b</Key>\
             <LastModified>2026-02-03T00:00:00Z</LastModified><Size>0</Size></Contents>\
             <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let BodyAnswer::Value(page) = understood(page) else {
            panic!("not understood")
        };
        assert_eq!(page.contents.len(), 2);
        assert_eq!(page.contents[0].e_tag.as_deref(), Some("\"t\""));
        assert_eq!(
            (page.is_truncated, page.next_continuation_token.as_deref()),
            (true, Some("t"))
        );
        let empty = "<ListBucketResult><Name>b</Name></ListBucketResult>";
        assert!(
            matches!(understood(empty), BodyAnswer::Value(page) if page.contents.is_empty() && !page.is_truncated)
        );
        let busy =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>later</Message></Error>";
        assert!(matches!(understood(busy), BodyAnswer::Again(_)));
        for other in ["", "<html><body>It works!</body></html>", "{}"] {
            assert!(matches!(understood(other), BodyAnswer::Never(_)), "{other}");
        }
    }
}
