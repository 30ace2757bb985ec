//! `qlc report`: the page is written whole or not at all, holds the data as it is, and needs
//! nothing else.

use std::{fs, path::Path};

use serde_json::Value;

use super::{
    status::{every_kind, status},
    support::run::{NOW, Place},
};

/// The data of the page at `path`.
fn data(path: &Path) -> Value {
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

fn check(place: &Place) {
    every_kind(place);
    let path = place.root().join("out.html");
    let _ = place
        .qlc(&["report", "--html", "out.html", "--now", NOW])
        .ended(0)
        .says("6 partitions");
    let told = data(&path);
    let cells = told["cells"].as_array().unwrap();
    // The page and the terminal say the same.
    let expected = status(place, &["--format", "json"]).ended(0).json();
    let state = |cell: &Value| {
        (
            cell["date"].clone(),
            cell["state"].clone(),
            cell["reasons"].clone(),
        )
    };
    assert_eq!(
        cells.iter().map(state).collect::<Vec<_>>(),
        expected.iter().map(state).collect::<Vec<_>>()
    );
    let gap = &cells[4];
    let events = gap["events"].as_array().unwrap();
    assert_eq!(
        (gap["gaps"][0]["from"].as_str(), events.len()),
        (Some("03:00"), 1440)
    );
    assert_eq!(
        (events[179].as_u64(), events[180].as_u64()),
        (Some(1), Some(0))
    );
    assert_eq!(told["quarantine"][0]["error_type"], "TRUNCATED");
    assert_eq!(
        told["slowest"].as_array().map(Vec::len),
        Some(4),
        "{}",
        told["slowest"]
    );
    assert_eq!(told["runs"][0]["command"], "compact");
}

#[test]
fn the_page_tells_what_status_tells() {
    check(&Place::new());
}

#[test]
fn likewise_of_a_bucket() {
    check(&Place::all_on_s3());
}

#[test]
fn a_page_that_cannot_be_written_leaves_what_was_there() {
    let place = Place::new();
    fs::create_dir_all(place.archive()).unwrap();
    let _ = place
        .qlc(&["report", "--html", "none/out.html"])
        .ended(2)
        .says("there is no folder");
    let _ = place.qlc(&["report", "--html", "."]).ended(2);
    let _ = place.qlc(&["report", "--html", "out.html"]).ended(0);
    let before = fs::read(place.root().join("out.html")).unwrap();
    let _ = place
        .qlc_short_of_room(4, &["report", "--html", "out.html"])
        .ended(1);
    assert_eq!(fs::read(place.root().join("out.html")).unwrap(), before);
    assert_eq!(
        fs::read_dir(place.root())
            .unwrap()
            .filter(|e| e
                .as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .contains("tmp"))
            .count(),
        0
    );
}
