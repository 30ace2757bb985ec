//! Logs that are written, damaged and read back.

use super::*;
use crate::{
    collect::tracker::{SequenceTracker, Verdict},
    error::Kind,
    feed::event::{self, Body, Event, Id},
};

struct Log {
    _dir: tempfile::TempDir,
    spool: Store,
    folder: PathBuf,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Store::open(dir.path().to_str().unwrap()).unwrap();
        let folder = folder(&spool).unwrap();
        Self {
            _dir: dir,
            spool,
            folder,
        }
    }

    fn open(&self) -> Wal {
        let lock = lock(&self.spool).unwrap();
        Wal::open(&self.spool, lock, &Found::default(), &[], 512 << 20).unwrap()
    }

    fn read(&self) -> Found {
        read(&self.folder).unwrap()
    }
}

fn series(symbol: &str) -> Series {
    Series {
        exchange: "okx".parse().unwrap(),
        stream: "open_interest".parse().unwrap(),
        symbol: symbol.parse().unwrap(),
    }
}

fn head(id: u64, key: &str) -> FileHead {
    let kind = event::Kind::OpenInterest;
    FileHead {
        id,
        series: series(key),
        kind,
        symbol: key.to_uppercase(),
        key: key.to_owned(),
        opened_s: 7,
    }
}

fn rows(seqs: Range<i64>) -> Rows {
    let mut rows = Rows::new(event::Kind::OpenInterest);
    for seq in seqs {
        let (id, body) = (Id::Ascending(seq.unsigned_abs()), Body::OpenInterest(1.0));
        rows.push(
            &Event {
                series: 0,
                ts_event: seq,
                ts_recv: seq,
                id,
                number: seq,
                body,
            },
            0,
        );
    }
    rows
}

/// Commits a row of a file, in a record of its own.
fn commit(wal: &mut Wal, id: u64, key: &str, seq: i64) {
    let mut batch = Batch::default();
    let tracked = Tracked {
        last: Some(seq.unsigned_abs()),
        last_ts: seq,
        holes: Vec::new(),
    };
    wal.add(
        &mut batch,
        &head(id, key),
        &tracked,
        &rows(seq..seq + 1),
        0..1,
    )
    .unwrap();
    wal.commit(batch).unwrap();
}

/// The `seq` of every row that is found.
fn seqs(found: &Found) -> Vec<i64> {
    let mut all: Vec<i64> = found
        .files
        .values()
        .flat_map(|file| {
            let rows = found.rows(file).unwrap();
            (0..rows.len())
                .map(move |row| rows.key(row).unwrap().seq)
                .collect::<Vec<_>>()
        })
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn what_was_committed_is_read_back_and_a_torn_tail_is_not() {
    let log = Log::new();
    let mut wal = log.open();
    assert_eq!(lock(&log.spool).unwrap_err().kind(), Kind::Usage);
    for seq in 1..=6 {
        commit(
            &mut wal,
            u64::try_from(seq % 2).unwrap(),
            ["a", "b"][usize::try_from(seq % 2).unwrap()],
            seq,
        );
    }
    drop(wal);
    let whole = log.read();
    assert_eq!(
        (seqs(&whole), whole.torn_bytes, whole.damaged.len()),
        ((1..=6).collect(), 0, 0)
    );
    let known = &whole.checkpoints[&series("b")];
    assert_eq!((known.ts_recv, known.opened_s), (5, 7));
    // What was seen before is known again.
    let mut tracker = SequenceTracker::new(known.mark.clone());
    let event = |n: i64| {
        let (id, body) = (Id::Ascending(n.unsigned_abs()), Body::OpenInterest(1.0));
        Event {
            series: 0,
            ts_event: n,
            ts_recv: n,
            id,
            number: n,
            body,
        }
    };
    assert_eq!(
        [3, 5, 7].map(|n| tracker.look(&event(n), 1)),
        [Verdict::Again, Verdict::Again, Verdict::Next]
    );

    let path = log.folder.join("000000000001.qlcj");
    let bytes = fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let found = log.read();
        let got = seqs(&found);
        assert!(
            found.damaged.is_empty() && (1..=6).collect::<Vec<i64>>().starts_with(&got),
            "cut at {cut}: {got:?}"
        );
    }
}

