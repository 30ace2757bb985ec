//! A bucket: how its client is made from the options, and the few requests that the client does not
//! offer.
//!
//! Plain HTTP must be allowed explicitly, and a URL may hold no credentials, which would end up in
//! logs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, StatusCode};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredential, Checksum},
    client::HttpRequestBody,
    limit::LimitStore,
};
use url::Url;

use super::wire::{Wire, WireConnector};
use crate::error::{Error, Kind, Result};

/// How to speak to buckets. What is `None` is taken from the `AWS_*` environment, else from the
/// store's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketOptions {
    /// The URL of a store that is not AWS.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether `http://` is allowed.
    pub allow_http: bool,
    /// Whether the bucket is named in the host instead of the path.
    pub virtual_hosted: bool,
    /// Bounds one request, its answer included.
    pub request_timeout: Duration,
    /// Bounds the making of a connection.
    pub connect_timeout: Duration,
    /// How often a request is repeated after an answer that allows it, with exponential backoff and
    /// jitter.
    pub retries: usize,
    /// Bounds one request with all its repetitions.
    pub retry_timeout: Duration,
    /// Requests under way at a time.
    pub connections: usize,
    /// The `AWS_*` variables that are not empty; without them they are read where they are needed.
    pub variables: Option<Variables>,
    /// Credentials of a profile, for where the environment has none.
    pub credentials: Option<Credentials>,
    /// Whether nobody else writes to the archive, so that conditional writes are not needed.
    pub single_writer: bool,
    /// Objects larger than this are uploaded in parts.
    pub multipart_above: u64,
    /// Bytes of a part.
    pub part_bytes: u64,
}

/// Variables of the environment, with their names.
#[derive(Clone, PartialEq, Eq)]
pub struct Variables(pub Vec<(String, String)>);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Variables(***)")
    }
}

/// Static credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub key_id: String,
    /// The secret.
    pub secret: String,
    /// The session's token, if they are temporary.
    pub token: Option<String>,
    /// Whether they go before those of the environment, because their profile was named.
    pub first: bool,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl BucketOptions {
    /// What holds where nobody says otherwise.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            endpoint: None,
            region: None,
            allow_http: false,
            virtual_hosted: false,
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            retries: 10,
            retry_timeout: Duration::from_mins(3),
            connections: 64,
            variables: None,
            credentials: None,
            single_writer: false,
            multipart_above: 16 << 20,
            part_bytes: 8 << 20,
        }
    }
}

/// The pauses before repetitions.
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_secs(15),
    base: 2.0,
};

/// An open bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Its name.
    pub(super) name: String,
    /// The client, within the limit of requests.
    pub(super) object: Arc<dyn ObjectStore>,
    /// The line to the server.
    pub(super) wire: Arc<Wire>,
    /// As it was opened.
    pub(super) options: BucketOptions,
    client: Arc<AmazonS3>,
    region: String,
    /// Whether requests are signed; a public bucket can be read without.
    signs: bool,
    /// The URL below which its keys are, with a slash at the end.
    base: Url,
}

