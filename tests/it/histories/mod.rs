//! Stateful histories: random sequences of everything that happens to a spool and an archive, each
//! run of the program judged by a model that knows which rows were ever published.
//!
//! `steps` draws a history from a seed, `run` lives it through, `model` judges, `observe` reads
//! what is there, `content` makes the files. A history that fails is made as short as it can be and
//! still fail, and printed. Refuses to foresee bytes and words: what is judged are rows, what is
//! kept, and exit codes.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `QLC_HISTORIES` | how many histories; without it [`USUAL`] |
//! | `QLC_SEED` | the seed of the first one, the next ones follow |
//! | `QLC_HISTORY_KINDS` | only these kinds of steps (with commas between), or all but those after a `-` |
//! | `QLC_HISTORY_THREADS` | how many at a time; without it one |
//! | `QLC_HISTORY_SURVEY` | do not end at the first violation; show one shortest history of each kind |

mod content;
mod model;
mod observe;
mod run;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use model::Violation;
use run::{On, live};
use steps::{Step, history, kinds};

/// How many histories a usual run of the tests lives through.
const USUAL: u64 = 150;
/// Where a history takes place: of ten, one has its archive in a bucket, and one its spool as well.
fn on(seed: u64) -> On {
    match seed % 10 {
        0 => On::Bucket,
        5 => On::BucketOfBoth,
        _ => On::Folder,
    }
}

/// The kinds of steps that are meant by a text such as `arrive,compact` or `-odd,kill`.
fn meant(text: &str) -> Vec<&'static str> {
    let (text, without) = text
        .strip_prefix('-')
        .map_or((text, false), |rest| (rest, true));
    let named: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if let Some(unknown) = named.iter().find(|name| !kinds().contains(name)) {
        panic!(
            "there is no kind {unknown:?} of steps; there are {:?}",
            kinds()
        );
    }
    kinds()
        .into_iter()
        .filter(|kind| named.contains(kind) != without)
        .collect()
}

/// The steps without those that the violation does not need: pieces of them are left out as long as
/// that leaves it there.
fn shortest(steps: &[Step], on: On, promise: &str) -> (Vec<Step>, Violation) {
    let fails = |steps: &[Step]| {
        live(steps, on)
            .err()
            .filter(|violation| violation.promise == promise)
    };
    let mut steps = steps.to_vec();
    let mut violation = fails(&steps).expect("what failed fails again");
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
        let mut shorter = false;
        let mut end = steps.len();
        while end > 0 {
            let start = end.saturating_sub(piece);
            let fewer = [&steps[..start], &steps[end..]].concat();
            if let Some(found) = fails(&fewer) {
                (steps, violation, shorter) = (fewer, found, true);
            }
            end = start;
        }
        // Without one step another may have become superfluous.
        if piece > 1 || !shorter {
            piece /= 2;
        }
    }
    (steps, violation)
}

fn shown(seed: u64, steps: &[Step], violation: &Violation) -> String {
    let mut text = format!("\nQLC_SEED={seed} on a {:?}: {violation}\n", on(seed));
    for (nth, step) in (1..).zip(steps) {
        writeln!(text, "{nth:>3}. {step}").unwrap();
    }
    let again = "cargo test --release --test it histories::hold";
    writeln!(text, "again: QLC_SEED={seed} QLC_HISTORIES=1 {again}").unwrap();
    text
}

/// What came of all histories.
#[derive(Default)]
struct Told {
    steps: usize,
    runs: usize,
    /// How often a violation was found, by its promise and the kinds of steps that it needs, with
    /// one history.
    found: BTreeMap<String, (usize, String)>,
}

fn one(seed: u64, kinds: &[&str], told: &Mutex<Told>) {
    let drawn = history(seed, |kind| kinds.contains(&kind));
    let lived = live(&drawn, on(seed));
    let tell = || told.lock().unwrap();
    match lived {
        Ok(runs) => {
            let mut told = tell();
            told.steps += drawn.len();
            told.runs += runs;
        }
        Err(violation) => {
            let (steps, violation) = shortest(&drawn, on(seed), violation.promise);
            let kinds: BTreeSet<String> = steps.iter().map(Step::kind).collect();
            let kinds: Vec<String> = kinds.into_iter().collect();
            let of = format!("{} ({})", violation.promise, kinds.join(", "));
            tell()
                .found
                .entry(of)
                .or_insert_with(|| (0, shown(seed, &steps, &violation)))
                .0 += 1;
        }
    }
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a long run says how much it has looked at"
)]
#[expect(
    clippy::disallowed_methods,
    reason = "there is no command line to ask for a long run with"
)]
fn hold() {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let (first, count) = (
        number("QLC_SEED").unwrap_or(1),
        number("QLC_HISTORIES").unwrap_or(USUAL),
    );
    let kinds = meant(&env::var("QLC_HISTORY_KINDS").unwrap_or_else(|_| "-".to_owned()));
    let survey = env::var_os("QLC_HISTORY_SURVEY").is_some();
    let (told, next) = (Mutex::new(Told::default()), AtomicU64::new(first));
    thread::scope(|scope| {
        for _ in 0..number("QLC_HISTORY_THREADS").unwrap_or(1) {
            let _ = scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + count || !(survey || told.lock().unwrap().found.is_empty()) {
                        break;
                    }
                    one(seed, &kinds, &told);
                }
            });
        }
    });
    let Told { steps, runs, found } = told.into_inner().unwrap();
    let failed: usize = found.values().map(|(times, _)| times).sum();
    let mut text = String::new();
    for (of, (times, history)) in &found {
        writeln!(text, "\n===== {times} times: {of}{history}").unwrap();
    }
    assert!(found.is_empty(), "{failed} histories do not hold\n{text}");
    println!("{count} histories of {steps} steps and {runs} runs held");
}

#[test]
fn kinds_are_chosen_by_name() {
    assert_eq!(meant("arrive, compact"), ["arrive", "compact"]);
    assert_eq!(meant("-"), kinds());
    assert_eq!(meant("-odd").len(), kinds().len() - 1);
}
