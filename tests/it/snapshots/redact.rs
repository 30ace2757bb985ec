//! What differs from run to run, replaced by what it is: times of the run itself, folders, ports,
//! identifiers, sizes, durations. Everything else of an output stays as it was.
//!
//! A time is replaced only if it lies in the run, so that the days of the fixtures stay.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Days, Utc};
use regex::{Captures, Regex};

/// A pattern, and what stands in the place of what it finds; `$1` is its first group.
const PATTERNS: &[(&str, &str)] = &[
    // The column of seconds, which follows one of sizes.
    (r"(?m)( (?:B|kB|MB) +)\d+\.\d( |$)", "$1<s>$2"),
    // Addresses that the system gave.
    (r"\b127\.0\.0\.1([:_])\d{4,5}\b", "127.0.0.1$1<port>"),
    (r"\(os error \d+\)", "(os error <n>)"),
    // Durations as the summaries tell them, and as JSON does.
    (r"\b\d+\.\d+ ?(?:s|ms|µs)\b", "<time>"),
    (r"\b(in|after|took) \d+ ?(?:s|ms|µs)\b", "$1 <time>"),
    (
        r#""([a-z_]*(?:seconds|elapsed|duration|_ms|wait))":(\s?)[\d.e-]+"#,
        r#""$1":$2"<time>""#,
    ),
    // Sizes of files and of memory. Limits have no space before their unit.
    (r"\b\d+(?:\.\d+)? (?:B|kB|KiB|MB|MiB|GB|GiB|TB)\b", "<size>"),
    (
        r#""([a-z_]*(?:bytes|bytes_in|bytes_out|size|peak|free|rss))":(\s?)[1-9]\d*"#,
        r#""$1":$2"<size>""#,
    ),
    (r"\(\d+ bytes\)", "(<size>)"),
    (r"\b\d+ s (?:ahead of|behind)", "<time> beside"),
    // What doctor finds of the machine, and not of the place.
    (
        r"(?m)^[a-z]+ +(clock|open files): .*(?:\n +fix: .*)?$",
        "<level>  $1: <as it is on the machine>",
    ),
    (
        r#""name": "(clock|open files)",\n *"level": .*\n *"found": .*\n *"mend": .*"#,
        "\"name\": \"$1\", <as it is on the machine>",
    ),
    (r"(?m)^(\d+ problems?), \d+ warnings?$", "$1, <n> warnings"),
    // The beginning of a sha256, in tables.
    (r"(?m)(\(sha256 |  )[0-9a-f]{12}(,|\)|$)", "$1<sha256>$2"),
    // A file of taken rows is named by their hash.
    (r"_[0-9a-f]{16}\.parquet", "_<hash>.parquet"),
    // What the metrics tell of sizes and times.
    (
        r"(?m)^(qlc_\w*(?:seconds|bytes|seconds_sum)(?:\{[^}]*\})?) [\d.<>a-z]+$",
        "$1 <value>",
    ),
    (r#""rate":(\s?)[\d.e-]+"#, r#""rate":$1"<rate>""#),
    // The collector's windows of a quarter of an hour.
    (r"window=\d{4}", "window=<now>"),
    (r#""(window_[a-z]+_ns)":(\s?)\d+"#, r#""$1":$2"<now>""#),
    // What is built in, and what the machine has.
    (
        r"(?m)^commit: .*\nfeatures: .*$",
        "commit: <commit>\nfeatures: <features>",
    ),
    (
        r"\b(on DataFusion|parquet-rs version) [\d.]+",
        "$1 <version>",
    ),
    (r"\bqlc ([a-z]+) on \S+ ended", "qlc $1 on <host> ended"),
    (
        r#""(pid|host|cores)":(\s?)(?:\d+|"[^"]*")"#,
        r#""$1":$2"<$1>""#,
    ),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compile = |(pattern, by): &(&str, &'static str)| (Regex::new(pattern).unwrap(), *by);
    PATTERNS.iter().map(compile).collect()
});

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b").unwrap()
});
static RUN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d{8}T\d{6}(?:\d{3})?Z-[0-9a-f]{8}\b").unwrap());
static SHA256: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[0-9a-f]{64}\b").unwrap());
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\b(\d{4})-?(\d{2})-?(\d{2})(?:([T_ ])\d{2}[:-]?\d{2}(?:[:-]?\d{2}(?:\.\d+)?)?(?:Z|\+00:00)?)?",
    )
    .unwrap()
});
static EPOCH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d{10}(?:\d{3}|\d{6}|\d{9})?\b").unwrap());

