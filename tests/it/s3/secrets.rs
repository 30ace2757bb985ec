//! Credentials are in nothing that qlc prints, whatever happens and however much it is asked to
//! say.

use super::put;
use crate::support::{
    faults::{Answer, undone},
    run::{CATCH_UP, NOW, Place},
    s3::{ACCESS_KEY, SECRET_KEY},
};

const TOKEN: &str = "FwoGZXIvYXdzEJr-session-token-of-the-tests";

#[test]
fn nothing_that_is_printed_holds_a_credential() {
    let compact = |more: &[&'static str]| [CATCH_UP, more].concat();
    let commands: [Vec<&str>; 8] = [
        compact(&["--dry-run", "--format", "json"]),
        compact(&["--format", "json"]),
        vec!["verify"],
        vec!["query", "SELECT count(*) FROM archive.bbo"],
        vec!["query", "SELECT * FROM archive.meta"],
        vec!["inspect", "s3://quant/archive/absent.parquet"],
        vec![
            "compact", "--mode", "single", "--date", "20260203", "--now", NOW,
        ],
        vec!["--help"],
    ];
    let places = [
        ("well", Place::on_s3()),
        ("refused", Place::on_s3()),
        ("failing", Place::on_s3()),
        ("hung up on", Place::on_s3()),
        ("absent", Place::on_s3()),
    ];
    for (how, place) in &places {
        put(place, 0);
        match *how {
            "refused" => place
                .server()
                .fault(|_| true, 0..usize::MAX, undone(Answer::Status(403))),
            "failing" => place
                .server()
                .fault(|_| true, 0..usize::MAX, undone(Answer::Status(500))),
            "hung up on" => place
                .server()
                .fault(|_| true, 0..usize::MAX, undone(Answer::Dropped)),
            _ => {}
        }
        for command in &commands {
            for verbose in [&[][..], &["-v"]] {
                let mut env = vec![
                    ("RUST_LOG", "trace"),
                    ("AWS_SESSION_TOKEN", TOKEN),
                    ("RUST_BACKTRACE", "1"),
                ];
                env.extend([("QLC_RETRIES", "0"), ("QLC_REQUEST_TIMEOUT", "2s")]);
                env.extend(
                    (*how == "absent").then_some(("AWS_ENDPOINT_URL", "http://127.0.0.1:9")),
                );
                let ran = place.qlc_env(&[verbose, command].concat(), &env);
                for secret in [SECRET_KEY, TOKEN, ACCESS_KEY, "Signature=", "that%2Bmust"] {
                    let held = ran.stdout.contains(secret) || ran.stderr.contains(secret);
                    assert!(!held, "{how}: {command:?} printed {secret:?}\n{ran}");
                }
            }
        }
    }
}

#[test]
fn a_credential_in_the_configuration_or_in_a_url_is_refused_without_being_repeated() {
    let place = Place::on_s3();
    put(&place, 0);
    let url = format!(
        "s3://{ACCESS_KEY}:{}@quant/archive",
        SECRET_KEY.replace('/', "%2F")
    );
    let ran = place.elsewhere(&url, CATCH_UP).ended(2);
    assert!(
        !ran.stdout.contains("never-be-printed") && !ran.stderr.contains("never-be-printed"),
        "{}",
        ran.stderr
    );
    let ran = place
        .qlc_env(
            CATCH_UP,
            &[(
                "AWS_ENDPOINT_URL",
                &format!("http://user:{TOKEN}@127.0.0.1:9"),
            )],
        )
        .ended(2);
    assert!(!ran.stderr.contains(TOKEN), "{}", ran.stderr);
}
