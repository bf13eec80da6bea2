//! The plan: which loads, which programs, how often; and one run of one of them.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use xray_test_support::procfs;

use crate::daemon::{Daemon, Program};
use crate::report::{self, Progress, Row};
use crate::{backend, exporter, sender};

/// What the command line asked for.
#[derive(Default)]
pub struct Options {
    pub quick: bool,
    /// Only the loads with spans.
    pub spans: bool,
    pub ours: Option<PathBuf>,
    pub theirs: Option<PathBuf>,
    pub json: Option<PathBuf>,
}

/// One kind of load.
#[derive(Clone, Copy, PartialEq)]
pub struct Load {
    /// What is sent.
    pub kind: Kind,
    /// Segments or spans a second.
    pub rate: u64,
    /// How long the backend takes for a request, in milliseconds.
    pub latency: u64,
    /// Whether the backend speaks TLS.
    pub tls: bool,
}

/// What a load is made of.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Segments, by UDP.
    Segments,
    /// Spans of OpenTelemetry, in batches, by HTTP.
    Spans {
        /// Whether the batches are compressed.
        gzip: bool,
    },
}

/// What one run showed. A segment or a span is one of what was sent.
#[derive(Clone, Copy, Default)]
pub struct Run {
    pub start_ms: f64,
    pub idle_kib: u64,
    pub threads: u64,
    pub wakes_a_second: f64,
    pub sent: u64,
    /// As it really was; below the rate asked for if the sender could not keep up.
    pub sent_a_second: f64,
    pub cpu_us: f64,
    pub peak_kib: u64,
    pub drops: u64,
    pub lost: u64,
    pub repeated: u64,
    pub requests: u64,
    pub wire_bytes: u64,
}

const fn plain(rate: u64) -> Load {
    Load {
        kind: Kind::Segments,
        rate,
        latency: 0,
        tls: false,
    }
}

const fn slow(rate: u64) -> Load {
    Load {
        kind: Kind::Segments,
        rate,
        latency: 50,
        tls: false,
    }
}

const fn encrypted(rate: u64) -> Load {
    Load {
        kind: Kind::Segments,
        rate,
        latency: 0,
        tls: true,
    }
}

/// As much as the exporters of a busy task send.
const fn spans(gzip: bool, tls: bool) -> Load {
    Load {
        kind: Kind::Spans { gzip },
        rate: 5_000,
        latency: 0,
        tls,
    }
}

const LOADS: [Load; 12] = [
    plain(1_000),
    plain(10_000),
    plain(50_000),
    plain(100_000),
    slow(5_000),
    slow(20_000),
    encrypted(1_000),
    encrypted(10_000),
    spans(false, false),
    spans(true, false),
    spans(false, true),
    spans(true, true),
];

/// A run with spans is so many times longer than one with segments: threads that answer clients end soon,
/// and of threads that have ended the kernel counts the time in ticks of 10 ms.
const LONGER: u64 = 4;

/// Loads of segments that are compared with the floor have so many times the runs of others: what a program
/// takes depends on which processors its threads wake up on, and that is drawn anew for each run.
const MORE_RUNS: usize = 3;

/// Measures the start before any load: silent metadata endpoints must not delay it.
const STARTS: usize = 5;

