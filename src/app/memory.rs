//! Decides how many bytes of documents may be held, depending on the memory of the machine or
//! container.

use std::fs;

use crate::cgroup::{self, Controller};

const MB: u64 = 1024 * 1024;

/// The least that `-m` accepts, as in the official daemon.
pub(crate) const MIN_MB: u64 = 3;

/// The smallest default: half a minute at a thousand segments a second.
const USUAL_MB: u64 = 16;

/// The file that contains the memory size of the machine.
const MEMINFO: &str = "/proc/meminfo";

/// The files of a control group that say how much memory it may use.
const GROUP_MEMORY: Controller = Controller {
    name: "memory",
    version1: "memory.limit_in_bytes",
    version2: "memory.max",
};

/// The limit in bytes: what `-m` says in MB; otherwise 16 MB or one percent of the machine's
/// memory, whichever is more, but at most a quarter of the control group's limit, and at least
/// 3 MB.
pub(crate) fn buffer_limit(asked_mb: Option<u64>) -> usize {
    let bytes = match asked_mb {
        Some(mb) => mb.saturating_mul(MB),
        None => {
            let host = fs::read_to_string(MEMINFO)
                .ok()
                .and_then(|text| mem_total(&text));
            let files = cgroup::files(GROUP_MEMORY);
            let group = files.iter().filter_map(|file| cgroup::number(file)).min();
            default_limit(host, group)
        }
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The limit in bytes where `-m` says nothing, from the memory of the host and the limit of the control
/// group, each in bytes.
pub fn default_limit(host: Option<u64>, group: Option<u64>) -> u64 {
    let usual = (host.unwrap_or(0) / 100).max(USUAL_MB * MB);
    let quarter = group.map_or(u64::MAX, |limit| limit / 4);
    usual.min(quarter).max(MIN_MB * MB)
}

/// `MemTotal` of `/proc/meminfo`, bytes.
pub fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
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
    fn meminfo_is_read() {
        assert_eq!(
            mem_total("MemFree: 1 kB\nMemTotal:       24689672 kB\n"),
            Some(24_689_672 * 1024)
        );
        for nonsense in ["MemTotal: many\n", "MemTotal: 18446744073709551615 kB\n"] {
            assert_eq!(mem_total(nonsense), None, "{nonsense}");
        }
    }
}
