//! The collector's own small web server: health, metrics, status, and a page for a person.
//!
//! Refuses to change anything: every route only reads the last status.

use std::{fmt::Write, future::Future, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use super::status::{LAG_MS, SeriesState, Status};
use crate::error::{Error, Result};

type Told = watch::Receiver<Arc<Status>>;

/// Binds the address.
///
/// # Errors
/// When it cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|e| Error::io(format!("{address}: cannot be listened on; choose another with --listen"), e))
}

/// Answers until `stop` completes.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, told: Told, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let router = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/health", get(health))
        .route("/metrics", get(|State(told): State<Told>| async move { text(metrics(&told.borrow().clone())) }))
        .route("/status", get(status))
        .with_state(told);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
        .map_err(|e| Error::io("the status page cannot be served", e))
}

async fn health(State(told): State<Told>) -> Response {
    let status = told.borrow().clone();
    if status.healthy {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, status.troubles.join("\n") + "\n").into_response()
    }
}

async fn status(State(told): State<Told>) -> Response {
    let body = serde_json::to_string(&**told.borrow()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}

/// The status as Prometheus reads it.
fn metrics(status: &Status) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, String)>| {
        let _ = writeln!(out, "# HELP qlc_collect_{name} {help}\n# TYPE qlc_collect_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "qlc_collect_{name}{labels} {value}");
        }
    };
    let one = |value: String| vec![(String::new(), value)];
    family(
        "up",
        "gauge",
        "Whether every connection is live, every series is well and the disk takes rows.",
        one(u8::from(status.healthy).to_string()),
    );
    family("frames_total", "counter", "Frames read.", one(status.frames.to_string()));
    family("received_bytes_total", "counter", "Bytes of frames read.", one(status.bytes.to_string()));
    family("rejected_frames_total", "counter", "Frames that could not be decoded.", one(status.rejected.to_string()));
    family("queue_groups", "gauge", "Groups of events waiting for the writer.", one(status.queue.to_string()));
    family("memory_bytes", "gauge", "Bytes of rows not sealed yet.", one(status.memory_bytes.to_string()));
    family("memory_limit_bytes", "gauge", "Bytes of rows that may be in memory.", one(status.memory_limit.to_string()));
    family("journal_bytes", "gauge", "Bytes of the journal.", one(status.journal_bytes.to_string()));
    let age = format!("{}.{:03}", status.journal_age_ms / 1000, status.journal_age_ms % 1000);
    family("journal_age_seconds", "gauge", "Age of the oldest event that is not acknowledged.", one(age));
    family("files_sealed_total", "counter", "Spool files sealed.", one(status.files_sealed.to_string()));
    family("files_waiting", "gauge", "Spool files waiting to be sealed.", one(status.files_waiting.to_string()));
    family("disk_free_bytes", "gauge", "Bytes free on the disk of the spool.", one(status.disk_free.to_string()));
    let feeds = |of: fn(&super::status::FeedStatus) -> u64| {
        let label = |f: &super::status::FeedStatus| {
            format!("{{exchange=\"{}\",stream=\"{}\",symbol=\"{}\"}}", f.exchange, f.stream, f.symbol)
        };
        status.feeds.iter().map(|f| (label(f), of(f).to_string())).collect::<Vec<_>>()
    };
    family("events_total", "counter", "Events taken.", feeds(|f| f.events));
    family("gaps_total", "counter", "Holes in the exchange's numbers.", feeds(|f| f.gaps));
    family("missing_events_total", "counter", "Events missing in them.", feeds(|f| f.missing));
    family("duplicate_events_total", "counter", "Events that came again.", feeds(|f| f.duplicates));
    family("late_events_total", "counter", "Events that came late and were kept.", feeds(|f| f.late));
    family("dropped_events_total", "counter", "Events that had no room.", feeds(|f| f.dropped));
    family("conflicting_events_total", "counter", "Events with the number of another one.", feeds(|f| f.conflicts));
    family("series_troubled", "gauge", "Whether a series is not well.", feeds(|f| u64::from(f.trouble.is_some())));
    let states =
        SeriesState::ALL.map(|state| (format!("{{state=\"{}\"}}", state.name()), status.series.of(state).to_string()));
    family("series", "gauge", "Series by their state.", states.to_vec());
    let lines = |of: fn(&super::status::LineStatus) -> u64| {
        let label = |l: &super::status::LineStatus| format!("{{exchange=\"{}\",line=\"{}\"}}", l.exchange, l.name);
        status.lines.iter().map(|l| (label(l), of(l).to_string())).collect::<Vec<_>>()
    };
    family("reconnects_total", "counter", "Times that a connection was lost.", lines(|l| l.reconnects));
    family("line_live", "gauge", "Whether a connection is live.", lines(|l| u64::from(l.state == "live")));
    let _ = writeln!(
        out,
        "# HELP qlc_collect_lag_seconds From the exchange's time of an event to its receipt.\n\
         # TYPE qlc_collect_lag_seconds histogram"
    );
    for line in &status.lines {
        let labels = format!("exchange=\"{}\",line=\"{}\"", line.exchange, line.name);
        let mut below = 0;
        for (count, end) in line.lags.counts.iter().zip(LAG_MS) {
            below += count;
            let seconds = format!("{}.{:03}", end / 1000, end % 1000);
            let _ = writeln!(out, "qlc_collect_lag_seconds_bucket{{{labels},le=\"{seconds}\"}} {below}");
        }
        let total = line.lags.total();
        let _ = writeln!(out, "qlc_collect_lag_seconds_bucket{{{labels},le=\"+Inf\"}} {total}");
        let sum = format!("{}.{:03}", line.lags.sum_ms / 1000, line.lags.sum_ms % 1000);
        let _ = writeln!(out, "qlc_collect_lag_seconds_sum{{{labels}}} {sum}");
        let _ = writeln!(out, "qlc_collect_lag_seconds_count{{{labels}}} {total}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collect::status::{FeedStatus, LineStatus},
        model::metric,
    };

    #[test]
    fn metrics_are_those_of_the_status() {
        let mut line =
            LineStatus { name: "okx.public/0".to_owned(), exchange: "okx", state: "live", ..LineStatus::default() };
        line.lags.add(3_000_000);
        let feed = FeedStatus {
            exchange: "okx",
            stream: "bbo",
            symbol: "btcusdt".to_owned(),
            events: 7,
            ..FeedStatus::default()
        };
        let text = metrics(&Status { healthy: true, lines: vec![line], feeds: vec![feed], ..Status::default() });
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        assert_eq!(families.collect::<Vec<_>>(), metric::COLLECT);
        for want in [
            "qlc_collect_up 1\n",
            "qlc_collect_events_total{exchange=\"okx\",stream=\"bbo\",symbol=\"btcusdt\"} 7\n",
            "qlc_collect_lag_seconds_bucket{exchange=\"okx\",line=\"okx.public/0\",le=\"0.002\"} 0\n",
            "qlc_collect_lag_seconds_bucket{exchange=\"okx\",line=\"okx.public/0\",le=\"0.005\"} 1\n",
            "qlc_collect_lag_seconds_sum{exchange=\"okx\",line=\"okx.public/0\"} 0.003\n",
        ] {
            assert!(text.contains(want), "{want} is not in\n{text}");
        }
    }
}
