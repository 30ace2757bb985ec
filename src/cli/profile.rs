//! The profiles of the AWS tools: keys, region and endpoint from `~/.aws/credentials` and
//! `~/.aws/config`.
//!
//! Static keys only. A profile that was named and does not exist, or that takes its keys from
//! elsewhere, is an error: running with another identity than was meant is worse than not running.

use std::path::{Path, PathBuf};

use configparser::ini::Ini;

use super::args::BucketArgs;
use crate::{
    error::{Error, Result},
    storage::bucket::Credentials,
};

/// What a profile says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) credentials: Option<Credentials>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Reads the profile that is named, else the default one if there is any. `home` is where `~` is.
///
/// # Errors
/// When a named profile does not exist, or its keys are not in the files.
pub(super) fn read(
    typed: &BucketArgs,
    named: Option<&str>,
    home: Option<&Path>,
) -> Result<Profile> {
    let beside = |name: &str| home.map(|home| home.join(".aws").join(name));
    let keys = ini(typed
        .credentials_file
        .clone()
        .or_else(|| beside("credentials")))?;
    let config = ini(typed.config_file.clone().or_else(|| beside("config")))?;
    let name = named.unwrap_or("default");
    let section = if name == "default" {
        "default".to_owned()
    } else {
        format!("profile {name}")
    };
    let known = |ini: &Ini, section: &str| ini.get_map_ref().contains_key(section);
    if named.is_some() && !known(&keys, name) && !known(&config, &section) {
        return Err(Error::usage(format!(
            "there is no profile {name:?} in ~/.aws/credentials or ~/.aws/config: check --profile and AWS_PROFILE"
        )));
    }
    let get = |key: &str| keys.get(name, key).or_else(|| config.get(&section, key));
    let credentials = match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(key_id), Some(secret)) => Some(Credentials {
            key_id,
            secret,
            token: get("aws_session_token"),
            first: named.is_some(),
        }),
        _ if named.is_some() => {
            return Err(Error::usage(format!(
                "the profile {name:?} has no static keys; qlc reads no others from files: export the keys of a session, \
                 as `aws configure export-credentials --format env` prints them"
            )));
        }
        _ => None,
    };
    Ok(Profile {
        credentials,
        region: get("region"),
        endpoint: get("endpoint_url"),
    })
}

fn ini(path: Option<PathBuf>) -> Result<Ini> {
    let mut ini = Ini::new_cs();
    let Some(path) = path.filter(|path| path.is_file()) else {
        return Ok(ini);
    };
    let wrong = |what: String| Error::usage(format!("{}: cannot be read: {what}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
    // The parser's message may quote the line, and with it a key.
    let _ = ini
        .read(text)
        .map_err(|_| wrong("a line of it is no section, key or comment".to_owned()))?;
    Ok(ini)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        for (name, text) in files {
            std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        }
        home
    }

    #[test]
    fn a_named_profile_goes_first_and_the_default_one_waits() {
        let home = home(&[
            (
                "credentials",
                "[default]\naws_access_key_id = a\naws_secret_access_key = b\n\n[desk]\naws_access_key_id=c\naws_secret_access_key=d/+=\naws_session_token=e\n",
            ),
            (
                "config",
                "[default]\nregion = eu-west-1\n[profile desk]\nregion=eu-north-1\nendpoint_url = https://s3.desk\n",
            ),
        ]);
        let typed = BucketArgs::default();
        let got = read(&typed, Some("desk"), Some(home.path())).unwrap();
        let keys = got.credentials.unwrap();
        assert_eq!(
            (
                keys.key_id.as_str(),
                keys.secret.as_str(),
                keys.token.as_deref()
            ),
            ("c", "d/+=", Some("e"))
        );
        assert!(keys.first);
        assert_eq!(
            (got.region.as_deref(), got.endpoint.as_deref()),
            (Some("eu-north-1"), Some("https://s3.desk"))
        );
        let got = read(&typed, None, Some(home.path())).unwrap();
        assert!(
            got.credentials
                .is_some_and(|keys| keys.key_id == "a" && !keys.first)
        );
        assert_eq!(got.region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn a_profile_that_is_not_there_or_has_no_keys_is_refused() {
        let home = home(&[("config", "[profile sso]\nsso_start_url = https://x\n")]);
        let said = |name: &str| {
            read(&BucketArgs::default(), Some(name), Some(home.path()))
                .unwrap_err()
                .chain()
        };
        assert!(said("desk").contains("no profile \"desk\""));
        assert!(said("sso").contains("no static keys"));
        assert_eq!(
            read(&BucketArgs::default(), None, Some(home.path())).unwrap(),
            Profile::default()
        );
        assert_eq!(
            read(&BucketArgs::default(), None, None).unwrap(),
            Profile::default()
        );
    }
}
