//! Lives a history through: every step is done to a real spool and a real archive, and every run of
//! the program is judged.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arrow::array::Int64Array;
use serde_json::json;

use super::{
    content::{Content, Part, Spec, file, recorded},
    model::{Damage, Model, Run, Verdict, Violation, blow, readable},
    observe::{Observer, Seen},
    steps::{Blow, Command, Odd, Step},
};
use crate::support::{
    archive::{listing, sha256},
    events::Claim,
    run::{Place, Ran},
    s3::{ARCHIVE, SPOOL},
};

/// Where the archive of a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Folder,
    Bucket,
    /// In the bucket in which the spool is too.
    BucketOfBoth,
}

/// What a history has come to.
pub struct World {
    place: Place,
    on: On,
    model: Model,
    observer: Observer,
    /// Seconds that the spool's clock has made: every change of a file has a time of its own.
    clock: u64,
    odd: Vec<PathBuf>,
    /// How many runs of the program were judged.
    pub runs: usize,
    /// What the last of them said.
    last: String,
}

/// Lives through `steps`, and then brings everything to rest: what was done to the archive is
/// undone, what is odd taken away, and the program must find nothing wrong and nothing to do.
pub fn live(steps: &[Step], on: On) -> Result<usize, Violation> {
    let mut world = World::new(on);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        steps
            .iter()
            .try_for_each(|step| world.step(step))
            .and_then(|()| world.rest())
    }));
    let broken = |_| {
        Err(Violation {
            promise: "the driver does not panic",
            what: "see above".to_owned(),
        })
    };
    match lived.unwrap_or_else(broken) {
        Ok(()) => Ok(world.runs),
        Err(violation) => Err(Violation {
            what: format!("{}\n{}", violation.what, world.last),
            ..violation
        }),
    }
}

/// Noon of 2026-02-04: files change on a day that is over, so that a bad file whose name tells no
/// day has one as well.
const NOON: u64 = 1_770_206_400;

impl World {
    fn new(on: On) -> Self {
        let place = match on {
            On::Folder => Place::in_memory(),
            On::Bucket => Place::in_memory_on_s3(false),
            On::BucketOfBoth => Place::in_memory_on_s3(true),
        };
        Self {
            place,
            on,
            model: Model::default(),
            observer: Observer::default(),
            clock: 0,
            odd: Vec::new(),
            runs: 0,
            last: String::new(),
        }
    }

    fn look(&mut self) -> Seen {
        self.observer
            .look(&self.place.spool(), &self.place.archive())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.spool().join(name)
    }