/// Runs everything and reports it.
pub fn all(options: &Options) -> io::Result<()> {
    let (seconds, rounds) = if options.quick {
        (2, 1)
    } else {
        (4, 3 * MORE_RUNS)
    };
    let mut programs = vec![("floor", Program::Floor)];
    for (name, path) in [("ours", &options.ours), ("theirs", &options.theirs)] {
        programs.extend(path.clone().map(|path| (name, Program::Daemon(path))));
    }

    let mut plan = Vec::new();
    let is_wanted = |load: &Load| !options.spans || load.kind != Kind::Segments;
    for load in LOADS.into_iter().filter(is_wanted) {
        for (name, program) in &programs {
            if has_floor(load) || *program != Program::Floor {
                plan.push((Row::new(name, load), program));
            }
        }
    }

    let is_due = |load: Load, round: usize| {
        (has_floor(load) && load.kind == Kind::Segments) || round.is_multiple_of(MORE_RUNS)
    };
    let due = |round| plan.iter().filter(move |(row, _)| is_due(row.load, round));
    let progress = Progress::new((0..rounds).flat_map(due).count());
    // Rounds are the outer loop, so that a noisy minute hits every row and not every run of one.
    for round in 0..rounds {
        for (row, program) in &mut plan {
            if is_due(row.load, round) {
                progress.say(row, row.runs.len() + 1);
                row.runs.push(once(program, row.load, seconds)?);
            }
        }
    }
    let mut starts = Vec::new();
    for (name, program) in &programs {
        if let Program::Daemon(path) = program {
            let times = (0..STARTS).map(|_| Daemon::start_without_metadata(path));
            let times = times.map(|daemon| Ok(daemon?.started.as_secs_f64() * 1e3));
            starts.push((*name, times.collect::<io::Result<Vec<f64>>>()));
        }
    }
    progress.done();
    let rows: Vec<Row> = plan.into_iter().map(|(row, _)| row).collect();
    report::print(&rows, &starts);
    if let Some(path) = &options.json {
        report::write_json(path, &rows, &starts)?;
    }
    Ok(())
}

/// One thread that waits for each answer says nothing about a slow backend, and one that opens nothing
/// says little about compressed spans.
fn has_floor(load: Load) -> bool {
    load.latency == 0 && load.kind != Kind::Spans { gzip: true }
}

fn once(program: &Program, load: Load, seconds: u64) -> io::Result<Run> {
    let backend = backend::start(Duration::from_millis(load.latency), load.tls);
    let daemon = Daemon::start(program, &backend, &[])?;
    let look = || procfs::usage(daemon.pid()).ok_or_else(|| io::Error::other("the daemon ended"));

    // What the first segment has set off is over by then.
    thread::sleep(Duration::from_millis(500));
    let (before, idle_start) = (look()?, Instant::now());
    thread::sleep(Duration::from_secs(1));
    let idle = look()?;
    let idle_time = idle_start.elapsed().as_secs_f64();
    let idle_cpu = (idle.cpu - before.cpu).as_secs_f64() / idle_time;

    let counts = &backend.counts;
    let documents = counts.documents.load(Relaxed);
    let repeated = counts.repeated.load(Relaxed);
    let requests = counts.requests.load(Relaxed);
    let bytes = backend.server.bytes_read();
    let load_start = Instant::now();
    let (sent, each) = match load.kind {
        Kind::Segments => (sender::send(daemon.address, load.rate, seconds)?, 1),
        Kind::Spans { gzip } => {
            let seconds = seconds * LONGER;
            let sent = exporter::send(daemon.address, load.rate, seconds, gzip)?;
            (sent, exporter::SPANS)
        }
    };
    let arrived = || (counts.documents.load(Relaxed) - documents) * each;
    settle(arrived, sent.count);
    let after = look()?;
    let cpu = (after.cpu - idle.cpu).as_secs_f64() - idle_cpu * load_start.elapsed().as_secs_f64();

    Ok(Run {
        start_ms: daemon.started.as_secs_f64() * 1e3,
        idle_kib: idle.resident,
        threads: idle.threads,
        wakes_a_second: idle.sleeps.saturating_sub(before.sleeps) as f64 / idle_time,
        sent: sent.count,
        sent_a_second: sent.count as f64 / sent.elapsed.as_secs_f64(),
        cpu_us: cpu * 1e6 / sent.count as f64,
        peak_kib: after.peak,
        drops: procfs::drops(daemon.address),
        lost: sent.count.saturating_sub(arrived()),
        repeated: counts.repeated.load(Relaxed) - repeated,
        requests: counts.requests.load(Relaxed) - requests,
        wire_bytes: backend.server.bytes_read() - bytes,
    })
}

/// Waits until all have arrived, or none has for three seconds.
fn settle(arrived: impl Fn() -> u64, sent: u64) {
    let (mut last, mut since) = (arrived(), Instant::now());
    while last < sent && since.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(20));
        let now = arrived();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
