//! An S3 server in the process of the tests: `s3s-fs` on a folder that goes when the server does,
//! on a port of loopback, with the faults of `faults.rs` in front of it. Signatures are checked.
//!
//! What `s3s-fs` lacks is added, because qlc is entitled to it: preconditions that hold when
//! requests come side by side, also on reads; checksums looked at before anything is kept; lists
//! with tags and times to the second; a list of begun uploads. Refuses requests for any bucket but
//! one.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU8, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use s3s::{S3, S3Request, S3Response, S3Result, dto, s3_error};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::RwLock};

use super::{
    faults::{Asked, Fault, Script, Seen},
    wire,
};

pub const BUCKET: &str = "quant";
/// Below the bucket.
pub const ARCHIVE: &str = "archive";
pub const SPOOL: &str = "spool";
pub const ACCESS_KEY: &str = "AKIAQLCTESTACCESSKEY";
pub const SECRET_KEY: &str = "qlc-test-secret/that+must=never-be-printed";

/// How the store keeps preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// As S3 does.
    Kept,
    /// As if they were not there.
    Ignored,
    /// They are looked at, and some time later the object is written.
    Raced,
}

pub struct Server {
    root: TempDir,
    port: u16,
    script: Arc<Script>,
    conditions: Arc<AtomicU8>,
    uploads: Arc<Uploads>,
    listing: Arc<Listing>,
    runtime: Option<Runtime>,
}

/// How the bucket is listed.
struct Listing {
    /// Keys of a page.
    page: AtomicI32,
    /// Keys that a folder cannot have, which are listed besides.
    odd: Mutex<Vec<String>>,
}

/// Key and time of every upload that was begun and neither completed nor aborted.
type Uploads = Mutex<BTreeMap<String, (String, SystemTime)>>;

impl Server {
    pub fn new() -> Self {
        Self::within(TempDir::new().unwrap())
    }

