//! Where the files of collectors lie, as it is said: one place, or one for each of several
//! collectors.
//!
//! `tokyo=/data/tokyo` names a collector. A text is a place without a name where no name can stand
//! before its first `=`: it has none, a `/` comes before it, or the part before it is that of a
//! folder of the layout, as in `exchange=binance`.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    error::{Error, Kind, Result},
    model::partition::Collector,
};

/// What stands before `=` in the names of folders of the layout, and is no collector's name.
const OF_LAYOUT: [&str; 5] = ["collector", "exchange", "stream", "symbol", "date"];
/// The scheme of the URLs by which an engine knows several spools.
const SCHEME: &str = "spools";

/// A place with files of a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolRoot {
    /// The collector, where it has a name.
    pub collector: Option<Collector>,
    /// A folder or a URL.
    pub place: String,
}

impl fmt::Display for SpoolRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.collector {
            Some(name) => write!(f, "{name}={}", self.place),
            None => f.write_str(&self.place),
        }
    }
}

impl SpoolRoot {
    /// The spool that a text such as `tokyo=/data/tokyo` or `/data/spool` names.
    ///
    /// # Errors
    /// When what stands before the first `=` can be neither a name nor a part of a path.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((name, place)) = apart(text) else {
            return Ok(Self {
                collector: None,
                place: text.to_owned(),
            });
        };
        let collector = name.parse::<Collector>().map_err(|e| {
            Error::usage(format!(
                "the spool {text:?}: {e}; a folder with an equals sign in its name is ./{text}"
            ))
        })?;
        Ok(Self {
            collector: Some(collector),
            place: place.to_owned(),
        })
    }
}

/// The name and the place of a text that has both.
fn apart(text: &str) -> Option<(&str, &str)> {
    text.split_once('=')
        .filter(|(name, _)| !name.contains('/') && !OF_LAYOUT.contains(name))
}

/// The spools that `text` names, as a list with commas or spaces; only where names begin are they
/// cut, so that places may have both.
#[must_use]
pub fn listed(text: &str) -> Vec<&str> {
    let begins_named = |text: &str| apart(text).is_some_and(|(name, _)| Collector::is(name));
    let text = text.trim();
    if !begins_named(text) {
        return vec![text];
    }
    let is_between = |letter: char| letter == ',' || letter.is_whitespace();
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let cut = rest.match_indices(is_between).find(|(at, _)| {
            let next = rest
                .get(*at..)
                .unwrap_or_default()
                .trim_start_matches(is_between);
            next.is_empty() || begins_named(next)
        });
        let (one, next) = cut.map_or((rest, ""), |(at, _)| rest.split_at(at));
        all.push(one);
        rest = next.trim_start_matches(is_between);
    }
    all
}

/// All spools: one without a name, or one for each of several collectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Spools(Vec<SpoolRoot>);

impl Spools {
    /// One without a name.
    #[must_use]
    pub fn one(place: impl Into<String>) -> Self {
        Self(vec![SpoolRoot {
            collector: None,
            place: place.into(),
        }])
    }

    /// These spools.
    ///
    /// # Errors
    /// When there is none, two have the same name, or one of several has none.
    pub fn of(all: Vec<SpoolRoot>) -> Result<Self> {
        if all.is_empty() {
            return Err(Error::usage("no spool is named"));
        }
        if all.len() > 1
            && let Some(bare) = all.iter().find(|one| one.collector.is_none())
        {
            return Err(Error::usage(format!(
                "the spool {} has no name and is one of {}: each of several is named after its collector, as in \
                 --spool a=/data/a --spool b=/data/b",
                bare.place,
                all.len()
            )));
        }
        let mut names: Vec<&Collector> = all
            .iter()
            .filter_map(|one| one.collector.as_ref())
            .collect();
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
            return Err(Error::usage(format!(
                "two spools are named {name}: each collector has one"
            )));
        }
        Ok(Self(all))
    }

    /// The spools that these texts name, each as [`SpoolRoot::parse`] reads it.
    ///
    /// # Errors
    /// As [`SpoolRoot::parse`] and [`Self::of`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        Self::of(
            texts
                .into_iter()
                .map(SpoolRoot::parse)
                .collect::<Result<_>>()?,
        )
    }

    /// All of them, in the order in which they were named.
    #[must_use]
    pub fn all(&self) -> &[SpoolRoot] {
        &self.0
    }

    /// The place, where there is one only.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        match self.0.as_slice() {
            [one] => Some(&one.place),
            _ => None,
        }
    }

    /// The URL by which an engine knows them: it tells another process which they are.
    ///
    /// # Errors
    /// Never in practice.
    pub(super) fn url(&self) -> Result<Url> {
        let texts: Vec<String> = self.clone().into();
        let text = serde_json::to_string(&texts)
            .map_err(|e| Error::caused(Kind::Internal, "spools as JSON", e))?;
        let mut hex = String::with_capacity(2 * text.len());
        for byte in text.bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
        let url = format!("{SCHEME}://{hex}/");
        Url::parse(&url).map_err(|e| Error::caused(Kind::Internal, "the URL of several spools", e))
    }

    /// The spools that such a URL tells of; `None` where it is another one.
    #[must_use]
    pub fn of_url(url: &Url) -> Option<Self> {
        let text = url.host_str().filter(|_| url.scheme() == SCHEME)?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        serde_json::from_slice(&bytes?).ok()
    }
}

