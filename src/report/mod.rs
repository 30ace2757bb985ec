//! `report`: coverage, sizes, gaps, quarantine and runs as one page that needs nothing else: no
//! network, no server.
//!
//! The data is embedded as JSON in which no `<` is left, so that no name and no message can end it;
//! the page's own script puts everything into the document as text. All data comes in as values.

mod data;

use std::path::Path;

pub use data::Input;

use crate::{
    error::{Error, Kind, Result},
    storage::{Expect, atomic, store::Store},
};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
///
/// # Errors
/// Never in practice: everything can be put in JSON.
pub fn page(input: &Input<'_>) -> Result<String> {
    let json = serde_json::to_string(&data::of(input))
        .map_err(|e| Error::caused(Kind::Internal, "the report cannot be put in JSON", e))?;
    // The only place where text of the data meets HTML: inside of strings, JSON may write these as
    // escapes.
    let json = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    let json = json
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    // Once each, and the data last: what looks like a mark in it stays.
    Ok(PAGE
        .replacen("/*STYLE*/", STYLE, 1)
        .replacen("/*SCRIPT*/", SCRIPT, 1)
        .replacen("/*DATA*/", &json, 1))
}

/// Writes the page to `path`, replacing what was there; returns its size.
///
/// # Errors
/// When there is no folder for it, or it cannot be written; what was there stands then.
pub async fn write(input: &Input<'_>, path: &Path) -> Result<u64> {
    let (store, name) = Store::of_file(path, "--html")?;
    let staging = path.parent().unwrap_or(path);
    let bytes = page(input)?.into_bytes();
    Ok(
        *atomic::write_bytes(&store, &name, staging, &Expect::Anything, bytes)
            .await?
            .verified(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{coverage::Coverage, run::RunRecord};

    #[test]
    fn no_text_of_the_data_can_end_it() {
        let day = "20260203".parse().unwrap();
        let coverage = Coverage {
            start: day,
            end: day,
            cells: Vec::new(),
            ended: BTreeMap::new(),
            without_day: 0,
            ignored: Vec::new(),
            unlisted: Vec::new(),
            unread: Vec::new(),
            absent_spools: Vec::new(),
            quarantine: Vec::new(),
            reconciled: Vec::new(),
        };
        let runs: [RunRecord; 0] = [];
        let archive = "</script><script>alert(1)</script> /*STYLE*/ <!-- &".to_owned();
        let input = Input {
            coverage: &coverage,
            runs: &runs,
            archive: archive.clone(),
            made_at: String::new(),
        };
        let page = page(&input).unwrap();
        assert_eq!(
            page.matches("</script>").count(),
            2,
            "the data's and the page's own"
        );
        assert!(!page.contains("alert(1)</script>"));
        let (_, rest) = page
            .split_once("<script type=\"application/json\" id=\"data\">")
            .unwrap();
        let (json, _) = rest.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["archive"], archive);
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "it needs no network"
        );
    }
}
