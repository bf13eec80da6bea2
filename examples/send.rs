//! Sends the trace of a failed checkout to a daemon, as three services would: an in-progress
//! segment first, then one document of each service.
//!
//! `cargo run --example send [host:port]`; the address may also stand in AWS_XRAY_DAEMON_ADDRESS.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// One document a line, all within one second of fixed time and under fixed ids.
const DOCUMENTS: &str = include_str!("checkout.jsonl");
const SECOND: u64 = 1_700_000_000;
const RANDOM_PART: &str = "a1b2c3d4e5f6";
const TRACE_ID: &str = "1-6553f100-a1b2c3d4e5f6a1b2c3d4e5f6";

fn main() -> ExitCode {
    let address = address();
    // The second before the last, so that no segment ends in the future.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let second = now.map_or(SECOND, |now| now.as_secs() - 1);
    let trace_id = format!("1-{second:08x}-{}{}", random_part(), random_part());
    match send(&address, &fresh(DOCUMENTS, second, &trace_id)) {
        Ok(count) => {
            println!(
                "sent trace {trace_id} to {address} by UDP: {count} documents, \
                 web-frontend -> orders -> payments (fault)"
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!(
                "cannot send to {address} by UDP: {error}; \
                 give host:port, and start a daemon there with `make run`"
            );
            ExitCode::FAILURE
        }
    }
}

/// The argument, the variable as SDKs read it (`host:port` or `tcp:host:port udp:host:port`), or
/// the default.
fn address() -> String {
    let variable = || env::var("AWS_XRAY_DAEMON_ADDRESS").ok();
    let named = env::args().nth(1).or_else(variable).unwrap_or_default();
    let udp = named
        .split_whitespace()
        .find_map(|part| part.strip_prefix("udp:"));
    match udp.unwrap_or(&named) {
        "" => "127.0.0.1:2000".to_owned(),
        address => address.to_owned(),
    }
}

/// The documents under ids of their own, in another second.
fn fresh(documents: &str, second: u64, trace_id: &str) -> String {
    documents
        .replace(TRACE_ID, trace_id)
        .replace(RANDOM_PART, &random_part())
        .replace(&format!("{SECOND}."), &format!("{second}."))
}

/// Twelve hexadecimal digits. The keys of `RandomState` are random, which is enough for an id.
fn random_part() -> String {
    format!("{:012x}", RandomState::new().hash_one(0) >> 16)
}

fn send(address: &str, documents: &str) -> io::Result<usize> {
    let mut targets = address.to_socket_addrs()?;
    let target = targets.next().ok_or(io::ErrorKind::NotFound)?;
    let any = if target.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    let mut count = 0;
    for document in documents.lines() {
        let datagram = ["{\"format\":\"json\",\"version\":1}\n", document].concat();
        // A connected socket reports at the next send that nobody listens.
        socket.send(datagram.as_bytes())?;
        count += 1;
    }
    Ok(count)
}
