//! Every effective setting and its origin: what `config show` prints.
//!
//! Secrets are not shown: of a webhook only its host, of other URLs neither names, passwords nor
//! queries.

use serde::Serialize;
use url::Url;

use super::{
    args::{self, Collect, ConfigShow, ENDPOINTS, Global, RECONCILE, Sources},
    settings::{Settings, http_url},
};
use crate::{model::size, reconcile::Given, storage::spools::SpoolRoot};

/// One setting. This is the object that `--format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// Its name in the configuration file.
    pub(crate) setting: String,
    /// Its value; nothing where it has none.
    pub(crate) value: Option<String>,
    /// The flag, variable or line that says so.
    pub(crate) from: String,
}

/// All settings. `typed` and `collect` are the arguments of this command and of `qlc collect`,
/// `sources` tells where the latter come from; `has_keys` whether the environment has the keys of
/// a bucket.
pub(crate) fn shown(
    global: &Global,
    settings: &Settings,
    typed: &ConfigShow,
    collect: &Collect,
    sources: &Sources,
    has_keys: bool,
) -> Vec<Shown> {
    let lines = &global.file.lines;
    let path = global
        .config
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let line = |name: &str| {
        let below = format!("{name}.");
        let exact = lines.iter().find(|(known, _)| known == name);
        let (_, line) =
            exact.or_else(|| lines.iter().find(|(known, _)| known.starts_with(&below)))?;
        Some(format!("{path}, line {line}"))
    };
    let of = |sources: &Sources, id: &str| {
        if sources.typed.iter().any(|typed| typed == id) {
            return Some(format!("flag --{}", id.replace('_', "-")));
        }
        let (_, variable) = sources.environment.iter().find(|(name, _)| name == id)?;
        Some(format!("environment {variable}"))
    };
    let mut all: Vec<Shown> = Vec::new();
    for setting in args::names(&args::grammar()) {
        let (value, said) = match setting.split_once('.') {
            // The flag --endpoint names the store, and moves feeds as well.
            None if setting == "endpoint" && global.bucket.store().is_none() => {
                (top(&setting, settings, typed), None)
            }
            None => (
                top(&setting, settings, typed),
                of(&global.sources, &setting),
            ),
            Some((RECONCILE, exchange)) => (published(exchange, settings), None),
            Some((_, ENDPOINTS)) => {
                let moved =
                    (!global.bucket.feeds().is_empty()).then(|| "flag --endpoint".to_owned());
                (of_collect(ENDPOINTS, collect), moved)
            }
            Some((_, key)) => (of_collect(key, collect), of(sources, key)),
        };
        let of_profile = || {
            let named = settings.bucket.credentials.is_some() || settings.profile.is_some();
            let may = ["endpoint", "region"].contains(&setting.as_str());
            (may && value.is_some() && named).then(|| "profile".to_owned())
        };
        let from = said
            .or_else(|| line(&setting))
            .or_else(of_profile)
            .unwrap_or_else(|| "default".to_owned());
        all.push(Shown {
            setting,
            value,
            from,
        });
    }
    let credentials = match &settings.bucket.credentials {
        Some(keys) if keys.first || !has_keys => Some("profile"),
        _ if has_keys => Some("environment AWS_ACCESS_KEY_ID"),
        _ => None,
    };
    all.push(Shown {
        setting: "credentials".to_owned(),
        value: credentials.map(|_| "***".to_owned()),
        from: credentials.unwrap_or("none found").to_owned(),
    });
    all
}