impl fmt::Display for Spools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, one) in self.0.iter().enumerate() {
            write!(f, "{}{one}", if nth > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl From<Spools> for Vec<String> {
    fn from(spools: Spools) -> Self {
        spools.0.iter().map(ToString::to_string).collect()
    }
}

impl TryFrom<Vec<String>> for Spools {
    type Error = Error;
    fn try_from(texts: Vec<String>) -> Result<Self> {
        Self::parse(texts.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<Vec<(Option<String>, String)>> {
        let all = Spools::parse(texts.iter().copied())?;
        Ok(all
            .0
            .into_iter()
            .map(|one| (one.collector.map(|name| name.to_string()), one.place))
            .collect())
    }

    #[test]
    fn a_place_without_a_name_stays_one() {
        for place in [
            "/data/spool",
            "s3://bucket/a=b",
            "./a=b",
            "/data/a=b",
            "exchange=binance",
            "collector=a",
            "data/x=1",
            "C d",
            "",
        ] {
            assert_eq!(
                parsed(&[place]).unwrap(),
                [(None, place.to_owned())],
                "{place}"
            );
        }
    }

    #[test]
    fn a_name_stands_before_the_first_equals_sign() {
        let named = |name: &str, place: &str| (Some(name.to_owned()), place.to_owned());
        let got = parsed(&["tokyo-1=/data/a=b", "B=s3://bucket/x", "c=rel"]).unwrap();
        assert_eq!(
            got,
            [
                named("tokyo-1", "/data/a=b"),
                named("B", "s3://bucket/x"),
                named("c", "rel")
            ]
        );
        for refused in [
            &["a b=/x"][..],
            &["=/x"],
            &["..=/x"],
            &["ä=/x"],
            &["a=/x", "a=/y"],
            &["a=/x", "/y"],
            &["/x", "/y"],
            &[],
        ] {
            assert_eq!(
                parsed(refused).unwrap_err().kind(),
                Kind::Usage,
                "{refused:?}"
            );
        }
        // Case is kept, and tells names apart.
        assert_eq!(parsed(&["a=/x", "A=/y"]).unwrap().len(), 2);
    }

    #[test]
    fn a_list_is_cut_where_names_begin() {
        assert_eq!(
            listed("a=/x,b=s3://y/z  c=/w,"),
            ["a=/x", "b=s3://y/z", "c=/w"]
        );
        assert_eq!(listed("a=/my data,b=/x, y"), ["a=/my data", "b=/x, y"]);
        assert_eq!(listed("/my data,b=/x"), ["/my data,b=/x"]);
        assert_eq!(listed(""), [""]);
    }

    #[test]
    fn spools_survive_their_way_to_another_process() {
        let all = Spools::parse(["a=/data/ä b", "b=s3://bucket/x"]).unwrap();
        assert_eq!(Spools::of_url(&all.url().unwrap()), Some(all.clone()));
        assert_eq!(
            serde_json::from_str::<Spools>(&serde_json::to_string(&all).unwrap()).unwrap(),
            all
        );
        assert_eq!(Spools::of_url(&Url::parse("s3://bucket/").unwrap()), None);
        assert!(serde_json::from_str::<Spools>("[\"a=/x\",\"a=/y\"]").is_err());
    }
}
