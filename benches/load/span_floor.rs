//! The floor for spans: the least any daemon must do with a request of an exporter. Receive, hash the
//! body, one HTTP write, pass the answer on, all in the thread of the connection.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::floor::{self, Upstream};

/// Room for the head and body of a request of the exporter.
const ROOM: usize = 512 << 10;

/// What the backend answers to spans.
const DELIVERED: &[u8] = b"{}";

/// Takes connections until the process is killed.
pub fn run(listener: &TcpListener, upstream: &Upstream) -> io::Result<()> {
    loop {
        let (mut client, _) = listener.accept()?;
        client.set_nodelay(true)?;
        let upstream = upstream.clone();
        thread::spawn(move || {
            let mut upstream = upstream.connect().expect("the backend runs");
            // Ends when the exporter closes the connection.
            while let Ok(()) = forward(&mut client, &mut *upstream) {}
        });
    }
}

fn forward(client: &mut (impl Read + Write), upstream: &mut dyn floor::Stream) -> io::Result<()> {
    let mut request = vec![0; ROOM];
    loop {
        let body = receive(client, &mut request)?;
        floor::post(upstream, "/v1/traces", &request[body], DELIVERED)?;
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// Receives a whole request. Returns where its body is.
fn receive(client: &mut impl Read, request: &mut [u8]) -> io::Result<std::ops::Range<usize>> {
    let mut filled = 0;
    loop {
        match client.read(&mut request[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
        // The exporter ends the head with the length of the body.
        let Some(end) = find(&request[..filled.min(1024)], b"\r\n\r\n") else {
            continue;
        };
        let line = find(&request[..end], b"Content-Length: ").expect("the exporter says it");
        let length = &request[line + b"Content-Length: ".len()..end];
        let length = std::str::from_utf8(length).map_err(io::Error::other)?;
        let body = end + 4..end + 4 + length.parse::<usize>().map_err(io::Error::other)?;
        if filled >= body.end {
            return Ok(body);
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|at| at == wanted)
}