    /// A server on this folder, which is empty yet.
    pub fn within(root: TempDir) -> Self {
        fs::create_dir(root.path().join(BUCKET)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (conditions, uploads) = (Arc::new(AtomicU8::new(0)), Arc::<Uploads>::default());
        let listing = Arc::new(Listing {
            page: AtomicI32::new(1000),
            odd: Mutex::default(),
        });
        let disk = Disk {
            files: FileSystem::new(root.path()).unwrap(),
            conditions: Arc::clone(&conditions),
            uploads: Arc::clone(&uploads),
            listing: Arc::clone(&listing),
            turn: RwLock::new(()),
        };
        let script = Arc::<Script>::default();
        let mut service = s3s::service::S3ServiceBuilder::new(disk);
        service.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        drop(runtime.spawn(wire::serve(listener, service.build(), Arc::clone(&script))));
        Self {
            root,
            port,
            script,
            conditions,
            uploads,
            listing,
            runtime: Some(runtime),
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment in which qlc finds this server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ]
    }

    /// The objects below `key`, as files. To be looked at; [`Self::put`] changes one.
    pub fn folder(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// Puts an object there, past the faults and the record.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        put(self.root.path(), key, bytes);
    }

    /// Removes an object, likewise.
    pub fn remove(&self, key: &str) {
        forget(self.root.path(), key);
        fs::remove_file(self.folder(key)).unwrap();
    }

    /// The file of an object was changed: what is remembered of the one before is forgotten.
    pub fn changed(&self, key: &str) {
        forget(self.root.path(), key);
    }

    /// The same as [`Self::put`], to be taken along.
    pub fn putting(&self, key: &str, bytes: Vec<u8>) -> impl FnOnce() + Send + use<> {
        let (root, key) = (self.root.path().to_owned(), key.to_owned());
        move || put(&root, &key, &bytes)
    }

    /// From now on a page of a list has so many keys.
    pub fn set_page(&self, keys: i32) {
        self.listing.page.store(keys, Ordering::SeqCst);
    }

    /// An object of one byte is listed under this key, which need not be one that a file can have.
    pub fn list_also(&self, key: &str) {
        self.listing
            .odd
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(key.to_owned());
    }

    pub fn set_conditions(&self, conditions: Conditions) {
        self.conditions.store(conditions as u8, Ordering::SeqCst);
    }

    /// The requests `which` (counted from 0) of those that are meant meet this fault.
    pub fn fault(
        &self,
        when: impl Fn(&Asked) -> bool + Send + 'static,
        which: Range<usize>,
        fault: Fault,
    ) {
        self.script.fault(Box::new(when), which, fault);
    }

    /// Does something before the first request that is meant is carried out.
    pub fn meanwhile(
        &self,
        when: impl Fn(&Asked) -> bool + Send + 'static,
        what: impl FnOnce() + Send + 'static,
    ) {
        self.script.meanwhile(Box::new(when), Box::new(what));
    }

    /// From now on so many of a hundred requests meet a fault; which ones follows from the seed.
    pub fn storm(&self, seed: u64, percent: u64) {
        self.script.storm(seed, percent);
    }

    /// What the storm did to whom.
    pub fn trace(&self) -> Vec<String> {
        self.script.trace()
    }

    /// No more faults.
    pub fn calm(&self) {
        self.script.calm();
    }

    /// All requests since the last [`Self::forget`].
    pub fn seen(&self) -> Vec<Seen> {
        self.script.seen()
    }

    /// How many of them are meant.
    pub fn count(&self, meant: impl Fn(&Asked) -> bool) -> usize {
        self.seen().iter().filter(|seen| meant(&seen.asked)).count()
    }

    pub fn forget(&self) {
        self.script.forget();
    }

    /// Keys of uploads that were begun and neither completed nor aborted.
    pub fn uploads(&self) -> Vec<String> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.values().map(|(key, _)| key.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn put(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(BUCKET).join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let written = root.join(format!(".put-{}", wire::base64(key.as_bytes(), wire::URL)));
    fs::write(&written, bytes).unwrap();
    forget(root, key);
    fs::rename(written, path).unwrap();
}

/// Removes what `s3s-fs` keeps beside an object: its tag and its headers.
fn forget(root: &Path, key: &str) {
    for kind in ["internal", "metadata"] {
        let [bucket, object] = [BUCKET, key].map(|name| wire::base64(name.as_bytes(), wire::URL));
        let _ = fs::remove_file(root.join(format!(".bucket-{bucket}.object-{object}.{kind}.json")));
    }
}

/// `s3s-fs`, with what it lacks.
struct Disk {
    files: FileSystem,
    conditions: Arc<AtomicU8>,
    uploads: Arc<Uploads>,
    listing: Arc<Listing>,
    /// Held alone while an object changes: its bytes and its tag change one after the other.
    turn: RwLock<()>,
}

impl Disk {
    async fn tag(&self, bucket: &str, key: &str) -> Option<dto::ETag> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let request = request(dto::HeadObjectInput {
            bucket,
            key,
            ..Default::default()
        });
        self.files.head_object(request).await.ok()?.output.e_tag
    }

    async fn read_allowed(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<&dto::ETagCondition>,
    ) -> S3Result<()> {
        let tag = self.tag(bucket, key).await;
        match (if_match.and_then(dto::ETagCondition::as_etag), tag) {
            (Some(wanted), Some(tag)) if *wanted != tag => {
                Err(s3_error!(PreconditionFailed, "the object has another tag"))
            }
            _ => Ok(()),
        }
    }

    /// Looks at the preconditions of a write and takes them away, unless `s3s-fs` shall look at
    /// them under the lock.
    async fn write_allowed(
        &self,
        bucket: &str,
        key: &str,
        if_match: &mut Option<dto::ETagCondition>,
        if_none_match: &mut Option<dto::ETagCondition>,
    ) -> S3Result<()> {
        let conditions = self.conditions.load(Ordering::SeqCst);
        if conditions == Conditions::Kept as u8 {
            return Ok(());
        }
        let (if_match, if_none_match) = (if_match.take(), if_none_match.take());
        if conditions == Conditions::Raced as u8 {
            let tag = self.tag(bucket, key).await;
            let wanted = if_match.as_ref().and_then(dto::ETagCondition::as_etag);
            if if_none_match.is_some() && tag.is_some()
                || wanted.is_some() && wanted != tag.as_ref()
            {
                return Err(s3_error!(PreconditionFailed, "looked at too early"));
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        Ok(())
    }

    fn upload(&self, id: &str) -> S3Result<()> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.contains_key(id) {
            Ok(())
        } else {
            Err(s3_error!(NoSuchUpload, "completed, aborted or never begun"))
        }
    }

    fn end_upload(&self, id: &str) {
        let _ = self
            .uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: hyper::Method::GET,
        uri: hyper::Uri::from_static("/"),
        headers: hyper::HeaderMap::new(),
        extensions: http::Extensions::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

/// A key as S3 encodes it in a list.
fn url_encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte);
    let text = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    key.bytes().map(text).collect()
}

/// S3 tells times in whole seconds.
fn to_the_second(time: &dto::Timestamp) -> dto::Timestamp {
    let mut text = Vec::new();
    time.format(dto::TimestampFormat::EpochSeconds, &mut text)
        .unwrap();
    let seconds: f64 = String::from_utf8(text).unwrap().parse().unwrap();
    dto::Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds as u64))
}

#[async_trait::async_trait]
impl S3 for Disk {
    async fn get_object(
        &self,
        req: S3Request<dto::GetObjectInput>,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let _turn = self.turn.read().await;
        self.read_allowed(
            &req.input.bucket,
            &req.input.key,
            req.input.if_match.as_ref(),
        )
        .await?;
        self.files.get_object(req).await
    }

