//! Servers for the tests, each on a port of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use socket2::{Domain, Socket, Type};

/// A directory that is removed at the end.
pub(in super::super) struct Scratch(pub(in super::super) PathBuf);

impl Scratch {
    pub(in super::super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("xray-client-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    pub(in super::super) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A private CA with its certificate in a file.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(super) file: PathBuf,
    _directory: Scratch,
}

pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn key_of(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = Scratch::new();
        Authority {
            file: directory.file("ca.pem", issuer.pem()),
            issuer,
            _directory: directory,
        }
    }

    /// A certificate for a server with this name, changed by `change`.
    pub(super) fn issue_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: key_of(&key),
        }
    }

    /// A certificate for a server with this name from a CA with that one, which has its own from
    /// this one.
    pub(super) fn issue_through(&self, ca: &str, name: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, ca);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let between = rcgen::Issuer::new(params, key);
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &between).unwrap();
        Identity {
            chain: vec![certificate.der().clone(), own.der().clone()],
            key: key_of(&key),
        }
    }

    pub(super) fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| ())
    }

    /// The CA's certificate as a server's own.
    pub(super) fn as_identity(&self) -> Identity {
        Identity {
            chain: vec![self.issuer.der().clone()],
            key: key_of(self.issuer.key()),
        }
    }
}

/// Signed by itself, but no CA.
pub(super) fn self_signed(name: &str) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    Identity {
        chain: vec![params.self_signed(&key).unwrap().der().clone()],
        key: key_of(&key),
    }
}

pub(super) fn server_config(identity: Identity) -> Arc<ServerConfig> {
    server_config_with(identity, rustls::DEFAULT_VERSIONS)
}

pub(super) fn server_config_with(
    identity: Identity,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .unwrap();
    Arc::new(config)
}

/// Serves one connection after the other, `count` of them, and returns what `serve` did.
pub(super) fn serve<T: Send + 'static>(
    count: usize,
    mut serve: impl FnMut(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<Vec<T>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let streams = listener.incoming().take(count);
        streams.map(|stream| serve(stream.unwrap())).collect()
    });
    (port, server)
}

/// A port at which nobody listens, and nobody else will meanwhile.
pub(in super::super) struct Refusing {
    pub(in super::super) port: u16,
    _socket: Socket,
}

impl Refusing {
    pub(in super::super) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Refusing {
            port: address.port(),
            _socket: socket,
        }
    }
}

/// The server's side of a TLS connection.
pub(super) fn tls<S: Read + Write>(
    config: &Arc<ServerConfig>,
    stream: S,
) -> StreamOwned<ServerConnection, S> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

/// Reads a request with its body. `None` when the client is gone.
pub(super) fn request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.parse::<usize>().unwrap())
            });
            if bytes.len() - (end + 4) >= length.unwrap_or_default() {
                return Some((head, bytes.split_off(end + 4)));
            }
        }
        match stream.read(&mut piece) {
            Ok(amount @ 1..) => bytes.extend_from_slice(&piece[..amount]),
            _ => return None,
        }
    }
}

pub(super) const EMPTY_OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Answers every request on a connection with `answer`, and says what they were.
pub(super) fn answer_all(
    stream: &mut (impl Read + Write),
    answer: &[u8],
) -> Vec<(String, Vec<u8>)> {
    let mut requests = Vec::new();
    while let Some(request) = request(stream) {
        requests.push(request);
        // The client may hang up before it has read all of a hostile answer.
        if stream
            .write_all(answer)
            .and_then(|()| stream.flush())
            .is_err()
        {
            break;
        }
    }
    requests
}

/// Serves one plain connection with one answer, and says what was asked.
pub(super) fn answer_once(answer: impl Into<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
    let answer = answer.into();
    let (port, server) = serve(1, move |mut stream| {
        let (head, _) = request(&mut stream).unwrap_or_default();
        let _ = stream.write_all(&answer);
        head
    });
    (format!("http://127.0.0.1:{port}/"), server)
}
