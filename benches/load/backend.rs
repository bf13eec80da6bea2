//! Stands in for X-Ray: answers every POST, counts the documents by their numbers, and what came
//! over the wire.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::tls;

/// What has arrived so far.
#[derive(Default)]
pub struct Counts {
    /// Documents, each number once.
    pub documents: AtomicU64,
    /// Documents whose number had already come.
    pub repeated: AtomicU64,
    /// Requests to `/TraceSegments`.
    pub requests: AtomicU64,
    /// Bytes read from the sockets: heads, bodies, TLS records, telemetry.
    pub bytes: AtomicU64,
    /// One flag a number.
    seen: Mutex<Vec<bool>>,
}

/// A backend and where it listens.
pub struct Backend {
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
}

/// Starts a backend that answers each request after `latency`. Its threads end with the process.
pub fn start(latency: Duration, encrypted: bool) -> io::Result<Backend> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    let tls = encrypted.then(tls::server);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counts = Arc::clone(&shared);
            let tls = tls.clone();
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let stream = Metered(stream, Arc::clone(&counts));
                // A daemon that is stopped closes its connections as it likes: no error of ours.
                let _ = match tls {
                    Some(tls) => serve(tls::accept(tls, stream), &counts, latency),
                    None => serve(stream, &counts, latency),
                };
            });
        }
    });
    Ok(Backend { address, counts })
}

fn serve(mut stream: impl Read + Write, counts: &Counts, latency: Duration) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    loop {
        let (head, length) = loop {
            if let Some(found) = head(&buffer[..filled])? {
                break found;
            }
            filled += read_some(&mut stream, &mut buffer[filled..])?;
        };
        let end = head + length;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        while filled < end {
            filled += read_some(&mut stream, &mut buffer[filled..])?;
        }
        let answer = if buffer.starts_with(b"POST /TraceSegments ") {
            counts.add(&buffer[head..end]);
            "{\"UnprocessedTraceSegments\":[]}"
        } else {
            "{}"
        };
        if !latency.is_zero() {
            thread::sleep(latency);
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes())?;
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length),
    }
}

/// Length of the head and of the body, once the head is complete.
fn head(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(status) = request.parse(bytes) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let httparse::Status::Complete(head) = status else {
        return Ok(None);
    };
    let length = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    Ok(Some((head, length.unwrap_or(0))))
}

impl Counts {
    /// Finds the number behind each `~`; the sender writes that byte nowhere else.
    fn add(&self, body: &[u8]) {
        let mut seen = self.seen.lock().unwrap();
        let (mut documents, mut repeated) = (0, 0);
        let mut rest = body;
        // The standard library's own memchr: the backend shares two cores with what it measures.
        while rest.skip_until(b'~').is_ok_and(|_| !rest.is_empty()) {
            let digits = rest.iter().take(8).filter(|byte| byte.is_ascii_digit());
            let number = digits.fold(0, |n, digit| n * 10 + usize::from(digit - b'0'));
            if seen.len() <= number {
                seen.resize((number + 1).next_power_of_two(), false);
            }
            if std::mem::replace(&mut seen[number], true) {
                repeated += 1;
            } else {
                documents += 1;
            }
        }
        self.requests.fetch_add(1, Relaxed);
        self.documents.fetch_add(documents, Relaxed);
        self.repeated.fetch_add(repeated, Relaxed);
    }
}

/// A socket that counts what it reads.
pub struct Metered(TcpStream, Arc<Counts>);

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(buffer)?;
        self.1.bytes.fetch_add(length as u64, Relaxed);
        Ok(length)
    }
}

impl Write for Metered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
