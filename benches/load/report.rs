//! Progress while it runs, then the table and the JSON.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::run::{Kind, Load, Run};

/// One program under one load.
pub struct Row {
    name: &'static str,
    pub load: Load,
    pub runs: Vec<Run>,
}

/// How far the floor may move in the middle half of its runs, as a part of its median, before no
/// factor of it means much.
const QUIET: f64 = 0.2;

/// Starts without metadata: the program and its times in milliseconds, or why there are none.
pub type Starts = [(&'static str, io::Result<Vec<f64>>)];

impl Row {
    pub fn new(name: &'static str, load: Load) -> Self {
        let runs = Vec::new();
        Self { name, load, runs }
    }

    fn median(&self, value: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(value).collect())
    }

    /// Losses are not to be hidden by a median.
    fn worst(&self, value: impl Fn(&Run) -> u64) -> u64 {
        self.runs.iter().map(value).max().unwrap_or(0)
    }

    fn spread(&self) -> f64 {
        let all = sorted(self.runs.iter().map(|run| run.cpu_us).collect());
        let quarter = all.len() / 4;
        (all[all.len() - 1 - quarter] - all[quarter]) / self.median(|run| run.cpu_us)
    }

    fn noisy(&self) -> bool {
        self.name == "floor" && self.spread() > QUIET
    }

    fn backend(&self) -> String {
        let backend = match self.load {
            Load { tls: true, .. } => "TLS".to_owned(),
            Load { latency: 0, .. } => "plain".to_owned(),
            Load { latency, .. } => format!("{latency} ms"),
        };
        match self.load.kind {
            Kind::Segments => backend,
            Kind::Spans { gzip: false } => format!("spans, {backend}"),
            Kind::Spans { gzip: true } => format!("gzip spans, {backend}"),
        }
    }
}

fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    values[values.len() / 2]
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The floor under the load of `row`.
fn floor<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    rows.iter()
        .find(|other| other.name == "floor" && other.load == row.load)
}

/// Says on standard error what is running.
pub struct Progress {
    total: usize,
    done: std::cell::Cell<usize>,
    start: Instant,
}

impl Progress {
    pub fn new(total: usize) -> Self {
        let (done, start) = (std::cell::Cell::new(0), Instant::now());
        Self { total, done, start }
    }

