//! What the environment says: an empty variable says nothing, a wrong one is named, and a place
//! that is nearly a URL is not taken for a folder.

use std::{fs, os::unix::fs::PermissionsExt};

use super::support::{
    events::{DAY, Events, SECOND, quotes},
    run::{CATCH_UP, Place},
};

fn place() -> Place {
    let place = Place::new();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    place
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let all = [
        "QLC_CONFIG",
        "QLC_METRICS_FILE",
        "QLC_METRICS_PUSH",
        "QLC_NOTIFY",
        "QLC_SPOOL",
        "QLC_ARCHIVE",
        "QLC_MEMORY_LIMIT",
        "QLC_SPILL_DIR",
        "QLC_WORKERS",
        "QLC_ZSTD_LEVEL",
        "QLC_LOG",
        "QLC_CRASH_AT",
        "QLC_CLUSTER",
        "QLC_CLUSTER_CA",
        "QLC_CLUSTER_CERT",
        "QLC_CLUSTER_KEY",
        "QLC_SINGLE_WRITER",
        "QLC_REQUEST_TIMEOUT",
        "QLC_RETRIES",
        "QLC_PART_SIZE",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_PROFILE",
        "AWS_ALLOW_HTTP",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
    ];
    for name in all {
        let place = place();
        let tmp = place.root().display().to_string();
        let _ = place
            .qlc_env(CATCH_UP, &[(name, ""), ("TMPDIR", &tmp)])
            .ended(0);
    }
    let place = place();
    let env: Vec<(&str, &str)> = all.iter().map(|name| (*name, "")).collect();
    let _ = place
        .qlc_env(&["config", "show"], &env)
        .ended(0)
        .says("default");
    // Of keys too: with an empty one in the environment the profile's are used.
    let place = Place::on_s3();
    let _ = place.put_quotes(
        "2026-02-03_00.parquet",
        &Events::sealed(quotes(DAY, SECOND, 0, 50)).bytes(),
    );
    let _ = place
        .qlc_env(
            CATCH_UP,
            &[
                ("AWS_SESSION_TOKEN", ""),
                ("AWS_ENDPOINT", ""),
                ("AWS_DEFAULT_REGION", ""),
            ],
        )
        .ended(0);
}

#[test]
fn an_empty_variable_leaves_what_the_configuration_says() {
    let place = place();
    fs::write(
        place.root().join("qlc.toml"),
        "metrics_file = \"told.prom\"\n",
    )
    .unwrap();
    let compact = [&["--config", "qlc.toml"], CATCH_UP].concat();
    let _ = place
        .qlc_env(&compact, &[("QLC_METRICS_FILE", "")])
        .ended(0);
    assert!(place.root().join("told.prom").exists());
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let place = place();
    for (name, value) in [
        ("QLC_WORKERS", "many"),
        ("QLC_MEMORY_LIMIT", "much"),
        ("QLC_MEMORY_LIMIT", "1kB"),
        ("QLC_ZSTD_LEVEL", "99"),
        ("QLC_RETRIES", "-1"),
        ("QLC_REQUEST_TIMEOUT", "soon"),
        ("QLC_SINGLE_WRITER", "perhaps"),
        ("QLC_NOTIFY", "no url"),
        ("QLC_CONFIG", "absent.toml"),
        ("QLC_LOG", "qlc=loud=very"),
        ("QLC_CRASH_AT", "soon"),
    ] {
        let ran = place.qlc_env(CATCH_UP, &[(name, value)]).ended(2);
        assert!(
            ran.stderr.lines().next().unwrap().contains(name),
            "{name}={value}: {ran}"
        );
        assert!(!place.archive().exists(), "{ran}");
    }
    // A flag is named by itself, whatever the variable says.
    let typed = place
        .qlc_env(
            &[CATCH_UP, &["--workers", "many"]].concat(),
            &[("QLC_WORKERS", "2")],
        )
        .ended(2);
    assert!(
        typed.stderr.contains("--workers") && !typed.stderr.contains("QLC_WORKERS"),
        "{typed}"
    );
}

