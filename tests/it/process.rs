//! `credential_process`: what its program does may cost the daemon nothing but the credentials.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::DEADLINE;
use crate::support::daemon::Launch;
use crate::support::fake_xray::{FakeXray, REGION};
use crate::support::keys::Keys;
use crate::support::load::{Client, segment};

/// A folder of this test run.
fn folder(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A daemon whose keys `script` prints. `$1` is a file for its notes.
fn with_program(fake: &FakeXray, name: &str, script: &str) -> (Launch, PathBuf) {
    let folder = folder(name);
    let (program, notes) = (folder.join("program"), folder.join("notes"));
    let config = folder.join("config");
    std::fs::write(&program, script).unwrap();
    std::fs::write(&notes, "").unwrap();
    let line = format!(
        "[default]\ncredential_process = /bin/sh '{}' '{}'\n",
        program.display(),
        notes.display()
    );
    std::fs::write(&config, line).unwrap();
    let launch = Launch::against(fake)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_REGION", REGION)
        .env("AWS_CONFIG_FILE", config.to_str().unwrap());
    (launch, notes)
}

/// The program's notes, once there are `count` lines of them.
fn notes(file: &PathBuf, count: usize) -> Vec<String> {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < end, "{count} notes: {lines:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Each run leaves a process that keeps the program's output open.
#[test]
fn a_program_that_leaves_processes_behind_costs_nothing() {
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![Keys::new("AKIAPROC", "hush", None)]);
    let mark = format!("{}.8001", std::process::id());
    let (launch, file) = with_program(
        &fake,
        "leaves",
        &format!(
            r#"sleep {mark} &
            echo "$PPID" >>"$1"
            end=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)
            echo '{{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"hush","Expiration":"'"$end"'"}}'"#
        ),
    );
    let daemon = launch.start();
    Client::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let threads = |pid: &str| {
        std::fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .count()
    };
    let pid = notes(&file, 2).remove(0);
    let before = (threads(&pid), daemon.open_descriptors());
    notes(&file, 6);
    let after = (threads(&pid), daemon.open_descriptors());
    // One that runs just now has a pipe and what starting it needs; four runs were in between.
    assert!(
        after.0 <= before.0 + 1 && after.1 <= before.1 + 2,
        "threads and descriptors: {before:?}, then {after:?}"
    );
    let count = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&mark))
        .count();
    assert!(count <= 1, "{count} processes are left behind");
}
