//! One section of the configuration file: reads its values by name and type.
//!
//! A value of another type is an error that says what is expected.

use std::{fmt, path::Path, str::FromStr};

use toml::{Table, Value};

use super::{keys, near::nearest};
use crate::{
    cli::args::feed_url,
    error::{Error, Result},
    model::size,
    storage::{
        spools::{self, SpoolRoot, Spools},
        store::check_place,
    },
};

/// A part of the file, which names its keys in complaints.
pub(super) struct Section<'a> {
    pub(super) path: &'a Path,
    /// What stands before its keys.
    pub(super) name: &'static str,
    pub(super) table: Table,
}

impl Section<'_> {
    pub(super) fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::usage(format!("{}: {what}", self.path.display()))
    }

    pub(super) fn knows(&self, known: &[&'static str]) -> Result<()> {
        let Some(key) = self.table.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let name = self.name;
        let hint = nearest(key, known.iter().copied())
            .map_or_else(String::new, |near| format!(" did you mean {name}{near}?"));
        let known = known.join(", ");
        Err(self.wrong(match name.strip_suffix('.') {
            Some(section) => format!(
                "{name}{key} is not a setting;{hint} the settings of [{section}] are {known}"
            ),
            None => format!(
                "{key} is not a setting;{hint} the settings are {known}, and the sections [{}] and [{}]",
                keys::COLLECT_SECTION,
                keys::RECONCILE_SECTION
            ),
        }))
    }

    /// A section of this one, which names its keys as `name` says.
    pub(super) fn section(&self, name: &'static str, value: Option<Value>) -> Result<Option<Self>> {
        let table = match value {
            None => return Ok(None),
            Some(Value::Table(table)) => table,
            Some(other) => {
                let noun = noun(&other);
                let name = name.trim_end_matches('.');
                return Err(self.wrong(format!("{name} is {noun}, not a section; write [{name}]")));
            }
        };
        Ok(Some(Self {
            path: self.path,
            name,
            table,
        }))
    }

    pub(super) fn text(&self, key: &str, example: &str) -> Result<Option<String>> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(format!(
                "{}{key} is {}, not a text; write {key} = \"{example}\"",
                self.name,
                noun(other)
            ))),
        }
    }

    /// A path, which begins where the file lies unless it is a URL or empty.
    pub(super) fn place(&self, key: &str, example: &str) -> Result<Option<String>> {
        Ok(self.text(key, example)?.map(|place| self.rooted(place)))
    }

    fn rooted(&self, place: String) -> String {
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        // What is nearly a URL is refused later, and not made a path first.
        let stays = place.is_empty() || place.contains("://") || check_place(&place).is_err();
        if stays {
            place
        } else {
            folder.join(place).display().to_string()
        }
    }

    /// Places of collectors: one text, such as a flag has or a list of them; a list of such texts;
    /// or names with their places.
    pub(super) fn spools(&self, key: &str, example: &str) -> Result<Option<Spools>> {
        let wrong = |what: &str| {
            self.wrong(format!(
                "{}{key} is {what}; write {key} = \"{example}\", or {key} = {{ a = \"/data/a\", b = \"/data/b\" }}",
                self.name
            ))
        };
        let parsed = |text: &str| SpoolRoot::parse(text).map_err(|e| self.in_key(key, &e));
        let all: Vec<SpoolRoot> = match self.table.get(key) {
            None => return Ok(None),
            Some(Value::Table(all)) => {
                let one = |(name, place): (&String, &Value)| match place {
                    Value::String(place) => {
                        let collector = name.parse().map_err(|e| self.in_key(key, &e))?;
                        Ok(SpoolRoot {
                            collector: Some(collector),
                            place: place.clone(),
                        })
                    }
                    other => Err(self.wrong(format!(
                        "{}{key}.{name} is {}, not a text",
                        self.name,
                        noun(other)
                    ))),
                };
                all.iter().map(one).collect::<Result<_>>()?
            }
            Some(Value::Array(all)) if all.iter().all(Value::is_str) => all
                .iter()
                .filter_map(Value::as_str)
                .map(parsed)
                .collect::<Result<_>>()?,
            Some(Value::String(text)) => spools::listed(text)
                .into_iter()
                .map(parsed)
                .collect::<Result<_>>()?,
            Some(Value::Array(_)) => return Err(wrong("a list, not one of texts")),
            Some(other) => {
                return Err(self.wrong(format!(
                    "{}{key} is {}, not a text; write {key} = \"{example}\"",
                    self.name,
                    noun(other)
                )));
            }
        };
        let rooted = all.into_iter().map(|one| SpoolRoot {
            place: self.rooted(one.place),
            ..one
        });
        Spools::of(rooted.collect())
            .map(Some)
            .map_err(|e| self.in_key(key, &e))
    }

    pub(super) fn parsed<T>(
        &self,
        key: &str,
        example: &str,
        read: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        self.text(key, example)?
            .map(|text| read(&text).map_err(|e| self.in_key(key, &e)))
            .transpose()
    }

    /// A number, as one or as a text: both go the same way, so that they have the same range and
    /// message.
    pub(super) fn number<T>(
        &self,
        key: &str,
        example: &str,
        read: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.table.get(key) {
            Some(Value::Integer(number)) => read(&number.to_string())
                .map(Some)
                .map_err(|e| self.in_key(key, &e)),
            _ => self.parsed(key, example, read),
        }
    }

    pub(super) fn size(&self, key: &str, example: &str) -> Result<Option<u64>> {
        self.number(key, example, size::parse)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong(format!(
                "{}{key} is {}, not true or false",
                self.name,
                noun(other)
            ))),
        }
    }

    /// Names: a list of texts, or one text with commas.
    pub(super) fn list<T: FromStr<Err = Error>>(&self, key: &str, example: &str) -> Result<Vec<T>> {
        let one = |text: &str| text.trim().parse::<T>().map_err(|e| self.in_key(key, &e));
        match self.table.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => text.split(',').map(one).collect(),
            Some(Value::Array(all)) if all.iter().all(Value::is_str) => {
                all.iter().filter_map(Value::as_str).map(one).collect()
            }
            Some(other) => Err(self.wrong(format!(
                "{}{key} is {}, not a list of texts; write {key} = [\"{example}\"]",
                self.name,
                noun(other)
            ))),
        }
    }

    /// A text or a list of them, each read by `read`.
    pub(super) fn each<T>(
        &self,
        key: &str,
        example: &str,
        read: impl Fn(&str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let one = |text: &str| read(text).map_err(|e| self.in_key(key, &e));
        match self.table.get(key) {
            Some(Value::Array(all)) if all.iter().all(Value::is_str) => {
                all.iter().filter_map(Value::as_str).map(one).collect()
            }
            _ => Ok(self.parsed(key, example, read)?.into_iter().collect()),
        }
    }

    /// Names with their URLs.
    pub(super) fn urls(&self, key: &str) -> Result<Vec<(String, String)>> {
        let wrong = |what: &str| {
            self.wrong(format!(
                "{}{key}: {what}; write \"okx.public\" = \"ws://127.0.0.1:9001/okx.public\" below [collect.{key}]",
                self.name
            ))
        };
        match self.table.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Table(all)) => {
                let one = |(name, url): (&String, &Value)| match url {
                    Value::String(url) => {
                        feed_url(&format!("{name}={url}")).map_err(|e| self.in_key(key, &e))
                    }
                    other => Err(wrong(&format!("{name} is {}", noun(other)))),
                };
                all.iter().map(one).collect()
            }
            Some(other) => Err(wrong(&format!("is {}", noun(other)))),
        }
    }

    fn in_key(&self, key: &str, error: &Error) -> Error {
        self.wrong(format!("{}{key}: {error}", self.name))
    }
}

/// What a value is, in words.
fn noun(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}
