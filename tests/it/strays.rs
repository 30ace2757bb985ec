//! What lies in an archive and is in no partition: no command reads it, and programs that read the
//! folders do, so it is told.

use std::fs;

use super::support::{
    archive::{home, published},
    events::{DAY, Events, SECOND, quotes},
    run::{Place, SERIES},
};

const DASHED: &str = "date=2026-02-03";

/// A published day whose source is in the spool.
fn day() -> Place {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00-00-00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    let _ = place.compact(&[]).ended(0);
    place
}

#[test]
fn a_day_whose_folder_is_spelled_with_dashes_is_found_and_not_published_twice() {
    let place = day();
    let before = published(&place.archive(), &home());
    let right = place.archive().join(home());
    let dashed = place.archive().join(SERIES).join(DASHED);
    let receipts = place.archive().join("_receipts").join(SERIES);
    fs::rename(&right, &dashed).unwrap();
    let mv = format!("mv -T {} {}", dashed.display(), right.display());
    // Its receipts tell that the day was published.
    let _ = place.qlc(&["verify"]).ended(4).says(&mv).says("is gone");
    fs::rename(receipts.join("date=20260203"), receipts.join(DASHED)).unwrap();
    let _ = place
        .qlc(&["verify"])
        .ended(4)
        .says(&mv)
        .says("0 partitions sound; 0 rows, 0 B; 2 findings outside of partitions");
    let ran = place.qlc(&["verify", "--format", "json"]).ended(4);
    let all = ran.json();
    assert_eq!(all.len(), 2, "{ran}");
    assert!(all.iter().all(|one| one["sound"] == false), "{ran}");
    assert_eq!(all[1]["place"], dashed.display().to_string(), "{ran}");
    let _ = place.qlc(&["verify", "--date", "2026-02-04"]).ended(2);

    for more in [&[][..], &["--force"], &["--dry-run"]] {
        let ran = place.compact(more).ended(1).says(&mv);
        assert!(!right.exists(), "{ran}");
    }
    let doctor = ["doctor", "--memory-limit", "256MB"];
    let _ = place
        .qlc(&doctor)
        .ended(0)
        .says("holds 0 partitions")
        .says("outside of partitions: 2 findings, such as")
        .says("mv -T ");

    fs::rename(&dashed, &right).unwrap();
    fs::rename(receipts.join(DASHED), receipts.join("date=20260203")).unwrap();
    let _ = place.compact(&[]).ended(0).says("nothing to do");
    assert_eq!(published(&place.archive(), &home()).bytes, before.bytes);
    place.verify();
}

#[test]
fn a_second_folder_of_a_day_is_no_place_to_move_it_to() {
    let place = day();
    let dashed = place.archive().join(SERIES).join(DASHED);
    fs::create_dir_all(&dashed).unwrap();
    let data = place.archive().join(home()).join("data.parquet");
    let _ = fs::copy(&data, dashed.join("data.parquet")).unwrap();
    let ran = place
        .qlc(&["verify"])
        .ended(4)
        .says("a second folder of the same day")
        .says("1 partition sound; 50 rows");
    assert!(
        !ran.to_string()
            .contains(&format!("mv -T {}", dashed.display())),
        "{ran}"
    );
    let _ = place
        .compact(&[])
        .ended(1)
        .says("a second folder of the same day");
    fs::remove_dir_all(&dashed).unwrap();
    place.verify();
}

#[test]
fn a_parquet_file_of_no_partition_is_found() {
    let place = day();
    let data = place.archive().join(home()).join("data.parquet");
    let put = |key: &str| {
        let path = place.archive().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::copy(&data, &path).unwrap();
        path
    };
    let loose = [
        put("exchange=binance/stream=bbo/loose.parquet"),
        put("exchange=binance/stream=bbo/symbol=q/x.parquet"),
        put(&format!("{SERIES}/date=20260203/more/x.parquet")),
    ];
    let ran = place
        .qlc(&["verify"])
        .ended(4)
        .says("1 partition sound; 50 rows")
        .says("3 findings outside of partitions");
    let _ = loose.iter().fold(ran, |ran, path| {
        ran.says(&format!(
            "{}: a Parquet file in no partition",
            path.display()
        ))
    });
    // Of another symbol nobody asked.
    let _ = place
        .qlc(&["verify", "--symbol", "btcusdt"])
        .ended(4)
        .says("2 findings outside of partitions");
    let runs = "SELECT exit_code FROM archive.runs WHERE command = 'verify' ORDER BY started_at";
    let _ = place.qlc(&["query", runs]).ended(0).says("| 4 ");
    // It is nothing that a compaction could double.
    let _ = place.compact(&[]).ended(0);
    for path in &loose {
        fs::remove_file(path).unwrap();
    }
    place.verify();
}
