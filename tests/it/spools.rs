//! Several spools, one of each collector: they are one input, each file is read, removed and put
//! back where it is, and what of them is not there or cannot be listed is never taken for nothing.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::support::{
    archive::{home, listing, published, quarantine, sha256},
    damage,
    events::{DAY, Events, HOUR, Quote, SECOND, quotes},
    exchange::{Exchange, binance_trades, trades},
    run::{CATCH_UP, NOW, Place, Ran, SERIES},
    s3::BUCKET,
};

/// The collectors seal files of the same name.
const FILE: &str = "2026-02-03_00-00-00.parquet";
const BAD: &str = "2026-02-03_01-00-00.parquet";

/// What the first collector has.
fn first() -> Vec<Quote> {
    quotes(DAY, SECOND, 0, 100)
}

/// What the second one has: other events of the day.
fn second() -> Vec<Quote> {
    quotes(DAY + HOUR, SECOND, 500, 60)
}

/// A place and the spools of two collectors in it.
struct Two {
    place: Place,
    /// As `--spool` takes them.
    spools: [String; 2],
    /// Whether the second one is in a bucket.
    is_remote: bool,
}

impl Two {
    /// Two folders, each named after its collector, in a folder that could be a spool of its own.
    fn folders() -> Self {
        let place = Place::new();
        let spools = ["a", "b"].map(|name| {
            let folder = place.root().join("both").join(format!("collector={name}"));
            fs::create_dir_all(&folder).unwrap();
            format!("{name}={}", folder.display())
        });
        let two = Self {
            place,
            spools,
            is_remote: false,
        };
        two.filled()
    }

    /// A folder and a bucket, with the archive in the same bucket.
    fn folder_and_bucket() -> Self {
        let place = Place::on_s3();
        let folder = place.root().join("both/collector=a");
        fs::create_dir_all(&folder).unwrap();
        let spools = [
            format!("a={}", folder.display()),
            format!("b=s3://{BUCKET}/both/collector=b"),
        ];
        Self {
            place,
            spools,
            is_remote: true,
        }
        .filled()
    }

    fn filled(self) -> Self {
        self.put("a", FILE, &Events::sealed(first()).bytes());
        self.put("b", FILE, &Events::sealed(second()).bytes());
        self
    }

