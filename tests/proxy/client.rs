//! A client that sends exactly the bytes it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Long enough for any machine; reached only when the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// For what nothing announces.
#[track_caller]
pub fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

/// An answer, its transfer coding removed.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Of a chunked body or one with a length: its end was seen.
    pub is_whole: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "two {name} in {self:?}");
        value
    }

    /// An error of the daemon itself: clients that ignore the status must find nothing to parse.
    #[track_caller]
    pub fn is_own(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-length"), Some("0"), "{self:?}");
        assert!(self.body.is_empty(), "{self:?}");
    }
}

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(to: SocketAddr) -> Client {
        Client::over(TcpStream::connect(to).unwrap())
    }

    pub fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            unread: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what the other side may not want any more.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.read_answer(true)
    }

    /// The answer to a `HEAD`, or an interim one: it ends with its head, whatever that says.
    pub fn head(&mut self) -> Answer {
        self.read_answer(false)
    }

    /// Whether the other side closes, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.fill()
    }

    /// The next bytes, whatever they mean.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        self.take(n)
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(n) => {
                self.unread.extend_from_slice(&piece[..n]);
                n > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&self.unread)),
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        while self.unread.len() < n && self.fill() {}
        let n = n.min(self.unread.len());
        self.unread.drain(..n).collect()
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn read_answer(&mut self, has_body: bool) -> Answer {
        let status_line = self.line().expect("an answer");
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .unwrap_or_else(|| panic!("{status_line:?}"))
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().expect("a whole head");
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
            is_whole: true,
        };
        if !has_body || status == 204 || status == 304 {
            return answer;
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = self.take(length);
            answer.is_whole = answer.body.len() == length;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            answer.is_whole = self.chunks(&mut answer.body);
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.unread);
        }
        answer
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        while let Some(size) = self.line() {
            let size = usize::from_str_radix(&size, 16).unwrap();
            body.extend(self.take(size));
            if self.line() != Some(String::new()) {
                return false;
            }
            if size == 0 {
                return true;
            }
        }
        false
    }
}
