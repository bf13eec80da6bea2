//! Just enough HTTP/1.1, both sides, to stand opposite the daemon.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::watch::DEADLINE;

/// A request exactly as it came: header names, order and repetitions kept.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response, sent with `Content-Length`.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Because\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(have, _)| have.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Reads one request; `None` when the peer closed instead of sending one.
pub fn read_request(reader: &mut dyn BufRead) -> io::Result<Option<Request>> {
    let Some((first, headers)) = read_head(reader)? else {
        return Ok(None);
    };
    let mut words = first.splitn(3, ' ');
    let mut request = Request {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
    };
    request.body = read_body(reader, &request.headers, Some(0))?;
    Ok(Some(request))
}

/// Sends raw bytes to `address` on a connection of its own and reads one response.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request)?;
    read_response(&mut BufReader::new(stream))
}

/// Reads one response.
pub fn read_response(reader: &mut dyn BufRead) -> io::Result<Response> {
    let (first, headers) =
        read_head(reader)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not a status line: {first:?}")))?;
    let until_close = if matches!(status, 100..=199 | 204 | 304) {
        Some(0)
    } else {
        None
    };
    let body = read_body(reader, &headers, until_close)?;
    Ok(Response {
        status,
        headers,
        body,
    })
}

type Head = (String, Vec<(String, String)>);

fn read_head(reader: &mut dyn BufRead) -> io::Result<Option<Head>> {
    let mut first = None;
    let mut headers = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return match first {
                None => Ok(None),
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        match (&first, line) {
            (None, line) => first = Some(line.to_owned()),
            (Some(first), "") => return Ok(Some((first.clone(), headers))),
            (Some(_), line) => {
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| io::Error::other(format!("not a header: {line:?}")))?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
}

/// `without_length`: how long a body without a length is; `None` means until the peer closes.
fn read_body(
    reader: &mut dyn BufRead,
    headers: &[(String, String)],
    without_length: Option<u64>,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if header(headers, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            reader.take(size).read_to_end(&mut body)?;
            let mut end = String::new();
            reader.read_line(&mut end)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = match header(headers, "content-length") {
        Some(value) => Some(value.parse().map_err(io::Error::other)?),
        None => without_length,
    };
    let Some(length) = length else {
        reader.read_to_end(&mut body)?;
        return Ok(body);
    };
    reader.take(length).read_to_end(&mut body)?;
    if body.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}
