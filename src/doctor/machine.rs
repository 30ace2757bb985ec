//! The machine: disks, memory, limits and the clock, as the system reports them. What it does not
//! report is `None`.

use std::{fs, path::Path};

use rustix::{
    fs::{Access, access, statfs, statvfs},
    process::{Resource, getrlimit},
};

use super::facts::{Disk, Memory};

/// The number by which Linux tells a file system in memory (`TMPFS_MAGIC` in linux/magic.h).
const TMPFS: u64 = 0x0102_1994;

/// The disk of `folder`, or of the first folder above it that exists.
pub(super) fn disk(folder: &Path) -> Option<Disk> {
    let absolute = std::path::absolute(folder).ok()?;
    let there = absolute.ancestors().find(|path| path.exists())?;
    let (sizes, kind) = (statvfs(there).ok()?, statfs(there).ok()?);
    Some(Disk {
        free: sizes.f_bavail.saturating_mul(sizes.f_frsize),
        is_memory: u64::try_from(kind.f_type) == Ok(TMPFS),
        exists: there == absolute,
        writable: there.is_dir() && access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    })
}

/// How much memory there is.
pub(super) fn memory() -> Memory {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    };
    Memory {
        physical: kilobytes("MemTotal"),
        available: kilobytes("MemAvailable"),
        group: group_limit(),
    }
}

/// The smallest limit of the control groups (version 2) that this process is in.
fn group_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let here = root.join(path.trim_start_matches('/'));
    let limits = here
        .ancestors()
        .take_while(|folder| folder.starts_with(root));
    // A folder that this namespace does not show has no limit to tell; `max` is none.
    limits
        .filter_map(|folder| {
            fs::read_to_string(folder.join("memory.max"))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
        .min()
}

/// How many files this process may have open.
pub(super) fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether systemd keeps the clock right; `None` where it does not tell, which another program may
/// do as well.
pub(super) fn clock() -> Option<bool> {
    let told = Path::new("/run/systemd/timesync");
    told.is_dir().then(|| told.join("synchronized").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_has_the_disk_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let (here, below) = (
            disk(dir.path()).unwrap(),
            disk(&dir.path().join("a/b")).unwrap(),
        );
        assert!(here.exists && !below.exists && below.writable);
        assert_eq!(here.is_memory, below.is_memory);
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn linux_tells_of_its_memory() {
        let memory = memory();
        assert!(
            memory.physical.is_some_and(|bytes| bytes > 0) && memory.available <= memory.physical,
            "{memory:?}"
        );
        assert!(open_files().is_none_or(|files| files > 0));
    }
}
