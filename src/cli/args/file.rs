//! The configuration file: TOML in which every setting has the name of its argument.
//!
//! A setting is an argument that a variable can give too; it is declared nowhere else. What the
//! file says of it becomes the default of the argument, so that form, range and complaint are those
//! of the flag. Unknown keys are an error: otherwise a misspelled setting would silently be the
//! default.

use std::{
    any::TypeId,
    collections::BTreeMap,
    error::Error as _,
    ffi::{OsStr, OsString},
    fmt, fs,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, builder::Resettable};
use toml::{Table, Value};

use super::collect::endpoint as feed_url;
use crate::{
    error::{Error, Kind, Result},
    feed::venue::Venue,
    model::{near::nearest, partition::Exchange},
    reconcile::Given,
    storage::{
        spools::{self, SpoolRoot, Spools},
        store::check_place,
    },
};

/// The section of the collector.
const COLLECT: &str = "collect";

/// How the variables of the collector's settings begin.
const OF_COLLECT: &str = "QLC_COLLECT_";

/// The setting in it that is a section: feeds that have another place than usual.
pub(crate) const ENDPOINTS: &str = "endpoints";

/// The section of what exchanges publish, which has a setting for each exchange.
pub(crate) const RECONCILE: &str = "reconcile";

/// The settings that are places: relative ones begin where the file lies.
const PLACES: [&str; 7] = [
    "spool",
    "archive",
    "spill_dir",
    "metrics_file",
    "cluster_ca",
    "cluster_cert",
    "cluster_key",
];

/// A setting that is an argument.
struct Setting {
    /// Its section and its key, as in `collect.silence`.
    name: String,
    /// The section alone; empty for the top of the file.
    section: &'static str,
    arg: Arg,
}

/// The names of all settings, in the order of the arguments.
pub(crate) fn names(grammar: &Command) -> Vec<String> {
    let mut all: Vec<String> = settings(grammar).into_iter().map(|one| one.name).collect();
    all.push(named(COLLECT, ENDPOINTS));
    all.extend(Venue::ALL.map(|venue| named(RECONCILE, venue.name())));
    all
}

fn settings(grammar: &Command) -> Vec<Setting> {
    let mut found: Vec<Setting> = Vec::new();
    below(grammar, &mut |arg| {
        let variable = arg.get_env().and_then(OsStr::to_str).unwrap_or_default();
        // Where the file is, and what has no flag to be seen, is no setting of the file.
        let is_setting = !variable.is_empty() && !arg.is_hide_set() && arg.get_id() != "config";
        if is_setting
            && !found
                .iter()
                .any(|known| known.arg.get_env() == arg.get_env())
        {
            let section = if variable.starts_with(OF_COLLECT) {
                COLLECT
            } else {
                ""
            };
            found.push(Setting {
                name: named(section, arg.get_id().as_str()),
                section,
                arg: arg.clone(),
            });
        }
    });
    // The sections of a file stand below its top.
    found.sort_by_key(|setting| setting.section);
    found
}

/// Shows every argument of a command and of those below it.
pub(super) fn below(command: &Command, see: &mut impl FnMut(&Arg)) {
    command.get_arguments().for_each(&mut *see);
    for inner in command.get_subcommands() {
        below(inner, see);
    }
}

fn named(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// What a configuration file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    /// The values of arguments, by their variables.
    values: Vec<(OsString, Vec<String>)>,
    /// The place of the stores that are buckets. The flag of this name moves feeds too, which is
    /// why it is no default of it.
    pub(crate) endpoint: Option<String>,
    /// The feeds that have another place than usual.
    pub(crate) feeds: Vec<(String, String)>,
    /// Where the files of each exchange are that it publishes.
    pub(crate) published: BTreeMap<Exchange, Vec<Given>>,
    /// Every key that is in it, with its line.
    pub(crate) lines: Vec<(String, usize)>,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is wrong.
    pub(super) fn read(path: &Path, grammar: &Command) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| {
            Error::caused(
                Kind::Usage,
                format!("{}: the configuration cannot be read", path.display()),
                e,
            )
        })?;
        Self::parse(&text, path, grammar)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// When it is not TOML, has a key that is no setting, or a value that the flag would refuse.
    pub(crate) fn parse(text: &str, path: &Path, grammar: &Command) -> Result<Self> {
        let top: Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |span| {
                text.get(..span.start)
                    .unwrap_or(text)
                    .lines()
                    .count()
                    .max(1)
            });
            Error::usage(format!(
                "{}: line {line} is not TOML: {}",
                path.display(),
                e.message()
            ))
        })?;
        let reader = Reader {
            path,
            settings: settings(grammar),
        };
        let mut file = Self {
            lines: lines(text),
            ..Self::default()
        };
        reader.top(&top, &mut file)?;
        Ok(file)
    }

    /// The grammar with what the file says as defaults.
    pub(super) fn as_defaults(&self, command: Command) -> Command {
        let of = |arg: Arg| {
            let said = self
                .values
                .iter()
                .find(|(variable, _)| arg.get_env() == Some(variable.as_os_str()));
            match said {
                Some((_, values)) => arg.default_values(values.clone()),
                None => arg,
            }
        };
        command
            .mut_args(of)
            .mut_subcommands(|inner| self.as_defaults(inner))
    }
}