#[test]
fn a_place_that_is_nearly_a_url_is_refused() {
    let place = place();
    for wrong in [
        "s3:/bucket",
        "s3:bucket/prefix",
        "S3://bucket",
        "s3:",
        "file:/tmp/archive",
        "FILE:///tmp/archive",
    ] {
        let ran = place.elsewhere(wrong, CATCH_UP).ended(2);
        assert!(
            ran.stderr.contains("s3://") || ran.stderr.contains("file:///"),
            "{wrong}: {ran}"
        );
        fs::write(
            place.root().join("qlc.toml"),
            format!("archive = {wrong:?}\n"),
        )
        .unwrap();
        let config = place.root().join("qlc.toml").display().to_string();
        let spool = place.spool().display().to_string();
        let typed = [&["--config", &config, "--spool", &spool], CATCH_UP].concat();
        let _ = super::support::run::qlc(&typed).ended(2);
    }
    let made: Vec<_> = fs::read_dir(place.root())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        made.iter()
            .all(|name| !name.to_string_lossy().contains(':')),
        "{made:?}"
    );
    // A folder may have such a name, if it is said to be one.
    let _ = place.elsewhere("./s3:", CATCH_UP).ended(0);
}

#[test]
fn scratch_folders_are_made_in_a_folder_of_the_user_alone() {
    let place = place();
    let tmp = place.root().join("tmp");
    fs::create_dir(&tmp).unwrap();
    let env = [("QLC_SPILL_DIR", ""), ("TMPDIR", tmp.to_str().unwrap())];
    let _ = place
        .qlc_env(&["query", "SELECT count(*) FROM spool.bbo"], &env)
        .ended(0);
    assert_eq!(
        fs::read_dir(&tmp).unwrap().count(),
        0,
        "a statement that spills nothing makes nothing"
    );
    let _ = place.qlc_env(CATCH_UP, &env).ended(0);
    let own = tmp.join(format!("qlc-{}", rustix::process::geteuid().as_raw()));
    assert_eq!(
        fs::metadata(&own).unwrap().permissions().mode() & 0o777,
        0o700
    );
    // One that others may write to was not made by qlc.
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    let _ = place.qlc_env(CATCH_UP, &env).ended(2).says("--spill-dir");
    fs::remove_dir(&own).unwrap();
    std::os::unix::fs::symlink(place.root(), &own).unwrap();
    let _ = place.qlc_env(CATCH_UP, &env).ended(2).says("--spill-dir");
}

#[test]
fn without_credentials_that_is_what_is_said() {
    let place = place();
    let env = [
        ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9"),
        ("HOME", "/nonexistent"),
        ("QLC_RETRIES", "1"),
    ];
    for command in [
        &["verify"][..],
        CATCH_UP,
        &["status"],
        &["query", "SELECT * FROM archive.meta"],
    ] {
        let ran = place.qlc_to("s3://nobody-has-this/archive", command, &env);
        assert_ne!(ran.code, Some(0), "{ran}");
        assert!(
            ran.stderr.contains("no credentials") && ran.stderr.contains("AWS_ACCESS_KEY_ID"),
            "{ran}"
        );
    }
}

#[test]
fn an_archive_out_of_reach_is_said_to_be_just_that() {
    let place = place();
    let env = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("QLC_RETRIES", "0"),
    ];
    for command in [
        &["verify"][..],
        CATCH_UP,
        &["status"],
        &["query", "SELECT * FROM archive.meta"],
    ] {
        let ran = place.qlc_to("s3://nobody/archive", command, &env).ended(1);
        assert!(
            !ran.stderr.contains("credentials") && ran.stderr.contains("cannot be reached"),
            "{ran}"
        );
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.lines().count()),
            ("", 1),
            "{ran}"
        );
    }
}
