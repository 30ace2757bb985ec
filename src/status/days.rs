//! Which days of which series are expected: a pure decision from what is known of each.
//!
//! A series of which nothing came for a month is taken to have ended, and is named.

use std::collections::BTreeMap;

use super::gather::Gathered;
use crate::{
    error::{Error, Result},
    model::{
        date::Date,
        partition::{Partition, Series},
    },
};

/// The days of a range that nobody named, the last one included.
const MONTH: usize = 31;
/// So many partitions are judged at most: each takes about a kilobyte.
const MOST: usize = 1_000_000;

/// The days that are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// The first.
    pub(super) start: Date,
    /// The last.
    pub(super) end: Date,
    /// Whether the first was named: then the days before the first of a series are missing, too.
    named: bool,
}

impl Range {
    /// The range from what was named of it. It ends on the last day of which there can be anything:
    /// `known`, the later one of today and the last day that the stores know.
    pub(super) fn of(start: Option<Date>, end: Option<Date>, known: Date, today: Date) -> Self {
        let end = end
            .unwrap_or_else(|| today.pred().max(start.unwrap_or(today.pred())))
            .min(known);
        let month = std::iter::successors(Some(end), |day| Some(day.pred()))
            .nth(MONTH - 1)
            .unwrap_or(end);
        Self {
            start: start.unwrap_or(month),
            end,
            named: start.is_some(),
        }
    }
}

/// The partitions that are expected, and the series that have ended with their last days.
///
/// # Errors
/// When they are too many to be held in memory.
pub(super) fn expected(
    gathered: &Gathered,
    range: &Range,
) -> Result<(Vec<Partition>, BTreeMap<Series, Date>)> {
    let (mut all, mut ended) = (Vec::new(), BTreeMap::new());
    for (series, known) in &gathered.series {
        let (Some(first), Some(last)) = (known.days().min(), known.days().max()) else {
            continue;
        };
        if last < range.start && !range.named {
            let _ = ended.insert(series.clone(), last);
            continue;
        }
        let from = if range.named {
            range.start
        } else {
            range.start.max(first)
        };
        all.extend(
            from.through(range.end)
                .map(|day| series.on(day))
                .take(MOST + 1 - all.len()),
        );
        if all.len() > MOST {
            return Err(Error::usage(format!(
                "from {} to {} these are more than {MOST} partitions: name fewer days with --start and --end, or fewer \
                 series with --exchange, --stream and --symbol",
                range.start, range.end
            )));
        }
    }
    Ok((all, ended))
}

#[cfg(test)]
mod tests {
    use super::{super::gather::Known, *};

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn check(
        start: Option<&str>,
        end: Option<&str>,
        known: &[&str],
        expected_days: &[&str],
        ended_on: Option<&str>,
    ) {
        let series: Series =
            serde_json::from_str(r#"{"exchange":"a","stream":"b","symbol":"c"}"#).unwrap();
        let mut gathered = Gathered::default();
        let days: Known = known.iter().map(|text| day(text)).collect();
        let _ = gathered.series.insert(series, days);
        let range = Range::of(
            start.map(day),
            end.map(day),
            day("20260206"),
            day("20260205"),
        );
        let (all, ended) = expected(&gathered, &range).unwrap();
        let told: Vec<String> = all.iter().map(|p| p.date.to_string()).collect();
        assert_eq!(told, expected_days);
        assert_eq!(ended.into_values().next(), ended_on.map(day));
    }

    #[test]
    fn from_the_first_day_to_yesterday_unless_others_are_named() {
        check(
            None,
            None,
            &["20260202"],
            &["20260202", "20260203", "20260204"],
            None,
        );
        check(
            None,
            Some("20260203"),
            &["20260202"],
            &["20260202", "20260203"],
            None,
        );
        check(
            Some("20260201"),
            Some("20260202"),
            &["20260202"],
            &["20260201", "20260202"],
            None,
        );
        check(Some("20260205"), None, &["20260202"], &["20260205"], None);
        check(None, None, &["20251231"], &[], Some("20251231"));
        check(Some("20260204"), None, &["20251231"], &["20260204"], None);
        // Of days to come nothing is expected, up to the last one that there is.
        check(
            Some("20260204"),
            Some("21991231"),
            &["20260204"],
            &["20260204", "20260205", "20260206"],
            None,
        );
    }

    #[test]
    fn more_days_of_more_series_than_fit_in_memory_are_refused() {
        let mut gathered = Gathered::default();
        for nth in 0..20 {
            let text = format!(r#"{{"exchange":"a","stream":"b","symbol":"c{nth}"}}"#);
            let series: Series = serde_json::from_str(&text).unwrap();
            let _ = gathered
                .series
                .insert(series, [day("20260204")].into_iter().collect());
        }
        let range = |start| Range::of(Some(day(start)), None, day("20260205"), day("20260205"));
        assert!(expected(&gathered, &range("19800101")).is_ok());
        for nth in 20..100 {
            let text = format!(r#"{{"exchange":"a","stream":"b","symbol":"c{nth}"}}"#);
            let series: Series = serde_json::from_str(&text).unwrap();
            let _ = gathered
                .series
                .insert(series, [day("20260204")].into_iter().collect());
        }
        assert_eq!(
            expected(&gathered, &range("19800101")).unwrap_err().kind(),
            crate::error::Kind::Usage
        );
    }
}
