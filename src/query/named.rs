//! The statements of `sql/`, compiled in, with their parameters.
//!
//! Every parameter has a default, so that each statement runs without any. A parameter that a
//! statement does not have is an error.

use std::collections::BTreeMap;

use crate::{
    engine::sql::Value,
    error::{Error, Result},
};

/// A statement of `sql/`.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// What `--name` takes.
    pub name: &'static str,
    /// What its rows are, in one line.
    pub description: &'static str,
    /// Its parameters.
    pub params: &'static [Param],
    /// The text.
    pub sql: &'static str,
}

/// A parameter of a named statement.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// What `--param` takes before the `=`.
    pub name: &'static str,
    /// What it means.
    pub description: &'static str,
    /// Its value unless given.
    pub default: &'static str,
    /// What its values are.
    pub kind: ParamKind,
}

/// What the values of a parameter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Text.
    Text,
    /// A number.
    Number,
}

const fn pattern(name: &'static str, description: &'static str) -> Param {
    Param {
        name,
        description,
        default: "%",
        kind: ParamKind::Text,
    }
}

const EXCHANGE: Param = pattern(
    "exchange",
    "an exchange, or a pattern in which % matches anything",
);
const STREAM: Param = pattern("stream", "a stream, or a pattern");
const SYMBOL: Param = pattern("symbol", "a symbol, or a pattern");
const DATE: Param = pattern(
    "date",
    "a UTC day such as 20260203 or 2026-02-03, or a pattern such as 202602%",
);

/// All named statements.
#[must_use]
pub fn named() -> &'static [Named] {
    &[
        Named {
            name: "order",
            description: "rows of the archive that come before the row they should follow",
            params: &[EXCHANGE, STREAM, SYMBOL, DATE],
            sql: include_str!("../../sql/order.sql"),
        },
        Named {
            name: "duplicates",
            description: "events of one partition that share ts_event, seq and sub_seq",
            params: &[EXCHANGE, STREAM, SYMBOL, DATE],
            sql: include_str!("../../sql/duplicates.sql"),
        },
        Named {
            name: "holes",
            description: "numbers that are missing where an exchange numbers its events one after the other",
            params: &[EXCHANGE, STREAM, SYMBOL, DATE],
            sql: include_str!("../../sql/holes.sql"),
        },
        Named {
            name: "gaps",
            description: "silences of a series between neighbouring events, also across midnight",
            params: &[
                EXCHANGE,
                STREAM,
                SYMBOL,
                DATE,
                Param {
                    name: "seconds",
                    description: "the length from which a silence counts",
                    default: "60",
                    kind: ParamKind::Number,
                },
            ],
            sql: include_str!("../../sql/gaps.sql"),
        },
        Named {
            name: "crossed_quotes",
            description: "quotes whose bid is at or above their ask",
            params: &[EXCHANGE, SYMBOL, DATE],
            sql: include_str!("../../sql/crossed_quotes.sql"),
        },
        Named {
            name: "coverage",
            description: "per partition the rows found and promised, first and last event, hours with events",
            params: &[EXCHANGE, STREAM, SYMBOL, DATE],
            sql: include_str!("../../sql/coverage.sql"),
        },
        Named {
            name: "rows_per_hour",
            description: "events of each series in each hour",
            params: &[EXCHANGE, STREAM, SYMBOL, DATE],
            sql: include_str!("../../sql/rows_per_hour.sql"),
        },
    ]
}

/// The named statement of this name.
pub(super) fn find(name: &str) -> Result<&'static Named> {
    named().iter().find(|n| n.name == name).ok_or_else(|| {
        let all: Vec<_> = named().iter().map(|n| n.name).collect();
        Error::usage(format!(
            "there is no query named {name:?}: there are {}",
            all.join(", ")
        ))
    })
}

impl Named {
    /// The values of all parameters: those given, and the defaults of the others.
    pub(super) fn values(&self, given: &[(String, String)]) -> Result<BTreeMap<String, Value>> {
        let mut values = BTreeMap::new();
        for (name, text) in given {
            let Some(param) = self.params.iter().find(|p| p.name == name) else {
                let all: Vec<_> = self.params.iter().map(|p| p.name).collect();
                let all = all.join(", ");
                return Err(Error::usage(format!(
                    "{} has no parameter {name:?}: it has {all}",
                    self.name
                )));
            };
            if values.insert(name.clone(), param.value(text)?).is_some() {
                return Err(twice(name));
            }
        }
        for param in self
            .params
            .iter()
            .filter(|p| given.iter().all(|(name, _)| name != p.name))
        {
            let _ = values.insert(param.name.to_owned(), param.value(param.default)?);
        }
        Ok(values)
    }
}

impl Param {
    fn value(&self, text: &str) -> Result<Value> {
        match self.kind {
            ParamKind::Text => Ok(Value::Text(text.to_owned())),
            ParamKind::Number => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Float(number)),
                _ => Err(Error::usage(format!(
                    "--param {}={text}: {} is a number, such as {}",
                    self.name, self.name, self.default
                ))),
            },
        }
    }
}

/// A parameter was given twice: whichever value were taken, the other would be ignored.
pub(super) fn twice(name: &str) -> Error {
    Error::usage(format!("--param {name} is given twice: give one value"))
}
