//! The floor: the least any daemon must do with a segment, in one thread and nothing else.
//! Receive, escape as a JSON string, hash the body, one HTTP write for every 50 documents.

use std::error::Error;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest, Sha256};

const DOCUMENTS_PER_REQUEST: usize = 50;

/// Runs until it is killed. `authority` is the certificate, in PEM, of the authority that the backend
/// is to be trusted by; without it the connection is not encrypted.
pub fn run(
    listen: SocketAddr,
    backend: SocketAddr,
    authority: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let udp = UdpSocket::bind(listen)?;
    // Lets the last, incomplete batch out; costs nothing while datagrams come.
    udp.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut http = TcpStream::connect(backend)?;
    http.set_nodelay(true)?;
    match authority {
        None => forward(&udp, &mut http)?,
        Some(pem) => forward(&udp, &mut encrypt(http, pem)?)?,
    }
    Ok(())
}

fn encrypt(
    http: TcpStream,
    authority: &str,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    Ok(StreamOwned::new(connection, http))
}

fn forward(udp: &UdpSocket, http: &mut (impl Read + Write)) -> io::Result<()> {
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
        post(http, &body)?;
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

fn post(http: &mut (impl Read + Write), body: &[u8]) -> io::Result<()> {
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        hash.push(char::from_digit(u32::from(byte >> 4), 16).unwrap());
        hash.push(char::from_digit(u32::from(byte & 15), 16).unwrap());
    }
    let head = format!(
        "POST /TraceSegments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
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
    while !answer[..filled].ends_with(b"{\"UnprocessedTraceSegments\":[]}") {
        match http.read(&mut answer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    Ok(())
}
