//! Exports spans at a steady rate as OpenTelemetry's exporters do: a full batch a request, on connections
//! that stay open.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use xray_test_support::protobuf::field;

use crate::sender::Sent;

/// Spans of one request: the batch of an exporter whose settings nobody has changed.
pub const SPANS: u64 = 512;

/// Processes that export. Each has a connection of its own.
const CLIENTS: usize = 10;

/// What the number of a request stands behind: in the resource where it can be read, in the header of
/// gzip where it cannot.
const MARKER: &[u8] = b"instance ~";
const DIGITS: usize = 8;
const GZIP_TIME: std::ops::Range<usize> = 4..8;

/// Exports `rate * seconds` spans to `daemon`, rounded up to whole requests, numbered from 1.
pub fn send(daemon: SocketAddr, rate: u64, seconds: u64, is_gzip: bool) -> io::Result<Sent> {
    let mut body = request(is_gzip);
    let connect = || TcpStream::connect(daemon).map(BufReader::new);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect::<io::Result<_>>()?;
    let requests = (rate * seconds).div_ceil(SPANS);
    let start = Instant::now();
    for done in 0..requests {
        let due = Duration::from_nanos(done * SPANS * 1_000_000_000 / rate);
        thread::sleep(due.saturating_sub(start.elapsed()));
        write_number(&mut body, done + 1, is_gzip);
        export(&mut clients[done as usize % CLIENTS], &body, is_gzip)?;
    }
    Ok(Sent {
        count: requests * SPANS,
        elapsed: start.elapsed(),
    })
}

fn export(client: &mut BufReader<TcpStream>, body: &[u8], is_gzip: bool) -> io::Result<()> {
    let coding = match is_gzip {
        true => "Content-Encoding: gzip\r\n",
        false => "",
    };
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: localhost:4318\r\nUser-Agent: OTel-OTLP-Exporter\r\n\
         Content-Type: application/x-protobuf\r\n{coding}Content-Length: {}\r\n\r\n",
        body.len()
    );
    client
        .get_mut()
        .write_all(&[head.as_bytes(), body].concat())?;
    let (mut line, mut length) = (String::new(), 0);
    client.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("spans were answered {line}")));
    }
    while line.trim_end() != "" {
        line.clear();
        client.read_line(&mut line)?;
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    client.read_exact(&mut vec![0; length])
}

fn write_number(body: &mut [u8], number: u64, is_gzip: bool) {
    if is_gzip {
        body[GZIP_TIME].copy_from_slice(&(number as u32).to_le_bytes());
        return;
    }
    let marker = body.windows(MARKER.len()).position(|at| at == MARKER);
    let digits = marker.expect("request() writes the marker") + MARKER.len();
    body[digits..digits + DIGITS].copy_from_slice(format!("{number:08}").as_bytes());
}

/// The number of a request, as the backend reads it.
pub fn number(body: &[u8], is_gzip: bool) -> Option<usize> {
    if is_gzip {
        let time = body.get(GZIP_TIME)?.try_into().ok()?;
        return Some(u32::from_le_bytes(time) as usize);
    }
    let marker = body.windows(MARKER.len()).position(|at| at == MARKER)?;
    let digits = body[marker + MARKER.len()..].get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An `ExportTraceServiceRequest` with spans as the instrumentation of a web server writes them: about
/// 400 bytes each.
fn request(is_gzip: bool) -> Vec<u8> {
    let resource = [
        text("service.name", "checkout"),
        text("service.instance.id", "instance ~00000000"),
        text("telemetry.sdk.language", "python"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.version", "1.44.0"),
        text("host.name", "ip-10-0-12-7.ec2.internal"),
        text("cloud.provider", "aws"),
    ];
    let resource = resource.map(|attribute| field(1, &attribute)).concat();
    let scope = field(1, b"opentelemetry.instrumentation.flask");
    let mut scope_spans = field(1, &scope);
    let mut random = 0x9e37_79b9_7f4a_7c15;
    for n in 0..SPANS {
        scope_spans.extend(field(2, &span(n, &mut random)));
    }
    let body = field(1, &[field(1, &resource), field(2, &scope_spans)].concat());
    match is_gzip {
        true => gzip(&body),
        false => body,
    }
}

fn span(number: u64, random: &mut u64) -> Vec<u8> {
    let mut id = || {
        // xorshift64: ids must not compress.
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        random.to_le_bytes()
    };
    let start = 1_764_267_000_000_000_000 + number * 1_953_125 + u64::from(id()[0]) * 997;
    let end = start + 3_000_000 + u64::from(id()[1]) * 12_345;
    let mut span = [
        field(1, &[id(), id()].concat()),
        field(2, &id()),
        field(4, &id()),
        field(5, b"POST /cart/<int:cart_id>/checkout"),
        // SPAN_KIND_SERVER
        vec![6 << 3, 2],
        fixed(7, start),
        fixed(8, end),
    ]
    .concat();
    for attribute in [
        text("http.request.method", "POST"),
        text("url.scheme", "https"),
        text(
            "url.path",
            &format!("/cart/{}/checkout", 10_000 + number * 7),
        ),
        text("http.route", "/cart/<int:cart_id>/checkout"),
        text("server.address", "shop.example"),
        text("client.address", &format!("203.0.113.{}", number % 256)),
        text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
        text("network.protocol.version", "1.1"),
        // AnyValue.int_value: 200
        [
            field(1, b"http.response.status_code"),
            field(2, &[3 << 3, 0xc8, 1]),
        ]
        .concat(),
    ] {
        span.extend(field(9, &attribute));
    }
    span
}

/// A `KeyValue` that holds a string.
fn text(key: &str, value: &str) -> Vec<u8> {
    let value = field(1, value.as_bytes());
    [field(1, key.as_bytes()), field(2, &value)].concat()
}

/// A field of protobuf of the type fixed64.
fn fixed(number: u8, value: u64) -> Vec<u8> {
    let mut out = vec![number << 3 | 1];
    out.extend(value.to_le_bytes());
    out
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(miniz_oxide::deflate::compress_to_vec(body, 6));
    // Nobody here looks at the checksum.
    out.extend([0; 4]);
    out.extend((body.len() as u32).to_le_bytes());
    out
}
