//! The store of the tests itself: what S3 promises holds there, and its faults are what they are
//! called.

use futures::StreamExt;
use object_store::{
    GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, RetryConfig, UpdateVersion,
    aws::{AmazonS3, AmazonS3Builder, Checksum},
    path::Path,
};

use crate::support::{
    faults::{Answer, Kind, LATE, done, undone},
    s3::{ACCESS_KEY, BUCKET, Conditions, SECRET_KEY, Server},
};

fn client(server: &Server, secret: &str, max_retries: usize) -> AmazonS3 {
    let client_options = object_store::ClientOptions::new()
        .with_allow_http(true)
        .with_timeout(std::time::Duration::from_secs(2))
        .with_connect_timeout(std::time::Duration::from_secs(2));
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(secret)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_client_options(client_options)
        .with_retry(RetryConfig {
            max_retries,
            ..RetryConfig::default()
        })
        .build()
        .unwrap()
}

fn at(key: &str) -> Path {
    Path::from(key)
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

fn update(tag: Option<String>) -> PutOptions {
    PutMode::Update(UpdateVersion {
        e_tag: tag,
        version: None,
    })
    .into()
}

fn check<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(Server::new()));
}

#[test]
fn objects_are_put_read_listed_and_deleted() {
    check(|server| async move {
        let store = client(&server, SECRET_KEY, 0);
        let put = store
            .put(&at("a=1/x"), PutPayload::from_static(b"hello"))
            .await
            .unwrap();
        server.put("a=1/y", b"directly");
        let listed: Vec<_> = store
            .list(Some(&at("a=1")))
            .map(Result::unwrap)
            .collect()
            .await;
        assert_eq!(
            listed
                .iter()
                .map(|o| (o.location.as_ref(), o.size))
                .collect::<Vec<_>>(),
            [("a=1/x", 5), ("a=1/y", 8)]
        );
        assert_eq!(listed[0].e_tag, put.e_tag);
        assert_eq!(listed[0].last_modified.timestamp_subsec_nanos(), 0);
        let head = store.head(&at("a=1/x")).await.unwrap();
        assert_eq!(
            (head.size, &head.e_tag, head.last_modified),
            (5, &put.e_tag, listed[0].last_modified)
        );
        assert_eq!(
            store.get_range(&at("a=1/x"), 1..3).await.unwrap(),
            "el".as_bytes()
        );

        // Another object under the same key is another tag, and a read of the old one is refused.
        let old = || GetOptions {
            if_match: put.e_tag.clone(),
            ..GetOptions::default()
        };
        assert_eq!(
            store
                .get_opts(&at("a=1/x"), old())
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap(),
            "hello".as_bytes()
        );
        server.put("a=1/x", b"HELLO");
        assert_ne!(store.head(&at("a=1/x")).await.unwrap().e_tag, put.e_tag);
        let refused = store.get_opts(&at("a=1/x"), old()).await.unwrap_err();
        assert!(
            matches!(refused, object_store::Error::Precondition { .. }),
            "{refused}"
        );
        store.delete(&at("a=1/x")).await.unwrap();
        assert!(matches!(
            store.head(&at("a=1/x")).await.unwrap_err(),
            object_store::Error::NotFound { .. }
        ));
        assert_eq!(
            server.count(|a| a.kind == Kind::Get && a.range.is_some()),
            1
        );
        assert_eq!(server.count(|a| a.kind == Kind::Head), 3);
    });
}

#[test]
fn a_wrong_signature_or_checksum_changes_nothing() {
    check(|server| async move {
        let stranger = client(&server, "another secret", 0);
        let refused = stranger
            .put(&at("x"), PutPayload::from_static(b"x"))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, object_store::Error::PermissionDenied { .. }),
            "{refused}"
        );
        assert!(!server.folder("x").exists());
        let wrong = reqwest::Client::new()
            .put(format!("{}/{BUCKET}/x", server.endpoint()))
            .header("x-amz-checksum-sha256", "AAAA")
            .body("x")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status().as_u16(), 400);
        assert!(wrong.text().await.unwrap().contains("BadDigest"));
        assert!(!server.folder("x").exists());
    });
}

