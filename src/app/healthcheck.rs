//! Health: the answer to `GET /healthz`, and the command that requests it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::admin::endpoints::HEALTH_PATH;
use crate::ingest::address;

/// Limit for the whole health check: orchestrators often run it once a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// The daemon's own answer is shorter.
const MAX_ANSWER: u64 = 4096;

/// Why a daemon is not well, as the one line that the command prints.
#[derive(Debug)]
pub(crate) enum Unhealthy {
    /// The address cannot be resolved.
    Address(String, io::Error),
    /// There is no answer from this address.
    Silent(SocketAddr, io::Error),
    /// Something else answers there, or the daemon says that it is not well.
    Says(SocketAddr, String),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhealthy::Address(address, error) => {
                write!(
                    f,
                    "unhealthy: {address} is not an address of a daemon: {error}; pass the daemon's -t"
                )
            }
            Unhealthy::Silent(address, error) => {
                write!(f, "unhealthy: no answer from tcp {address}: {error}")
            }
            Unhealthy::Says(address, answer) => write!(f, "unhealthy: {address} says {answer}"),
        }
    }
}

impl std::error::Error for Unhealthy {}

/// Asks the daemon that listens on `bind` (host:port, as given to `-t`) whether it is well.
///
/// # Errors
/// [`Unhealthy`] when it does not say so within a second.
pub(crate) fn ask(bind: &str) -> Result<(), Unhealthy> {
    ask_within(bind, PATIENCE)
}

fn ask_within(bind: &str, patience: Duration) -> Result<(), Unhealthy> {
    let end = Instant::now() + patience;
    let addresses = address::resolve(bind);
    let nowhere = |error| Unhealthy::Address(bind.to_owned(), error);
    let asked = ask_first(addresses.map_err(nowhere)?, end);
    asked.unwrap_or_else(|| Err(nowhere(io::ErrorKind::NotFound.into())))
}

/// Asks at the addresses one after the other, as the daemon has tried to listen there, until one answers.
/// `None`: there are none.
fn ask_first(addresses: Vec<SocketAddr>, end: Instant) -> Option<Result<(), Unhealthy>> {
    let mut silent = None;
    for address in addresses.into_iter().map(address::reachable) {
        match exchange(address, end) {
            Ok(answer) => return Some(judge(address, &answer)),
            Err(error) => silent = silent.or(Some(Unhealthy::Silent(address, error))),
        }
    }
    silent.map(Err)
}

fn judge(address: SocketAddr, answer: &str) -> Result<(), Unhealthy> {
    let first_line = answer.lines().next().unwrap_or_default();
    if first_line.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let said = if body.trim().is_empty() {
        first_line
    } else {
        body
    };
    Err(Unhealthy::Says(
        address,
        crate::logging::escape(said.trim(), 200),
    ))
}

fn exchange(address: SocketAddr, end: Instant) -> io::Result<String> {
    // A time-out of zero would be an error.
    let left = || {
        end.saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    };
    let mut stream = TcpStream::connect_timeout(&address, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(
        format!("GET {HEALTH_PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    )?;
    stream.set_read_timeout(Some(left()))?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xray_test_support::DEADLINE;
    use xray_test_support::endpoint::{Endpoint, Reply};
    use xray_test_support::server::closed_address;

    /// The verdict on a daemon that answers with these bytes.
    fn ask_peer(answer: &'static str) -> Result<(), Unhealthy> {
        let peer = Endpoint::start(|_, _| Reply::RawThenClose(answer.into()));
        let result = ask_within(&peer.address().to_string(), DEADLINE);
        assert_eq!(peer.request_lines(), ["GET /healthz"]);
        result
    }

    #[test]
    fn only_a_200_is_well() {
        assert!(ask_peer("HTTP/1.1 200 OK\r\n\r\nok\n").is_ok());
        for (answer, said) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\nthe uploader does not answer\n",
                "the uploader",
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
            ("SSH-2.0-x\r\n", "SSH-2.0-x"),
            ("", "says "),
        ] {
            let error = ask_peer(answer).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn nobody_and_nowhere_are_told_apart() {
        let gone = closed_address().to_string();
        assert!(matches!(ask(&gone), Err(Unhealthy::Silent(..))));
        assert!(matches!(ask("no port"), Err(Unhealthy::Address(..))));
    }

    #[test]
    fn a_daemon_at_the_second_address_of_a_name_is_well() {
        let peer = Endpoint::start(|_, _| Reply::RawThenClose("HTTP/1.1 200 OK\r\n\r\n".into()));
        let gone = closed_address();
        let end = Instant::now() + DEADLINE;
        assert!(matches!(
            ask_first(vec![gone, peer.address()], end),
            Some(Ok(()))
        ));
        let Some(Err(error)) = ask_first(vec![gone, closed_address()], end) else {
            panic!("nobody is there");
        };
        assert!(error.to_string().contains(&gone.to_string()), "{error}");
    }
}
