//! How many bytes of documents may be held, from the memory there is.

use std::fs;
use std::path::{Path, PathBuf};

const MB: u64 = 1024 * 1024;

/// The least that `-m` accepts, as in the official daemon.
pub const MIN_MB: u64 = 3;

/// What is held at least when nothing is said: half a minute at a thousand segments a second.
const USUAL_MB: u64 = 16;

/// Where the memory of a machine and of a control group is told.
const MEMINFO: &str = "/proc/meminfo";
const OWN_CGROUPS: &str = "/proc/self/cgroup";
const CGROUPS: &str = "/sys/fs/cgroup";

/// The limit in bytes: what `-m` says in MB; otherwise 16 MB or one percent of the machine's
/// memory, whichever is more, but at most a quarter of the control group's limit, and at least
/// 3 MB.
pub fn buffer_limit(asked_mb: Option<u64>) -> usize {
    let bytes = match asked_mb {
        Some(mb) => mb.saturating_mul(MB),
        None => {
            let host = fs::read_to_string(MEMINFO)
                .ok()
                .and_then(|text| mem_total(&text));
            let own = fs::read_to_string(OWN_CGROUPS).unwrap_or_default();
            let group = limit_files(&own)
                .iter()
                .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
                .min();
            default_limit(host, group)
        }
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn default_limit(host: Option<u64>, group: Option<u64>) -> u64 {
    let usual = (host.unwrap_or(0) / 100).max(USUAL_MB * MB);
    let quarter = group.map_or(u64::MAX, |limit| limit / 4);
    usual.min(quarter).max(MIN_MB * MB)
}

/// `MemTotal` of `/proc/meminfo`, bytes.
fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Files that may tell a limit: of the process's own group and of each group above it, version 2
/// (`0::/path`) and version 1 (`n:memory:/path`). In a container the group is mounted as the root.
fn limit_files(own: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut add = |mount: &Path, group: &str, file: &str| {
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|level| mount.join(level).join(file)));
    };
    for line in own.lines() {
        match line.splitn(3, ':').collect::<Vec<_>>()[..] {
            ["0", "", group] => add(Path::new(CGROUPS), group, "memory.max"),
            [_, controllers, group] if controllers.split(',').any(|c| c == "memory") => {
                let mount = Path::new(CGROUPS).join("memory");
                add(&mount, group, "memory.limit_in_bytes");
            }
            _ => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_fits_host_and_group() {
        let gb = 1024 * MB;
        for (host, group, expected_mb) in [
            (None, None, 16),
            (Some(gb), None, 16),
            (Some(100 * gb), None, 1024),
            (Some(100 * gb), Some(64 * MB), 16),
            (Some(100 * gb), Some(40 * MB), 10),
            (Some(100 * gb), Some(4 * MB), 3),
            // Version 1 says "no limit" with a number near 2^63.
            (Some(gb), Some(0x7fff_ffff_ffff_f000), 16),
        ] {
            assert_eq!(
                default_limit(host, group),
                expected_mb * MB,
                "{host:?} {group:?}"
            );
        }
        assert_eq!(buffer_limit(Some(5)), 5 * 1024 * 1024);
        assert!(buffer_limit(None) >= 3 * 1024 * 1024);
    }

    #[test]
    fn meminfo_and_group_paths_are_read() {
        assert_eq!(
            mem_total("MemFree: 1 kB\nMemTotal:       24689672 kB\n"),
            Some(24_689_672 * 1024)
        );
        assert_eq!(mem_total("MemTotal: many\n"), None);
        let files = limit_files("0::/a/b\n5:cpu,memory:/d\n3:cpuset:/x\nnonsense\n");
        let expected = [
            "/sys/fs/cgroup/a/b/memory.max",
            "/sys/fs/cgroup/a/memory.max",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/d/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        let files: Vec<_> = files.iter().map(|f| f.to_str().unwrap()).collect();
        assert_eq!(files, expected);
    }
}
