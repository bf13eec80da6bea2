//! What plays X-Ray: keeps the requests as they came, answers as the test says.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::client::PATIENCE;

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

    /// Checks Signature Version 4 by its specification, not by the library that made it.
    #[track_caller]
    pub fn is_signed_by(&self, key: &str, secret: &str) {
        let authorization = self.header("authorization").expect("a signature");
        let field = |name: &str| {
            let start = authorization.find(name).unwrap() + name.len();
            authorization[start..].split(',').next().unwrap()
        };
        let date = self.header("x-amz-date").unwrap();
        let scope = format!("{}/{REGION}/xray/aws4_request", &date[..8]);
        assert_eq!(field("Credential="), format!("{key}/{scope}"));

        let mut words = self.line.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut canonical = format!("{method}\n{}\n{query}\n", path.replace('%', "%25"));
        let signed_headers = field("SignedHeaders=");
        for name in signed_headers.split(';') {
            let value = self.header(name).unwrap_or_default().trim();
            writeln!(canonical, "{name}:{value}").unwrap();
        }
        write!(
            canonical,
            "\n{signed_headers}\n{}",
            hex(&Sha256::digest(&self.body))
        )
        .unwrap();
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex(&Sha256::digest(&canonical))
        );
        let mut signing = format!("AWS4{secret}").into_bytes();
        for part in scope.split('/').chain([to_sign.as_str()]) {
            signing = mac(&signing, part);
        }
        assert_eq!(field("Signature="), hex(&signing), "{canonical}");
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
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
