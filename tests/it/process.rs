//! `credential_process`: what its program does may cost the daemon nothing but the credentials.

use std::path::Path;

use xray_test_support::DEADLINE;
use xray_test_support::daemon::Launch;
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::process::Signal;
use xray_test_support::procfs::{open_descriptors, usage};
use xray_test_support::scratch::ScratchDir;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::FakeXray;

/// Processes that have this text among their arguments. The dead have none.
fn processes(mark: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}

/// A daemon that has no credentials but those of this file.
fn with_config(fake: &FakeXray, config: &Path) -> Launch {
    Launch::against(fake)
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_CONFIG_FILE", config.to_str().unwrap())
}

/// Each run leaves a process that keeps the program's output open.
#[test]
fn a_program_that_leaves_processes_behind_costs_nothing() {
    let fake = FakeXray::start();
    fake.update(|state| state.keys = vec![Keys::new("AKIAPROC", "hush", None)]);
    let mark = format!("{}.8001", std::process::id());
    let scratch = ScratchDir::new();
    let runs = scratch.file("runs", "");
    let program = scratch.file(
        "program",
        format!(
            r#"sleep {mark} &
            echo run >>'{}'
            end=$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)
            echo '{{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"hush","Expiration":"'"$end"'"}}'"#,
            runs.display()
        ),
    );
    let line = format!(
        "[default]\ncredential_process = /bin/sh '{}'\n",
        program.display()
    );
    let config = scratch.file("config", line);
    let daemon = with_config(&fake, &config).start();
    UdpClient::new(daemon.udp).document(segment(1));
    fake.wait_for("the document", |state| state.accepted.len() == 1);
    let wait_runs = |count| {
        wait_until("further runs of the program", || {
            std::fs::read_to_string(&runs).unwrap().lines().count() >= count
        });
    };
    let used = || {
        let pid = daemon.pid();
        (usage(pid).unwrap().threads, open_descriptors(pid).unwrap())
    };
    wait_runs(2);
    let before = used();
    wait_runs(6);
    // One that runs just now has a pipe and what starting it needs; four runs were in between.
    wait_until("no more threads and descriptors than before", || {
        let after = used();
        after.0 <= before.0 + 1 && after.1 <= before.1 + 2
    });
    wait_until("one process at most", || processes(&mark) <= 1);
    // It ends what runs just now.
    daemon.stop();
}

/// The second signal, which leaves no time for anything else, ends it too.
#[test]
fn a_program_that_hangs_does_not_outlive_the_daemon() {
    let fake = FakeXray::start();
    for is_twice in [false, true] {
        let mark = format!("{}.8002", std::process::id());
        let scratch = ScratchDir::new();
        let line = format!("[default]\ncredential_process = sleep {mark}\n");
        let config = scratch.file("config", line);
        let daemon = with_config(&fake, &config)
            .args(["--shutdown-timeout", if is_twice { "1h" } else { "0s" }])
            .start();
        UdpClient::new(daemon.udp).document(segment(1));
        wait_until("the program", || processes(&mark) == 1);
        match is_twice {
            true => daemon.terminate_twice(),
            false => daemon.signal(Signal::TERM),
        }
        let ended = daemon.wait_exit(DEADLINE);
        assert_eq!(ended.code, Some(i32::from(is_twice)));
        wait_until("no process", || processes(&mark) == 0);
    }
}