#[test]
fn damage_costs_the_record_that_it_is_in_and_is_told() {
    let log = Log::new();
    let mut wal = log.open();
    for seq in 1..=8 {
        commit(&mut wal, 1, "a", seq);
    }
    drop(wal);
    let path = log.folder.join("000000000001.qlcj");
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, &flipped).unwrap();
            let found = log.read();
            let got = seqs(&found);
            assert!(
                got.len() >= 7 && got.windows(2).all(|pair| pair[0] < pair[1]),
                "bit {bit} of byte {at}: {got:?}"
            );
            assert!(
                found.torn_bytes > 0 || !found.damaged.is_empty(),
                "bit {bit} of byte {at}"
            );
            keep_aside(&found).unwrap();
            let aside = path.with_extension(if found.torn_bytes > 0 {
                "torn"
            } else {
                "damaged"
            });
            assert!(flipped.ends_with(&fs::read(&aside).unwrap()));
            fs::remove_file(aside).unwrap();
        }
    }
    // A piece in the middle is gone, others are something else.
    let mut holed = bytes.clone();
    let third = holed.len() / 3;
    drop(holed.drain(third..third + 40));
    drop(holed.splice(2 * third..2 * third, std::iter::repeat_n(0, 100)));
    fs::write(&path, &holed).unwrap();
    let found = log.read();
    assert!(
        seqs(&found).len() >= 4 && found.damaged.len() == 1,
        "{:?}",
        seqs(&found)
    );
}

#[test]
fn a_file_that_is_sealed_needs_no_rows_any_more_and_nothing_else_says_so() {
    let log = Log::new();
    let mut wal = log.open();
    commit(&mut wal, 1, "a", 1);
    commit(&mut wal, 2, "b", 2);
    assert_eq!(seqs(&log.read()), [1, 2]);
    wal.sealed("a").unwrap();
    assert_eq!(seqs(&log.read()), [1, 2], "the record is not written yet");
    wal.flush().unwrap();
    let found = log.read();
    assert_eq!(seqs(&found), [2]);
    assert_eq!(
        found.checkpoints[&series("a")].ts_recv,
        1,
        "what it was known by stays known"
    );
}

#[test]
fn segments_go_in_their_order_when_their_files_are_sealed() {
    let log = Log::new();
    let mut wal = log.open();
    let count = || fs::read_dir(&log.folder).unwrap().count();
    commit(&mut wal, 1, "a", 1);
    wal.roll(&[]).unwrap();
    commit(&mut wal, 1, "a", 2);
    commit(&mut wal, 2, "b", 3);
    wal.roll(&[]).unwrap();
    wal.sealed("b").unwrap();
    assert_eq!(count(), 3, "the first one is still needed");
    let bytes = wal.bytes();
    commit(&mut wal, 3, "c", 4);
    wal.sealed("a").unwrap();
    assert!(count() == 1 && wal.bytes() < bytes);
    drop(wal);
    assert_eq!(seqs(&log.read()), [4]);
}

#[test]
fn the_rows_of_a_quiet_file_are_carried_on_and_are_there_once() {
    let log = Log::new();
    let mut wal = log.open();
    let count = || fs::read_dir(&log.folder).unwrap().count();
    let tracked = Tracked {
        last: Some(2),
        last_ts: 2,
        holes: Vec::new(),
    };
    commit(&mut wal, 1, "quiet", 1);
    commit(&mut wal, 1, "quiet", 2);
    for seq in 3..=10_i64 {
        wal.roll(&[]).unwrap();
        commit(&mut wal, seq.unsigned_abs(), &format!("busy-{seq}"), seq);
        wal.sealed(&format!("busy-{seq}")).unwrap();
    }
    assert_eq!(count(), 9, "all of it is kept because of two rows");
    assert_eq!(wal.old(), Some(HashSet::from(["quiet".to_owned()])));
    let mut batch = Batch::default();
    wal.add_whole(&mut batch, &head(1, "quiet"), &tracked, &rows(1..3), 0..2)
        .unwrap();
    wal.commit(batch).unwrap();
    assert_eq!(seqs(&log.read()), [1, 2], "told twice, and there once");
    wal.trim().unwrap();
    assert_eq!((count(), wal.old()), (1, None));
    commit(&mut wal, 1, "quiet", 11);
    assert_eq!(seqs(&log.read()), [1, 2, 11]);
    assert_eq!(log.read().checkpoints[&series("quiet")].ts_recv, 11);
    wal.roll(&[]).unwrap();
    wal.sealed("quiet").unwrap();
    drop(wal);
    assert_eq!(seqs(&log.read()), Vec::<i64>::new());
}

