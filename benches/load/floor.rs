//! The floor: the least any daemon must do with a segment, in one thread and nothing else.
//! Receive, escape as a JSON string, hash the body, one HTTP write for every 50 documents.

use std::error::Error;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest, Sha256};

use crate::span_floor;

const DOCUMENTS_PER_REQUEST: usize = 50;

/// What the backend answers to segments.
const DELIVERED: &[u8] = b"{\"UnprocessedTraceSegments\":[]}";

/// Where the floor delivers.
#[derive(Clone)]
pub struct Upstream {
    backend: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection, encrypted or not.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Upstream {
    pub fn connect(&self) -> Result<Box<dyn Stream>, Box<dyn Error>> {
        let http = TcpStream::connect(self.backend)?;
        http.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(http));
        };
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(tls), name)?;
        Ok(Box::new(StreamOwned::new(connection, http)))
    }
}

/// Runs until it is killed. `authority` is the certificate, in PEM, of the authority that the backend
/// is to be trusted by; without it the connection is not encrypted.
pub fn run(
    listen: SocketAddr,
    backend: SocketAddr,
    authority: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let udp = UdpSocket::bind(listen)?;
    let tcp = TcpListener::bind(listen)?;
    // Lets the last, incomplete batch out; costs nothing while datagrams come.
    udp.set_read_timeout(Some(Duration::from_millis(200)))?;
    let tls = authority.map(trust).transpose()?;
    let upstream = Upstream { backend, tls };
    let mut http = upstream.connect()?;
    thread::spawn(move || span_floor::run(&tcp, &upstream));
    forward(&udp, &mut *http)?;
    Ok(())
}

fn trust(authority: &str) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn forward(udp: &UdpSocket, http: &mut dyn Stream) -> io::Result<()> {
    let mut datagram = vec![0; 64 << 10];
    let mut body = Vec::with_capacity(128 << 10);
    let mut documents = 0;
    loop {
        match udp.recv(&mut datagram) {
            Ok(length) => {
                let Some(document) = document(&datagram[..length]) else {
                    continue;
                };
                body.extend_from_slice(if documents == 0 {
                    &b"{\"TraceSegmentDocuments\":["[..]
                } else {
                    b","
                });
                escape(document, &mut body);
                documents += 1;
                if documents < DOCUMENTS_PER_REQUEST {
                    continue;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && documents == 0 => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        body.extend_from_slice(b"]}");
        post(http, "/TraceSegments", &body, DELIVERED)?;
        body.clear();
        documents = 0;
    }
}

/// What follows the header line.
fn document(datagram: &[u8]) -> Option<&[u8]> {
    let newline = datagram.iter().position(|&byte| byte == b'\n')?;
    Some(&datagram[newline + 1..])
}

/// Whether a byte stands for itself inside a JSON string.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

fn escape(document: &[u8], body: &mut Vec<u8>) {
    body.push(b'"');
    let mut rest = document;
    while let Some(at) = rest.iter().position(|&byte| !PLAIN[byte as usize]) {
        body.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => body.extend_from_slice(&[b'\\', byte]),
            control => body.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    body.extend_from_slice(rest);
    body.push(b'"');
}

/// Sends a body and waits for an answer that ends so.
pub fn post(http: &mut dyn Stream, path: &str, body: &[u8], delivered: &[u8]) -> io::Result<()> {
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        hash.push(char::from_digit(u32::from(byte >> 4), 16).unwrap());
        hash.push(char::from_digit(u32::from(byte & 15), 16).unwrap());
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         x-amz-content-sha256: {hash}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let parts = [IoSlice::new(head.as_bytes()), IoSlice::new(body)];
    let written = http.write_vectored(&parts)?;
    if let Some(left) = head.len().checked_sub(written) {
        http.write_all(&head.as_bytes()[head.len() - left..])?;
        http.write_all(body)?;
    } else {
        http.write_all(&body[written - head.len()..])?;
    }

    let mut answer = [0; 1024];
    let mut filled = 0;
    while !answer[..filled].ends_with(delivered) {
        match http.read(&mut answer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    Ok(())
}
