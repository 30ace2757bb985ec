//! The collector's own small web server: health, metrics, status, and a page for a person. Every
//! route only reads the last status.

use std::{
    fmt::Write,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::status::{LAG_MS, SeriesState, Status};
use crate::error::{Error, Result};

/// Where the last status is.
#[derive(Clone)]
struct Told(watch::Receiver<Arc<Status>>);

impl Told {
    fn now(&self) -> Arc<Status> {
        let last = Arc::clone(&self.0.borrow());
        let age = last.told.map(|told| told.elapsed());
        judged(last, age)
    }
}

/// A status is told several times a second. One that is so old says that the collector does nothing
/// any more.
const STALE: Duration = Duration::from_secs(30);

/// A status of this age, which is not well where none has followed it.
fn judged(status: Arc<Status>, age: Option<Duration>) -> Arc<Status> {
    let Some(age) = age.filter(|age| *age >= STALE) else {
        return status;
    };
    let mut status = Status::clone(&status);
    status.healthy = false;
    status.troubles.push(format!(
        "no event was taken and no row written for {} s: the collector hangs",
        age.as_secs()
    ));
    Arc::new(status)
}

/// So many connections are served at a time; further ones wait until one ends.
const CONNECTIONS: usize = 64;
/// A client that has not sent the head of its request by then is let go, also between two requests.
const HEAD: Duration = Duration::from_secs(10);
/// A connection lasts no longer, whatever its client does with it.
const LONGEST: Duration = Duration::from_mins(5);
/// After an error of the listener, such as too many open files.
const AGAIN: Duration = Duration::from_millis(100);

/// Binds the address.
///
/// # Errors
/// When it cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::io(
            format!("{address}: cannot be listened on; choose another with --listen"),
            e,
        )
    })
}

/// Answers until `stop` completes.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    last: watch::Receiver<Arc<Status>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let told = Told(last);
    let is_local = listener
        .local_addr()
        .is_ok_and(|address| address.ip().is_loopback());
    let router = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/health", get(health))
        .route(
            "/metrics",
            get(|State(told): State<Told>| async move { text(metrics(&told.now())) }),
        )
        .route("/status", get(status))
        .with_state(told)
        .layer(from_fn_with_state(is_local, by_its_own_name));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (permit, listener.accept().await)
            } => accepted,
        };
        let (Ok(permit), Ok((stream, _))) = accepted else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let _ = connections.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // A client that misbehaves is its own trouble.
            let _ = timeout(LONGEST, served).await;
            drop(permit);
        });
    }
}

/// Refuses a request under a name that is not this server's: a page of somebody else, whose name
/// was made to point here, would read the status by the browser of whoever looks at it. Where the
/// server is reached from other machines, it has names that it does not know.
async fn by_its_own_name(State(is_local): State<bool>, request: Request, next: Next) -> Response {
    if is_local && !is_own_name(request.headers()) {
        return (
            StatusCode::MISDIRECTED_REQUEST,
            "this server is not known by that name\n",
        )
            .into_response();
    }
    next.run(request).await
}

/// Whether a request names this machine: by an address, as localhost, or not at all.
fn is_own_name(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    if hosts.next().is_some() {
        return false;
    }
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn health(State(told): State<Told>) -> Response {
    let status = told.now();
    if status.healthy {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            status.troubles.join("\n") + "\n",
        )
            .into_response()
    }
}

async fn status(State(told): State<Told>) -> Response {
    let body = serde_json::to_string(&*told.now()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn text(body: String) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        body,
    )
        .into_response()
}

/// The status as Prometheus reads it.
fn metrics(status: &Status) -> String {
    let mut out = String::new();
    of_the_process(&mut out, status);
    of_the_series(&mut out, status);
    of_the_lines(&mut out, status);
    of_the_lags(&mut out, status);
    out
}

/// A metric: its name, kind and help, and its samples, each with its labels.
fn family(out: &mut String, name: &str, kind: &str, help: &str, samples: Vec<(String, String)>) {
    let _ = writeln!(
        out,
        "# HELP qlc_collect_{name} {help}\n# TYPE qlc_collect_{name} {kind}"
    );
    for (labels, value) in samples {
        let _ = writeln!(out, "qlc_collect_{name}{labels} {value}");
    }
}

fn of_the_process(out: &mut String, status: &Status) {
    let one = |value: String| vec![(String::new(), value)];
    family(
        out,
        "up",
        "gauge",
        "Whether every connection is live, every series is well and the disk takes rows.",
        one(u8::from(status.healthy).to_string()),
    );
    family(
        out,
        "frames_total",
        "counter",
        "Frames read.",
        one(status.frames.to_string()),
    );
    family(
        out,
        "received_bytes_total",
        "counter",
        "Bytes of frames read.",
        one(status.bytes.to_string()),
    );
    family(
        out,
        "rejected_frames_total",
        "counter",
        "Frames that could not be decoded.",
        one(status.rejected.to_string()),
    );
    family(
        out,
        "queue_groups",
        "gauge",
        "Groups of events waiting for the writer.",
        one(status.queue.to_string()),
    );
    family(
        out,
        "memory_bytes",
        "gauge",
        "Bytes of rows not sealed yet.",
        one(status.memory_bytes.to_string()),
    );
    family(
        out,
        "memory_limit_bytes",
        "gauge",
        "Bytes of rows that may be in memory.",
        one(status.memory_limit.to_string()),
    );
    family(
        out,
        "journal_bytes",
        "gauge",
        "Bytes of the journal.",
        one(status.journal_bytes.to_string()),
    );
    let age = format!(
        "{}.{:03}",
        status.journal_age_ms / 1000,
        status.journal_age_ms % 1000
    );
    family(
        out,
        "journal_age_seconds",
        "gauge",
        "Age of the oldest event that is not acknowledged.",
        one(age),
    );
    family(
        out,
        "files_sealed_total",
        "counter",
        "Spool files sealed.",
        one(status.files_sealed.to_string()),
    );
    family(
        out,
        "files_waiting",
        "gauge",
        "Spool files waiting to be sealed.",
        one(status.files_waiting.to_string()),
    );
    family(
        out,
        "disk_free_bytes",
        "gauge",
        "Bytes free on the disk of the spool.",
        one(status.disk_free.to_string()),
    );
}

