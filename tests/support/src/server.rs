//! The one server of all fakes: a thread that accepts, and a thread for each connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::connection::{Connection, Stream};
use crate::http::{Request, Response};
use crate::ports;
use crate::watch::Watch;

/// What a server does with connections and requests.
pub trait Handler: Send + Sync + 'static {
    /// Whether a connection that was just made is kept.
    fn accepts(&self) -> bool {
        true
    }

    /// Handles one request; false ends the connection, as an error does.
    fn handle(&self, request: Request, peer: &mut Peer) -> io::Result<bool>;
}

/// The server's side of one connection.
pub struct Peer {
    connection: Connection<Box<dyn Stream>>,
    socket: Socket,
}

impl Peer {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.send(bytes)
    }

    pub fn respond(&mut self, response: &Response) -> io::Result<()> {
        self.send(&response.to_bytes())
    }

    /// Limits how many hops the packets sent from now on may go.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket.stream.set_ttl(hops)
    }

    /// Waits until the client has closed, or has sent something more.
    pub fn wait_closed(&mut self) -> io::Result<()> {
        self.connection.wait_closed().map(drop)
    }

    /// Speaks TLS from now on.
    pub fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let stream = StreamOwned::new(tls, self.socket.try_clone()?);
        self.connection = Connection::new(Box::new(stream));
        Ok(())
    }
}

/// A TCP stream that counts what is read from it.
struct Socket {
    stream: TcpStream,
    bytes_read: Arc<AtomicU64>,
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            bytes_read: self.bytes_read.clone(),
        })
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

struct Shared<H> {
    handler: Arc<H>,
    tls: Option<Arc<ServerConfig>>,
    /// The connections there are, so that they can be cut.
    streams: Watch<HashMap<usize, TcpStream>>,
    bytes_read: Arc<AtomicU64>,
    is_closing: AtomicBool,
}

/// A server that listens. Dropping it closes the listener and cuts every connection.
pub struct Server<H: Handler> {
    shared: Arc<Shared<H>>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

impl<H: Handler> Server<H> {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(handler: Arc<H>, tls: Option<Arc<ServerConfig>>) -> Self {
        Self::on(ports::listener(), handler, tls)
    }

    /// Starts where `listener` is bound.
    pub fn on(listener: TcpListener, handler: Arc<H>, tls: Option<Arc<ServerConfig>>) -> Self {
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                handler,
                tls,
                streams: Watch::default(),
                bytes_read: Arc::default(),
                is_closing: AtomicBool::new(false),
            }),
            listener: None,
        };
        server.listen(listener);
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = match self.shared.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Bytes read from all connections so far, TLS records as they came.
    pub fn bytes_read(&self) -> u64 {
        self.shared.bytes_read.load(Ordering::Relaxed)
    }

    pub fn is_listening(&self) -> bool {
        self.listener.is_some()
    }

    /// Closes the listener: who connects now is refused.
    pub fn stop_listening(&mut self) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        self.shared.is_closing.store(true, Ordering::SeqCst);
        // The thread looks at the flag when it has accepted one more connection.
        if TcpStream::connect(self.address).is_ok() {
            listener.join().expect("the accepting thread ends well");
        }
    }

    /// Listens again at the same address.
    pub fn listen_again(&mut self) {
        if self.listener.is_none() {
            self.listen(TcpListener::bind(self.address).unwrap());
        }
    }

    /// Cuts every connection there is.
    pub fn cut_connections(&self) {
        self.shared.streams.read(|streams| {
            for stream in streams.values() {
                // Fails only where the peer was faster.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    fn listen(&mut self, listener: TcpListener) {
        self.shared.is_closing.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        self.listener = Some(thread::spawn(move || accept(&listener, &shared)));
    }
}

impl<H: Handler> Drop for Server<H> {
    fn drop(&mut self) {
        self.stop_listening();
        self.cut_connections();
    }
}

fn accept<H: Handler>(listener: &TcpListener, shared: &Arc<Shared<H>>) {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    while let Ok((stream, _)) = listener.accept() {
        if shared.is_closing.load(Ordering::SeqCst) {
            return;
        }
        if !shared.handler.accepts() {
            continue;
        }
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed) as usize;
        let copy = stream.try_clone().expect("a descriptor to be left");
        shared.streams.update(|streams| streams.insert(id, copy));
        let registered = Registered {
            shared: shared.clone(),
            id,
        };
        thread::spawn(move || {
            // An error is the peer's way to end a connection.
            let _ = serve(&registered.shared, stream);
        });
    }
}

/// Closes a connection also where its handler panics.
struct Registered<H> {
    shared: Arc<Shared<H>>,
    id: usize,
}

impl<H> Drop for Registered<H> {
    fn drop(&mut self) {
        self.shared
            .streams
            .update(|streams| streams.remove(&self.id));
    }
}

fn serve<H: Handler>(shared: &Shared<H>, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = Socket {
        stream,
        bytes_read: shared.bytes_read.clone(),
    };
    let mut peer = Peer {
        connection: Connection::new(Box::new(socket.try_clone()?)),
        socket,
    };
    if let Some(config) = &shared.tls {
        peer.start_tls(config.clone())?;
    }
    while let Some(request) = peer.connection.read_request()? {
        if !shared.handler.handle(request, &mut peer)? {
            break;
        }
    }
    Ok(())
}

/// An address where nobody listens.
pub fn closed_address() -> SocketAddr {
    let listener = ports::listener();
    listener.local_addr().unwrap()
}