    pub fn say(&self, row: &Row, repeat: usize) {
        self.done.set(self.done.get() + 1);
        let (done, total, seconds) = (self.done.get(), self.total, self.start.elapsed().as_secs());
        let (rate, backend, name) = (row.load.rate, row.backend(), row.name);
        let line =
            format!("[{done}/{total}] {seconds} s: {rate}/s, {backend}, {name}, run {repeat}");
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    pub fn done(&self) {
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

const HEAD: [&str; 14] = [
    "load/s", "backend", "program", "CPU us", "x floor", "idle MB", "peak MB", "threads",
    "wakes/s", "start ms", "drops", "lost", "requests", "wire B",
];

/// Prints the medians, aligned.
pub fn print(rows: &[Row], starts: &Starts) {
    let lines: Vec<Vec<String>> = rows.iter().map(|row| cells(rows, row)).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].len());
        cells.chain([HEAD[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let aligned = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    println!("{}", aligned(&mut HEAD.into_iter()));
    let mut previous = None;
    for (row, line) in rows.iter().zip(&lines) {
        if previous
            .replace(row.load)
            .is_some_and(|load| load != row.load)
        {
            println!();
        }
        let line = aligned(&mut line.iter().map(String::as_str));
        let (on, off) = colour(rows, row);
        println!("{on}{line}{off}");
    }
    println!(
        "\nCPU and wire are for one segment or span; all are medians, but drops and lost the worst run."
    );
    for (name, times) in starts {
        match times {
            Ok(times) => println!(
                "{name}: listens {:.1} ms after exec when no metadata endpoint answers",
                median(times.clone())
            ),
            Err(error) => println!("{name}: no start without metadata: {error}"),
        }
    }
    for row in rows.iter().filter(|row| row.noisy()) {
        println!(
            "TOO NOISY at {}/s, {}: the floor itself moved by {:.0} % between runs",
            row.load.rate,
            row.backend(),
            row.spread() * 100.0
        );
    }
}

fn cells(rows: &[Row], row: &Row) -> Vec<String> {
    let cpu = row.median(|run| run.cpu_us);
    let mb = |kib: f64| format!("{:.1}", kib / 1024.0);
    let sent = row.median(|run| run.sent_a_second);
    let rate = row.load.rate as f64;
    vec![
        // What was really sent, where that is another thing.
        if sent < rate * 0.98 {
            format!("{} ({sent:.0})", row.load.rate)
        } else {
            row.load.rate.to_string()
        },
        row.backend(),
        row.name.to_owned(),
        format!("{cpu:.2}"),
        floor(rows, row).map_or("-".into(), |floor| {
            format!("{:.2}", cpu / floor.median(|run| run.cpu_us))
        }),
        mb(row.median(|run| run.idle_kib as f64)),
        mb(row.median(|run| run.peak_kib as f64)),
        format!("{:.0}", row.median(|run| run.threads as f64)),
        format!("{:.1}", row.median(|run| run.wakes_a_second)),
        format!("{:.1}", row.median(|run| run.start_ms)),
        row.worst(|run| run.drops).to_string(),
        row.worst(|run| run.lost).to_string(),
        format!("{:.0}", row.median(|run| run.requests as f64)),
        format!(
            "{:.0}",
            row.median(|run| run.wire_bytes as f64 / run.sent as f64)
        ),
    ]
}

/// Red for a loss, green for no more than 1.5 times the floor; only on a terminal.
fn colour(rows: &[Row], row: &Row) -> (&'static str, &'static str) {
    if !io::stdout().is_terminal() || row.name == "floor" {
        return ("", "");
    }
    let limit = floor(rows, row).map(|floor| floor.median(|run| run.cpu_us) * 1.5);
    if row.worst(|run| run.lost) > 0 {
        ("\x1b[31m", "\x1b[0m")
    } else if limit.is_some_and(|limit| row.median(|run| run.cpu_us) <= limit) {
        ("\x1b[32m", "\x1b[0m")
    } else {
        ("", "")
    }
}

/// Writes every run, not only the medians.
pub fn write_json(path: &Path, rows: &[Row], starts: &Starts) -> io::Result<()> {
    let noisy = rows.iter().any(Row::noisy);
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let ratio = floor(rows, row)
                .map(|floor| row.median(|run| run.cpu_us) / floor.median(|run| run.cpu_us));
            json!({
                "program": row.name,
                "spans": row.load.kind != Kind::Segments,
                "per_second": row.load.rate,
                "latency_ms": row.load.latency,
                "tls": row.load.tls,
                "cpu_us_each": row.median(|run| run.cpu_us),
                "times_floor": ratio,
                "runs": row.runs.iter().map(run_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    let starts: Vec<Value> = starts
        .iter()
        .map(|(name, times)| json!({"program": name, "ms": times.as_deref().ok()}))
        .collect();
    let all = json!({"rows": rows, "starts_without_metadata": starts, "noisy": noisy});
    std::fs::write(path, format!("{all:#}\n"))
}

fn run_json(run: &Run) -> Value {
    json!({
        "start_ms": run.start_ms,
        "idle_kib": run.idle_kib,
        "threads": run.threads,
        "wakes_per_second": run.wakes_a_second,
        "sent": run.sent,
        "sent_per_second": run.sent_a_second,
        "cpu_us_each": run.cpu_us,
        "peak_kib": run.peak_kib,
        "drops": run.drops,
        "lost": run.lost,
        "repeated": run.repeated,
        "requests": run.requests,
        "wire_bytes": run.wire_bytes,
    })
}