impl Bucket {
    /// Opens the bucket `name`; no request is sent.
    pub(super) fn open(name: &str, options: &BucketOptions) -> Result<Self> {
        let mut builder = from_environment(options.variables.as_ref()).with_bucket_name(name);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(known) = &options.credentials
            && (known.first
                || builder
                    .get_config_value(&AmazonS3ConfigKey::AccessKeyId)
                    .is_none())
        {
            builder = builder
                .with_access_key_id(&known.key_id)
                .with_secret_access_key(&known.secret);
            if let Some(token) = &known.token {
                builder = builder.with_token(token);
            }
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        if let Some(endpoint) = &endpoint {
            check_endpoint(endpoint, options.allow_http)?;
        }
        let says = |key: AmazonS3ConfigKey| builder.get_config_value(&key).is_some();
        let has_no_keys = !says(AmazonS3ConfigKey::AccessKeyId)
            && !says(AmazonS3ConfigKey::WebIdentityTokenFile)
            && !says(AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
            && !says(AmazonS3ConfigKey::ContainerCredentialsFullUri)
            && builder
                .get_config_value(&AmazonS3ConfigKey::SkipSignature)
                .is_none_or(|skip| skip != "true");
        let region = builder
            .get_config_value(&AmazonS3ConfigKey::Region)
            .unwrap_or_else(|| "us-east-1".to_owned());
        let unsigned = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature);
        let signs = unsigned
            .is_none_or(|unsigned| !["1", "true", "on", "yes", "y"].contains(&unsigned.as_str()));
        let wire = Arc::new(Wire::default());
        if has_no_keys {
            wire.relies_on_role(
                builder
                    .get_config_value(&AmazonS3ConfigKey::MetadataEndpoint)
                    .as_deref(),
            );
        }
        let client = ClientOptions::new()
            .with_allow_http(options.allow_http)
            .with_timeout(options.request_timeout)
            .with_connect_timeout(options.connect_timeout)
            .with_pool_max_idle_per_host(options.connections);
        let wrong = |e| {
            Error::caused(
                Kind::Usage,
                format!("s3://{name}: the settings of the store are not complete"),
                e,
            )
        };
        let client = builder
            .with_client_options(client)
            .with_retry(RetryConfig {
                backoff: BACKOFF,
                max_retries: options.retries,
                retry_timeout: options.retry_timeout,
            })
            .with_virtual_hosted_style_request(options.virtual_hosted)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_http_connector(WireConnector(Arc::clone(&wire)))
            .build()
            .map_err(wrong)?;
        let client = Arc::new(client);
        let base = base_url(name, endpoint.as_deref(), &region, options.virtual_hosted)?;
        let object: Arc<dyn ObjectStore> = Arc::new(LimitStore::new(
            Arc::clone(&client),
            options.connections.max(2),
        ));
        Ok(Self {
            name: name.to_owned(),
            object,
            wire,
            options: options.clone(),
            client,
            region,
            signs,
            base,
        })
    }

    /// Whether `other` is this bucket of this endpoint.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.base == other.base
    }

    /// Whether requests fail because nobody gives credentials: no keys are named, and the machine
    /// has no role.
    pub(super) fn lacks_credentials(&self) -> bool {
        self.wire.has_no_role()
    }

