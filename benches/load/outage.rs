//! How long an outage of X-Ray may be before memory is full and the first segment is dropped, and what
//! waiting costs.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use xray_test_support::procfs;

use crate::daemon::{Daemon, Program};
use crate::{backend, realistic};

/// Segments a second.
const RATE: u64 = 1_000;

/// `-m`, in MB.
const MEMORY: &str = "16";

/// Segments between two looks at the counters. They cost CPU time too: they go on to the end for each.
const STEP: u64 = 500;

/// Holds an outage of so many seconds against each daemon, one after the other.
pub fn all(seconds: u64, paths: &[&str]) -> io::Result<()> {
    println!("-m {MEMORY}, {RATE} segments/s, {seconds} s without X-Ray");
    for path in paths {
        let program = Program::Daemon(Path::new(path).to_owned());
        let backend = backend::start(Duration::ZERO, false);
        let daemon = Daemon::start(&program, &backend, &["-m", MEMORY])?;
        backend.counts.is_away.store(true, Relaxed);
        let cpu = || procfs::usage(daemon.pid()).map_or(Duration::ZERO, |usage| usage.cpu);
        let before = cpu();
        let first_drop = send(daemon.address, RATE * seconds)?;
        let cpu = (cpu() - before).as_secs_f64();
        let held = match first_drop {
            Some(number) => format!("{:.1} s without a loss", number as f64 / RATE as f64),
            None => "nothing lost".to_owned(),
        };
        let drops = procfs::drops(daemon.address);
        println!("{path}: {held}, {cpu:.2} s of CPU, {drops} dropped by the kernel");
    }
    Ok(())
}

/// Sends `total` segments. Answers after how many of them the first one was dropped.
fn send(daemon: SocketAddr, total: u64) -> io::Result<Option<u64>> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(daemon)?;
    let mut first_drop = None;
    let start = Instant::now();
    for number in 0..total {
        let document = realistic::document(number);
        socket.send(format!("{{\"format\":\"json\",\"version\":1}}\n{document}").as_bytes())?;
        if number % STEP == 0 && spilled(daemon)? > 0 {
            first_drop = first_drop.or(Some(number));
        }
        let next = Duration::from_secs(1) * number as u32 / RATE as u32;
        // Sleeps until at least a millisecond is due: shorter ones only burn CPU time.
        if let Some(early) = next.checked_sub(start.elapsed())
            && early > Duration::from_millis(1)
        {
            thread::sleep(early);
        }
    }
    Ok(first_drop)
}

/// The daemon's own count of segments that were dropped because memory was full.
fn spilled(daemon: SocketAddr) -> io::Result<u64> {
    let mut connection = TcpStream::connect(daemon)?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let mut lines = answer.lines();
    let count = lines.find_map(|line| line.strip_prefix("xray_segments_spilled_total "));
    count
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| io::Error::other("the daemon does not say how many segments it has dropped"))
}
