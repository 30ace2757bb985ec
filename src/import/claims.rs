//! What the `meta.json` of an archive that is to be taken over says of its data, in the form that
//! its pipeline wrote: `rows`, `ts_event_min` and `ts_event_max` as numbers, `schema_version` 1; or
//! in the form of the contract.
//!
//! Pure. Other forms are an error: the data cannot be compared with a document that is not
//! understood.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::model::{count, meta::is_sha256, time::to_ns};

/// The pipeline merged so many files at a time; of more, it took the last time from the first row
/// group of what it had merged before.
const MERGED_AT_ONCE: u64 = 1200;

/// What a `meta.json` claims. Keys that are not named here claim nothing that can be checked.
/// `rows` is the pipeline's word for the contract's `row_count`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    #[serde(alias = "row_count")]
    rows: u64,
    /// In the unit that it was written in.
    #[serde(deserialize_with = "integer")]
    ts_event_min: i64,
    #[serde(deserialize_with = "integer")]
    ts_event_max: i64,
    schema_version: Value,
    /// Absent, null, and `N/A` where it could not be told.
    #[serde(default)]
    sha256: Value,
    /// Absent or null where it was not noted.
    #[serde(default)]
    source_files: Option<u64>,
}

/// What was read of the data, as far as a `meta.json` speaks of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) rows: u64,
    pub(super) ts_min_ns: Option<i64>,
    pub(super) ts_max_ns: Option<i64>,
    pub(super) sha256: &'a str,
}

/// An integer, or a text that is one.
fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(from)?;
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| D::Error::custom(format!("a ts_event of {value}")))
}

impl Claims {
    /// Reads either form; else says what is not as it must be.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let claims: Self = serde_json::from_slice(bytes)
            .map_err(|e| format!("meta.json has no known form: {e}"))?;
        let version = &claims.schema_version;
        if version.as_i64() != Some(1) && ![Some("v1"), Some("1")].contains(&version.as_str()) {
            return Err(format!(
                "meta.json has schema_version {version}, this qlc knows 1 and v1"
            ));
        }
        Ok(claims)
    }

    /// The sha256 of the data, where it is one.
    fn sha256(&self) -> Option<&str> {
        self.sha256.as_str().filter(|text| is_sha256(text))
    }

    /// Whether rows are claimed.
    pub(super) const fn has_rows(&self) -> bool {
        self.rows > 0
    }

    /// Everything that is claimed of other data than this.
    pub(super) fn against(&self, back: Facts<'_>) -> Vec<String> {
        let mut found = Vec::new();
        if self.rows != back.rows {
            found.push(format!(
                "data.parquet has {}, meta.json says {}",
                count::rows(back.rows),
                count::grouped(self.rows)
            ));
        }
        let ends = [
            ("ts_event_min", self.ts_event_min, back.ts_min_ns),
            ("ts_event_max", self.ts_event_max, back.ts_max_ns),
        ];
        for (name, says, is) in ends {
            // The claim may have any unit, as the data may.
            if to_ns(says) != is && !(name == "ts_event_max" && self.ends_early(back)) {
                let is = is.map_or_else(|| "not there".to_owned(), |ns| format!("{ns} ns"));
                found.push(format!("{name} is {is}, meta.json says {says}"));
            }
        }
        if let Some(says) = self.sha256().filter(|says| *says != back.sha256) {
            found.push(format!(
                "data.parquet has sha256 {}, meta.json says {says}",
                back.sha256
            ));
        }
        found
    }

    /// Whether the last time that is claimed is merely too small, as the pipeline wrote it for days
    /// of many files: the number of rows and the first time are right, and so is the sha256 where
    /// there is one. Data of other rows is not that.
    fn ends_early(&self, back: Facts<'_>) -> bool {
        let is_within =
            to_ns(self.ts_event_max) < back.ts_max_ns && to_ns(self.ts_event_max) >= back.ts_min_ns;
        let is_this = self.sha256() == Some(back.sha256);
        is_within && (is_this || self.source_files.is_none_or(|files| files > MERGED_AT_ONCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACK: Facts<'static> = Facts {
        rows: 2,
        ts_min_ns: Some(1_770_076_800_000_000_000),
        ts_max_ns: Some(1_770_076_801_000_000_000),
        sha256: "aa",
    };

    #[test]
    fn claims_of_either_form_are_held_against_the_data() {
        let check = |json: &str, want: &[&str]| {
            let found = Claims::read(json.as_bytes()).map_or_else(|e| vec![e], |c| c.against(BACK));
            assert_eq!(found, want, "{json}");
        };
        let older = |rows: u64, min: i64| {
            format!(
                r#"{{"rows":{rows},"ts_event_min":{min},"ts_event_max":1770076801000000000,"schema_version":1}}"#
            )
        };
        check(&older(2, 1_770_076_800_000_000_000), &[]);
        check(&older(2, 1_770_076_800_000), &[]);
        check(
            &older(3, 1_770_076_800_000_000_000),
            &["data.parquet has 2 rows, meta.json says 3"],
        );
        check(
            &older(2, 5),
            &["ts_event_min is 1770076800000000000 ns, meta.json says 5"],
        );
        let other =
            older(2, 1_770_076_800_000).replace("\"schema_version\":1", "\"schema_version\":2");
        check(
            &other,
            &["meta.json has schema_version 2, this qlc knows 1 and v1"],
        );
        check(
            "{}",
            &["meta.json has no known form: missing field `rows` at line 1 column 2"],
        );
        // Of a day of many files the pipeline wrote an end that is too early; of few files, that is
        // other data.
        let early = |more: &str| {
            format!(
                r#"{{"rows":2,"ts_event_min":1770076800000,"ts_event_max":1770076800500,"schema_version":1{more}}}"#
            )
        };
        let wrong = "ts_event_max is 1770076801000000000 ns, meta.json says 1770076800500";
        check(
            &early(r#","source_files":null,"sha256":"N/A","day_quality":"GOOD""#),
            &[],
        );
        check(&early(r#","source_files":1201"#), &[]);
        check(&early(r#","source_files":1200"#), &[wrong]);
        check(
            &older(2, 1_770_076_800_000).replace("01000000000", "02000000000"),
            &["ts_event_max is 1770076801000000000 ns, meta.json says 1770076802000000000"],
        );
        let contract = r#"{"row_count":2,"schema_version":"v1","ts_event_min":"1770076800000000000",
            "ts_event_max":"1770076801000000000","sha256":"SHA","created_at":"2026-02-04T01:00:00Z","source_files":1}"#;
        let sha256 = "b".repeat(64);
        let contract = contract.replace("SHA", &sha256);
        check(
            &contract,
            &[&format!(
                "data.parquet has sha256 aa, meta.json says {sha256}"
            )],
        );
        check(
            &contract.replace(":1}", ":null}").replace(&sha256, "N/A"),
            &[],
        );
    }
}