    async fn head_object(
        &self,
        req: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let _turn = self.turn.read().await;
        self.read_allowed(
            &req.input.bucket,
            &req.input.key,
            req.input.if_match.as_ref(),
        )
        .await?;
        self.files.head_object(req).await
    }

    async fn list_objects_v2(
        &self,
        mut req: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let _turn = self.turn.read().await;
        let bucket = req.input.bucket.clone();
        let (prefix, token) = (
            req.input.prefix.clone(),
            req.input.continuation_token.clone(),
        );
        let is_encoded = req.input.encoding_type.is_some();
        req.input.max_keys = Some(self.listing.page.load(Ordering::SeqCst));
        let mut listed = self.files.list_objects_v2(req).await?;
        for object in listed.output.contents.iter_mut().flatten() {
            object.e_tag = self
                .tag(&bucket, object.key.as_deref().unwrap_or_default())
                .await;
            object.last_modified = object.last_modified.as_ref().map(to_the_second);
        }
        let next = listed.output.next_continuation_token.clone();
        let is_here = |key: &&String| {
            key.starts_with(prefix.as_deref().unwrap_or_default())
                && token.as_ref().is_none_or(|token| *key > token)
                && next.as_ref().is_none_or(|next| *key <= next)
        };
        let odd = self
            .listing
            .odd
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let contents = listed.output.contents.get_or_insert_default();
        contents.extend(odd.iter().filter(is_here).map(|key| dto::Object {
            key: Some(key.clone()),
            size: Some(1),
            e_tag: Some(dto::ETag::Strong("odd".to_owned())),
            last_modified: Some(dto::Timestamp::from(UNIX_EPOCH)),
            ..Default::default()
        }));
        contents.sort_by(|a, b| a.key.cmp(&b.key));
        if is_encoded {
            for object in contents {
                object.key = object.key.as_deref().map(url_encoded);
            }
        }
        Ok(listed)
    }

    async fn put_object(
        &self,
        mut req: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = &mut req.input;
        self.write_allowed(
            &input.bucket,
            &input.key,
            &mut input.if_match,
            &mut input.if_none_match,
        )
        .await?;
        let _turn = self.turn.write().await;
        self.files.put_object(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        let key = req.input.key.clone();
        let created = self.files.create_multipart_upload(req).await?;
        let id = created.output.upload_id.clone().unwrap_or_default();
        let _ = self
            .uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, (key, SystemTime::now()));
        Ok(created)
    }

    async fn upload_part(
        &self,
        req: S3Request<dto::UploadPartInput>,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        self.upload(&req.input.upload_id)?;
        let checksum_sha256 = req.input.checksum_sha256.clone();
        let mut taken = self.files.upload_part(req).await?;
        // It was compared with the bytes already.
        taken.output.checksum_sha256 = checksum_sha256;
        Ok(taken)
    }

    async fn complete_multipart_upload(
        &self,
        mut req: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let (id, input) = (req.input.upload_id.clone(), &mut req.input);
        self.upload(&id)?;
        self.write_allowed(
            &input.bucket,
            &input.key,
            &mut input.if_match,
            &mut input.if_none_match,
        )
        .await?;
        let _turn = self.turn.write().await;
        let completed = self.files.complete_multipart_upload(req).await?;
        self.end_upload(&id);
        Ok(completed)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        self.upload(&id)?;
        let aborted = self.files.abort_multipart_upload(req).await?;
        self.end_upload(&id);
        Ok(aborted)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let found = uploads
            .iter()
            .filter(|(_, (key, _))| key.starts_with(&prefix));
        let of = |(id, (key, begun)): (&String, &(String, SystemTime))| dto::MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(to_the_second(&dto::Timestamp::from(*begun))),
            ..Default::default()
        };
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            bucket: Some(req.input.bucket),
            prefix: Some(prefix.clone()),
            is_truncated: Some(false),
            uploads: Some(found.map(of).collect()),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let _turn = self.turn.write().await;
        self.files.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let _turn = self.turn.write().await;
        self.files.delete_objects(req).await
    }

    async fn head_bucket(
        &self,
        req: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }
}
