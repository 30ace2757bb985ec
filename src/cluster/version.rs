//! What of a process decides the bytes that it makes: the version of its qlc, and the revision of
//! its encodings, which builds of one version may differ in.

use std::{fmt, sync::OnceLock};

use serde::{Deserialize, Serialize};

use crate::file::encode::ENCODING;

static PRETENDED: OnceLock<BuildId> = OnceLock::new();

/// Makes this process say that it is another build, as `9.9.9`, or `0.1.0+7` where the number is
/// the revision of its encodings: for tests of what refuses it.
pub fn pretend_version(build: &str) {
    let (version, revision) = build.split_once('+').unwrap_or((build, ""));
    let _ = PRETENDED.set(BuildId {
        qlc_version: version.to_owned(),
        encoding: revision.parse().unwrap_or(ENCODING),
    });
}

/// A build of qlc. Processes of one cluster are of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildId {
    /// Its version.
    pub qlc_version: String,
    /// The revision of its encodings; builds that do not tell it are of none that this one knows.
    #[serde(default)]
    pub encoding: u32,
}

impl BuildId {
    /// That of this process.
    pub(super) fn own() -> Self {
        PRETENDED.get().cloned().unwrap_or_else(|| Self {
            qlc_version: env!("CARGO_PKG_VERSION").to_owned(),
            encoding: ENCODING,
        })
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            qlc_version,
            encoding,
        } = self;
        write!(f, "qlc {qlc_version} (encoding {encoding})")
    }
}
