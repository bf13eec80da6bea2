//! What the kernel's files tell of memory, limits, threads and sockets: a number that stands there is
//! found whatever stands around it, no number comes from a file that does not hold it, and no path
//! leads out of the control groups.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use xray::admin::process::ProcessStatus;
use xray::app::memory::{default_limit, mem_total};
use xray::cgroup::{Controller, files_of, limit_of};
use xray::ingest::socket::drops_of;
use xray::proxy::system_limits::{share, thread_count};

const MEMORY: Controller = Controller {
    name: "memory",
    version1: "memory.limit_in_bytes",
    version2: "memory.max",
};

const MB: u64 = 1024 * 1024;

fn groups(text: &str) {
    let mount = Path::new("/sys/fs/cgroup");
    for file in files_of(text, MEMORY) {
        let below = file.strip_prefix(mount).expect("below the mount");
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        assert!(below.components().all(is_plain), "{file:?}");
        let name = file.file_name().expect("a file");
        assert!(name == MEMORY.version1 || name == MEMORY.version2);
    }
    // The group itself comes first, and its parents up to the root after it.
    let group: String = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "/-_".contains(*c))
        .collect();
    let group = group.trim_matches('/');
    let files = files_of(&format!("7:cpu:/other\n0::/{group}\n"), MEMORY);
    let first = mount.join(group).join(MEMORY.version2);
    assert_eq!(files.first(), Some(&first));
    assert_eq!(files.last(), Some(&mount.join(MEMORY.version2)));
    for pair in files.windows(2) {
        let above = |file: &Path| file.parent()?.parent().map(Path::to_path_buf);
        assert_eq!(above(&pair[0]).as_deref(), pair[1].parent());
    }
}

fn memory(text: &str, number: u64) {
    if let Some(bytes) = mem_total(text) {
        assert!(text.contains("MemTotal:") && bytes % 1024 == 0);
        assert!(text.contains(&(bytes / 1024).to_string()), "{bytes}");
    }
    let before: String = text.replace("MemTotal:", "");
    let told = mem_total(&format!("{before}\nMemTotal:  {number} kB\n{text}"));
    assert_eq!(told, number.checked_mul(1024));
    for (host, group) in [(None, Some(number)), (told, None), (told, limit_of(text))] {
        let limit = default_limit(host, group);
        assert!(limit >= 3 * MB);
        assert!(group.is_none_or(|group| limit <= (group / 4).max(3 * MB)));
        assert!(limit <= (host.unwrap_or(0) / 100).max(16 * MB));
    }
    assert_eq!(limit_of(&format!(" {number}\n")), Some(number));
    if let Some(limit) = limit_of(text) {
        assert!(
            text.trim()
                .trim_start_matches('+')
                .trim_start_matches('0')
                .len()
                <= 20
        );
        assert_eq!(limit_of(&limit.to_string()), Some(limit));
    }
}

fn process(name: &str, text: &str, number: u64) {
    // Any text is read; a file says no more than it holds.
    let told = ProcessStatus::parse(text, text, text);
    let mut metrics = String::new();
    told.render(&mut metrics);
    assert!(!metrics.contains("NaN") && !metrics.contains("inf"));
    // Whatever the program is called.
    let stat = format!("7 ({name}) S 1 7 7 0 -1 4194560 1 0 0 0 100 {number} 0 0 20 0 9 0 500 8 2");
    let escaped = name.replace('\n', "\\n");
    let status =
        format!("Name:\t{escaped}\nVmSize:\t    2048 kB\nVmRSS:\t {number} kB\nThreads:\t9\n");
    let told = ProcessStatus::parse(&stat, &status, "cpu 1 2\nbtime 1700000000\n");
    let mut metrics = String::new();
    told.render(&mut metrics);
    let value = |name: &str| {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
        lines
            .filter_map(|rest| rest.trim().parse::<f64>().ok())
            .next()
    };
    assert_eq!(value("process_threads"), Some(9.0), "{metrics}");
    assert_eq!(value("process_start_time_seconds"), Some(1_700_000_005.0));
    assert_eq!(value("process_virtual_memory_bytes"), Some(2_097_152.0));
    let resident = number.checked_mul(1024).map(|bytes| bytes as f64);
    assert_eq!(value("process_resident_memory_bytes"), resident);
    let seconds = value("process_cpu_seconds_total").expect("two numbers");
    assert!((seconds - (1.0 + number as f64 / 100.0)).abs() <= seconds / 1e9);
    assert_eq!(thread_count(&status), 9);
    if thread_count(text) > 0 {
        assert!(text.contains("Threads:"));
    }
}

fn sockets(text: &str, number: u64) {
    let row = |inode: &str, drops: u64| {
        format!(
            "  1: 0100007F:07D0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0000000000000000 {drops}\n"
        )
    };
    let title = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
    let table = format!(
        "{title}{}{}{}",
        row("41", 1),
        row("42", number),
        row("43", 3)
    );
    assert_eq!(drops_of("42", &table), Some(number));
    assert_eq!(drops_of("4", &table), None);
    // A table that ends anywhere tells the number, its beginning, or nothing.
    for end in 0..=table.len() {
        if let Some(drops) = drops_of("42", &table[..end]) {
            assert!(
                number.to_string().starts_with(&drops.to_string()),
                "{drops}"
            );
        }
    }
    if drops_of("42", text).is_some() {
        assert!(text.contains("42"));
    }
}

fuzz_target!(|input: (u64, u16, &str, &str)| {
    let (number, reserved, name, text) = input;
    groups(text);
    memory(text, number);
    process(name, text, number);
    sockets(text, number);
    let (connections, calls) = share(number, reserved.into());
    assert!(connections >= 1 && calls >= 1);
    let given = connections as u128 + calls as u128;
    assert!(given <= u128::from(number).max(2), "{connections} {calls}");
});
