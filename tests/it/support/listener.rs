//! Somebody on the web who is posted to: keeps every request, and answers as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use tokio::runtime::Runtime;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub method: String,
    pub path: String,
    pub kind: String,
    pub body: String,
}

/// A server that goes when this value does.
pub struct Listener {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    _runtime: Runtime,
}

impl Listener {
    /// Answers the first requests with these codes, and all others with 200.
    pub fn new(answers: &[u16]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let (seen, answers) = (Arc::clone(&posted), answers.to_vec());
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (seen, answers) = (Arc::clone(&seen), answers.clone());
            async move {
                let mut seen = seen.lock().unwrap();
                let code = answers.get(seen.len()).copied().unwrap_or(200);
                seen.push(Posted {
                    method: method.to_string(),
                    path: uri.path().to_owned(),
                    kind: headers
                        .get("content-type")
                        .map_or("", |kind| kind.to_str().unwrap())
                        .to_owned(),
                    body: String::from_utf8(body.to_vec()).unwrap(),
                });
                StatusCode::from_u16(code).unwrap()
            }
        };
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let serving = axum::serve(listener, Router::new().fallback(handler));
        drop(runtime.spawn(async move { serving.await.unwrap() }));
        Self {
            address,
            posted,
            _runtime: runtime,
        }
    }

    /// Its URL with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }
}
