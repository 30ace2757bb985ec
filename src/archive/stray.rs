//! What lies in an archive where no command looks for it, while programs that read the archive by
//! its folders do.

use std::collections::BTreeSet;

use crate::{
    error::{Error, Kind},
    model::{
        date::Date,
        layout::{self, FolderReach, Placed},
        partition::{Partition, Selection},
        shell,
    },
    storage::store::Store,
};

/// The length of a day such as `2026-02-03`.
const DASHED: usize = 10;

/// A Parquet file below `exchange=…` that is in no partition's folder, or the folder of a day that
/// is not spelled as qlc spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// The key of the file or folder.
    pub place: String,
    /// The partition that the folder is of, where a day such as `date=2026-02-03` tells one.
    pub partition: Option<Partition>,
    /// Whether the folder of that partition is there as well.
    pub is_second: bool,
}

/// Those of which the objects `keys` are parts, in order; `of` is [`Stray::of`] or
/// [`Stray::of_day`].
#[must_use]
pub fn among<'a>(
    keys: impl Iterator<Item = &'a str> + Clone,
    of: impl Fn(&str) -> Option<Stray>,
) -> Vec<Stray> {
    let found: BTreeSet<Stray> = keys.clone().filter_map(of).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let wanted: BTreeSet<String> = found.iter().filter_map(Stray::right_place).collect();
    let there: BTreeSet<&str> = keys
        .filter_map(|key| Some(key.rsplit_once('/')?.0))
        .filter(|folder| wanted.contains(*folder))
        .collect();
    let judged = found.into_iter().map(|one| Stray {
        is_second: one
            .right_place()
            .is_some_and(|place| there.contains(place.as_str())),
        ..one
    });
    judged.collect()
}

/// Why `partition` cannot be published: a folder of its day that is spelled otherwise is in the
/// archive. No command looks into it, so its rows would be published a second time.
#[must_use]
pub fn of_partition(all: &[Stray], partition: &Partition, archive: &Store) -> Option<Error> {
    let of_day = |stray: &&Stray| stray.partition.as_ref() == Some(partition);
    let findings: BTreeSet<String> = all
        .iter()
        .filter(of_day)
        .map(|stray| format!("{}: {}", archive.show(&stray.place), stray.finding(archive)))
        .collect();
    let findings: Vec<String> = findings.into_iter().collect();
    (!findings.is_empty()).then(|| Error::new(Kind::Damage, findings.join("; ")))
}

impl Stray {
    /// That of which the object `key` of an archive is a part, if it is of one.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let is_lost = || {
            let (folders, file) = key.rsplit_once('/')?;
            let is_seen = folders.starts_with("exchange=") && layout::is_input(file);
            let placed = Placed::parse(key).and_then(Result::ok);
            (is_seen && placed.is_none_or(|placed| placed.date.is_none())).then(|| Self {
                place: key.to_owned(),
                partition: None,
                is_second: false,
            })
        };
        Self::of_day(key).or_else(is_lost)
    }

    /// The same, where it is the folder of a day.
    #[must_use]
    pub fn of_day(key: &str) -> Option<Self> {
        let (above, rest) = key.split_once("/date=")?;
        let (spelled, _) = rest.split_once('/')?;
        // Most keys end here.
        if spelled.len() != DASHED {
            return None;
        }
        let date = layout::date_of_folder(spelled)?;
        let of_base = |base| Placed::below(base, &format!("{above}/x"));
        let placed = of_base(layout::RECEIPTS)
            .or_else(|| of_base(layout::QUARANTINE))
            .or_else(|| Placed::parse(&format!("{above}/x")))?
            .ok()?;
        placed.date.is_none().then(|| Self {
            place: format!("{above}/date={spelled}"),
            partition: Some(placed.series.on(date)),
            is_second: false,
        })
    }

    /// The folder that it should be.
    fn right_place(&self) -> Option<String> {
        let (above, _) = self.place.rsplit_once('/')?;
        Some(format!("{above}/date={}", self.partition.as_ref()?.date))
    }

    /// Whether it may be of the series and days that are meant.
    #[must_use]
    pub fn is_meant(&self, selection: &Selection, start: Option<Date>, end: Option<Date>) -> bool {
        match &self.partition {
            Some(one) => selection.takes(&one.series) && one.date.is_within(start, end),
            None => FolderReach::of("", &self.place).is_none_or(|reach| reach.meets(selection)),
        }
    }

    /// What is wrong with it and what to do.
    #[must_use]
    pub fn finding(&self, archive: &Store) -> String {
        let Some(right) = self.right_place() else {
            return "a Parquet file in no partition: only data.parquet in the folder of a day is \
                    published, but readers of the folders take its rows in too; move it out of the \
                    archive"
                .to_owned();
        };
        let right = archive.show(&right);
        if self.is_second {
            return format!(
                "is a second folder of the same day beside {right}: readers of the folders count \
                 the day twice; move one of the two out of the archive"
            );
        }
        let mv = match archive.local_folder() {
            Some(_) => "mv -T",
            None => "aws s3 mv --recursive",
        };
        format!(
            "the day of this folder is not spelled as in an archive, so no command looks into it: \
             {mv} {} {}",
            shell::word(&archive.show(&self.place)),
            shell::word(&right)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: &str = "exchange=binance/stream=bbo/symbol=btcusdt";

    #[test]
    fn what_is_in_no_partition_is_told_from_what_is() {
        let check = |key: &str, want: Option<(&str, Option<&str>)>| {
            let found = Stray::of(key).map(|one| (one.place, one.partition.map(|p| p.to_string())));
            let want = want.map(|(place, of)| (place.to_owned(), of.map(str::to_owned)));
            assert_eq!(found, want, "{key}");
        };
        let of_day = |base: &str, file: &str, is_stray: bool| {
            let folder = format!("{base}{SERIES}/date=2026-02-03");
            let partition = Some("binance/bbo/btcusdt/20260203");
            let want = is_stray.then_some((folder.as_str(), partition));
            check(&format!("{folder}/{file}"), want);
        };
        of_day("", "data.parquet", true);
        of_day("", "meta.json", true);
        of_day("_receipts/", "a.json", true);
        of_day("QUARANTINE/", "error.json", true);
        of_day("_imported/", "notes.txt", false);
        for key in [
            format!("{SERIES}/x.parquet"),
            format!("{SERIES}/date=20260203/more/x.parquet"),
            format!("{SERIES}/date=2026-2-3/data.parquet"),
            "exchange=binance/x.parquet".to_owned(),
        ] {
            check(&key, Some((&key, None)));
        }
        for key in [
            format!("{SERIES}/date=20260203/data.parquet"),
            format!("{SERIES}/date=20260203/more.parquet"),
            format!("{SERIES}/.x.parquet"),
            format!("{SERIES}/notes.txt"),
            format!("QUARANTINE/{SERIES}/date=20260203/a.parquet"),
            "table.parquet".to_owned(),
        ] {
            check(&key, None);
        }
    }
}