    fn step(&mut self, step: &Step) -> Verdict {
        self.clock += 1;
        match step {
            Step::Put { name, content } => self.put(name, content),
            Step::InPlace { name, content } => self.in_place(name, content),
            Step::Touch { name } => {
                let path = self.path(name);
                if path.exists() {
                    self.stamp(&path);
                }
            }
            Step::Rename { from, to } => {
                if self.has(from) {
                    fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
                    fs::rename(self.path(from), self.path(to)).unwrap();
                    self.changed(to);
                }
            }
            Step::Copy { from, to } => {
                if self.has(from) {
                    let path = self.path(to);
                    write(&path, &fs::read(self.path(from)).unwrap());
                    self.stamp(&path);
                    self.changed(to);
                }
            }
            Step::Remove { name } => drop(fs::remove_file(self.path(name))),
            Step::Odd { odd, content } => self.put_odd(*odd, content),
            Step::Tidy => self.tidy(),
            Step::Foreign { content } => self.foreign(content),
            Step::Run(command) => return self.run(*command, None),
            Step::Kill(command, nth) => return self.run(*command, Some(*nth)),
            Step::Strike { part, blow } => self.strike(*part, *blow),
            Step::Restore { part } => self.restore(*part),
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Gives a file a time of its own.
    fn stamp(&self, path: &Path) {
        set_time(path, UNIX_EPOCH + Duration::from_secs(NOON + self.clock));
    }

    fn put(&mut self, name: &str, content: &Content) {
        let (path, bytes) = (self.path(name), content.bytes());
        self.model.expect(sha256(&bytes), *content);
        write(&path, &bytes);
        self.stamp(&path);
        self.changed(name);
    }

    /// Where the spool is in a bucket, its server must not tell what it remembers of an object.
    fn changed(&self, name: &str) {
        if let (On::BucketOfBoth, Some(server)) = (self.on, self.place.store()) {
            server.changed(&format!("{SPOOL}/{name}"));
        }
    }

    fn in_place(&mut self, name: &str, content: &Content) {
        let (path, bytes) = (self.path(name), content.bytes());
        let Ok(meta) = fs::metadata(&path) else {
            return;
        };
        if meta.len() != bytes.len() as u64 {
            return;
        }
        self.model.expect(sha256(&bytes), *content);
        write(&path, &bytes);
        set_time(&path, meta.modified().unwrap());
        self.changed(name);
    }

    fn put_odd(&mut self, odd: Odd, content: &Content) {
        // The tests' server has the keys that a folder can have, as it spells them.
        if self.on == On::BucketOfBoth && !odd.is_silent() && odd != Odd::Stray {
            return;
        }
        let name = odd.name(content);
        let path = self.place.spool().join(OsStr::from_bytes(&name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = match odd {
            Odd::Loop => std::os::unix::fs::symlink(self.place.spool(), &path),
            Odd::Icon | Odd::Tab | Odd::NotText => fs::write(&path, "odd"),
            _ => fs::write(&path, content.bytes()),
        };
        if made.is_ok() {
            self.model
                .expect_odd(String::from_utf8_lossy(&name).into_owned(), odd, *content);
            self.odd.push(path);
        }
    }

    fn tidy(&mut self) {
        for path in self.odd.drain(..) {
            fs::remove_file(path).unwrap();
        }
        self.model.forget_odd();
    }

    /// An archive of another program: no footer, receipt or meta of qlc's.
    fn foreign(&mut self, content: &Content) {
        self.model.expect_foreign(content);
        let rows = content.rows();
        let folder = self
            .foreign_folder(content.spec.id)
            .join(content.parts()[0].dir());
        let Spec {
            symbol, collector, ..
        } = content.spec;
        let data = recorded(symbol, collector, &rows)
            .undeclared()
            .hash(Claim::None)
            .bytes();
        let times = || rows.iter().map(|row| row.ts);
        let (min, max) = (times().min().unwrap(), times().max().unwrap());
        let meta = json!({"rows": rows.len(), "ts_event_min": min, "ts_event_max": max, "schema_version": 1});
        write(&folder.join("data.parquet"), &data);
        write(
            &folder.join("meta.json"),
            &serde_json::to_vec(&meta).unwrap(),
        );
    }

    fn foreign_folder(&self, id: u32) -> PathBuf {
        self.place.root().join(format!("foreign-{id}"))
    }

    /// Runs the program and judges what it has done.
    fn run(&mut self, command: Command, kill: Option<u32>) -> Verdict {
        if command.needs_archive() && !self.place.archive().exists() {
            return Ok(());
        }
        // Where another program made a day, this asks for its files to be taken in although their
        // rows may be there already.
        if command == Command::Force && !self.model.adopted.is_empty() {
            return Ok(());
        }
        let foreign = match command {
            Command::Import(id) => self.foreign_folder(id).display().to_string(),
            _ => String::new(),
        };
        let nth = kill.map(|nth| nth.to_string());
        let mut env = vec![("QLC_WORKERS", "1")];
        env.extend(nth.as_deref().map(|nth| ("QLC_CRASH_AT", nth)));
        let before = self.look();
        let ran = self.place.qlc_env(&command.args(&foreign), &env);
        let after = self.look();
        self.note(&ran);
        self.model.judge(&Run {
            command,
            code: ran.code,
            before: &before,
            after: &after,
        })
    }

    fn note(&mut self, ran: &Ran) {
        self.runs += 1;
        self.last = ran.to_string();
    }

    fn strike(&mut self, part: Part, struck: Blow) {
        let seen = self.look();
        let Some(changes) = blow(&self.model, &seen, part, struck) else {
            return;
        };
        let mut saved = Vec::new();
        for (key, bytes) in changes {
            saved.push((
                key.clone(),
                fs::read(self.place.archive().join(&key)).unwrap(),
            ));
            match bytes {
                Some(bytes) => self.put_object(&key, &bytes),
                None => self.remove_object(&key),
            }
        }
        let left = self
            .look()
            .states
            .get(&part)
            .and_then(|state| state.sha256.clone());
        let _ = self.model.damages.insert(
            part,
            Damage {
                blow: struck,
                saved,
                left,
                accepted: false,
            },
        );
    }

    fn restore(&mut self, part: Part) {
        let now = self
            .look()
            .states
            .get(&part)
            .and_then(|state| state.sha256.clone());
        // What has been published since is newer than the backup.
        let old = |damage: &Damage| {
            damage.accepted || damage.left != now && !damage.blow.is_on_quarantine()
        };
        if self.model.damages.get(&part).is_none_or(old) {
            return;
        }
        let Some(damage) = self.model.damages.remove(&part) else {
            return;
        };
        for (key, bytes) in damage.saved {
            if damage.blow == Blow::LaterEntries {
                // Entries may have come since.
                let now = fs::read(self.place.archive().join(&key)).unwrap();
                self.put_object(&key, &readable(&now));
            } else {
                self.put_object(&key, &bytes);
            }
        }
    }

    fn put_object(&self, key: &str, bytes: &[u8]) {
        match self.place.store() {
            Some(server) => server.put(&format!("{ARCHIVE}/{key}"), bytes),
            None => write(&self.place.archive().join(key), bytes),
        }
    }

    fn remove_object(&self, key: &str) {
        if let Some(server) = self.place.store() {
            server.remove(&format!("{ARCHIVE}/{key}"));
        } else {
            let path = self.place.archive().join(key);
            fs::remove_file(&path).unwrap();
            // A folder in which nothing is left goes as well.
            let _ = fs::remove_dir(path.parent().unwrap());
        }
    }

    /// The end of every history.
    fn rest(&mut self) -> Verdict {
        self.tidy();
        for part in Part::all() {
            self.restore(part);
        }
        self.run(Command::Compact, None)?;
        self.run(Command::Verify, None)?;
        let before = listing(&self.place.archive());
        self.run(Command::Compact, None)?;
        if listing(&self.place.archive()) != before {
            return Err(Violation {
                promise: "a second run does nothing",
                what: "it changed the archive".to_owned(),
            });
        }
        self.is_determined()
    }

    /// Promise 3: however the rows came, the archive has the bytes that one run makes of one file
    /// of all of them.
    fn is_determined(&mut self) -> Verdict {
        let seen = self.look();
        let all = self.model.determined(&seen);
        if all.is_empty() {
            return Ok(());
        }
        let fresh = Place::in_memory();
        for (part, rows) in &all {
            self.model.the_earliest_stand(&seen, *part)?;
            let arrivals = Int64Array::from(seen.states[part].arrivals.clone());
            let name = format!("{}/all.parquet", part.dir());
            let made = file(part.symbol, rows).replace("ts_recv", Arc::new(arrivals));
            let _ = fresh.put(&name, &made.bytes());
        }
        let ran = fresh.compact(&[]);
        self.note(&ran);
        let made = Observer::default().look(&fresh.spool(), &fresh.archive());
        for (part, _) in &all {
            let of = |seen: &Seen| seen.states.get(part).and_then(|state| state.sha256.clone());
            if of(&made) != of(&seen) {
                return Err(Violation {
                    promise: "the same rows give the same bytes",
                    what: part.to_string(),
                });
            }
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[cfg(test)]
mod tests {
    //! A judge that sees nothing would let everything hold: each kind of loss is made by hand here,
    //! and must be seen.

    use super::{
        super::content::{Harm, Row},
        *,
    };

    const NAME: &str = "exchange=binance/stream=bbo/symbol=btcusdt/2026-02-03_01.parquet";
    const PART: Part = Part { symbol: 0, day: 1 };

    fn content(id: u32) -> Content {
        let spec = Spec {
            id,
            collector: 0,
            symbol: 0,
            day: 1,
            events: 4,
            from: 0,
            rows: 4,
            midnight: false,
            seq: true,
            per_group: 2,
            hashed: false,
        };
        Content::good(spec)
    }

    /// A file of four rows, compacted.
    fn begun() -> World {
        let mut world = World::new(On::Folder);
        world.put(NAME, &content(1));
        world.run(Command::Compact, None).unwrap();
        world
    }

    /// What is said of a run of `command` that ends with `code` and does what `meanwhile` does.
    fn said(
        world: &mut World,
        command: Command,
        code: i32,
        meanwhile: impl Fn(&World),
    ) -> &'static str {
        let before = world.look();
        meanwhile(world);
        let after = world.look();
        let verdict = world.model.judge(&Run {
            command,
            code: Some(code),
            before: &before,
            after: &after,
        });
        verdict.map_or_else(|violation| violation.promise, |()| "right")
    }

    fn put_rows(world: &World, rows: &[Row]) {
        world.put_object(
            &format!("{}/data.parquet", PART.dir()),
            &file(0, rows).bytes(),
        );
    }

    #[test]
    fn what_is_right_is_said_to_be() {
        let mut world = begun();
        for command in [
            Command::Compact,
            Command::Verify,
            Command::Prune,
            Command::Clean,
        ] {
            assert_eq!(said(&mut world, command, 0, |_| {}), "right");
        }
        let pruned = |world: &World| fs::remove_file(world.path(NAME)).unwrap();
        assert_eq!(said(&mut world, Command::Prune, 0, pruned), "right");
    }

    #[test]
    fn rows_that_are_lost_doubled_or_made_up_are_seen() {
        let rows = content(1).rows();
        let check = |rows: Vec<Row>, expected: &str| {
            assert_eq!(
                said(&mut begun(), Command::Compact, 0, |world| put_rows(
                    world, &rows
                )),
                expected
            );
        };
        check(rows[1..].to_vec(), "a row that was published stays");
        check(
            [&rows[..1], &rows[..]].concat(),
            "no row is in the archive twice",
        );
        check(
            [&rows[..], &content(2).rows()[3..]].concat(),
            "no row is in the archive that nobody recorded",
        );
        check(
            rows.iter().rev().copied().collect(),
            "archived data reads, in order",
        );
    }

    #[test]
    fn a_row_that_arrived_later_is_seen_in_place_of_an_earlier_one() {
        let put = |world: &World, collector| {
            let data = recorded(0, collector, &content(1).rows());
            world.put_object(&format!("{}/data.parquet", PART.dir()), &data.bytes());
        };
        let promise = "an archived row is replaced by an earlier one only";
        assert_eq!(
            said(&mut begun(), Command::Compact, 0, |world| put(world, 2)),
            promise
        );
        let mut world = begun();
        put(&world, 2);
        let seen = world.look();
        let verdict = world.model.the_earliest_stand(&seen, PART);
        assert_eq!(
            verdict.unwrap_err().promise,
            "of two rows of one event the earlier one is archived"
        );
    }

    #[test]
    fn files_that_go_without_proof_are_seen() {
        let gone = |world: &World| fs::remove_file(world.path(NAME)).unwrap();
        assert_eq!(
            said(&mut begun(), Command::Compact, 0, gone),
            "only prune removes files"
        );
        let mut world = begun();
        world.in_place(NAME, &content(1).other_values(1));
        let promise = "prune removes no file whose rows are not all in the archive";
        assert_eq!(said(&mut world, Command::Prune, 0, gone), promise);
        let changed = |world: &World| fs::write(world.path(NAME), "other").unwrap();
        assert_eq!(
            said(&mut begun(), Command::Compact, 0, changed),
            "no run changes a file of the spool"
        );
    }

    #[test]
    fn silence_and_false_alarms_are_seen() {
        let silent = "a compaction ends with 0 or 3 only when every file is accounted for";
        let mut world = begun();
        let late = NAME.replace("_01", "_02");
        world.put(&late, &content(2));
        assert_eq!(said(&mut world, Command::Compact, 0, |_| {}), silent);
        assert_eq!(
            said(&mut world, Command::Compact, 1, |_| {}),
            "a compaction does not fail where nothing is wrong but files"
        );
        world.put(&late, &content(2).harmed(Harm::Footer));
        assert_eq!(said(&mut world, Command::Compact, 3, |_| {}), silent);
        let alarm = "a compaction ends with 0 when all is in the archive";
        assert_eq!(said(&mut begun(), Command::Compact, 3, |_| {}), alarm);
        assert_eq!(
            said(&mut begun(), Command::Verify, 4, |_| {}),
            "verify finds nothing where nothing is wrong"
        );
    }

    #[test]
    fn damage_that_verify_does_not_find_and_what_is_published_over_it_are_seen() {
        for struck in [Blow::Vanish, Blow::Flip, Blow::MetaGone, Blow::ReceiptGone] {
            let mut world = begun();
            world.strike(PART, struck);
            assert_eq!(
                said(&mut world, Command::Verify, 4, |_| {}),
                "right",
                "{struck:?}"
            );
            assert_eq!(
                said(&mut world, Command::Verify, 0, |_| {}),
                "verify finds what is wrong with the archive"
            );
            world.restore(PART);
            assert_eq!(
                said(&mut world, Command::Verify, 0, |_| {}),
                "right",
                "{struck:?}"
            );
        }
        let mut world = begun();
        world.strike(PART, Blow::Vanish);
        let over = |world: &World| put_rows(world, &content(1).rows()[1..]);
        assert_eq!(
            said(&mut world, Command::Compact, 0, over),
            "nothing is published over a loss"
        );
    }

    #[test]
    fn what_was_kept_and_is_no_more_is_seen() {
        let mut world = begun();
        let bad = NAME.replace("_01", "_02");
        world.put(&bad, &content(2).harmed(Harm::Footer));
        world.run(Command::Compact, None).unwrap();
        let kept = world.look().kept.into_keys().next().unwrap();
        let lost = |world: &World| world.remove_object(&kept);
        assert_eq!(
            said(&mut world, Command::Clean, 0, lost),
            "what is kept in QUARANTINE stays"
        );
    }
}
