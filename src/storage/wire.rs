//! The HTTP connector of an object store's client: every request of a bucket goes through here,
//! once.
//!
//! It adds the condition that the client cannot put on the end of a multipart upload, remembers who
//! answered, logs, and holds the crash points before and after every request that changes
//! something. The client repeats requests, not this file.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use http::{
    HeaderName, HeaderValue, Method,
    header::{IF_MATCH, IF_NONE_MATCH, SERVER},
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpService, ReqwestConnector,
    },
};

use super::crash;

tokio::task_local! {
    /// The condition under which the multipart upload that this task completes may take effect.
    static CONDITION: Condition;
}

/// A condition on a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// There is no such object yet.
    Absent,
    /// The object is still this version.
    Version(String),
}

/// Runs `work`, which completes a multipart upload, so that it takes effect only under `condition`.
pub(super) async fn under<F: Future>(condition: Option<Condition>, work: F) -> F::Output {
    match condition {
        Some(condition) => CONDITION.scope(condition, work).await,
        None => work.await,
    }
}

/// What is known of a line.
#[derive(Debug, Default)]
pub(super) struct Wire {
    client: OnceLock<HttpClient>,
    server: Mutex<Option<String>>,
    /// Host and port of the service that tells a machine of its role.
    roles: OnceLock<String>,
    /// Whether that service did not answer.
    no_role: AtomicBool,
    /// Whether nobody answered the last request.
    unanswered: AtomicBool,
}

/// Where machines in a cloud are told of their role, unless a variable says otherwise.
const ROLES: &str = "http://169.254.169.254";

impl Wire {
    /// What the server calls itself, once it has answered.
    pub(super) fn server(&self) -> Option<String> {
        self.server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says where the machine is told of its role, for the case that nothing else gives
    /// credentials.
    pub(super) fn relies_on_role(&self, endpoint: Option<&str>) {
        let url = url::Url::parse(endpoint.unwrap_or(ROLES)).ok();
        if let Some(url) = url {
            let port = url
                .port()
                .map_or_else(String::new, |port| format!(":{port}"));
            let _ = self
                .roles
                .set(format!("{}{port}", url.host_str().unwrap_or_default()));
        }
    }

    /// Whether the machine was asked for its role, and has none.
    pub(super) fn has_no_role(&self) -> bool {
        self.no_role.load(Ordering::Relaxed)
    }

    /// Whether nobody answered the last request.
    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Asks for the role of the machine. Where that is unknown it stays so: nobody waits for a
    /// second answer.
    async fn ask_for_role(
        &self,
        client: &HttpClient,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let answer = client.execute(request).await;
        if answer
            .as_ref()
            .is_ok_and(|answer| answer.status().is_success())
        {
            return answer;
        }
        self.no_role.store(true, Ordering::Relaxed);
        answer.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))
    }

    /// Sends a request.
    pub(super) async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(client) = self.client.get() else {
            return Err(HttpError::new(
                HttpErrorKind::Connect,
                std::io::Error::other("the client was not opened"),
            ));
        };
        if self.roles.get().is_some_and(|roles| {
            request
                .uri()
                .authority()
                .is_some_and(|to| to.as_str() == roles)
        }) {
            return self.ask_for_role(client, request).await;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let query = request.uri().query().unwrap_or_default().to_owned();
        if method == Method::POST
            && query.contains("uploadId=")
            && let Ok((name, value)) = CONDITION.try_with(header)
        {
            // Not signed, as headers outside x-amz-* need not be.
            let _ = request.headers_mut().insert(name, value);
        }
        let changes = method != Method::GET && method != Method::HEAD;
        if changes {
            crash::point("a request is about to be sent");
        }
        let answer = client.execute(request).await;
        if changes {
            crash::point("a request was answered");
        }
        let nobody = |error: &HttpError| {
            matches!(
                error.kind(),
                HttpErrorKind::Connect | HttpErrorKind::Timeout
            )
        };
        self.unanswered
            .store(answer.as_ref().err().is_some_and(nobody), Ordering::Relaxed);
        match &answer {
            Ok(response) => {
                tracing::trace!(%method, path, query, status = response.status().as_u16(), "request");
                if let Some(name) = response.headers().get(SERVER).and_then(|v| v.to_str().ok()) {
                    let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
                    if server.is_none() {
                        *server = Some(name.to_owned());
                    }
                }
            }
            Err(error) => tracing::debug!(%method, path, query, %error, "a request failed"),
        }
        answer
    }
}

fn header(condition: &Condition) -> (HeaderName, HeaderValue) {
    match condition {
        Condition::Absent => (IF_NONE_MATCH, HeaderValue::from_static("*")),
        // A tag that is no header value came from no header; nothing matches it.
        Condition::Version(tag) => (
            IF_MATCH,
            HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        ),
    }
}

/// Makes clients whose requests go through the [`Wire`].
#[derive(Debug)]
pub(super) struct WireConnector(pub(super) Arc<Wire>);

impl HttpConnector for WireConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        let _ = self.0.client.get_or_init(|| client);
        Ok(HttpClient::new(WireService(Arc::clone(&self.0))))
    }
}

#[derive(Debug)]
struct WireService(Arc<Wire>);

#[async_trait]
impl HttpService for WireService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.0.send(request).await
    }
}