/// What is replaced in one snapshot: the same value by the same words.
pub struct Redactor {
    begun: SystemTime,
    places: Vec<(String, &'static str)>,
    uuids: BTreeMap<String, usize>,
    runs: BTreeMap<String, usize>,
    digests: BTreeMap<String, usize>,
}

impl Redactor {
    pub fn new() -> Self {
        Self {
            begun: SystemTime::now(),
            places: Vec::new(),
            uuids: BTreeMap::new(),
            runs: BTreeMap::new(),
            digests: BTreeMap::new(),
        }
    }

    /// A folder, and what it is called.
    pub fn place(&mut self, path: &Path, name: &'static str) {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.places.push((real.display().to_string(), name));
        self.places.push((path.display().to_string(), name));
        // As DataFusion names it.
        let bare = real
            .display()
            .to_string()
            .trim_start_matches('/')
            .to_owned();
        self.places.push((bare, name));
    }

    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (place, name) in &self.places {
            text = text.replace(place, name);
        }
        text = numbered(&UUID, &text, "uuid", &mut self.uuids);
        text = numbered(&RUN, &text, "run", &mut self.runs);
        text = numbered(&SHA256, &text, "sha256", &mut self.digests);
        text = self.times(&text);
        for (pattern, by) in COMPILED.iter() {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        text.replace(env!("CARGO_PKG_VERSION"), "<version>")
    }

    fn times(&self, text: &str) -> String {
        let (first, last) = (self.begun, SystemTime::now());
        let day = |time: SystemTime| DateTime::<Utc>::from(time).date_naive();
        let by_date = |found: &Captures<'_>| {
            let at: String = [1, 2, 3].map(|group| &found[group]).join("-");
            let named = |name: &str| match found.get(4) {
                Some(_) => format!("<time of {name}>"),
                None => format!("<{name}>"),
            };
            let yesterday = day(first) - Days::new(1);
            if [day(first), day(last)]
                .iter()
                .any(|day| day.to_string() == at)
            {
                named("today")
            } else if yesterday.to_string() == at {
                named("yesterday")
            } else {
                found[0].to_owned()
            }
        };
        let text = DATE.replace_all(text, by_date);
        let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let slack = Duration::from_secs(2);
        let run = nanos(first - slack)..=nanos(last + slack);
        let by_number = |found: &Captures<'_>| {
            let digits = u32::try_from(found[0].len()).unwrap();
            let number: u128 = found[0].parse().unwrap();
            if run.contains(&(number * 10_u128.pow(19 - digits))) {
                "<now>".to_owned()
            } else {
                found[0].to_owned()
            }
        };
        EPOCH.replace_all(&text, by_number).into_owned()
    }
}

/// Each value of a kind by its number, in the order in which they come.
fn numbered(
    pattern: &Regex,
    text: &str,
    kind: &str,
    known: &mut BTreeMap<String, usize>,
) -> String {
    let by_number = |found: &Captures<'_>| {
        let next = known.len() + 1;
        let number = known.entry(found[0].to_owned()).or_insert(next);
        format!("<{kind} {number}>")
    };
    pattern.replace_all(text, by_number).into_owned()
}

/// JSON with a line for each value, its keys in their order: a text in which a difference is a line.
pub fn indented(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0_usize, false, false);
    let mut rest = json.trim().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = rest.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                quoted = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while rest.peek().is_some_and(|c| c.is_whitespace()) {
                    let _ = rest.next();
                }
                if let Some(end) = rest.next_if(|c| ['}', ']'].contains(c)) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_the_run_is_replaced() {
        let mut redactor = Redactor::new();
        redactor.place(Path::new("/nowhere/x"), "{root}");
        let now = Utc::now();
        let told = format!(
            "{} {} {} /nowhere/x/y {} in 0.25 s, 12 B",
            now.to_rfc3339(),
            now.format("date=%Y%m%d,"),
            now.timestamp_micros(),
            env!("CARGO_PKG_VERSION"),
        );
        assert_eq!(
            redactor.text(&told),
            "<time of today> date=<today>, <now> {root}/y <version> in <time>, <size>"
        );
        let kept = "20260203 2026-02-03T00:00:00Z 1770076800000000000 300 rows, --memory-limit 2.5GB, retries 10, 30s";
        assert_eq!(redactor.text(kept), kept);
        let (one, other) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(
            redactor.text(&format!("{one} {other} {one}")),
            "<sha256 1> <sha256 2> <sha256 1>"
        );
    }

    #[test]
    fn json_gets_lines() {
        assert_eq!(
            indented(r#"{"a":[1,{"b":"x, {y}: \"z\""}],"c":{},"d":[ ]}"#),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, {y}: \\\"z\\\"\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}"
        );
    }
}
