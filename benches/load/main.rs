//! Measures the daemon beside the floor, and beside any other daemon with the same flags.
//!
//! `make bench` builds what is needed and runs this; docs/performance.md says how to read it.

mod backend;
mod daemon;
mod exporter;
mod floor;
mod outage;
#[path = "../realistic/mod.rs"]
mod realistic;
mod report;
mod run;
mod sender;
mod span_floor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const USAGE: &str = "\
usage: load [--quick] [--spans] [--ours PATH] [--theirs PATH] [--json PATH]
       load outage SECONDS PATH...      how long `-m 16` holds all segments of an outage, for each daemon
       load floor LISTEN BACKEND [PEM]  the floor alone; with an authority's certificate, by TLS
       load send DAEMON RATE SECONDS    the sender alone
       load export DAEMON RATE SECONDS [gzip]  the same with spans
       load backend SECONDS             the backend alone; says its address, then its counts";

fn main() -> ExitCode {
    // `cargo bench` adds --bench; without it this is `cargo test --all-targets`: nothing to test.
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    arguments.retain(|argument| argument != "--bench");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    match words {
        ["floor", listen, backend] => floor::run(listen.parse()?, backend.parse()?, None)?,
        ["floor", listen, backend, pem] => {
            floor::run(listen.parse()?, backend.parse()?, Some(pem))?;
        }
        ["outage", seconds, paths @ ..] => outage::all(seconds.parse()?, paths)?,
        ["send", daemon, rate, seconds] => {
            let daemon: SocketAddr = daemon.parse()?;
            let sent = sender::send(daemon, rate.parse()?, seconds.parse()?)?;
            println!("sent {} in {:.3?}", sent.count, sent.elapsed);
        }
        ["export", daemon, rate, seconds, rest @ ..] => {
            let (daemon, is_gzip) = (daemon.parse()?, *rest == ["gzip"]);
            let sent = exporter::send(daemon, rate.parse()?, seconds.parse()?, is_gzip)?;
            println!("sent {} in {:.3?}", sent.count, sent.elapsed);
        }
        ["backend", seconds] => {
            let backend = backend::start(Duration::ZERO, false);
            println!("{}", backend.server.url());
            std::thread::sleep(Duration::from_secs(seconds.parse()?));
            let counts = &backend.counts;
            println!(
                "documents {}, repeated {}, requests {}, bytes {}",
                counts.documents.load(Relaxed),
                counts.repeated.load(Relaxed),
                counts.requests.load(Relaxed),
                backend.server.bytes_read()
            );
        }
        options => run::all(&options_of(options)?)?,
    }
    Ok(())
}

fn options_of(words: &[&str]) -> Result<run::Options, String> {
    let mut options = run::Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut path = || words.next().map(PathBuf::from).ok_or(USAGE);
        match *word {
            "--quick" => options.quick = true,
            "--spans" => options.spans = true,
            "--ours" => options.ours = Some(path()?),
            "--theirs" => options.theirs = Some(path()?),
            "--json" => options.json = Some(path()?),
            other => return Err(format!("unknown argument {other}\n{USAGE}")),
        }
    }
    Ok(options)
}
