//! `qlc inspect`

use std::path::Path;

use crate::{
    cli::{
        args::{Format, Inspect},
        console::{Console, Look},
        exit::Exit,
        settings::Settings,
        show,
        signals::Signals,
    },
    error::{Error, Kind, Result},
    inspect,
    storage::{bucket::BucketOptions, store::Store},
};

/// Inspects each file by itself; one that cannot be opened does not stop the others.
pub(super) async fn run(
    typed: &Inspect,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
) -> Result<Exit> {
    let mut out = console.out();
    let mut exit = Exit::Done;
    for file in &typed.files {
        let ended = match locate(file, &settings.bucket) {
            Ok((store, key)) => signals.or_stop(inspect::run(&store, &key)).await,
            Err(error) => Err(error),
        };
        let findings = ended
            .as_ref()
            .map_or(0, |inspection| inspection.findings.len());
        exit = exit.max(Exit::of_findings(findings, &ended));
        match ended {
            Ok(inspection) if typed.format == Format::Json => out.json(&inspection)?,
            Ok(inspection) => out.lines(&show::inspection(&inspection, Look::of_stdout())),
            Err(error) => {
                console.line(&format!("qlc: {}", error.chain()));
                if error.kind() == Kind::Interrupted {
                    break;
                }
            }
        }
        if out.is_closed() {
            break;
        }
    }
    out.finish()?;
    Ok(exit)
}

/// The store that a file lies in, and its key there.
fn locate(place: &str, options: &BucketOptions) -> Result<(Store, String)> {
    let local = |path: &Path| -> Result<(Store, String)> {
        let absolute = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
        if absolute.is_dir() {
            return Err(Error::usage(format!(
                "{place}: is a folder; name the Parquet files in it"
            )));
        }
        if !absolute.exists() {
            return Err(Error::usage(format!("{place}: there is no such file")));
        }
        // No store follows a link; a person who names one means the file.
        let absolute = if absolute.is_symlink() {
            let target = absolute.canonicalize();
            target.map_err(|e| Error::io(path.display(), e))?
        } else {
            absolute
        };
        match (
            absolute.parent(),
            absolute.file_name().and_then(|name| name.to_str()),
        ) {
            (Some(folder), Some(name)) => {
                Ok((Store::open(&folder.display().to_string())?, name.to_owned()))
            }
            _ => Err(Error::usage(format!("{place}: is not the name of a file"))),
        }
    };
    match place.split_once("://") {
        Some(("file", _)) => {
            let path = url::Url::parse(place)
                .ok()
                .and_then(|url| url.to_file_path().ok());
            local(
                &path
                    .ok_or_else(|| Error::usage(format!("{place}: write file:///absolute/path")))?,
            )
        }
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((bucket, key)) if !key.is_empty() => Ok((
                Store::open_with(&format!("{scheme}://{bucket}"), options)?,
                key.to_owned(),
            )),
            _ => Err(Error::usage(format!(
                "{place}: names no object; write {scheme}://bucket/folder/file.parquet"
            ))),
        },
        None => local(Path::new(place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_located_in_a_store_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.parquet");
        std::fs::write(&file, b"").unwrap();
        for place in [
            file.display().to_string(),
            format!("file://{}", file.display()),
        ] {
            let (store, key) = locate(&place, &BucketOptions::usual()).unwrap();
            assert_eq!(
                (store.local_path(&key).unwrap(), key.as_str()),
                (file.clone(), "a.parquet")
            );
        }
        let (store, key) =
            locate("s3://bucket/exchange=a/b.parquet", &BucketOptions::usual()).unwrap();
        assert_eq!(store.show(&key), "s3://bucket/exchange=a/b.parquet");
        for place in [
            &folder.path().display().to_string(),
            "s3://bucket",
            "s3://bucket/",
            "/no/such.parquet",
            "http://a/b",
        ] {
            assert_eq!(
                locate(place, &BucketOptions::usual()).unwrap_err().kind(),
                Kind::Usage,
                "{place}"
            );
        }
    }
}
