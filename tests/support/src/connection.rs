//! The one HTTP/1.1 parser: reads requests and responses from a stream.

use std::io::{self, ErrorKind, Read, Write};

use crate::http::{Request, Response};

/// What carries a connection: TCP, or TLS over it.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// More than any client or server of these tests sends.
const MOST_HEADERS: usize = 64;

/// One side of a connection.
pub struct Connection<S> {
    stream: S,
    /// What was read and not taken yet is in `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: vec![0; 16 << 10],
            start: 0,
            end: 0,
        }
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends these bytes, and nothing stays behind in a buffer.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one request; `None` where the peer closed instead of sending one.
    pub fn read_request(&mut self) -> io::Result<Option<Request>> {
        let Some(mut request) = self.read_head(parse_request)? else {
            return Ok(None);
        };
        match framing(&request.headers)? {
            Framing::Chunked => {
                let (body, is_whole) = self.read_chunks()?;
                if !is_whole {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                request.body = body;
            }
            Framing::Length(length) => {
                request.body = self.take(length)?;
                if request.body.len() < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Framing::Unknown => {}
        }
        Ok(Some(request))
    }

    /// Reads one response. A body without a length goes on until the peer closes.
    pub fn read_response(&mut self) -> io::Result<Response> {
        let mut response = self.read_response_head()?;
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        match framing(&response.headers)? {
            Framing::Chunked => {
                let (body, is_whole) = self.read_chunks()?;
                response.body = body;
                response.is_cut_off = !is_whole;
            }
            Framing::Length(length) => {
                response.body = self.take(length)?;
                response.is_cut_off = response.body.len() < length;
            }
            Framing::Unknown => {
                while self.fill()? {}
                response.body = self.take(self.end - self.start)?;
            }
        }
        Ok(response)
    }

    /// Reads a response that ends with its head, whatever the head says: the answer to a `HEAD`.
    pub fn read_response_head(&mut self) -> io::Result<Response> {
        let response = self.read_head(parse_response)?;
        response.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Waits for the peer to close; false where it sends something instead.
    pub fn wait_closed(&mut self) -> io::Result<bool> {
        Ok(self.start == self.end && !self.fill()?)
    }

    /// Reads more; false at the end. A peer that resets the connection has ended it too.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.buffer.resize(2 * self.buffer.len(), 0);
            }
        }
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(length) => {
                self.end += length;
                Ok(length > 0)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next `length` bytes; fewer where the connection ends before.
    pub fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.end - self.start < length && self.fill()? {}
        let length = length.min(self.end - self.start);
        let taken = self.buffer[self.start..self.start + length].to_vec();
        self.start += length;
        Ok(taken)
    }

    fn read_head<H>(&mut self, parse: Parse<H>) -> io::Result<Option<H>> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some((length, head)) = parse(unread)? {
                self.start += length;
                return Ok(Some(head));
            }
            let has_begun = !unread.is_empty();
            if !self.fill()? {
                return match has_begun {
                    true => Err(ErrorKind::UnexpectedEof.into()),
                    false => Ok(None),
                };
            }
        }
    }

    /// A chunked body, and whether its end was seen.
    fn read_chunks(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let mut body = Vec::new();
        while let Some(line) = self.read_line()? {
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                return Ok((body, self.skip_trailer()?));
            }
            body.extend(self.take(size)?);
            if self.read_line()?.as_deref() != Some("") {
                return Ok((body, false));
            }
        }
        Ok((body, false))
    }

    fn skip_trailer(&mut self) -> io::Result<bool> {
        while let Some(line) = self.read_line()? {
            if line.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(length) = unread.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&unread[..length]).into_owned();
                self.start += length + 2;
                return Ok(Some(line));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}

/// The length of a head and what it says; `None` where more must be read.
type Parse<H> = fn(&[u8]) -> io::Result<Option<(usize, H)>>;

fn parse_request(bytes: &[u8]) -> io::Result<Option<(usize, Request)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    require_version_1_1(head.version)?;
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        headers: owned(head.headers),
        body: Vec::new(),
    };
    Ok(Some((length, request)))
}

fn parse_response(bytes: &[u8]) -> io::Result<Option<(usize, Response)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    require_version_1_1(head.version)?;
    let response = Response {
        status: head.code.unwrap_or_default(),
        headers: owned(head.headers),
        ..Response::default()
    };
    Ok(Some((length, response)))
}

fn require_version_1_1(minor: Option<u8>) -> io::Result<()> {
    match minor {
        Some(1) => Ok(()),
        other => Err(io::Error::other(format!("not HTTP/1.1 but {other:?}"))),
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    headers
        .iter()
        .map(|header| (header.name.to_owned(), text(header.value)))
        .collect()
}

enum Framing {
    Chunked,
    Length(usize),
    Unknown,
}

fn framing(headers: &[(String, String)]) -> io::Result<Framing> {
    let value = |name: &str| {
        let mut values = headers
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    };
    if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match value("content-length") {
        Some(length) => Ok(Framing::Length(length.parse().map_err(io::Error::other)?)),
        None => Ok(Framing::Unknown),
    }
}