fn top(key: &str, settings: &Settings, typed: &ConfigShow) -> Option<String> {
    let (bucket, told) = (&settings.bucket, &settings.told);
    let certificate = &typed.on.certificate;
    let time = |time| humantime::format_duration(time).to_string();
    Some(match key {
        "spool" => {
            let one = |spool: &SpoolRoot| {
                SpoolRoot {
                    place: masked(&spool.place),
                    ..spool.clone()
                }
                .to_string()
            };
            settings
                .spool
                .all()
                .iter()
                .map(one)
                .collect::<Vec<_>>()
                .join(", ")
        }
        "archive" => masked(&settings.archive),
        "memory_limit" => size::exact(settings.memory_limit),
        "spill_dir" => settings.spill_dir.display().to_string(),
        "workers" => settings.workers.to_string(),
        "zstd_level" => settings.zstd_level?.to_string(),
        "cluster" => masked(typed.on.cluster.as_ref()?),
        "cluster_ca" => certificate.cluster_ca.as_ref()?.display().to_string(),
        "cluster_cert" => certificate.cluster_cert.as_ref()?.display().to_string(),
        "cluster_key" => certificate.cluster_key.as_ref()?.display().to_string(),
        "endpoint" => masked(bucket.endpoint.as_ref()?),
        "region" => bucket.region.clone()?,
        "profile" => settings.profile.clone()?,
        "allow_http" => bucket.allow_http.to_string(),
        "path_style" => (!bucket.virtual_hosted).to_string(),
        "single_writer" => bucket.single_writer.to_string(),
        "request_timeout" => time(bucket.request_timeout),
        "connect_timeout" => time(bucket.connect_timeout),
        "retries" => bucket.retries.to_string(),
        "retry_timeout" => time(bucket.retry_timeout),
        "connections" => bucket.connections.to_string(),
        "multipart_above" => size::exact(bucket.multipart_above),
        "part_size" => size::exact(bucket.part_bytes),
        "keep_records" => typed.retention.keep_records?.to_string(),
        "metrics_file" => told.metrics_file.as_ref()?.display().to_string(),
        "metrics_push" => masked(told.metrics_push.as_ref()?),
        "notify" => host_only(told.notify.as_ref()?),
        _ => return None,
    })
}

fn of_collect(key: &str, typed: &Collect) -> Option<String> {
    fn names<T: ToString>(all: &[T]) -> Option<String> {
        (!all.is_empty()).then(|| all.iter().map(T::to_string).collect::<Vec<_>>().join(","))
    }
    let time = |time| humantime::format_duration(time).to_string();
    let feeds = &typed.feeds;
    Some(match key {
        "exchange" => names(&feeds.exchange)?,
        "symbol" => names(&feeds.symbol)?,
        "stream" => names(&feeds.stream)?,
        "commit_every" => time(typed.commit_every),
        "rotate_after" => time(typed.rotate_after),
        "rotate_size" => size::exact(typed.rotate_size),
        "memory_limit" => size::exact(typed.memory_limit),
        "renew_after" => time(typed.renew_after),
        "silence" => time(typed.silence),
        "retry_cap" => time(typed.retry_cap),
        "relist_every" => time(typed.relist_every),
        "listen" => typed.listen?.to_string(),
        ENDPOINTS => {
            let all: Vec<_> = feeds
                .endpoint
                .iter()
                .map(|(name, url)| format!("{name}={}", masked(url)))
                .collect();
            names(&all)?
        }
        _ => return None,
    })
}

/// The URLs of an exchange's files.
fn published(exchange: &str, settings: &Settings) -> Option<String> {
    let given = settings.published.get(&exchange.parse().ok()?)?;
    let urls: Vec<String> = given
        .iter()
        .filter_map(|one| match one {
            Given::Url(url) => Some(masked(url)),
            Given::File(_) | Given::Folder(_) => None,
        })
        .collect();
    Some(urls.join(","))
}

/// A path, or a URL without what may be secret in it.
fn masked(text: &str) -> String {
    if !text.contains("://") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else {
        return "***".to_owned();
    };
    let is_named = !url.username().is_empty() || url.password().is_some();
    if !is_named && url.query().is_none() {
        return text.to_owned();
    }
    if is_named {
        let _ = url.set_password(None);
        let _ = url.set_username("***");
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    // What stands for symbol and day in a URL of `[reconcile]` stays readable.
    url.to_string().replace("%7B", "{").replace("%7D", "}")
}

/// The host of a webhook: whoever knows the rest may post there.
fn host_only(text: &str) -> String {
    http_url(text).map_or_else(
        || "***".to_owned(),
        |url| format!("{}/***", url.origin().ascii_serialization()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let check = |text: &str, want: &str| assert_eq!(masked(text), want);
        check("/opt/spool", "/opt/spool");
        check("s3://bucket/prefix", "s3://bucket/prefix");
        check("http://127.0.0.1:9091", "http://127.0.0.1:9091");
        check("https://me:pass@host/x?token=1", "https://***@host/x?***");
        check("https://:pass@host/x", "https://***@host/x");
        check(
            "https://me:pass@host/{SYMBOL}.zip",
            "https://***@host/{SYMBOL}.zip",
        );
        assert_eq!(
            host_only("https://me:pass@hooks.example.org:8443/T1/B2?x=3"),
            "https://hooks.example.org:8443/***"
        );
        assert_eq!(host_only("no url"), "***");
        assert!(http_url("ftp://x/").is_none() && http_url("https://x").is_some());
    }
}