    /// Whether nobody answers at all.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.wire.is_unanswered()
    }

    /// Who answers, for messages: the endpoint and what the server calls itself.
    pub(super) fn server(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        match self.wire.server() {
            Some(name) => format!("the store at {host} ({name})"),
            None => format!("the store at {host}"),
        }
    }

    /// Sends a request about the bucket itself, for which the client has no words, and takes the
    /// answer as `understood` says. Requests that change nothing are repeated as often, and as
    /// long, as the client repeats its own.
    pub(super) async fn ask<T>(
        &self,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        understood: fn(&str) -> BodyAnswer<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut tried = 0;
        loop {
            let error = match self.ask_once(&method, key, query).await {
                Ok(body) => match understood(&body) {
                    BodyAnswer::Value(value) => return Ok(value),
                    BodyAnswer::Again(error) => Attempt::Again(error),
                    BodyAnswer::Never(error) => Attempt::Never(error),
                },
                Err(error) => error,
            };
            let (error, again) = match error {
                // What changes something may have done so, and a repetition would be told that
                // there is nothing to do.
                Attempt::Again(error) => (error, method == Method::GET),
                Attempt::Never(error) => (error, false),
            };
            if !again
                || tried >= self.options.retries
                || begun.elapsed() >= self.options.retry_timeout
            {
                return Err(Error::caused(
                    Kind::Io,
                    format!("s3://{}: {method} failed", self.name),
                    error,
                ));
            }
            tried += 1;
            let pause = BACKOFF
                .init_backoff
                .saturating_mul(1 << tried.min(20))
                .min(BACKOFF.max_backoff);
            tracing::debug!(%method, key, tried, error, "a request is repeated");
            // By chance, so that those who were refused at a time do not come back at a time.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.2..=1.0))).await;
        }
    }

    async fn ask_once(
        &self,
        method: &Method,
        key: &str,
        query: &[(&str, &str)],
    ) -> std::result::Result<String, Attempt> {
        let never = |e: Cause| Attempt::Never(e);
        let mut url = self.base.clone();
        if !key.is_empty() {
            url = url.join(key).map_err(|e| never(e.into()))?;
        }
        let _ = url.query_pairs_mut().extend_pairs(query);
        let mut request = Request::builder()
            .method(method.clone())
            .uri(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(|e| never(e.into()))?;
        if self.signs {
            let credential: Arc<AwsCredential> = self
                .client
                .credentials()
                .get_credential()
                .await
                .map_err(|e| never(e.into()))?;
            AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        }
        let answer = self
            .wire
            .send(request)
            .await
            .map_err(|e| Attempt::Again(e.into()))?;
        let status = answer.status();
        let body = answer
            .into_body()
            .bytes()
            .await
            .map_err(|e| Attempt::Again(e.into()))?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() {
            return Ok(body);
        }
        let told: String = body.chars().take(300).collect();
        let error = format!("the answer was {status}: {told}").into();
        let again = status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        Err(if again {
            Attempt::Again(error)
        } else {
            Attempt::Never(error)
        })
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an attempt came to nothing, and whether another may go better.
enum Attempt {
    Again(Cause),
    Never(Cause),
}

/// What the body of an answer is.
pub(super) enum BodyAnswer<T> {
    /// What was asked for.
    Value(T),
    /// An error of the store that may be gone next time.
    Again(Cause),
    /// Something else.
    Never(Cause),
}

/// A client as the `AWS_*` variables describe it.
fn from_environment(variables: Option<&Variables>) -> AmazonS3Builder {
    let Some(Variables(all)) = variables else {
        return AmazonS3Builder::from_env();
    };
    let mut builder = AmazonS3Builder::new();
    for (name, value) in all {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// Refuses endpoints that would send data in the clear, or that hold credentials.
fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<()> {
    let url = Url::parse(endpoint).map_err(|e| {
        Error::caused(
            Kind::Usage,
            "the endpoint is no URL: write https://host[:port]",
            e,
        )
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::usage(
            "the endpoint holds credentials: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or as a profile",
        ));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http => Ok(()),
        "http" => Err(Error::usage(format!(
            "{endpoint}: plain http would send data and signatures in the clear; allow it with --allow-http"
        ))),
        other => Err(Error::usage(format!(
            "{endpoint}: an endpoint is https:// (or http://), not {other}://"
        ))),
    }
}

/// The URL of a bucket, by the same rules as the client's.
fn base_url(
    bucket: &str,
    endpoint: Option<&str>,
    region: &str,
    virtual_hosted: bool,
) -> Result<Url> {
    let text = match (endpoint, virtual_hosted) {
        (Some(endpoint), false) => format!("{}/{bucket}/", endpoint.trim_end_matches('/')),
        (Some(endpoint), true) => format!("{}/", endpoint.trim_end_matches('/')),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}/"),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com/"),
    };
    Url::parse(&text).map_err(|e| Error::caused(Kind::Usage, format!("{text:?} is not a URL"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_in_the_clear_or_with_credentials_are_refused() {
        let check =
            |endpoint: &str, allow: bool| check_endpoint(endpoint, allow).map_err(|e| e.chain());
        assert_eq!(check("https://s3.example.org", false), Ok(()));
        assert_eq!(check("http://127.0.0.1:9000", true), Ok(()));
        assert!(
            check("http://127.0.0.1:9000", false)
                .unwrap_err()
                .contains("--allow-http")
        );
        let said = check("https://key:secret@s3.example.org", true).unwrap_err();
        assert!(
            said.contains("holds credentials") && !said.contains("secret@"),
            "{said}"
        );
        assert!(check("ftp://x", true).is_err());
        assert!(check("nonsense", true).is_err());
    }

    #[test]
    fn what_is_printed_of_credentials_is_nothing() {
        let known = Credentials {
            key_id: "id".into(),
            secret: "secret".into(),
            token: None,
            first: false,
        };
        let variables = Some(Variables(vec![(
            "AWS_SECRET_ACCESS_KEY".into(),
            "secret".into(),
        )]));
        let options = BucketOptions {
            credentials: Some(known),
            variables,
            ..BucketOptions::usual()
        };
        let told = format!("{options:?}");
        assert!(
            !told.contains("secret\"") && !told.contains("\"id\""),
            "{told}"
        );
    }
}
