//! What the kernel says about another process.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// One look at a process.
#[derive(Clone, Copy)]
pub struct Usage {
    /// User and system time of all threads since exec.
    pub cpu: Duration,
    /// `VmRSS`, in KiB.
    pub resident: u64,
    /// `VmHWM`, in KiB.
    pub peak: u64,
    /// Threads alive.
    pub threads: u64,
    /// Voluntary context switches of the threads alive: how often one went to sleep.
    pub sleeps: u64,
}

/// Looks at process `pid`; `None` once it has ended.
pub fn usage(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let (mut on_cpu, mut sleeps) = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may end between the listing and the reading.
        if let Ok(schedstat) = fs::read_to_string(task.path().join("schedstat")) {
            on_cpu += number(schedstat.split(' ').next());
        }
        if let Ok(status) = fs::read_to_string(task.path().join("status")) {
            sleeps += field(&status, "voluntary_ctxt_switches:");
        }
    }
    Some(Usage {
        // schedstat counts nanoseconds, but only of threads alive; stat counts the dead as well,
        // in ticks, rounded down. Neither is ever above the truth.
        cpu: Duration::from_nanos(on_cpu).max(ticks(pid)?),
        resident: field(&status, "VmRSS:"),
        peak: field(&status, "VmHWM:"),
        threads: field(&status, "Threads:"),
        sleeps,
    })
}

/// utime + stime. A tick is 10 ms on every Linux (`USER_HZ`).
fn ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, in brackets, and may hold spaces: count behind it.
    let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace().skip(11);
    let ticks = number(fields.next()) + number(fields.next());
    Some(Duration::from_millis(ticks * 10))
}

/// Datagrams that the kernel dropped because the receive buffer of the socket at this port was full.
pub fn drops(address: SocketAddr) -> u64 {
    let dropped = |line: &String| number(line.split_ascii_whitespace().last());
    udp_sockets(address).iter().map(dropped).sum()
}

/// Bytes that wait in the receive buffer of the socket at this port.
pub fn queued(address: SocketAddr) -> u64 {
    let queued = |line: &String| {
        let (_, receive) = line.split_ascii_whitespace().nth(4)?.split_once(':')?;
        u64::from_str_radix(receive, 16).ok()
    };
    udp_sockets(address).iter().filter_map(queued).sum()
}

/// Half of the receive buffer that the daemon is granted, of which it wants as much as possible. The
/// kernel grants twice its limit.
pub fn half_a_receive_buffer() -> u64 {
    // The default of most kernels; in a container the limit may not be shown.
    const USUAL: u64 = 212_992;
    // What the daemon asks for.
    const WANTED: u64 = 4 << 20;
    let limit = fs::read_to_string("/proc/sys/net/core/rmem_max");
    let limit = limit.ok().and_then(|text| text.trim().parse().ok());
    limit.unwrap_or(USUAL).min(WANTED)
}

/// The lines of the kernel's tables about the UDP sockets bound to this port.
fn udp_sockets(address: SocketAddr) -> Vec<String> {
    let port = format!(":{:04X}", address.port());
    let is_here = |line: &&str| {
        let local = line.split_ascii_whitespace().nth(1);
        local.is_some_and(|local| local.ends_with(&port))
    };
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    let tables = tables.iter().flatten();
    tables
        .flat_map(|table| table.lines().filter(is_here).map(str::to_owned))
        .collect()
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    number(line.and_then(|rest| rest.split_ascii_whitespace().next()))
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How many descriptors process `pid` has open; `None` once it has ended.
pub fn open_descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