/// Reads the values of one file.
struct Reader<'a> {
    path: &'a Path,
    settings: Vec<Setting>,
}

impl Reader<'_> {
    fn top(&self, table: &Table, file: &mut File) -> Result<()> {
        for (key, value) in table {
            match key.as_str() {
                COLLECT => {
                    for (key, value) in self.table(COLLECT, value)? {
                        if key == ENDPOINTS {
                            file.feeds = self.feeds(&named(COLLECT, key), value)?;
                        } else {
                            self.setting(COLLECT, key, value, file)?;
                        }
                    }
                }
                RECONCILE => {
                    for (exchange, value) in self.table(RECONCILE, value)? {
                        let urls = self.published(exchange, value)?;
                        let _ = file.published.insert(exchange.parse()?, urls);
                    }
                }
                _ => self.setting("", key, value, file)?,
            }
        }
        Ok(())
    }

    fn table<'v>(&self, name: &str, value: &'v Value) -> Result<&'v Table> {
        value.as_table().ok_or_else(|| {
            let noun = noun(value);
            self.wrong(format!("{name} is {noun}, not a section; write [{name}]"))
        })
    }

    /// Puts the values of one setting into the file.
    fn setting(&self, section: &str, key: &str, value: &Value, file: &mut File) -> Result<()> {
        let is_meant = |one: &&Setting| one.section == section && one.key() == key;
        let Some(setting) = self.settings.iter().find(is_meant) else {
            let of_section = self.settings.iter().filter(|one| one.section == section);
            let mut known: Vec<&str> = of_section.map(Setting::key).collect();
            if section == COLLECT {
                known.push(ENDPOINTS);
            }
            return Err(self.unknown(section, key, &known));
        };
        let values = if key == "spool" {
            self.spools(key, value)?
        } else {
            self.values(setting, value)?
        };
        for text in &values {
            setting
                .refuses(text)
                .map_err(|e| self.wrong(format!("{}: {e}", setting.name)))?;
        }
        if key == "endpoint" {
            file.endpoint = values.into_iter().next();
        } else if let Some(variable) = setting.arg.get_env().filter(|_| !values.is_empty()) {
            file.values.push((variable.to_owned(), values));
        }
        Ok(())
    }

    /// The values of a setting, as they would be typed.
    fn values(&self, setting: &Setting, value: &Value) -> Result<Vec<String>> {
        let arg = &setting.arg;
        let is = |id| arg.get_value_parser().type_id() == id;
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        let wrong = |wanted: &str| {
            let (name, noun) = (&setting.name, noun(value));
            self.wrong(format!("{name} is {noun}, not {wanted}"))
        };
        match value {
            Value::Boolean(flag) if is(TypeId::of::<bool>()) => Ok(vec![flag.to_string()]),
            _ if is(TypeId::of::<bool>()) => Err(wrong("true or false")),
            Value::String(text) if is_list && arg.get_value_delimiter().is_some() => {
                Ok(text.split(',').map(|one| one.trim().to_owned()).collect())
            }
            Value::Array(all) if is_list => {
                let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
                texts
                    .collect::<Option<_>>()
                    .ok_or_else(|| wrong("a list of texts"))
            }
            _ if is_list && !value.is_str() => Err(wrong("a list of texts")),
            // A path that is empty is none.
            Value::String(text) if text.is_empty() && is(TypeId::of::<PathBuf>()) => Ok(Vec::new()),
            Value::String(text) if PLACES.contains(&setting.key()) => {
                Ok(vec![self.rooted(text.clone())])
            }
            Value::String(text) => Ok(vec![text.clone()]),
            // A number has the range and the complaint of the text that would be typed.
            Value::Integer(number)
                if !is(TypeId::of::<String>()) && !is(TypeId::of::<PathBuf>()) =>
            {
                Ok(vec![number.to_string()])
            }
            _ => Err(wrong("a text")),
        }
    }

    /// A path begins where the file lies, unless it is a URL or empty.
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

    /// Places of collectors: one text, such as a variable has or a list of them; a list of such
    /// texts; or names with their places.
    fn spools(&self, name: &str, value: &Value) -> Result<Vec<String>> {
        let said = |e: Error| self.wrong(format!("{name}: {e}"));
        let parsed = |text: &str| SpoolRoot::parse(text).map_err(said);
        let all: Vec<SpoolRoot> = match value {
            Value::Table(all) => {
                let one =
                    |(collector, place): (&String, &Value)| match place {
                        Value::String(place) => Ok(SpoolRoot {
                            collector: Some(collector.parse().map_err(said)?),
                            place: place.clone(),
                        }),
                        other => Err(self
                            .wrong(format!("{name}.{collector} is {}, not a text", noun(other)))),
                    };
                all.iter().map(one).collect::<Result<_>>()?
            }
            Value::Array(all) if all.iter().all(Value::is_str) => all
                .iter()
                .filter_map(Value::as_str)
                .map(parsed)
                .collect::<Result<_>>()?,
            Value::String(text) => spools::listed(text)
                .into_iter()
                .map(parsed)
                .collect::<Result<_>>()?,
            other => {
                let noun = match other {
                    Value::Array(_) => "a list, not one of texts",
                    other => &format!("{}, not a text", noun(other)),
                };
                return Err(self.wrong(format!(
                    "{name} is {noun}; write {name} = \"/opt/quantlab/spool\", or {name} = {{ a = \"/data/a\", b = \"/data/b\" }}"
                )));
            }
        };
        let rooted = all.into_iter().map(|one| SpoolRoot {
            place: self.rooted(one.place),
            ..one
        });
        let all = Spools::of(rooted.collect()).map_err(said)?;
        Ok(all.all().iter().map(ToString::to_string).collect())
    }

    /// Names with their URLs.
    fn feeds(&self, name: &str, value: &Value) -> Result<Vec<(String, String)>> {
        let wrong = |what: &str| {
            self.wrong(format!(
                "{name}: {what}; write \"okx.public\" = \"ws://127.0.0.1:9001/okx.public\" below [{name}]"
            ))
        };
        let Value::Table(all) = value else {
            return Err(wrong(&format!("is {}", noun(value))));
        };
        let one = |(feed, url): (&String, &Value)| match url {
            Value::String(url) => {
                feed_url(&format!("{feed}={url}")).map_err(|e| self.wrong(format!("{name}: {e}")))
            }
            other => Err(wrong(&format!("{feed} is {}", noun(other)))),
        };
        all.iter().map(one).collect()
    }

    /// Where the files of an exchange are that it publishes: a URL, or a list of them.
    fn published(&self, exchange: &str, value: &Value) -> Result<Vec<Given>> {
        let known = Venue::ALL.map(Venue::name);
        if !known.contains(&exchange) {
            return Err(self.unknown(RECONCILE, exchange, &known));
        }
        let name = named(RECONCILE, exchange);
        let texts: Option<Vec<&str>> = match value {
            Value::String(text) => Some(vec![text]),
            Value::Array(all) => all.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let Some(texts) = texts else {
            return Err(self.wrong(format!(
                "{name} is {}, not a text; write {exchange} = \"https://HOST/{{SYMBOL}}-{{YYYY-MM-DD}}.zip\"",
                noun(value)
            )));
        };
        let one = |text| Given::url(text).map_err(|e| self.wrong(format!("{name}: {e}")));
        texts.into_iter().map(one).collect()
    }

    fn unknown(&self, section: &str, key: &str, known: &[&str]) -> Error {
        let (of, others) = if section.is_empty() {
            let others = format!(", and the sections [{COLLECT}] and [{RECONCILE}]");
            (String::new(), others)
        } else {
            (format!(" of [{section}]"), String::new())
        };
        let hint = nearest(key, known.iter().copied()).map_or_else(String::new, |near| {
            format!(" did you mean {}?", named(section, near))
        });
        self.wrong(format!(
            "{} is not a setting;{hint} the settings{of} are {}{others}",
            named(section, key),
            known.join(", ")
        ))
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::usage(format!("{}: {what}", self.path.display()))
    }
}

impl Setting {
    fn key(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// # Errors
    /// What the flag says against a value.
    fn refuses(&self, text: &str) -> std::result::Result<(), String> {
        let alone = self.arg.clone().global(false).env(Resettable::Reset);
        let long = alone.get_long().unwrap_or_default();
        let line = [format!("--{long}={text}")];
        let read = Command::new("").no_binary_name(true).arg(alone);
        match read.try_get_matches_from(line) {
            Ok(_) => Ok(()),
            Err(error) => Err(error
                .source()
                .map_or_else(|| error.kind().to_string(), ToString::to_string)),
        }
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

/// The keys of a file that is TOML, as written in their sections, with their lines from 1.
fn lines(text: &str) -> Vec<(String, usize)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            section = format!("{}.", name.trim());
            found.push((name.trim().to_owned(), number));
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            found.push((format!("{section}{}", key.trim()), number));
        }
    }
    found
}
