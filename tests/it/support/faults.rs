//! What a request to the store of the tests asks for, and the faults that can be put in its way:
//! told one by one, or drawn from a seed.
//!
//! Refuses to know anything of S3 itself: `s3.rs` takes requests and gives answers.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper::http::request::Parts;
use twox_hash::XxHash64;

/// What is done to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Get,
    Head,
    List,
    Put,
    Create,
    Part,
    Complete,
    Abort,
    /// A list of the uploads that were begun and neither completed nor aborted.
    Uploads,
    Delete,
    Other,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub kind: Kind,
    /// Below the bucket; of a list its prefix.
    pub key: String,
    /// The bytes that are asked for, where not all are.
    pub range: Option<String>,
    /// The precondition, as `if-none-match *` or `if-match "…"`.
    pub condition: Option<String>,
}

impl Asked {
    pub fn of(head: &Parts) -> Self {
        let path = decoded(head.uri.path());
        let key = path
            .trim_start_matches('/')
            .split_once('/')
            .map_or("", |(_, key)| key)
            .to_owned();
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let has = |name: &str| query.contains_key(name);
        let kind = match head.method.as_str() {
            "GET" if has("uploads") => Kind::Uploads,
            "GET" if key.is_empty() => Kind::List,
            "GET" => Kind::Get,
            "HEAD" => Kind::Head,
            "PUT" if has("uploadId") => Kind::Part,
            "PUT" => Kind::Put,
            "POST" if has("uploads") => Kind::Create,
            "POST" if has("uploadId") => Kind::Complete,
            "POST" if has("delete") => Kind::Delete,
            "DELETE" if has("uploadId") => Kind::Abort,
            "DELETE" => Kind::Delete,
            _ => Kind::Other,
        };
        let header = |name: &str| Some(head.headers.get(name)?.to_str().unwrap_or("?").to_owned());
        let condition = ["if-none-match", "if-match"]
            .iter()
            .find_map(|n| Some(format!("{n} {}", header(n)?)));
        let key = if key.is_empty() {
            query.get("prefix").cloned().unwrap_or_default()
        } else {
            key
        };
        Self {
            kind,
            key,
            range: header("range"),
            condition,
        }
    }

    pub fn is(&self, kind: Kind, end: &str) -> bool {
        self.kind == kind && self.key.ends_with(end)
    }

    /// Whether this changes what lies in the store.
    pub fn writes(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Get | Kind::Head | Kind::List | Kind::Uploads
        )
    }

    /// The same in every run: names that are drawn by chance are left out.
    fn fingerprint(&self) -> String {
        let by_chance = ["_probe/", "_runs/"];
        let cut = by_chance
            .iter()
            .find_map(|folder| Some(format!("{}{folder}", self.key.split_once(folder)?.0)));
        let key = cut.unwrap_or_else(|| self.key.clone());
        let condition = self
            .condition
            .as_deref()
            .and_then(|c| c.split(' ').next())
            .unwrap_or_default();
        format!(
            "{:?} {key} {} {condition}",
            self.kind,
            self.range.as_deref().unwrap_or_default()
        )
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.key)?;
        for more in [&self.range, &self.condition].into_iter().flatten() {
            write!(f, " [{more}]")?;
        }
        Ok(())
    }
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| u8::from_str_radix(path.get(at + 1..at + 3)?, 16).ok())
            .flatten();
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap()
}

/// Whether the request is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    Done,
    Undone,
}

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// This status.
    Status(u16),
    /// Status 200, and in the body an `<Error>` of this code.
    Body(&'static str),
    /// The connection closes without an answer.
    Dropped,
    /// No answer, ever.
    Hung,
    /// The true answer without the second half of its body, then the connection closes. Without a
    /// body: dropped.
    Truncated,
    /// The true answer, so much later.
    After(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub effect: Effect,
    pub answer: Answer,
}

/// The request is carried out, and then this is answered.
pub const fn done(answer: Answer) -> Fault {
    Fault {
        effect: Effect::Done,
        answer,
    }
}

/// The request is not carried out; this is answered.
pub const fn undone(answer: Answer) -> Fault {
    Fault {
        effect: Effect::Undone,
        answer,
    }
}

/// The true answer, a little later.
pub const LATE: Answer = Answer::After(Duration::from_millis(20));

/// What a storm is made of.
const STORM: [Fault; 8] = [
    undone(Answer::Status(500)),
    undone(Answer::Status(503)),
    undone(Answer::Dropped),
    done(Answer::Status(500)),
    done(Answer::Dropped),
    done(Answer::Truncated),
    done(LATE),
    done(LATE),
];

/// Which requests are meant.
pub type When = Box<dyn Fn(&Asked) -> bool + Send>;
/// What is done before a request is carried out.
pub type Meanwhile = Box<dyn FnOnce() + Send>;

struct Rule {
    when: When,
    /// Which of the requests that are meant, counted from 0.
    which: Range<usize>,
    seen: usize,
    fault: Fault,
}

/// A request, the fault that it met, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub asked: Asked,
    pub fault: Option<Fault>,
    /// `None` while there is no answer, and when none was given.
    pub status: Option<u16>,
}

/// The faults that are to be, and the requests that were.
#[derive(Default)]
pub struct Script(Mutex<State>);

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    meanwhile: Vec<(When, Meanwhile)>,
    /// The seed, and how many of a hundred requests meet a fault.
    storm: Option<(u64, u64)>,
    /// How often a fingerprint was seen in this storm.
    times: BTreeMap<String, u64>,
    trace: Vec<String>,
    seen: Vec<Seen>,
}

