//! What the `meta.json` of an archive that is to be taken over says of its data, in the form that its pipeline wrote:
//! `rows`, `ts_event_min` and `ts_event_max` as numbers, `schema_version` 1; or in the form of the contract.
//!
//! Pure. Refuses other forms: what cannot be understood cannot be held against the data.

use serde::Deserialize;

use crate::{
    file::readback::ReadBack,
    model::{meta::Meta, schema::SCHEMA_VERSION, time::to_ns},
};

/// What a `meta.json` claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    rows: u64,
    /// In the unit that it was written in.
    ts_event_min: i64,
    ts_event_max: i64,
    sha256: Option<String>,
}

/// The form of the Python pipeline; keys that are not named here claim nothing that can be checked.
#[derive(Debug, Deserialize)]
struct Older {
    rows: u64,
    ts_event_min: i64,
    ts_event_max: i64,
    schema_version: i64,
    sha256: Option<String>,
}

impl Claims {
    /// Reads either form; else says what is not as it must be.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if let Ok(meta) = Meta::from_json(bytes) {
            if meta.schema_version != SCHEMA_VERSION {
                return Err(format!("meta.json has schema_version {:?}, this qlc knows v1", meta.schema_version));
            }
            let number = |text: &str| text.parse().map_err(|_| format!("meta.json has a ts_event of {text:?}"));
            return Ok(Self {
                rows: meta.row_count,
                ts_event_min: number(&meta.ts_event_min)?,
                ts_event_max: number(&meta.ts_event_max)?,
                sha256: Some(meta.sha256),
            });
        }
        let older: Older = serde_json::from_slice(bytes).map_err(|e| format!("meta.json has no known form: {e}"))?;
        if older.schema_version != 1 {
            return Err(format!("meta.json has schema_version {}, this qlc knows 1", older.schema_version));
        }
        let Older { rows, ts_event_min, ts_event_max, sha256, .. } = older;
        Ok(Self { rows, ts_event_min, ts_event_max, sha256 })
    }

    /// Everything that is claimed of other data than this.
    pub(super) fn against(&self, back: &ReadBack, sha256: &str) -> Vec<String> {
        let mut found = Vec::new();
        if self.rows != back.rows {
            found.push(format!("data.parquet has {} rows, meta.json says {}", back.rows, self.rows));
        }
        let ends =
            [("ts_event_min", self.ts_event_min, back.ts_min_ns), ("ts_event_max", self.ts_event_max, back.ts_max_ns)];
        for (name, says, is) in ends {
            // The claim may have any unit, as the data may.
            if to_ns(says) != is {
                let is = is.map_or_else(|| "not there".to_owned(), |ns| format!("{ns} ns"));
                found.push(format!("{name} is {is}, meta.json says {says}"));
            }
        }
        if let Some(says) = self.sha256.as_deref().filter(|says| *says != sha256) {
            found.push(format!("data.parquet has sha256 {sha256}, meta.json says {says}"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row_hash::RowHash;

    fn back() -> ReadBack {
        ReadBack {
            rows: 2,
            row_hash: RowHash::EMPTY,
            row_hash_without_seq: None,
            ts_min_ns: Some(1_770_076_800_000_000_000),
            ts_max_ns: Some(1_770_076_801_000_000_000),
            footer_row_hash: None,
            findings: Vec::new(),
        }
    }

    #[test]
    fn claims_of_either_form_are_held_against_the_data() {
        let check = |json: &str, want: &[&str]| {
            let found = Claims::read(json.as_bytes()).map_or_else(|e| vec![e], |c| c.against(&back(), "aa"));
            assert_eq!(found, want, "{json}");
        };
        let older = |rows: u64, min: i64| {
            format!(r#"{{"rows":{rows},"ts_event_min":{min},"ts_event_max":1770076801000000000,"schema_version":1}}"#)
        };
        check(&older(2, 1_770_076_800_000_000_000), &[]);
        check(&older(2, 1_770_076_800_000), &[]);
        check(&older(3, 1_770_076_800_000_000_000), &["data.parquet has 2 rows, meta.json says 3"]);
        check(&older(2, 5), &["ts_event_min is 1770076800000000000 ns, meta.json says 5"]);
        let other = older(2, 1_770_076_800_000).replace("\"schema_version\":1", "\"schema_version\":2");
        check(&other, &["meta.json has schema_version 2, this qlc knows 1"]);
        check("{}", &["meta.json has no known form: missing field `rows` at line 1 column 2"]);
        let contract = r#"{"row_count":2,"schema_version":"v1","ts_event_min":"1770076800000000000",
            "ts_event_max":"1770076801000000000","sha256":"bb","created_at":"2026-02-04T01:00:00Z","source_files":1}"#;
        check(contract, &["data.parquet has sha256 aa, meta.json says bb"]);
    }
}