    fn put(&self, collector: &str, file: &str, bytes: &[u8]) {
        let key = format!("both/collector={collector}/{SERIES}/{file}");
        if self.is_remote && collector == "b" {
            return self.place.server().put(&key, bytes);
        }
        let path = self.place.root().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Where a file of a collector lies; one of a bucket is to be looked at only.
    fn path(&self, collector: &str, file: &str) -> PathBuf {
        let key = format!("both/collector={collector}/{SERIES}/{file}");
        if self.is_remote && collector == "b" {
            self.place.server().folder(&key)
        } else {
            self.place.root().join(key)
        }
    }

    fn qlc(&self, args: &[&str]) -> Ran {
        self.place
            .on_spools(&[&self.spools[0], &self.spools[1]], args, &[])
    }

    fn compact(&self, more: &[&str]) -> Ran {
        self.qlc(&[CATCH_UP, more].concat())
    }

    fn rows(&self, sql: &str) -> Value {
        let ran = self.qlc(&["query", sql, "--format", "json"]).ended(0);
        ran.json().into_iter().next().unwrap_or_else(|| json!([]))
    }
}

fn names(receipt: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = receipt["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn all_verbs(two: &Two) {
    let _ = two.compact(&["--dry-run"]).ended(0);
    let _ = two.compact(&[]).ended(0);
    let made = published(&two.place.archive(), &home());
    assert_eq!(made.quotes(), [first(), second()].concat());
    let keys = ["a", "b"].map(|name| format!("collector={name}/{SERIES}/{FILE}"));
    assert_eq!(names(&made.receipt), keys);
    let _ = two.compact(&[]).ended(0).says("nothing to do");
    let _ = two.qlc(&["verify", "--rebuild"]).ended(0);
    let range = [
        "status", "--start", "20260203", "--end", "20260203", "--now", NOW, "--format", "json",
    ];
    let ran = two.qlc(&range).ended(0);
    assert_eq!(ran.json()[0]["waiting"], 0, "{ran}");

    // The collector is a column that comes from the path.
    let counted = two.rows(
        "SELECT collector, count(*) AS n FROM spool.bbo GROUP BY collector ORDER BY collector",
    );
    assert_eq!(
        counted,
        json!([{"collector": "a", "n": 100}, {"collector": "b", "n": 60}])
    );
    let events =
        two.rows("SELECT count(*) AS n, min(seq) AS seq FROM spool.events WHERE collector = 'b'");
    assert_eq!(events, json!([{"n": 60, "seq": 500}]));
    let _ = two
        .qlc(&["query", "SELECT collector FROM archive.bbo"])
        .ended(2);
    let _ = two
        .qlc(&["query", "SELECT 1 FROM spool.bbo WHERE collector = 'A'"])
        .ended(0)
        .says("there is 'a'");

    // A file that came later in one of them waits, and is added.
    let later = quotes(DAY + 2 * HOUR, SECOND, 900, 10);
    two.put(
        "b",
        "2026-02-03_02-00-00.parquet",
        &Events::sealed(later.clone()).bytes(),
    );
    assert_eq!(two.qlc(&range).ended(0).json()[0]["waiting"], 1);
    let _ = two
        .qlc(&[
            "compact",
            "--mode",
            "single",
            "--date",
            "20260203",
            "--symbol",
            "btcusdt",
            "--stream",
            "bbo",
            "--exchange",
            "binance",
            "--now",
            NOW,
        ])
        .ended(0);
    let rows = [first(), second(), later].concat();
    assert_eq!(published(&two.place.archive(), &home()).quotes(), rows);

    // What is proven goes from where it is.
    let ran = two
        .qlc(&["prune", "--keep-days", "0", "--now", NOW])
        .ended(0);
    assert!(ran.stdout.contains("3 files"), "{ran}");
    for collector in ["a", "b"] {
        assert!(!two.path(collector, FILE).exists(), "{collector}");
    }
    let _ = two.compact(&[]).ended(0);
    assert_eq!(published(&two.place.archive(), &home()).quotes(), rows);
    let _ = two.qlc(&["verify"]).ended(0);
    let _ = two.qlc(&["clean"]).ended(0);
    let html = two.place.root().join("page.html").display().to_string();
    let _ = two.qlc(&["report", "--html", &html]).ended(0);
}

#[test]
fn two_folders_are_one_input() {
    all_verbs(&Two::folders());
}

#[test]
fn a_folder_and_a_bucket_are_one_input() {
    all_verbs(&Two::folder_and_bucket());
}

#[test]
fn files_of_the_same_key_in_two_buckets_are_not_confused() {
    // Of the same size, and sealed in the same second.
    let place = Place::on_s3();
    let rows = |seq| quotes(DAY, SECOND, seq, 40);
    let (one, two) = (
        Events::sealed(rows(0)).bytes(),
        Events::sealed(rows(1_000)).bytes(),
    );
    place.server().put(&format!("a/{SERIES}/{FILE}"), &one);
    place.server().put(&format!("b/{SERIES}/{FILE}"), &two);
    let spools = [format!("a=s3://{BUCKET}/a"), format!("b=s3://{BUCKET}/b")];
    let sql = "SELECT collector, min(seq) AS seq, count(*) AS n FROM spool.bbo GROUP BY collector ORDER BY collector";
    let ran = place
        .on_spools(
            &[&spools[0], &spools[1]],
            &["query", sql, "--format", "json"],
            &[],
        )
        .ended(0);
    let want =
        json!([{"collector": "a", "seq": 0, "n": 40}, {"collector": "b", "seq": 1_000, "n": 40}]);
    assert_eq!(ran.json()[0], want, "{ran}");
}

#[test]
fn a_spool_with_a_folder_for_each_collector_is_the_same_as_several() {
    for two in [Two::folders(), Two::folder_and_bucket()] {
        if two.is_remote {
            // All of it in the bucket, where one prefix can be its spool.
            two.place.server().put(
                &format!("both/collector=a/{SERIES}/{FILE}"),
                &Events::sealed(first()).bytes(),
            );
        }
        let _ = two.compact(&[]).ended(0);
        let parent = if two.is_remote {
            format!("s3://{BUCKET}/both")
        } else {
            two.place.root().join("both").display().to_string()
        };
        let on = |args: &[&str]| two.place.on_spools(&[&parent], args, &[]);
        let _ = on(CATCH_UP).ended(0).says("nothing to do");
        let several = published(&two.place.archive(), &home());
        let sql = "SELECT collector, count(*) AS n FROM spool.bbo WHERE collector = 'b' GROUP BY collector";
        let ran = on(&["query", sql, "--format", "json"]).ended(0);
        assert_eq!(ran.json()[0], json!([{"collector": "b", "n": 60}]), "{ran}");
        // Also where only one series is listed.
        let single = [
            "compact", "--mode", "single", "--force", "--date", "20260203", "--now", NOW,
        ];
        let series = [
            "--exchange",
            "binance",
            "--stream",
            "bbo",
            "--symbol",
            "btcusdt",
        ];
        let _ = on(&[&single[..], &series].concat()).ended(0);
        let again = published(&two.place.archive(), &home());
        assert_eq!(
            (names(&again.receipt), &again.bytes),
            (names(&several.receipt), &several.bytes)
        );
        let _ = on(&["prune", "--keep-days", "0", "--now", NOW])
            .ended(0)
            .says("2 files");
    }
}

#[test]
fn names_and_places_that_do_not_fit_are_refused() {
    let two = Two::folders();
    let [a, b] = &two.spools;
    let (at_a, root) = (
        a.strip_prefix("a=").unwrap(),
        two.place.root().display().to_string(),
    );
    let archive = two.place.archive().display().to_string();
    fs::create_dir_all(&archive).unwrap();
    let check = |spools: &[&str], want: &str| {
        let ran = two
            .place
            .on_spools(spools, CATCH_UP, &[])
            .ended(2)
            .says(want);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    };
    check(&[a, &format!("a={root}/other")], "two spools are named a");
    check(&[a, &format!("{root}/other")], "has no name");
    check(&[at_a, &format!("{root}/both/collector=b")], "has no name");
    check(&[&format!("a b={at_a}")], "is no name for a collector");
    check(
        &[&format!("{}={at_a}", "x".repeat(65))],
        "is no name for a collector",
    );
    check(&["=/x"], "is no name for a collector");
    check(&[a, "b="], "the spool is an empty string");
    check(&[a, "b=s3:/bucket"], "s3://bucket");
    check(
        &[a, &format!("b={at_a}/../collector=a")],
        "are the same place",
    );
    check(
        &[a, &format!("b={at_a}/exchange=binance")],
        "lies in the spool",
    );
    check(&[a, &format!("b={root}/both")], "lies in the spool");
    check(&[a, &format!("c={archive}")], "must be apart");
    check(
        &[a, &format!("c={root}/archive/c")],
        "there is no such folder",
    );
    // Those after the command are not instead of those before it.
    let ran = two
        .place
        .on_spools(
            &[a],
            &["compact", "--mode", "catch-up", "--now", NOW, "--spool", b],
            &[],
        )
        .ended(0);
    assert_eq!(
        published(&two.place.archive(), &home()).quotes().len(),
        160,
        "{ran}"
    );
    // A collector writes to one of them.
    let collect = ["collect", "--exchange", "binance", "--symbol", "btcusdt"];
    let _ = two
        .qlc(&collect)
        .ended(2)
        .says("a collector writes to one spool")
        .says(&format!("--spool {a}"));
    assert!(!two.place.root().join("both/_feed").exists());
}

#[test]
fn a_collector_may_name_its_spool() {
    let exchange = Exchange::new(&[("binance.market", vec![binance_trades(1..=3)])]);
    let place = Place::new();
    let folder = place.root().join("tokyo");
    let collect = [
        "collect",
        "--exchange",
        "binance",
        "--symbol",
        "btcusdt",
        "--stream",
        "trade",
        "--max-events",
        "3",
    ];
    let endpoints = exchange.endpoints();
    let args: Vec<&str> = collect
        .into_iter()
        .chain(endpoints.iter().map(String::as_str))
        .collect();
    let tokyo = format!("tokyo={}", folder.display());
    let _ = place.on_spools(&[&tokyo], &args, &[]).ended(0);
    // The name is not in the place, but in the keys.
    assert_eq!(trades(&folder, "binance"), [1, 2, 3]);
    let sql = "SELECT DISTINCT collector FROM spool.trade";
    let ran = place
        .on_spools(&[&tokyo], &["query", sql, "--format", "json"], &[])
        .ended(0);
    assert_eq!(ran.json()[0], json!([{"collector": "tokyo"}]), "{ran}");
}

#[test]
fn a_place_may_have_an_equals_sign_in_its_path() {
    let place = Place::new();
    let (folder, bytes) = (
        place.root().join("x=1/spool"),
        Events::sealed(first()).bytes(),
    );
    fs::create_dir_all(folder.join(SERIES)).unwrap();
    fs::write(folder.join(SERIES).join(FILE), bytes).unwrap();
    let _ = place.on_spools(&["./x=1/spool"], CATCH_UP, &[]).ended(0);
    let made = published(&place.archive(), &home());
    assert_eq!(
        (made.quotes(), names(&made.receipt)),
        (first(), vec![format!("{SERIES}/{FILE}").as_str()])
    );
    let absolute = format!("x={}", folder.display());
    let _ = place
        .on_spools(&[&absolute], CATCH_UP, &[])
        .ended(0)
        .says("nothing to do");
}

#[test]
fn a_spool_that_is_not_there_or_cannot_be_listed_is_not_an_empty_one() {
    let two = Two::folders();
    let _ = two.compact(&[]).ended(0);
    two.put(
        "a",
        "2026-02-03_03-00-00.parquet",
        &Events::sealed(quotes(DAY + 3 * HOUR, SECOND, 0, 9)).bytes(),
    );
    let before = listing(&two.place.archive());
    let gone = two.place.root().join("gone").display().to_string();
    let absent = |args: &[&str]| {
        two.place
            .on_spools(&[&two.spools[0], &format!("b={gone}")], args, &[])
    };
    for args in [
        CATCH_UP,
        &["prune", "--keep-days", "0"],
        &["query", "SELECT 1 FROM spool.bbo"],
        &["verify", "--rebuild"],
    ] {
        let _ = absent(args)
            .ended(2)
            .says(&format!("{gone}: there is no such"));
    }
    // A machine need not have the spools to tell what is archived, and says which it does not have.
    let _ = absent(&["status", "--now", NOW])
        .ended(0)
        .says(&format!("b={gone}: there is no such spool here"));
    let ran = absent(&["doctor", "--format", "json"]).ended(1);
    let spools: Vec<Value> = ran
        .json()
        .into_iter()
        .filter(|one| one["name"] == "spool")
        .collect();
    assert_eq!(
        spools
            .iter()
            .map(|one| one["level"].clone())
            .collect::<Vec<_>>(),
        ["ok", "problem"],
        "{ran}"
    );
    assert_eq!(listing(&two.place.archive()), before);

    let two = Two::folder_and_bucket();
    let _ = two.compact(&[]).ended(0);
    two.put(
        "a",
        "2026-02-03_03-00-00.parquet",
        &Events::sealed(quotes(DAY + 3 * HOUR, SECOND, 0, 9)).bytes(),
    );
    let before = listing(&two.place.archive());
    // Nobody answers for this bucket.
    let hidden = |args: &[&str]| {
        two.place
            .on_spools(&[&two.spools[0], "b=s3://other/b"], args, &[])
    };
    let _ = hidden(CATCH_UP)
        .ended(1)
        .says("s3://other/b: cannot be listed")
        .says("could be listed");
    let _ = hidden(&["prune", "--keep-days", "0", "--now", NOW])
        .ended(1)
        .says("s3://other/b: cannot be listed");
    let _ = hidden(&["verify", "--rebuild"])
        .ended(1)
        .says("s3://other/b/exchange=");
    let _ = hidden(&["query", "SELECT 1 FROM spool.bbo"])
        .ended(1)
        .says("s3://other/b: cannot be listed");
    let _ = hidden(&["status", "--now", NOW])
        .ended(1)
        .says("s3://other/b: cannot be listed");
    assert_eq!(listing(&two.place.archive()), before);
    assert!(two.path("a", FILE).exists());
}

#[test]
fn a_quarantined_file_is_put_back_where_it_was() {
    for two in [Two::folders(), Two::folder_and_bucket()] {
        let rows = quotes(DAY + 5 * HOUR, SECOND, 700, 100);
        let whole = Events::sealed(rows.clone()).bytes();
        let bad = damage::truncated(&whole, whole.len() / 2);
        two.put("b", BAD, &bad);
        let _ = two.compact(&[]).ended(3);
        let [entry] = quarantine(&two.place.archive(), &home()).unwrap()["files"]
            .as_array()
            .unwrap()
            .clone()
            .try_into()
            .unwrap();
        assert_eq!(entry["source_path"], format!("collector=b/{SERIES}/{BAD}"));
        let _ = two.qlc(&["quarantine", "list"]).ended(0).says(BAD);
        // Readable by now, and gone from the spool.
        let kept = format!("QUARANTINE/{}/{BAD}", home());
        let error = format!("QUARANTINE/{}/error.json", home());
        let text = fs::read_to_string(two.place.archive().join(&error)).unwrap();
        let text = text.replace(&sha256(&bad), &sha256(&whole)).replace(
            &format!("\"size\": {}", bad.len()),
            &format!("\"size\": {}", whole.len()),
        );
        for (key, bytes) in [(kept, whole.clone()), (error, text.into_bytes())] {
            match two.place.store() {
                Some(server) => server.put(&format!("archive/{key}"), &bytes),
                None => fs::write(two.place.archive().join(key), bytes).unwrap(),
            }
        }
        match two.place.store() {
            Some(server) => server.remove(&format!("both/collector=b/{SERIES}/{BAD}")),
            None => fs::remove_file(two.path("b", BAD)).unwrap(),
        }
        let _ = two
            .qlc(&["quarantine", "retry", BAD, "--now", NOW])
            .ended(0)
            .says("taken in")
            .says("put back");
        assert_eq!(fs::read(two.path("b", BAD)).unwrap(), whole);
        assert!(!two.path("a", BAD).exists());
        assert_eq!(
            published(&two.place.archive(), &home()).quotes(),
            [first(), second(), rows].concat()
        );
        let _ = two.qlc(&["verify"]).ended(0);
    }
}

#[test]
fn what_came_from_a_spool_without_a_name_is_not_put_into_any() {
    let two = Two::folders();
    let (a, whole) = (
        two.spools[0].strip_prefix("a=").unwrap(),
        Events::sealed(second()).bytes(),
    );
    let bad = &whole[..whole.len() / 2];
    two.put("a", BAD, bad);
    let _ = two.place.on_spools(&[a], CATCH_UP, &[]).ended(3);
    fs::remove_file(two.path("a", BAD)).unwrap();
    let retry = ["quarantine", "retry", BAD, "--now", NOW];
    let _ = two
        .qlc(&retry)
        .ended(1)
        .says("does not tell which of the spools it came from");
    assert!(!two.path("a", BAD).exists() && !two.path("b", BAD).exists());
    let _ = two
        .place
        .on_spools(&[a], &retry, &[])
        .ended(3)
        .says("put back");
    assert_eq!(fs::read(two.path("a", BAD)).unwrap(), bad);
}

#[test]
fn what_one_collector_lost_and_another_has_is_no_gap() {
    let two = Two::folders();
    let _ = two.compact(&[]).ended(0);
    let window = |collector: &str, nth: i64, grade: &str| {
        let folder = two
            .place
            .root()
            .join(format!("both/collector={collector}/quality/date=20260203"));
        fs::create_dir_all(&folder).unwrap();
        let start = DAY + nth * HOUR / 4;
        let line = json!({"exchange": "binance", "window_start_ns": start, "window_end_ns": start + HOUR / 4,
                          "grade": grade, "events": 9, "events_by_stream": {"bbo": 9}});
        let name = format!("window={:02}{:02}.json", nth / 4, nth % 4 * 15);
        fs::write(folder.join(name), format!("{line}\n")).unwrap();
    };
    for nth in 0..96 {
        window("a", nth, if nth == 10 || nth == 40 { "D" } else { "A" });
        window("b", nth, if nth == 40 { "C" } else { "A" });
    }
    let range = [
        "status", "--start", "20260203", "--end", "20260203", "--now", NOW, "--format", "json",
    ];
    let gaps = |ran: &Ran| ran.json()[0]["gaps"].as_array().unwrap().len();
    let ran = two.qlc(&range).ended(0);
    assert_eq!(gaps(&ran), 1, "{ran}");
    assert!(
        ran.stdout.contains("graded it C") && !ran.stdout.contains("graded it D"),
        "{ran}"
    );
    let ran = two.place.on_spools(&[&two.spools[0]], &range, &[]).ended(0);
    assert_eq!(gaps(&ran), 2, "{ran}");
    // A collector that has nothing of a series says nothing about it.
    fs::remove_dir_all(two.path("b", FILE).parent().unwrap()).unwrap();
    let archive = two.place.root().join("other").display().to_string();
    let only_a = |args: &[&str]| two.qlc(&[args, &["--archive", &archive]].concat());
    let _ = only_a(CATCH_UP).ended(0);
    let ran = only_a(&range).ended(0);
    assert_eq!(gaps(&ran), 2, "{ran}");
}

#[test]
fn the_environment_and_the_configuration_name_several() {
    let two = Two::folders();
    let [a, b] = &two.spools;
    let show = ["config", "show", "--format", "json"];
    let spool = |ran: &Ran| {
        let all = ran.json();
        let one = all.iter().find(|one| one["setting"] == "spool").unwrap();
        (
            one["value"].as_str().unwrap().to_owned(),
            one["from"].as_str().unwrap().to_owned(),
        )
    };
    let both = format!("{a}, {b}");
    let ran = two
        .place
        .on_spools(&[], &show, &[("QLC_SPOOL", &format!("{a} {b}"))])
        .ended(0);
    assert_eq!(
        spool(&ran),
        (both.clone(), "environment QLC_SPOOL".to_owned())
    );
    let path = two.place.root().join("qlc.toml");
    fs::write(
        &path,
        "workers = 2\n\n[spool]\na = \"both/collector=a\"\nb = \"both/collector=b\"\n",
    )
    .unwrap();
    let path = path.display().to_string();
    let env = [("QLC_CONFIG", path.as_str())];
    let ran = two.place.on_spools(&[], &show, &env).ended(0);
    assert_eq!(spool(&ran), (both, format!("{path}, line 3")));
    let _ = two.place.on_spools(&[], CATCH_UP, &env).ended(0);
    assert_eq!(
        published(&two.place.archive(), &home()).quotes(),
        [first(), second()].concat()
    );
    // A flag is instead of them.
    let _ = two
        .place
        .on_spools(&[a], &show, &env)
        .ended(0)
        .says("flag --spool");
}

#[test]
fn doctor_judges_each_spool_by_itself() {
    let two = Two::folders();
    let ran = two
        .qlc(&["doctor", "--memory-limit", "256MB", "--format", "json"])
        .ended(0);
    let found = |ran: &Ran, name: &str| -> Vec<String> {
        let all = ran.json().into_iter().filter(|one| one["name"] == name);
        all.map(|one| one["found"].as_str().unwrap().to_owned())
            .collect()
    };
    let spools = found(&ran, "spool");
    assert!(
        spools.len() == 2 && spools[0].starts_with("a=") && spools[1].starts_with("b="),
        "{ran}"
    );
    let inner = format!("c={}/inner", two.spools[0].strip_prefix("a=").unwrap());
    fs::create_dir_all(inner.strip_prefix("c=").unwrap()).unwrap();
    let ran = two
        .place
        .on_spools(
            &[&two.spools[0], &inner],
            &["doctor", "--format", "json"],
            &[],
        )
        .ended(1);
    assert_eq!(found(&ran, "spools").len(), 1, "{ran}");
}
