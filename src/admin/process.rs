//! What the kernel says of this process, under the names that Prometheus' own clients use, so that
//! dashboards and alerts for any program hold for this one. Absent where there is no `/proc`.

use std::fmt::Write;
use std::fs;

use rustix::process::{Resource, getrlimit};

/// The unit of times in `/proc/PID/stat`. The kernel converts to it whatever its own timer is, and
/// it is the same for every processor that this daemon is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process now. A part that the kernel does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStatus {
    /// Seconds of processor time, user and system together.
    cpu_seconds: Option<f64>,
    /// When the process started, in seconds since 1970.
    start_seconds: Option<f64>,
    /// Resident memory in bytes.
    resident: Option<u64>,
    /// Address space in bytes.
    virtual_memory: Option<u64>,
    /// Most bytes of address space.
    max_virtual_memory: Option<u64>,
    threads: Option<u64>,
    open_descriptors: Option<u64>,
    max_descriptors: Option<u64>,
}

impl ProcessStatus {
    /// Asks the kernel.
    pub(crate) fn read() -> ProcessStatus {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let told = ProcessStatus::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/stat"),
        );
        if told == ProcessStatus::default() {
            return told;
        }
        // As Prometheus' clients have it, no limit is the largest number.
        let limit = |resource| Some(getrlimit(resource).current.unwrap_or(u64::MAX));
        ProcessStatus {
            // One of them is the folder's own, for as long as it is read.
            open_descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            max_descriptors: limit(Resource::Nofile),
            max_virtual_memory: limit(Resource::As),
            ..told
        }
    }

    /// `stat` and `status` are those of the process, `kernel` is `/proc/stat`.
    pub fn parse(stat: &str, status: &str, kernel: &str) -> ProcessStatus {
        // The name of the program may hold blanks and brackets. The fields behind it count from 3.
        let fields: Vec<&str> = match stat.rsplit_once(')') {
            Some((_, fields)) => fields.split_ascii_whitespace().collect(),
            None => Vec::new(),
        };
        let seconds = |field: usize| -> Option<f64> {
            let ticks: u64 = fields.get(field - 3)?.parse().ok()?;
            Some(ticks as f64 / TICKS_PER_SECOND)
        };
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        let boot = kernel
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|seconds| seconds.trim().parse::<f64>().ok());
        let bytes = |key| number(key)?.checked_mul(1024);
        ProcessStatus {
            cpu_seconds: seconds(14)
                .zip(seconds(15))
                .map(|(user, system)| user + system),
            start_seconds: boot.zip(seconds(22)).map(|(boot, since)| boot + since),
            resident: bytes("VmRSS:"),
            virtual_memory: bytes("VmSize:"),
            threads: number("Threads:"),
            ..ProcessStatus::default()
        }
    }

    /// Appends the metrics.
    pub fn render(&self, text: &mut String) {
        let mut metric = |name: &str, kind: &str, help: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "# HELP process_{name} {help}\n# TYPE process_{name} {kind}\nprocess_{name} {value}"
                );
            }
        };
        metric(
            "cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            self.cpu_seconds.map(|value| value.to_string()),
        );
        metric(
            "start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            self.start_seconds.map(|value| value.to_string()),
        );
        for (name, help, value) in [
            (
                "resident_memory_bytes",
                "Resident memory size in bytes.",
                self.resident,
            ),
            (
                "virtual_memory_bytes",
                "Virtual memory size in bytes.",
                self.virtual_memory,
            ),
            (
                "virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes.",
                self.max_virtual_memory,
            ),
            (
                "open_fds",
                "Number of open file descriptors.",
                self.open_descriptors,
            ),
            (
                "max_fds",
                "Maximum number of open file descriptors.",
                self.max_descriptors,
            ),
            (
                "threads",
                "Number of OS threads in the process.",
                self.threads,
            ),
        ] {
            metric(name, "gauge", help, value.map(|value| value.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 8 2";

    #[test]
    fn the_files_are_read() {
        let status = "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n";
        let process = ProcessStatus::parse(STAT, status, "cpu 1 2\nbtime 1700000000\n");
        let expected = ProcessStatus {
            cpu_seconds: Some(3.0),
            start_seconds: Some(1_700_000_123.45),
            resident: Some(1 << 20),
            virtual_memory: Some(2 << 20),
            threads: Some(9),
            ..ProcessStatus::default()
        };
        assert_eq!(process, expected);
        for (stat, status, kernel) in [
            ("", "", ""),
            ("7 a S 1", "VmRSS: much kB", "btime soon"),
            ("7 (a) S", "VmRSS:", "btime"),
        ] {
            let process = ProcessStatus::parse(stat, status, kernel);
            assert_eq!(process, ProcessStatus::default(), "{stat}");
        }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut text = String::new();
        ProcessStatus::default().render(&mut text);
        assert_eq!(text, "");
        let process = ProcessStatus {
            cpu_seconds: Some(0.25),
            max_descriptors: Some(1024),
            ..ProcessStatus::default()
        };
        process.render(&mut text);
        assert_eq!(
            text,
            "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n\
             # TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total 0.25\n\
             # HELP process_max_fds Maximum number of open file descriptors.\n\
             # TYPE process_max_fds gauge\n\
             process_max_fds 1024\n"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_known() {
        let process = ProcessStatus::read();
        assert!(process.resident > Some(100 * 1024), "{process:?}");
        assert!(process.virtual_memory >= process.resident, "{process:?}");
        assert!(process.max_virtual_memory >= process.virtual_memory);
        assert!(process.threads >= Some(1) && process.open_descriptors >= Some(3));
        assert!(process.max_descriptors >= process.open_descriptors);
        let age = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            - process.start_seconds.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(process.cpu_seconds.unwrap() < 100_000.0);
    }
}