#[test]
fn a_segment_that_goes_leaves_no_half_file_behind() {
    let log = Log::new();
    let mut wal = log.open();
    // Rows of one file in two segments; the second one is needed for another file.
    commit(&mut wal, 1, "a", 1);
    wal.roll(&[]).unwrap();
    commit(&mut wal, 1, "a", 2);
    commit(&mut wal, 2, "b", 3);
    wal.roll(&[]).unwrap();
    wal.sealed("a").unwrap();
    drop(wal);
    assert_eq!(
        seqs(&log.read()),
        [3],
        "the rest of a sealed file is not taken for a file"
    );
}

#[test]
fn a_log_of_an_earlier_version_is_read() {
    let log = Log::new();
    drop(log.open());
    let series = r#"{"exchange":"okx","stream":"open_interest","symbol":"a"}"#;
    let known = |seq: i64| {
        format!(
            r#"{{"seq":{seq},"opened_s":3,"ts_recv":8,"thread":{{"last":0,"last_ts":5,"recent":[1]}}}}"#
        )
    };
    let rows_of = |key: &str, seq: i64| {
        let mut payload = format!(
            "R{{\"series\":{series},\"kind\":\"open_interest\",\"symbol\":\"A\",\"key\":\"{key}\",\"memory\":{}}}\n",
            known(seq)
        )
        .into_bytes();
        let batch = rows(seq..seq + 1).narrow(0..1).unwrap();
        let mut writer =
            arrow::ipc::writer::StreamWriter::try_new(&mut payload, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        payload
    };
    let payloads = [
        format!("M[[{series},{}]]", known(7)).into_bytes(),
        rows_of("a", 8),
        // It was ready, and perhaps it was never renamed: that proves nothing.
        b"Ya".to_vec(),
        rows_of("b", 9),
    ];
    let mut bytes = Vec::new();
    for payload in &payloads {
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&twox_hash::XxHash64::oneshot(0, payload).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    let path = log.folder.join("000000000001.qlcj");
    fs::write(&path, &bytes).unwrap();
    let found = log.read();
    assert_eq!(
        (seqs(&found), found.damaged.len(), found.torn_bytes),
        (vec![8, 9], 0, 0)
    );
    assert_eq!(found.checkpoints[&self::series("a")].ts_recv, 8);
    // Damage within the first rows costs these.
    bytes[payloads[0].len() + 12 + 200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let found = log.read();
    assert_eq!((seqs(&found), found.damaged.len()), (vec![9], 1));
}

#[test]
fn an_event_costs_its_row_and_little_more() {
    let log = Log::new();
    let mut wal = log.open();
    for seq in 1..=1000 {
        commit(
            &mut wal,
            1,
            "a",
            1_770_000_000_000_000_000 + seq * 100_000_000,
        );
    }
    let each = wal.bytes() / 1000;
    assert!(each < 80, "{each} bytes an event, each committed by itself");
}

#[test]
fn a_segment_that_lost_its_end_has_not_forgotten_what_is_sealed() {
    let log = Log::new();
    let mut wal = log.open();
    commit(&mut wal, 1, "a", 1);
    let cut = fs::metadata(&wal.current.path).unwrap().len();
    commit(&mut wal, 1, "a", 2);
    wal.sealed("a").unwrap();
    commit(&mut wal, 2, "b", 3);
    let path = wal.current.path.clone();
    drop(wal);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(cut)
        .unwrap();
    assert_eq!(seqs(&log.read()), Vec::<i64>::new());
    // A ledger that is damaged tells less, and nothing that is wrong.
    let ledger = path.with_extension(LEDGER);
    let mut bytes = fs::read(&ledger).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&ledger, bytes).unwrap();
    assert_eq!(seqs(&log.read()), [1]);
}

#[test]
fn what_later_checkpoints_tell_of_time_on_record_is_known() {
    let log = Log::new();
    let mut wal = log.open();
    commit(&mut wal, 1, "a", 1);
    let told = |told_ns| Checkpoint {
        told_ns,
        ..Checkpoint::default()
    };
    wal.roll(&[(series("a"), told(7)), (series("b"), told(8))])
        .unwrap();
    drop(wal);
    let found = log.read();
    let known = |name: &str| &found.checkpoints[&series(name)];
    assert_eq!((known("a").told_ns, known("a").ts_recv), (7, 1));
    assert_eq!(known("b").told_ns, 8);
}