fn of_the_series(out: &mut String, status: &Status) {
    let feeds = |of: fn(&super::status::FeedStatus) -> u64| {
        let label = |f: &super::status::FeedStatus| {
            format!(
                "{{exchange=\"{}\",stream=\"{}\",symbol=\"{}\"}}",
                f.exchange, f.stream, f.symbol
            )
        };
        status
            .feeds
            .iter()
            .map(|f| (label(f), of(f).to_string()))
            .collect::<Vec<_>>()
    };
    family(
        out,
        "events_total",
        "counter",
        "Events taken.",
        feeds(|f| f.events),
    );
    family(
        out,
        "gaps_total",
        "counter",
        "Holes in the exchange's numbers.",
        feeds(|f| f.gaps),
    );
    family(
        out,
        "missing_events_total",
        "counter",
        "Events missing in them.",
        feeds(|f| f.missing),
    );
    family(
        out,
        "duplicate_events_total",
        "counter",
        "Events that came again.",
        feeds(|f| f.duplicates),
    );
    family(
        out,
        "late_events_total",
        "counter",
        "Events that came late and were kept.",
        feeds(|f| f.late),
    );
    family(
        out,
        "dropped_events_total",
        "counter",
        "Events that had no room.",
        feeds(|f| f.dropped),
    );
    family(
        out,
        "conflicting_events_total",
        "counter",
        "Events with the number of another one.",
        feeds(|f| f.conflicts),
    );
    family(
        out,
        "series_troubled",
        "gauge",
        "Whether a series is not well.",
        feeds(|f| u64::from(f.trouble.is_some())),
    );
    let states = SeriesState::ALL.map(|state| {
        (
            format!("{{state=\"{}\"}}", state.name()),
            status.series.of(state).to_string(),
        )
    });
    family(
        out,
        "series",
        "gauge",
        "Series by their state.",
        states.to_vec(),
    );
}

fn of_the_lines(out: &mut String, status: &Status) {
    let lines = |of: fn(&super::status::LineStatus) -> u64| {
        let label = |l: &super::status::LineStatus| {
            format!("{{exchange=\"{}\",line=\"{}\"}}", l.exchange, l.name)
        };
        // Of one that has ended nothing is expected.
        status
            .lines
            .iter()
            .filter(|l| l.state != "ended")
            .map(|l| (label(l), of(l).to_string()))
            .collect::<Vec<_>>()
    };
    family(
        out,
        "reconnects_total",
        "counter",
        "Times that a connection was lost.",
        lines(|l| l.reconnects),
    );
    family(
        out,
        "line_live",
        "gauge",
        "Whether a connection is live.",
        lines(|l| u64::from(l.state == "live")),
    );
}

fn of_the_lags(out: &mut String, status: &Status) {
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
            let _ = writeln!(
                out,
                "qlc_collect_lag_seconds_bucket{{{labels},le=\"{seconds}\"}} {below}"
            );
        }
        let total = line.lags.total();
        let _ = writeln!(
            out,
            "qlc_collect_lag_seconds_bucket{{{labels},le=\"+Inf\"}} {total}"
        );
        let sum = format!("{}.{:03}", line.lags.sum_ms / 1000, line.lags.sum_ms % 1000);
        let _ = writeln!(out, "qlc_collect_lag_seconds_sum{{{labels}}} {sum}");
        let _ = writeln!(out, "qlc_collect_lag_seconds_count{{{labels}}} {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collect::status::{FeedStatus, LineStatus},
        model::metric,
    };

    #[test]
    fn a_name_that_is_not_ours_is_refused() {
        let check = |hosts: &[&str], own: bool| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                let _ = headers.append(header::HOST, host.parse().unwrap());
            }
            assert_eq!(is_own_name(&headers), own, "{hosts:?}");
        };
        for own in [
            "127.0.0.1:9100",
            "localhost",
            "LOCALHOST:1",
            "[::1]:9100",
            "10.0.0.7",
        ] {
            check(&[own], true);
        }
        for other in [
            "evil.example:9100",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            check(&[other], false);
        }
        check(&[], true);
        check(&["localhost", "evil.example"], false);
    }

    #[test]
    fn a_status_that_nothing_follows_is_not_well() {
        let of = |age| {
            let status = Status {
                healthy: true,
                ..Status::default()
            };
            judged(Arc::new(status), age)
        };
        let second = Duration::from_secs(1);
        assert!(of(Some(29 * second)).healthy && of(None).healthy);
        let stale = of(Some(90 * second));
        assert!(
            !stale.healthy && stale.troubles[0].contains("for 90 s"),
            "{stale:?}"
        );
    }

    #[test]
    fn metrics_are_those_of_the_status() {
        let mut line = LineStatus {
            name: "okx.public/0".to_owned(),
            exchange: "okx",
            state: "live",
            ..LineStatus::default()
        };
        line.lags.add(3_000_000);
        let feed = FeedStatus {
            exchange: "okx",
            stream: "bbo",
            symbol: "btcusdt".to_owned(),
            events: 7,
            ..FeedStatus::default()
        };
        let text = metrics(&Status {
            healthy: true,
            lines: vec![line],
            feeds: vec![feed],
            ..Status::default()
        });
        let families = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
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