#[test]
fn of_many_writers_with_one_precondition_one_wins() {
    check(|server| async move {
        let store = &client(&server, SECRET_KEY, 0);
        let round = std::sync::atomic::AtomicU8::new(0);
        let race = async |options: PutOptions| {
            // The same bytes would have the same tag, and all of them would win.
            let round = round.fetch_add(16, std::sync::atomic::Ordering::SeqCst);
            let put = |n: u8| {
                let options = options.clone();
                async move {
                    store
                        .put_opts(&at("x"), PutPayload::from(vec![round + n; 100]), options)
                        .await
                }
            };
            futures::future::join_all((0..16).map(put))
                .await
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        };
        let [first] = race(create()).await.try_into().unwrap();
        assert_eq!(store.head(&at("x")).await.unwrap().e_tag, first.e_tag);
        let [second] = race(update(first.e_tag.clone())).await.try_into().unwrap();
        assert_ne!(second.e_tag, first.e_tag);
        assert_eq!(race(update(first.e_tag)).await.len(), 0);
        server.set_conditions(Conditions::Raced);
        assert!(race(update(second.e_tag)).await.len() > 1);
        assert_eq!(
            race(create()).await.len(),
            0,
            "one that comes too late is refused even so"
        );
        server.set_conditions(Conditions::Ignored);
        assert_eq!(race(create()).await.len(), 16);
    });
}

#[test]
fn uploads_in_parts() {
    check(|server| async move {
        let store = client(&server, SECRET_KEY, 0);
        let begin = async |key| {
            let mut upload = store
                .put_multipart_opts(&at(key), PutMultipartOptions::default())
                .await
                .unwrap();
            upload
                .put_part(PutPayload::from(vec![1; 5 << 20]))
                .await
                .unwrap();
            upload
                .put_part(PutPayload::from(vec![2; 10]))
                .await
                .unwrap();
            upload
        };
        let mut upload = begin("x").await;
        assert_eq!(server.uploads(), ["x"]);
        assert!(!server.folder("x").exists());
        let _ = upload.complete().await.unwrap();
        assert_eq!(
            store
                .get(&at("x"))
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap()
                .len(),
            (5 << 20) + 10
        );
        assert_eq!(server.uploads(), Vec::<String>::new());
        begin("y").await.abort().await.unwrap();
        assert_eq!(server.uploads(), Vec::<String>::new());
        assert_eq!(server.count(|a| a.kind == Kind::Part), 4);
        // A completion that comes again finds nothing to complete.
        server.fault(
            |a| a.kind == Kind::Complete,
            0..1,
            done(Answer::Status(500)),
        );
        let failed = begin("z").await.complete().await.unwrap_err();
        assert!(failed.to_string().contains("500"), "{failed}");
        assert!(server.folder("z").exists());
        let store = client(&server, SECRET_KEY, 2);
        server.calm();
        server.fault(
            |a| a.kind == Kind::Complete,
            0..1,
            done(Answer::Body("InternalError")),
        );
        let mut upload = store.put_multipart(&at("w")).await.unwrap();
        upload
            .put_part(PutPayload::from_static(b"w"))
            .await
            .unwrap();
        let failed = upload.complete().await.unwrap_err();
        assert!(
            matches!(failed, object_store::Error::NotFound { .. }),
            "{failed}"
        );
        assert!(server.folder("w").exists());
    });
}

#[test]
fn faults_are_what_they_are_called() {
    check(|server| async move {
        let store = client(&server, SECRET_KEY, 0);
        let faults = [
            Answer::Status(500),
            Answer::Dropped,
            Answer::Hung,
            Answer::Status(409),
            Answer::Truncated,
        ];
        for (n, answer) in faults.into_iter().enumerate() {
            for (fault, exists) in [(done(answer), true), (undone(answer), false)] {
                let key = format!("{n}-{exists}");
                let wanted = key.clone();
                server.fault(move |a| a.is(Kind::Put, &wanted), 0..1, fault);
                let put = store
                    .put_opts(&at(&key), PutPayload::from_static(b"x"), create())
                    .await;
                assert!(put.is_err(), "{fault:?}: {put:?}");
                assert_eq!(server.folder(&key).exists(), exists, "{fault:?}");
            }
        }
        server.put("x", b"0123456789");
        server.fault(|a| a.kind == Kind::Get, 0..1, done(Answer::Truncated));
        server.fault(|a| a.kind == Kind::Get, 1..2, done(LATE));
        let cut = async || store.get(&at("x")).await.unwrap().bytes().await;
        assert!(cut().await.is_err(), "half of it is an error");
        assert_eq!(
            cut().await.unwrap(),
            "0123456789".as_bytes(),
            "late is whole"
        );
        server.meanwhile(
            |a| a.kind == Kind::Get,
            server.putting("x", b"other".to_vec()),
        );
        assert_eq!(cut().await.unwrap(), "other".as_bytes());
        // Retried, a fault that goes away is none.
        let patient = client(&server, SECRET_KEY, 3);
        server.fault(|a| a.is(Kind::Get, "x"), 0..2, undone(Answer::Status(503)));
        assert_eq!(
            patient.get(&at("x")).await.unwrap().bytes().await.unwrap(),
            "other".as_bytes()
        );
    });
}
