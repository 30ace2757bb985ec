//! What is settable about the way to a bucket, and what is refused before anything is asked of it.

use super::{home, put};
use crate::support::{
    archive::{listing, published},
    events::{DAY, SECOND, quotes},
    faults::{Answer, Kind, undone},
    run::{CATCH_UP, Place},
    s3::{ACCESS_KEY, SECRET_KEY},
};

#[test]
fn http_is_refused_unless_it_is_allowed() {
    let place = Place::on_s3();
    put(&place, 0);
    let ran = place
        .qlc_env(CATCH_UP, &[("AWS_ALLOW_HTTP", "false")])
        .ended(2)
        .says("--allow-http");
    assert_eq!(place.server().seen().len(), 0, "{ran}");
    let _ = place
        .qlc_env(
            &[CATCH_UP, &["--allow-http"]].concat(),
            &[("AWS_ALLOW_HTTP", "false")],
        )
        .ended(0);
    place.verify();
}

#[test]
fn flags_say_what_the_environment_says() {
    let place = Place::on_s3();
    put(&place, 0);
    let endpoint = place.server().endpoint();
    let flags = [
        "--endpoint",
        &endpoint,
        "--allow-http",
        "--region",
        "us-east-1",
        "--connections",
        "2",
    ];
    let wrong = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "false"),
        ("AWS_REGION", "eu-west-3"),
    ];
    let _ = place.qlc_env(&[CATCH_UP, &flags].concat(), &wrong).ended(0);
    assert_eq!(
        published(&place.archive(), &home()).quotes(),
        quotes(DAY, SECOND, 0, 5)
    );
    place.verify();
}

#[test]
fn credentials_come_from_a_profile() {
    let place = Place::on_s3();
    put(&place, 0);
    let file = place.root().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n\n\
         [archive]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    );
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let with = |profile: &'static str| {
        [
            ("AWS_SHARED_CREDENTIALS_FILE", file.as_str()),
            ("AWS_PROFILE", profile),
        ]
    };
    let ran = place.qlc_without(&keys, CATCH_UP, &with("default"));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert_eq!(listing(&place.archive()).len(), 0, "{ran}");
    let ran = place.qlc_without(&keys, CATCH_UP, &with("missing"));
    assert!(
        ran.code.is_some_and(|code| [1, 2].contains(&code)) && ran.stderr.contains("missing"),
        "{ran}"
    );
    let _ = place
        .qlc_without(&keys, CATCH_UP, &with("archive"))
        .ended(0);
    place.verify();
}

#[test]
fn a_store_that_is_not_there_or_does_not_let_us_in_is_an_error_that_names_it() {
    let place = Place::on_s3();
    put(&place, 0);
    let few = [CATCH_UP, super::IMPATIENT].concat();
    let _ = place
        .qlc_env(&few, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")])
        .ended(1)
        .says("s3://quant/archive");
    let _ = place
        .qlc_env(&few, &[("AWS_SECRET_ACCESS_KEY", "wrong")])
        .ended(1)
        .says("s3://quant/archive");
    assert_eq!(listing(&place.archive()).len(), 0);
}

#[test]
fn retries_are_bounded_by_the_setting() {
    for retries in [0, 1, 3] {
        let place = Place::on_s3();
        put(&place, 0);
        place.server().fault(
            |a| a.kind == Kind::List,
            0..usize::MAX,
            undone(Answer::Status(503)),
        );
        let text = retries.to_string();
        let ran = place
            .qlc(&[CATCH_UP, &["--retries", &text]].concat())
            .ended(1);
        let asked = place.server().count(|a| a.kind == Kind::List);
        assert_eq!(asked, retries + 1, "{ran}");
    }
}

#[test]
fn a_store_that_does_not_answer_is_not_waited_for_for_ever() {
    let place = Place::on_s3();
    put(&place, 0);
    place
        .server()
        .fault(|_| true, 0..usize::MAX, undone(Answer::Hung));
    let args = [
        CATCH_UP,
        &[
            "--retries",
            "1",
            "--request-timeout",
            "1s",
            "--retry-timeout",
            "3s",
        ],
    ]
    .concat();
    let ran = place.qlc(&args).ended(1).says("s3://quant/archive");
    assert!(place.server().seen().len() <= 4, "{ran}");
    place.server().calm();
    let _ = place.compact(&[]).ended(0);
    place.verify();
}
