//! `meta.json`: what a published partition says of its data.
//!
//! The order of the keys is fixed: programs that are not qlc read them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The seven keys of `meta.json`, in their order. qlc adds none of its own so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Rows of `data.parquet`.
    pub row_count: u64,
    /// The version of the column contract, `v1`.
    pub schema_version: String,
    /// The smallest `ts_event` in nanoseconds since 1970 UTC, as a string.
    pub ts_event_min: String,
    /// The largest `ts_event`, likewise.
    pub ts_event_max: String,
    /// Of the bytes of `data.parquet`, in lower case hex.
    pub sha256: String,
    /// When the partition was published, RFC 3339 in UTC, to the second.
    pub created_at: String,
    /// How many files have rows in the data.
    pub source_files: u64,
}

/// The names of the seven keys.
pub const KEYS: [&str; 7] = [
    "row_count",
    "schema_version",
    "ts_event_min",
    "ts_event_max",
    "sha256",
    "created_at",
    "source_files",
];

impl Meta {
    /// The bytes of the file, ending in a line feed.
    ///
    /// # Errors
    /// Never in practice: all fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::caused(Kind::Internal, "meta.json could not be written as JSON", e)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads `bytes` strictly enough to act on them.
    ///
    /// # Errors
    /// When they are not JSON or a key is missing or of another type.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::caused(Kind::Damage, "meta.json is not readable", e))
    }
}

/// Everything that is wrong with the form of a `meta.json`: keys, types, order. Values are not
/// compared with the data.
#[must_use]
pub fn findings(bytes: &[u8]) -> Vec<String> {
    let value: serde_json::Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(e) => return vec![format!("meta.json is not JSON: {e}")],
    };
    let Some(object) = value.as_object() else {
        return vec!["meta.json is not an object".to_owned()];
    };
    let mut found = Vec::new();
    for key in KEYS {
        let Some(value) = object.get(key) else {
            found.push(format!("meta.json has no key {key}"));
            continue;
        };
        let fine = match key {
            "row_count" | "source_files" => value.is_u64(),
            "ts_event_min" | "ts_event_max" => {
                value.as_str().is_some_and(|s| s.parse::<i64>().is_ok())
            }
            "sha256" => value.as_str().is_some_and(is_sha256),
            "created_at" => value
                .as_str()
                .is_some_and(|s| chrono::DateTime::parse_from_rfc3339(s).is_ok()),
            _ => value.is_string(),
        };
        if !fine {
            found.push(format!(
                "meta.json has {key}: {value}, which is not of the right form"
            ));
        }
    }
    if found.is_empty()
        && keys_in_order(bytes).is_none_or(|keys| !keys.starts_with(&KEYS.map(str::to_owned)))
    {
        found.push(format!(
            "meta.json has its keys in another order than {}",
            KEYS.join(", ")
        ));
    }
    if found.is_empty()
        && let Err(error) = Meta::from_json(bytes)
    {
        // A key given twice, for one.
        found.push(error.chain());
    }
    found
}

/// Whether `text` is a sha256 in lower case hex.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The keys of a JSON object as they stand in the text; a `serde_json` map would sort them.
fn keys_in_order(bytes: &[u8]) -> Option<Vec<String>> {
    struct Keys;
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> std::result::Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde::Deserializer::deserialize_map(&mut reader, Keys).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            row_count: 1,
            schema_version: "v1".to_owned(),
            ts_event_min: "1770076800000000000".to_owned(),
            ts_event_max: "1770076800000000001".to_owned(),
            sha256: "a".repeat(64),
            created_at: "2026-02-04T01:00:00Z".to_owned(),
            source_files: 42,
        }
    }

    #[test]
    fn seven_keys_in_their_order() {
        let bytes = meta().to_json().unwrap();
        assert_eq!(keys_in_order(&bytes).unwrap(), KEYS);
        assert_eq!(findings(&bytes), Vec::<String>::new());
        assert_eq!(Meta::from_json(&bytes).unwrap(), meta());
    }

    #[test]
    fn every_wrong_key_is_found() {
        let text = String::from_utf8(meta().to_json().unwrap()).unwrap();
        assert_eq!(findings(b"[]").len(), 1);
        assert_eq!(findings(b"{}").len(), 7);
        let number = text.replace("\"1770076800000000000\"", "1770076800000000000");
        assert_eq!(findings(number.as_bytes()).len(), 1);
        let swapped = "{\"schema_version\":\"v1\",".to_owned()
            + &text[1..].replace("\"schema_version\": \"v1\",", "");
        assert!(findings(swapped.as_bytes())[0].contains("order"));
        let added = text.replace("42\n", "42,\n  \"more\": 1\n");
        assert_eq!(findings(added.as_bytes()), Vec::<String>::new());
    }
}
