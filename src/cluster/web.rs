//! The small web server of scheduler and executors, beside Ballista's gRPC on the same port. Every
//! route only reads.

use std::fmt::Write;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::model::metric::Metric;

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    let body = serde_json::to_string(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Metrics as Prometheus reads them; those that count end in `_total`.
pub(super) fn metrics(values: &[(Metric, u64)]) -> Response {
    let mut text = String::new();
    for (metric, value) in values {
        let kind = if metric.name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        let Metric { name, help } = metric;
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}
