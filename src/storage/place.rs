//! Where a store really lies, so that two names of one place are recognised as one.
//!
//! A folder is identified by its path with all links followed, and by the numbers of device and
//! inode of every folder above it, which are the same however it is mounted. Nothing is created: a
//! folder that does not exist yet lies where it would be created.

use std::{
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// A place: the names from the root down, and what the system knows the folders by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolderPlace {
    parts: Vec<OsString>,
    /// Of every folder from the place itself up, as far as they exist.
    folders: Vec<(u64, u64)>,
    /// That of the place itself, if it exists.
    own: Option<(u64, u64)>,
}

impl FolderPlace {
    /// A place that is known by its names alone.
    pub(super) fn of_parts(parts: Vec<OsString>) -> Self {
        Self {
            parts,
            folders: Vec::new(),
            own: None,
        }
    }

    /// Whether this is `other`, or lies in it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.parts.starts_with(&other.parts)
            || other.own.is_some_and(|own| self.folders.contains(&own))
    }
}

/// The place of a folder.
pub(super) fn of(folder: &Path) -> FolderPlace {
    let real = real(folder);
    let number = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let names = real.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    });
    FolderPlace {
        parts: names.collect(),
        folders: real.ancestors().filter_map(number).collect(),
        own: number(&real),
    }
}

/// The path with all links followed, also where its last folders do not exist yet.
fn real(folder: &Path) -> PathBuf {
    let found = folder
        .ancestors()
        .find_map(|above| Some((above.canonicalize().ok()?, folder.strip_prefix(above).ok()?)));
    match found {
        Some((above, rest)) if rest.as_os_str().is_empty() => above,
        Some((above, rest)) => above.join(rest),
        None => folder.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use crate::storage::{
        bucket::BucketOptions,
        store::{Overlap, Store},
    };

    fn overlap(one: &str, two: &str) -> Option<Overlap> {
        let options = BucketOptions {
            endpoint: Some("https://s3.example.org".to_owned()),
            region: Some("us-east-1".to_owned()),
            ..BucketOptions::usual()
        };
        let open = |text: &str| Store::open_with(text, &options).unwrap();
        open(one).overlap(&open(two))
    }

    #[test]
    fn folders_overlap_by_where_they_really_are() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name).display().to_string();
        fs::create_dir_all(at("spool/deep")).unwrap();
        fs::create_dir(at("other")).unwrap();
        symlink(at("spool"), at("link")).unwrap();
        symlink(at("spool/deep"), at("other/inner")).unwrap();
        assert_eq!(overlap(&at("spool"), &at("spool")), Some(Overlap::Same));
        assert_eq!(overlap(&at("spool"), &at("link")), Some(Overlap::Same));
        assert_eq!(
            overlap(&at("spool"), &at("other/../spool/")),
            Some(Overlap::Same)
        );
        assert_eq!(
            overlap(&at("spool"), &format!("file://{}", at("spool"))),
            Some(Overlap::Same)
        );
        assert_eq!(
            overlap(&at("spool"), &at("other/inner")),
            Some(Overlap::Around)
        );
        assert_eq!(
            overlap(&at("spool"), &at("link/not/yet")),
            Some(Overlap::Around)
        );
        assert_eq!(
            overlap(&at("spool/deep"), &at("link")),
            Some(Overlap::Inside)
        );
        assert_eq!(
            overlap(&at("absent/a"), &at("absent")),
            Some(Overlap::Inside)
        );
        assert_eq!(overlap(&at("spool"), &at("spool-2")), None);
        assert_eq!(overlap(&at("spool"), &at("other")), None);
        assert_eq!(overlap(&at("spool"), "s3://spool"), None);
    }

    #[test]
    fn buckets_overlap_by_name_and_the_parts_of_their_prefixes() {
        assert_eq!(
            overlap("s3://b/spool", "s3://b/spool/"),
            Some(Overlap::Same)
        );
        assert_eq!(overlap("s3://b", "s3://b/archive"), Some(Overlap::Around));
        assert_eq!(overlap("s3://b/a/b/c", "s3://b/a/b"), Some(Overlap::Inside));
        assert_eq!(overlap("s3://b/spool", "s3://b/spool-2"), None);
        assert_eq!(overlap("s3://b/spool", "s3://c/spool"), None);
    }
}