impl Script {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fault(&self, when: When, which: Range<usize>, fault: Fault) {
        self.state().rules.push(Rule {
            when,
            which,
            seen: 0,
            fault,
        });
    }

    pub fn meanwhile(&self, when: When, what: Meanwhile) {
        self.state().meanwhile.push((when, what));
    }

    pub fn storm(&self, seed: u64, percent: u64) {
        let mut state = self.state();
        (state.storm, state.times, state.trace) =
            (Some((seed, percent)), BTreeMap::new(), Vec::new());
    }

    /// No more faults; what was seen stays.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.rules, state.meanwhile, state.storm) = (Vec::new(), Vec::new(), None);
    }

    /// What the storm did to whom, sorted, since requests side by side come in any order.
    pub fn trace(&self) -> Vec<String> {
        let mut trace = self.state().trace.clone();
        trace.sort();
        trace
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub fn forget(&self) {
        self.state().seen.clear();
    }

    /// Notes a request: its number, what is to be done before it, and the fault that it meets.
    pub fn note(&self, asked: &Asked) -> (usize, Option<Meanwhile>, Option<Fault>) {
        let mut state = self.state();
        let at = state.meanwhile.iter().position(|(when, _)| when(asked));
        let meanwhile = at.map(|at| state.meanwhile.remove(at).1);
        let mut fault = None;
        for rule in state.rules.iter_mut().filter(|rule| (rule.when)(asked)) {
            if rule.which.contains(&rule.seen) && fault.is_none() {
                fault = Some(rule.fault);
            }
            rule.seen += 1;
        }
        if let (None, Some((seed, percent))) = (fault, state.storm) {
            let fingerprint = asked.fingerprint();
            let times = state.times.entry(fingerprint.clone()).or_default();
            *times += 1;
            let drawn = XxHash64::oneshot(seed, format!("{fingerprint} {times}").as_bytes());
            fault = (drawn % 100 < percent).then(|| STORM[(drawn / 100) as usize % STORM.len()]);
            let line = format!("{fingerprint} #{times}: {fault:?}");
            state.trace.push(line);
        }
        state.seen.push(Seen {
            asked: asked.clone(),
            fault,
            status: None,
        });
        (state.seen.len() - 1, meanwhile, fault)
    }

    pub fn answered(&self, number: usize, status: u16) {
        // The list may have been forgotten in the meantime.
        if let Some(seen) = self.state().seen.get_mut(number) {
            seen.status = Some(status);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("if-match", "\"a\"")
            .body(())
            .unwrap();
        Asked::of(&request.into_parts().0)
    }

    #[test]
    fn requests_are_told_apart() {
        let check = |method: &str, uri: &str, kind: Kind, key: &str| {
            let asked = asked(method, uri);
            assert_eq!(
                (asked.kind, asked.key.as_str()),
                (kind, key),
                "{method} {uri}"
            );
            assert_eq!(asked.condition.as_deref(), Some("if-match \"a\""));
        };
        check("GET", "/b?list-type=2&prefix=a%2F", Kind::List, "a/");
        check("GET", "/b/?uploads=", Kind::Uploads, "");
        check("GET", "/b/x%3D1/y", Kind::Get, "x=1/y");
        check("HEAD", "/b/y", Kind::Head, "y");
        check("PUT", "/b/y", Kind::Put, "y");
        check("PUT", "/b/y?partNumber=1&uploadId=u", Kind::Part, "y");
        check("POST", "/b/y?uploads=", Kind::Create, "y");
        check("POST", "/b/y?uploadId=u", Kind::Complete, "y");
        check("DELETE", "/b/y?uploadId=u", Kind::Abort, "y");
        check("DELETE", "/b/y", Kind::Delete, "y");
        check("POST", "/b?delete", Kind::Delete, "");
    }

    #[test]
    fn faults_meet_the_requests_that_are_meant() {
        let script = Script::default();
        script.fault(
            Box::new(|a| a.kind == Kind::Put),
            1..3,
            undone(Answer::Status(500)),
        );
        let faults: Vec<_> = ["PUT", "GET", "PUT", "PUT", "PUT"]
            .map(|m| script.note(&asked(m, "/b/y")).2)
            .into();
        let five = Some(undone(Answer::Status(500)));
        assert_eq!(faults, [None, None, five, five, None]);
        script.answered(4, 200);
        assert_eq!(script.seen()[4].status, Some(200));
        script.calm();
        assert_eq!(script.note(&asked("PUT", "/b/y")).2, None);
    }

    #[test]
    fn a_storm_follows_from_its_seed() {
        let storm = |seed: u64, order: [&str; 4]| {
            let script = Script::default();
            script.storm(seed, 50);
            for key in order.iter().cycle().take(400) {
                let _ = script.note(&asked("GET", &format!("/b/{key}")));
            }
            script.trace()
        };
        assert_eq!(
            storm(1, ["a", "b", "c", "d"]),
            storm(1, ["d", "c", "b", "a"])
        );
        assert_ne!(
            storm(1, ["a", "b", "c", "d"]),
            storm(2, ["a", "b", "c", "d"])
        );
        let met = storm(3, ["a", "b", "c", "d"])
            .iter()
            .filter(|line| line.contains("Some"))
            .count();
        assert!((150..250).contains(&met), "{met} of 400");
    }
}
