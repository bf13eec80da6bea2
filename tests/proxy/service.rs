//! What plays X-Ray: keeps the requests as they came, answers as the test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::client::PATIENCE;
use crate::support::http::Request;
use crate::support::keys::Keys;
use crate::support::sigv4::{parse_date, verify};

pub const REGION: &str = "us-east-1";
pub const KEY: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A request as the service got it.
#[derive(Debug)]
pub struct Received {
    pub line: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "two {name} in {self:?}");
        value
    }

    /// Names of the headers, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Checks that the signature is one that X-Ray takes, at the time when it was made.
    #[track_caller]
    pub fn is_signed_by(&self, key: &str, secret: &str) {
        let mut words = self.line.split(' ').map(str::to_owned);
        let request = Request {
            method: words.next().unwrap(),
            target: words.next().unwrap(),
            headers: self.headers.clone(),
            body: self.body.clone(),
        };
        let keys = Keys::new(key, secret, self.header("x-amz-security-token"));
        let time = self.header("x-amz-date").and_then(parse_date).unwrap();
        let verdict = verify(&request, &[keys], REGION, "xray", time);
        assert_eq!(verdict, Ok(()), "{self:?}");
    }
}

/// What is written back; the connection is closed where it says so.
#[derive(Clone)]
pub enum Reply {
    /// These bytes; the connection stays open.
    Open(Vec<u8>),
    /// These bytes, then the end.
    Close(Vec<u8>),
    /// Nothing, ever.
    Hang,
}

impl Reply {
    /// An answer with `headers` (lines that end with CRLF) and a length.
    pub fn new(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        Reply::Open([head.as_bytes(), body].concat())
    }

    pub fn ok() -> Reply {
        Reply::new("200 OK", "Content-Type: application/json\r\n", "{\"ok\":1}")
    }
}

type Answer = dyn Fn(&Received) -> Reply + Send + Sync;

pub struct Service {
    pub address: SocketAddr,
    received: Receiver<Received>,
}

impl Service {
    pub fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.unwrap(), sender.clone());
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream, &sender, &*answer));
            }
        });
        Service { address, received }
    }

    /// The next request that came.
    #[track_caller]
    pub fn received(&self) -> Received {
        self.received.recv_timeout(PATIENCE).expect("a request")
    }

    /// Whether any request has come that was not taken yet.
    pub fn has_more(&self) -> bool {
        self.received.try_recv().is_ok()
    }
}

/// Serves one connection, whatever carries it.
pub fn serve(mut stream: impl Read + Write, sender: &Sender<Received>, answer: &Answer) {
    while let Some(request) = read(&mut stream) {
        let reply = answer(&request);
        if sender.send(request).is_err() {
            return;
        }
        let (bytes, close) = match &reply {
            Reply::Open(bytes) => (bytes, false),
            Reply::Close(bytes) => (bytes, true),
            Reply::Hang => {
                // Until the other side gives up.
                let _ = stream.read(&mut [0]);
                return;
            }
        };
        if stream.write_all(bytes).is_err() || stream.flush().is_err() || close {
            return;
        }
    }
}

fn read(stream: &mut impl Read) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let mut received = Received {
        line: lines.next().unwrap().to_owned(),
        headers: lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    };
    assert_eq!(received.header("transfer-encoding"), None, "{head}");
    let length = received
        .header("content-length")
        .map(|l| l.parse().unwrap());
    received.body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut received.body).ok()?;
    Some(received)
}

/// Keeps a listener that never accepts, and its address.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
