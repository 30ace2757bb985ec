//! DataFusion's errors as the crate's own: the kind follows from the variants along the chain of
//! causes, never from the text.

use std::error::Error as StdError;

use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

use crate::error::{Error, Kind};

/// `error` as an error of this crate; `what` says what was being done, as in `the query` or a
/// partition's name.
///
/// An error of this crate that travelled through DataFusion keeps its kind and message.
#[must_use]
pub fn from_datafusion(error: DataFusionError, what: &str) -> Error {
    if let Some(ours) = causes(&error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return Error::new(ours.kind(), ours.chain());
    }
    let error = first(error);
    let kind = kind_of(&error);
    match kind {
        // The root says in full what to change; the wrappers around it speak of DataFusion's own
        // steps.
        Kind::Usage | Kind::Resources => {
            Error::new(kind, format!("{what}: {}", plain(error.find_root())))
        }
        _ => Error::caused(kind, format!("{what} failed"), error),
    }
}

/// The kind of an error, from the most telling cause in its chain.
fn kind_of(error: &DataFusionError) -> Kind {
    if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
        return Kind::Resources;
    }
    // A Parquet or Arrow error may wrap the storage error that caused it, so the whole chain is
    // asked.
    if causes(error).any(|cause| cause.is::<object_store::Error>() || cause.is::<std::io::Error>())
    {
        return Kind::Io;
    }
    match error.find_root() {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Configuration(_)
        | DataFusionError::NotImplemented(_) => Kind::Usage,
        DataFusionError::ResourcesExhausted(_) => Kind::Resources,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Kind::Io,
        // A value that cannot be cast or computed with, a page that cannot be decoded: the data,
        // not the program.
        DataFusionError::ParquetError(_)
        | DataFusionError::Execution(_)
        | DataFusionError::ArrowError(..) => Kind::BadInput,
        other if causes(other).any(<dyn std::error::Error + 'static>::is::<ParquetError>) => {
            Kind::BadInput
        }
        _ => Kind::Internal,
    }
}

/// What an error says, without the name of its variant in front.
fn plain(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::SQL(cause, _) => cause.to_string(),
        DataFusionError::SchemaError(cause, _) => cause.to_string(),
        DataFusionError::Plan(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::ResourcesExhausted(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

/// The first of several errors that were found at once: one clear line is worth more than all of
/// them.
fn first(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Collection(mut all) if !all.is_empty() => first(all.remove(0)),
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => first(*inner),
        other => other,
    }
}

/// The error and everything that caused it.
pub(super) fn causes(error: &DataFusionError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::error::ArrowError;

    use super::*;

    #[test]
    fn kinds_follow_from_variants() {
        let io = || std::io::Error::other("disk gone");
        let cases = [
            (
                DataFusionError::Plan("no such table".to_owned()),
                Kind::Usage,
            ),
            (
                DataFusionError::Plan("x".to_owned()).context("type_coercion"),
                Kind::Usage,
            ),
            (
                DataFusionError::Shared(Arc::new(DataFusionError::Plan("x".to_owned()))),
                Kind::Usage,
            ),
            (
                DataFusionError::ResourcesExhausted("pool".to_owned()).context("sort"),
                Kind::Resources,
            ),
            (DataFusionError::IoError(io()), Kind::Io),
            (
                DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(io())))),
                Kind::Io,
            ),
            (
                DataFusionError::ParquetError(Box::new(ParquetError::General(
                    "bad page".to_owned(),
                ))),
                Kind::BadInput,
            ),
            (
                DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None),
                Kind::BadInput,
            ),
            (DataFusionError::Internal("bug".to_owned()), Kind::Internal),
            (
                DataFusionError::External(Box::new(Error::new(Kind::Damage, "ours"))),
                Kind::Damage,
            ),
        ];
        for (error, kind) in cases {
            let shown = error.to_string();
            assert_eq!(from_datafusion(error, "the query").kind(), kind, "{shown}");
        }
    }

    #[test]
    fn a_usage_error_is_one_line_without_wrappers() {
        let error = DataFusionError::Plan("first\n  second".to_owned()).context("optimizer");
        assert_eq!(
            from_datafusion(error, "the query").chain(),
            "the query: first second"
        );
    }
}
